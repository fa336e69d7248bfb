//! What lies below a guest's files: devices, filesystems as a whole, LVM, the partition table.

use anyhow::Result;

use super::Mount;
use crate::core::vm_spec::{FileSystem, Label};

/// Figures of a mounted filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Its size in bytes.
    pub size: u64,
    /// Bytes in use, the filesystem's own structures included.
    pub used: u64,
}

/// How a filesystem is made anew in another place of the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuild {
    /// Its first byte on the disk, where no partition is.
    pub start: u64,
    /// Its size in bytes, whole sectors.
    pub size: u64,
    /// The program that makes it and its arguments, but for the device.
    pub program: Vec<String>,
}

/// A stretch of the disk that gets other bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    /// Where the bytes come from on the same disk, behind `to`; none for zeros.
    pub from: Option<u64>,
    /// Its first byte.
    pub to: u64,
    /// Its length in bytes.
    pub length: u64,
}

/// A filesystem's own checker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checker {
    /// ext2, ext3 or ext4.
    Ext,
    /// XFS.
    Xfs,
    /// btrfs.
    Btrfs,
    /// FAT.
    Fat,
    /// FAT, repaired: an installer that was powered off leaves it marked as in use.
    FatRepair,
}

/// What lies below the files.
pub trait Disks {
    /// The size of a device in bytes.
    ///
    /// # Errors
    /// No such device.
    fn device_size(&self, device: &str) -> Result<u64>;

    /// `length` bytes of a device from `offset`; fewer at its end.
    ///
    /// # Errors
    /// No such device, or a broken disk.
    fn read_device(&self, device: &str, offset: u64, length: usize) -> Result<Vec<u8>>;

    /// Overwrites a part of a device.
    ///
    /// # Errors
    /// No such device, or a broken disk.
    fn write_device(&self, device: &str, offset: u64, bytes: &[u8]) -> Result<()>;

    /// All logical volumes, as `/dev/GROUP/VOLUME`.
    ///
    /// # Errors
    /// LVM's metadata cannot be read.
    fn logical_volumes(&self) -> Result<Vec<String>>;

    /// A volume group's metadata in LVM's own text format.
    ///
    /// # Errors
    /// No such group.
    fn group_metadata(&self, group: &str) -> Result<String>;

    /// Mounts a device, or a btrfs subvolume on it, in the guest's tree; `/` first. No device nodes count there.
    ///
    /// # Errors
    /// The filesystem cannot be mounted.
    fn mount(&self, mount: &Mount) -> Result<()>;

    /// Unmounts everything.
    ///
    /// # Errors
    /// Something is in use, or did not reach the disk.
    fn unmount_all(&self) -> Result<()>;

    /// Size and use of a mounted filesystem.
    ///
    /// # Errors
    /// Nothing is mounted there.
    fn usage(&self, mount_point: &str) -> Result<Usage>;

    /// Checks an unmounted ext2/3/4 filesystem and resizes it to `size` bytes.
    ///
    /// # Errors
    /// The check finds what it cannot repair, or the content does not fit.
    fn resize_ext(&self, device: &str, size: u64) -> Result<()>;

    /// The smallest size, in bytes, that an unmounted ext2/3/4 filesystem can be resized to.
    ///
    /// # Errors
    /// The filesystem cannot be read.
    fn minimum_ext(&self, device: &str) -> Result<u64>;

    /// Fills the unused blocks of an unmounted ext2/3/4 filesystem with zeros, where they are not.
    ///
    /// # Errors
    /// The filesystem cannot be read.
    fn zero_free_ext(&self, device: &str) -> Result<()>;

    /// Gives unused blocks of a mounted filesystem back to the disk.
    ///
    /// # Errors
    /// The filesystem or the disk does not support it.
    fn trim(&self, mount_point: &str) -> Result<()>;

    /// Makes an empty swap area with this UUID and label, whatever was swapped out before being gone.
    ///
    /// # Errors
    /// A broken disk.
    fn make_swap(&self, device: &str, uuid: &str, label: &str) -> Result<()>;

    /// Makes an empty filesystem.
    ///
    /// # Errors
    /// A label that is too long for it, or a broken disk.
    fn make_filesystem(&self, device: &str, kind: FileSystem, label: Option<&Label>) -> Result<()>;

    /// Resizes a logical volume to `size` bytes, a whole number of MiB.
    ///
    /// # Errors
    /// LVM refuses.
    fn resize_volume(&self, volume: &str, size: u64) -> Result<()>;

    /// Resizes a physical volume to `size` bytes.
    ///
    /// # Errors
    /// Extents behind that are in use.
    fn resize_physical(&self, device: &str, size: u64) -> Result<()>;

    /// Moves the end of a partition, the last on the disk, to the disk's end, and a GPT's second copy with it.
    ///
    /// # Errors
    /// The table cannot be rewritten.
    fn grow_partition(&self, number: u32) -> Result<()>;

    /// Gives a logical volume all that its physical volume has won by growing, and takes the groups into use again.
    ///
    /// # Errors
    /// LVM refuses.
    fn grow_volume(&self, physical: &str, volume: &str) -> Result<()>;

    /// Makes an unmounted filesystem as large as its device: ext2/3/4, XFS, btrfs. Says whether it is one of these, and one that
    /// the appliance has programs for.
    ///
    /// # Errors
    /// The check finds what it cannot repair, or a broken disk.
    fn grow_filesystem(&self, mount: &Mount) -> Result<bool>;

    /// Takes all volume groups out of use, so that nothing writes to a physical volume any more.
    ///
    /// # Errors
    /// A volume is in use.
    fn deactivate_groups(&self) -> Result<()>;
}

/// The rough work on a guest's disk: filesystems made anew, and bytes that move. Nothing is mounted while it is done.
pub trait Blocks: Disks {
    /// What `mkfs.xfs` says about its options.
    ///
    /// # Errors
    /// The appliance has no programs for XFS.
    fn xfs_options(&self) -> Result<String>;

    /// Makes a filesystem elsewhere on the disk and copies the files of the one on `device` into it, with all that they have:
    /// owners, modes, times, extended attributes and so SELinux's labels, ACLs and capabilities, hard links, holes, devices.
    /// Gives the first 4 KiB of the new one; none if there was no room, and what was made is of no use.
    ///
    /// # Errors
    /// It cannot be made, or something could not be copied.
    fn rebuild(&self, device: &str, rebuild: &Rebuild) -> Result<Option<Vec<u8>>>;

    /// Cuts what a btrfs has in large pieces, so that it finds a place anywhere; the bytes in use after that.
    ///
    /// # Errors
    /// The appliance has no programs for btrfs, or a broken disk.
    fn cut_btrfs(&self, device: &str) -> Result<u64>;

    /// Shrinks a btrfs to `size` bytes and gives unused blocks back; says whether there was room.
    ///
    /// # Errors
    /// A broken disk.
    fn shrink_btrfs(&self, device: &str, size: u64) -> Result<bool>;

    /// Replaces the metadata of a volume group, in LVM's own text format, and takes the group out of use.
    ///
    /// # Errors
    /// LVM refuses.
    fn restore_group(&self, group: &str, metadata: &str) -> Result<()>;

    /// Gives stretches of the disk other bytes, in this order, which ascends.
    ///
    /// # Errors
    /// A broken disk.
    fn relocate(&self, stretches: &[Stretch]) -> Result<()>;

    /// What the filesystem's own checker finds to be wrong with an unmounted one; none if it is clean.
    ///
    /// # Errors
    /// There is no such checker in the appliance.
    fn check(&self, device: &str, checker: Checker) -> Result<Option<String>>;
}
