//! A guest's disk, opened in libguestfs's appliance.
//!
//! Three traits in the words of what is done: [`Files`] and [`Owners`] for the mounted guest, [`Disks`] for what lies below. Everything on
//! the disk is untrusted: nothing of the guest is ever executed, and every read has a limit. Symbolic links are resolved
//! inside the appliance, so none of them leads out of the guest.

mod appliance;
mod disks;
mod ffi;
mod files;
mod grow;
mod owners;

use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::core::{
    facts::VolumeFormat,
    progress::Progress,
    vm_spec::{FileSystem, Label},
};

pub use appliance::Libguestfs;

/// The name of the one disk in the appliance.
pub const DISK: &str = "/dev/sda";

/// What may happen to an opened disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Nothing is written; writes of the appliance (a journal replay) go to an overlay that is thrown away.
    ReadOnly,
    /// Writes without waiting for the host's disk, and with discard: for a build disk, which a crash costs anyway.
    ThrowAway,
    /// Writes that are on the host's disk when the appliance has ended: for a disk that is kept.
    Keep,
}

/// Opens disks.
pub trait Appliance: Sync {
    /// Launches an appliance with `disk` in it. Takes seconds.
    ///
    /// # Errors
    /// The file cannot be opened, or the appliance does not start.
    fn open(&self, disk: &Path, format: VolumeFormat, access: Access, progress: &dyn Progress) -> Result<Box<dyn Guest>>;

    /// Does `work` on each of several disks, one after the other, in as few launches as there can be. Each is called [`DISK`]
    /// while it is worked on, and nothing of the others is to be seen: they may be copies of it, down to the UUIDs. What
    /// `work` has mounted is unmounted, and everything is written out at the end.
    ///
    /// # Errors
    /// The first that `work` gives; the disks behind it have not been touched then. A file that cannot be opened, or the
    /// appliance does not start, or something that was written did not reach its disk.
    fn each(
        &self,
        disks: &[(PathBuf, VolumeFormat)],
        access: Access,
        progress: &dyn Progress,
        work: &mut dyn FnMut(usize, &dyn Guest) -> Result<()>,
    ) -> Result<()> {
        for (index, (disk, format)) in disks.iter().enumerate() {
            let guest = self.open(disk, *format, access, progress)?;
            work(index, guest.as_ref())?;
            guest.close()?;
        }
        Ok(())
    }

    /// The version of the library, for the manifest: `1.48.6`.
    ///
    /// # Errors
    /// The library does not load.
    fn version(&self) -> Result<String>;
}

/// An opened disk.
pub trait Guest: Files + Owners + Disks {
    /// Writes everything out and ends the appliance. Without this, an error on the way out is lost.
    ///
    /// # Errors
    /// Something that was written did not reach the disk.
    fn close(self: Box<Self>) -> Result<()>;
}

/// What a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A plain file.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link.
    Symlink,
    /// A device, a socket or a pipe: never opened.
    Other,
}

/// What is known about a file without opening it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileStat {
    /// What it is.
    pub kind: FileKind,
    /// Its size in bytes.
    pub size: u64,
    /// Permission bits.
    pub mode: u32,
}

/// A file met on a walk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its absolute path in the guest.
    pub path: String,
    /// What it is; of a link, the link itself.
    pub stat: FileStat,
}

/// What is mounted where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The device.
    pub device: String,
    /// Where in the guest's tree.
    pub mount_point: String,
    /// The btrfs subvolume; none for a whole filesystem.
    pub subvolume: Option<String>,
}

/// Figures of a mounted filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Its size in bytes.
    pub size: u64,
    /// Bytes in use, the filesystem's own structures included.
    pub used: u64,
}

/// The files of a mounted guest. Paths are absolute.
pub trait Files {
    /// Paths that match any of these shell patterns, sorted, without a slash at their end; nothing matching is an empty list.
    ///
    /// # Errors
    /// A broken disk, or a name that is no UTF-8.
    fn glob(&self, patterns: &[&str]) -> Result<Vec<String>>;

    /// What `path` is, links followed; none if there is no such file.
    ///
    /// # Errors
    /// A broken disk.
    fn stat(&self, path: &str) -> Result<Option<FileStat>>;

    /// What `path` itself is: of a link, the link; none if there is no such file.
    ///
    /// # Errors
    /// A broken disk.
    fn lstat(&self, path: &str) -> Result<Option<FileStat>>;

    /// Everything below a directory, at any depth, links not followed; empty if there is no such directory.
    ///
    /// # Errors
    /// A broken disk, or a name that is no UTF-8.
    fn walk(&self, directory: &str) -> Result<Vec<Entry>>;

    /// The content of a plain file; none if there is no such plain file.
    ///
    /// # Errors
    /// The file is larger than `limit` bytes, or a broken disk.
    fn read(&self, path: &str, limit: usize) -> Result<Option<Vec<u8>>>;

    /// The first `length` bytes of a plain file, or all if it has fewer; none if there is no such plain file.
    ///
    /// # Errors
    /// A broken disk.
    fn head(&self, path: &str, length: usize) -> Result<Option<Vec<u8>>>;

    /// Overwrites a plain file with zeros in its own blocks, from `offset` to its end; its size stays. Says whether anything
    /// else than zeros was there.
    ///
    /// # Errors
    /// No such file, or a broken disk.
    fn zero_from(&self, path: &str, offset: u64) -> Result<bool>;

    /// Replaces a file's content in its own blocks: owner, mode and label stay, and no old byte stays behind in a freed
    /// block. A file that was not there is made with mode 0644, owned by root.
    ///
    /// # Errors
    /// Not a plain file, or a broken disk.
    fn write(&self, path: &str, content: &[u8]) -> Result<()>;

    /// Overwrites plain files with zeros and empties them; they stay. For secrets: see [`Files::write`].
    ///
    /// # Errors
    /// A broken disk.
    fn erase(&self, paths: &[String]) -> Result<()>;

    /// Empties a plain file: owner, mode and label stay.
    ///
    /// # Errors
    /// No such file, or a broken disk.
    fn truncate(&self, path: &str) -> Result<()>;

    /// Removes a file, link or whole directory; what is not there is removed already.
    ///
    /// # Errors
    /// A broken disk.
    fn remove(&self, path: &str) -> Result<()>;

    /// Names and versions of the packages in the guest's RPM database; the appliance looks into it.
    ///
    /// # Errors
    /// The database cannot be read.
    fn rpm_packages(&self) -> Result<Vec<(String, String)>>;
}

/// What the files of a mounted guest have besides content. Paths are absolute.
pub trait Owners {
    /// Makes a directory and those above it, with mode 0755, owned by root, where there is none; says whether it made one.
    ///
    /// # Errors
    /// Something else is there, or a broken disk.
    fn make_directory(&self, path: &str) -> Result<bool>;

    /// Sets permission bits; links are followed.
    ///
    /// # Errors
    /// No such file, or a broken disk.
    fn set_mode(&self, path: &str, mode: u32) -> Result<()>;

    /// Sets user and group by their numbers; links are followed.
    ///
    /// # Errors
    /// No such file, or a broken disk.
    fn set_owner(&self, path: &str, user: u32, group: u32) -> Result<()>;

    /// Makes a symbolic link, in the place of whatever file or link is there.
    ///
    /// # Errors
    /// A directory is there, or a broken disk.
    fn make_link(&self, path: &str, target: &str) -> Result<()>;

    /// Where a symbolic link leads; none if there is no link.
    ///
    /// # Errors
    /// A broken disk, or a target that is no UTF-8.
    fn link_target(&self, path: &str) -> Result<Option<String>>;
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

    /// Makes a logical volume of `size` bytes, a whole number of MiB.
    ///
    /// # Errors
    /// LVM refuses.
    fn create_volume(&self, volume: &str, size: u64) -> Result<()>;

    /// Removes a logical volume.
    ///
    /// # Errors
    /// LVM refuses.
    fn remove_volume(&self, volume: &str) -> Result<()>;

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
