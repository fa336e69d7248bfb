//! [`Disks`] by libguestfs.

use anyhow::{Context as _, Result, ensure};
use guestfs::{E2fsckOptArgs, FstrimOptArgs, MkfsOptArgs, MkswapOptArgs};

use super::{Disks, Mount, Usage, appliance::Session, blocks::RESIZE_VOLUME};
use crate::core::vm_spec::{FileSystem, Label};

const MIB: u64 = 1 << 20;

impl Disks for Session {
    fn device_size(&self, name: &str) -> Result<u64> {
        let name = &self.device(name)?;
        let size = self.call(&format!("measuring {name}"), |g| g.blockdev_getsize64(name))?;
        Ok(u64::try_from(size)?)
    }

    fn read_device(&self, name: &str, offset: u64, length: usize) -> Result<Vec<u8>> {
        let (name, offset, length) = (&self.device(name)?, i64::try_from(offset)?, i32::try_from(length)?);
        self.call(&format!("reading {name} at {offset}"), |g| g.pread_device(name, length, offset))
    }

    fn write_device(&self, name: &str, offset: u64, bytes: &[u8]) -> Result<()> {
        let (name, offset) = (&self.device(name)?, i64::try_from(offset)?);
        let what = format!("writing {name} at {offset}");
        let written = self.call(&what, |g| g.pwrite_device(name, bytes, offset))?;
        ensure!(usize::try_from(written)? == bytes.len(), "{what}: {written} of {} bytes were written", bytes.len());
        Ok(())
    }

    fn logical_volumes(&self) -> Result<Vec<String>> {
        self.filter()?;
        self.call("listing logical volumes", guestfs::Handle::lvs)
    }

    fn group_metadata(&self, group: &str) -> Result<String> {
        let bytes = self.call(&format!("reading the metadata of volume group {group}"), |g| g.vgmeta(group))?;
        String::from_utf8(bytes).with_context(|| format!("reading the metadata of volume group {group}"))
    }

    fn mount(&self, mount: &Mount) -> Result<()> {
        let (name, at) = (&self.device(&mount.device)?, &mount.mount_point);
        // No device node of the guest's is ever opened as a device, and none of its programs run.
        let mut options = "nodev,nosuid,noexec".to_owned();
        if let Some(subvolume) = mount.subvolume.as_ref().filter(|subvolume| !subvolume.contains(',')) {
            options.push_str(",subvol=");
            options.push_str(subvolume);
        }
        self.call(&format!("mounting {name} on {at}"), |g| g.mount_options(&options, name, at))?;
        self.mounts.borrow_mut().push(mount.clone());
        Ok(())
    }

    fn unmount_all(&self) -> Result<()> {
        self.mounts.take();
        self.call("unmounting the guest", guestfs::Handle::umount_all)
    }

    fn usage(&self, mount_point: &str) -> Result<Usage> {
        let stat = self.call(&format!("measuring {mount_point}"), |g| g.statvfs(mount_point))?;
        let bytes = |blocks: i64| -> Result<u64> { Ok(u64::try_from(blocks)?.saturating_mul(u64::try_from(stat.frsize)?)) };
        let (size, free) = (bytes(stat.blocks)?, bytes(stat.bfree)?);
        Ok(Usage { size, used: size.saturating_sub(free) })
    }

    fn resize_ext(&self, name: &str, size: u64) -> Result<()> {
        let (name, bytes) = (&self.device(name)?, i64::try_from(size)?);
        let what = format!("resizing the filesystem on {name} to {size} bytes");
        // libguestfs itself checks the filesystem first, and takes a check that repaired something for a failure: so
        // repair, and once more.
        if self.call(&what, |g| g.resize2fs_size(name, bytes)).is_ok() {
            return Ok(());
        }
        let all = E2fsckOptArgs { correct: None, forceall: Some(true) };
        self.call(&format!("checking the filesystem on {name}"), |g| g.e2fsck(name, all))?;
        self.call(&what, |g| g.resize2fs_size(name, bytes))
    }

    fn minimum_ext(&self, name: &str) -> Result<u64> {
        let name = &self.device(name)?;
        let what = format!("asking how small the filesystem on {name} can be");
        Ok(u64::try_from(self.call(&what, |g| g.vfs_minimum_size(name))?)?)
    }

    fn zero_free_ext(&self, name: &str) -> Result<()> {
        let name = &self.device(name)?;
        self.call(&format!("zeroing unused blocks on {name}"), |g| g.zerofree(name))
    }

    fn trim(&self, mount_point: &str) -> Result<()> {
        let all = FstrimOptArgs { offset: None, length: None, minimumfreeextent: None };
        self.call(&format!("trimming {mount_point}"), |g| g.fstrim(mount_point, all))
    }

    fn make_swap(&self, name: &str, uuid: &str, label: &str) -> Result<()> {
        let name = &self.device(name)?;
        self.call(&format!("making swap on {name}"), |g| {
            // Where discard does not work, zeros do it.
            g.blkdiscard(name).or_else(|_| g.zero_device(name))?;
            let label = (!label.is_empty()).then_some(label);
            g.mkswap(name, MkswapOptArgs { label, uuid: Some(uuid) })
        })
    }

    fn make_filesystem(&self, name: &str, kind: FileSystem, label: Option<&Label>) -> Result<()> {
        let name = &self.device(name)?;
        let label = label.map(Label::as_str);
        let options = MkfsOptArgs { blocksize: None, features: None, inode: None, sectorsize: None, label };
        self.call(&format!("making {} on {name}", kind.as_str()), |g| g.mkfs(kind.as_str(), name, options))
    }

    fn resize_volume(&self, volume: &str, size: u64) -> Result<()> {
        let (volume, mebibytes) = (&self.device(volume)?, mebibytes(size)?);
        let words = [volume.as_str(), &format!("{mebibytes}m")];
        self.script(&format!("resizing {volume} to {size} bytes"), RESIZE_VOLUME, &words).map(|_| ())
    }

    fn resize_physical(&self, name: &str, size: u64) -> Result<()> {
        let (name, bytes) = (&self.device(name)?, i64::try_from(size)?);
        self.call(&format!("resizing physical volume {name} to {size} bytes"), |g| g.pvresize_size(name, bytes))
    }

    fn grow_partition(&self, number: u32) -> Result<()> {
        self.grow_partition_to_end(number)
    }

    fn grow_volume(&self, physical: &str, volume: &str) -> Result<()> {
        self.grow_logical_volume(physical, volume)
    }

    fn grow_filesystem(&self, mount: &Mount) -> Result<bool> {
        self.grow_to_device(mount)
    }

    fn deactivate_groups(&self) -> Result<()> {
        self.call("taking the volume groups out of use", |g| g.vg_activate_all(false))
    }
}

fn mebibytes(size: u64) -> Result<i32> {
    ensure!(size.is_multiple_of(MIB), "{size} bytes are no whole number of MiB");
    Ok(i32::try_from(size / MIB)?)
}
