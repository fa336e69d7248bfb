//! Growing by libguestfs: the steps behind [`Disks::grow_partition`](super::Disks::grow_partition) and its like.

use anyhow::Result;
use guestfs::{BtrfsFilesystemResizeOptArgs, E2fsckOptArgs, XfsGrowfsOptArgs};

use super::{DISK, Disks as _, Mount, appliance::Session};

const SECTOR: u64 = 512;
const MIB: u64 = 1 << 20;
/// An MBR counts sectors in 32 bits.
const MBR_LIMIT: u64 = (1 << 32) * SECTOR;

impl Session {
    pub(super) fn grow_partition_to_end(&self, number: u32) -> Result<()> {
        let (disk, partition) = (self.device(DISK)?, i32::try_from(number)?);
        let size = self.device_size(DISK)?;
        self.call(&format!("growing partition {number} of {disk}"), |g| {
            // The signature of an MBR, by which PARTUUID= knows its partitions: parted can give the disk another one.
            let signature = g.pread_device(&disk, 4, 440)?;
            let end = if g.part_get_parttype(&disk)? == "gpt" {
                g.part_expand_gpt(&disk)?;
                // The last MiB has the second copy.
                size / MIB * MIB - MIB
            } else {
                size.min(MBR_LIMIT) / MIB * MIB
            };
            let last = end / SECTOR - 1;
            g.part_resize(&disk, partition, i64::try_from(last).unwrap_or(i64::MAX))?;
            g.pwrite_device(&disk, &signature, 440).map(|_| ())
        })
    }

    pub(super) fn grow_logical_volume(&self, physical: &str, volume: &str) -> Result<()> {
        let (physical, volume) = (self.device(physical)?, self.device(volume)?);
        self.call(&format!("growing {volume}"), |g| {
            g.pvresize(&physical)?;
            g.vg_activate_all(true)?;
            g.lvresize_free(&volume, 100)
        })
    }

    pub(super) fn grow_to_device(&self, mount: &Mount) -> Result<bool> {
        let name = self.device(&mount.device)?;
        let what = format!("growing the filesystem on {name}");
        let kind = self.call(&what, |g| g.vfs_type(&name))?;
        match kind.as_str() {
            "ext2" | "ext3" | "ext4" => {
                let all = E2fsckOptArgs { correct: Some(true), forceall: None };
                self.call(&format!("checking the filesystem on {name}"), |g| g.e2fsck(&name, all))?;
                self.call(&what, |g| g.resize2fs(&name))?;
            }
            // These grow while they are mounted, and no other way.
            "xfs" | "btrfs" => {
                // Distributions leave the programs for these out of the appliance, into packages of their own.
                if !self.call(&what, |g| g.feature_available(&[&kind]))? {
                    return Ok(false);
                }
                let root = Mount { mount_point: "/".to_owned(), ..mount.clone() };
                self.mount(&root)?;
                let none = XfsGrowfsOptArgs {
                    datasec: None,
                    logsec: None,
                    rtsec: None,
                    datasize: None,
                    logsize: None,
                    rtsize: None,
                    rtextsize: None,
                    maxpct: None,
                };
                self.call(&what, |g| match kind.as_str() {
                    "xfs" => g.xfs_growfs("/", none),
                    _ => g.btrfs_filesystem_resize("/", BtrfsFilesystemResizeOptArgs { size: None }),
                })?;
                self.unmount_all()?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}
