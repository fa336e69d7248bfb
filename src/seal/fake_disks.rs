//! A disk in memory for shrinking: remembers what was asked of it, and can be told to fail.

use std::{cell::RefCell, collections::BTreeMap};

use anyhow::{Context as _, Result, ensure};

use crate::{
    core::vm_spec::{FileSystem, Label},
    host::guest::{Blocks, Checker, DISK, Disks, Mount, Rebuild, Stretch, Usage},
};

/// Devices in memory. Filesystems and volumes only have a size.
pub(super) struct FakeDisks {
    pub(super) devices: RefCell<BTreeMap<String, Vec<u8>>>,
    pub(super) usage: Usage,
    /// What [`Disks::minimum_ext`] says.
    pub(super) minimum: u64,
    /// LVM's metadata, first before and then after the change.
    pub(super) metadata: RefCell<Vec<String>>,
    /// Every change, in order, but for writes to devices.
    pub(super) calls: RefCell<Vec<String>>,
    /// The size of the whole disk, what is behind the guest's own end included.
    pub(super) disk_size: u64,
    /// The change that fails.
    pub(super) fail_at: Option<&'static str>,
}

impl FakeDisks {
    pub(super) fn new(usage: Usage, minimum: u64) -> Self {
        let (devices, metadata, calls) = Default::default();
        Self { devices, usage, minimum, metadata, calls, disk_size: 2 << 30, fail_at: None }
    }

    fn change(&self, call: String) -> Result<()> {
        ensure!(self.fail_at.is_none_or(|fail| !call.starts_with(fail)), "{call}: Input/output error");
        self.calls.borrow_mut().push(call);
        Ok(())
    }
}

impl Disks for FakeDisks {
    fn device_size(&self, device: &str) -> Result<u64> {
        if device == DISK {
            return Ok(self.disk_size);
        }
        Ok(self.devices.borrow().get(device).context("no such device")?.len() as u64)
    }

    fn read_device(&self, device: &str, offset: u64, length: usize) -> Result<Vec<u8>> {
        let devices = self.devices.borrow();
        let bytes = devices.get(device).with_context(|| format!("no device {device}"))?;
        Ok(bytes.get(offset as usize..).map(|rest| rest[..rest.len().min(length)].to_vec()).unwrap_or_default())
    }

    fn write_device(&self, device: &str, offset: u64, bytes: &[u8]) -> Result<()> {
        let mut devices = self.devices.borrow_mut();
        let disk = devices.get_mut(device).with_context(|| format!("no device {device}"))?;
        disk[offset as usize..][..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }

    fn logical_volumes(&self) -> Result<Vec<String>> {
        Ok(self.devices.borrow().keys().filter(|device| device.matches('/').count() == 3).cloned().collect())
    }

    fn group_metadata(&self, _: &str) -> Result<String> {
        Ok(self.metadata.borrow_mut().remove(0))
    }

    fn mount(&self, mount: &Mount) -> Result<()> {
        self.change(format!("mount {} {}", mount.device, mount.mount_point))
    }

    fn unmount_all(&self) -> Result<()> {
        self.change("unmount".to_owned())
    }

    fn usage(&self, _: &str) -> Result<Usage> {
        Ok(self.usage)
    }

    fn resize_ext(&self, device: &str, size: u64) -> Result<()> {
        self.change(format!("resize {device} to {size}"))
    }

    fn minimum_ext(&self, _: &str) -> Result<u64> {
        Ok(self.minimum)
    }

    fn zero_free_ext(&self, device: &str) -> Result<()> {
        self.change(format!("zero {device}"))
    }

    fn trim(&self, mount_point: &str) -> Result<()> {
        self.change(format!("trim {mount_point}"))
    }

    fn make_swap(&self, device: &str, uuid: &str, label: &str) -> Result<()> {
        self.change(format!("swap {device} {uuid} {label}"))
    }

    fn make_filesystem(&self, device: &str, kind: FileSystem, _: Option<&Label>) -> Result<()> {
        self.change(format!("make {} on {device}", kind.as_str()))
    }

    fn resize_volume(&self, volume: &str, size: u64) -> Result<()> {
        self.change(format!("volume {volume} to {size}"))
    }

    fn resize_physical(&self, device: &str, size: u64) -> Result<()> {
        self.change(format!("physical {device} to {size}"))
    }

    fn grow_partition(&self, number: u32) -> Result<()> {
        self.change(format!("grow partition {number}"))
    }

    fn grow_volume(&self, physical: &str, volume: &str) -> Result<()> {
        self.change(format!("grow {volume} on {physical}"))
    }

    fn grow_filesystem(&self, mount: &Mount) -> Result<bool> {
        self.change(format!("grow filesystem {}", mount.device))?;
        Ok(true)
    }

    fn deactivate_groups(&self) -> Result<()> {
        self.change("deactivate".to_owned())
    }
}

impl Blocks for FakeDisks {
    fn xfs_options(&self) -> Result<String> {
        Ok("crc=0|1,ftype=0|1".to_owned())
    }

    fn rebuild(&self, device: &str, rebuild: &Rebuild) -> Result<Option<Vec<u8>>> {
        self.change(format!("rebuild {device} at {} of {}", rebuild.start, rebuild.size))?;
        let head = self.devices.borrow().get(device).context("no such device")?.clone();
        Ok((rebuild.size >= self.minimum).then_some(head))
    }

    fn cut_btrfs(&self, device: &str) -> Result<u64> {
        self.change(format!("cut {device}"))?;
        Ok(self.usage.used)
    }

    fn shrink_btrfs(&self, device: &str, size: u64) -> Result<bool> {
        self.change(format!("btrfs {device} to {size}"))?;
        Ok(size >= self.minimum)
    }

    fn restore_group(&self, group: &str, _: &str) -> Result<()> {
        self.change(format!("restore {group}"))
    }

    fn relocate(&self, stretches: &[Stretch]) -> Result<()> {
        stretches.iter().try_for_each(|one| match one.from {
            Some(from) => self.change(format!("move {from} to {} of {}", one.to, one.length)),
            None => self.change(format!("empty {} of {}", one.to, one.length)),
        })
    }

    fn check(&self, device: &str, checker: Checker) -> Result<Option<String>> {
        self.change(format!("check {device} {checker:?}"))?;
        Ok(None)
    }
}
