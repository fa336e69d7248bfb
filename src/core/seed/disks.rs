//! Extra disks in cloud-config: the file systems that the guest makes, and where it mounts them. cloud-init does both before
//! it makes users, and after `write_files`.

use serde::Serialize;

use crate::core::{
    pipeline::Word,
    vm_spec::{FileSystem, GuestPath, Label},
};

/// A disk as the guest is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeedDisk {
    /// Its serial number, which is in the domain's XML, too: see [`crate::core::extra_disks::disk_serial`].
    pub serial: String,
    /// The file system to make; none leaves it blank.
    pub fs: Option<FileSystem>,
    /// The file system's label.
    pub label: Option<Label>,
    /// Where to mount it.
    pub mount: Option<GuestPath>,
    /// With which options; `defaults,nofail` when none are given.
    pub options: Option<Word>,
    /// Whether what the template has there is moved to it: see [`super::moving`].
    pub moved: bool,
}

impl SeedDisk {
    /// The link that udev makes for a virtio-blk disk. Labels may be in the template already; this is the disk and no other.
    pub(super) fn device(&self) -> String {
        format!("/dev/disk/by-id/virtio-{}", self.serial)
    }
}

#[derive(Serialize)]
pub(super) struct FsSetup {
    device: String,
    // Not `none`, which always writes a new file system, whatever `overwrite` says. `auto` uses the whole disk too, and makes
    // one only where there is none: a disk with data on it stays as it is when cloud-init runs once more.
    partition: &'static str,
    overwrite: bool,
    filesystem: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<String>,
}

/// The entries of `fs_setup`.
pub(super) fn fs_setup(disks: &[SeedDisk]) -> Vec<FsSetup> {
    let entry = |disk: &SeedDisk| {
        // One that a folder is moved to gets its file system then.
        Some(disk).filter(|disk| !disk.moved)?;
        Some(FsSetup {
            device: disk.device(),
            partition: "auto",
            overwrite: false,
            filesystem: disk.fs?.as_str(),
            label: disk.label.as_ref().map(ToString::to_string),
        })
    };
    disks.iter().filter_map(entry).collect()
}

/// The entries of `mounts`: fields of fstab. What is mounted inside another mount comes behind it.
pub(super) fn mounts(disks: &[SeedDisk]) -> Vec<[String; 6]> {
    let mut mounted: Vec<(&SeedDisk, &GuestPath, FileSystem)> =
        disks.iter().filter(|disk| !disk.moved).filter_map(|disk| Some((disk, disk.mount.as_ref()?, disk.fs?))).collect();
    // A path sorts before those that it begins.
    mounted.sort_by_key(|(_, path, _)| path.as_str());
    let entry = |(disk, path, fs): (&SeedDisk, &GuestPath, FileSystem)| {
        let options = disk.options.as_ref().map_or("defaults,nofail", Word::as_str);
        // cloud-init makes all mount points, then mounts: the one inside another mount is hidden by then.
        let options = if holds(disks, path) { format!("{options},x-mount.mkdir") } else { options.to_owned() };
        [&disk.device(), path.as_str(), fs.as_str(), &options, "0", "2"].map(str::to_owned)
    };
    mounted.into_iter().map(entry).collect()
}

/// Whether a path is on one of the disks that cloud-init mounts. Where a folder was moved to, is mounted before it begins.
pub(super) fn holds(disks: &[SeedDisk], path: &GuestPath) -> bool {
    let below = |mount: &GuestPath| path.as_str().strip_prefix(mount.as_str()).is_some_and(|rest| rest.starts_with('/'));
    disks.iter().filter(|disk| !disk.moved).filter_map(|disk| disk.mount.as_ref()).any(below)
}
