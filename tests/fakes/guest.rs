//! A guest in memory: one ext4 filesystem that fills the disk, without a partition table.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use tpl::{
    core::{
        facts::VolumeFormat,
        progress::Progress,
        vm_spec::{FileSystem, Label},
    },
    host::guest::{
        Access, Appliance, Blocks, Checker, Disks, Entry, FileKind, FileStat, Files, Guest, Mount, Owners, Rebuild, Stretch,
        Usage,
    },
};

use super::{
    machine::{FakeVolume, Node, Tree, put},
    run::{FakeRun, Step},
    storage::name_of,
};

const BLOCK: u64 = 4096;
const MIB: u64 = 1 << 20;

struct FakeGuest {
    run: FakeRun,
    volume: String,
    access: Access,
}

impl Appliance for FakeRun {
    fn open(&self, disk: &Path, _: VolumeFormat, access: Access, _: &dyn Progress) -> Result<Box<dyn Guest>> {
        let volume = name_of(disk)?;
        self.step(Step::OpenGuest, &volume)?;
        ensure!(self.machine.state().volumes.contains_key(&volume), "there is no volume {volume}");
        Ok(Box::new(FakeGuest { run: self.clone(), volume, access }))
    }

    fn version(&self) -> Result<String> {
        self.step(Step::ReadHost, "libguestfs")?;
        Ok("1.48.6".to_owned())
    }
}

impl FakeGuest {
    fn read<T>(&self, what: &str, read: impl FnOnce(&FakeVolume) -> T) -> Result<T> {
        self.run.step(Step::ReadGuest, what)?;
        let state = self.run.machine.state();
        state.volumes.get(&self.volume).map(read).context("the disk is gone")
    }

    fn change(&self, what: &str, change: impl FnOnce(&mut FakeVolume)) -> Result<()> {
        self.run.step(Step::WriteGuest, what)?;
        ensure!(self.access != Access::ReadOnly, "the disk is opened read-only");
        let mut state = self.run.machine.state();
        state.volumes.get_mut(&self.volume).map(change).context("the disk is gone")
    }
}

fn stat_of(node: &Node) -> FileStat {
    let (kind, size) = match node {
        Node::File(text) => (FileKind::Regular, text.len() as u64),
        Node::Directory => (FileKind::Directory, BLOCK),
    };
    FileStat { kind, size, mode: 0o644 }
}

/// A shell pattern's component: `*`, `?` and plain characters; sets match nothing, for no file here needs one.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match (pattern.first(), name.first()) {
        (None, None) => true,
        (Some(b'*'), _) => matches(&pattern[1..], name) || !name.is_empty() && matches(pattern, &name[1..]),
        (Some(b'?'), Some(_)) => matches(&pattern[1..], &name[1..]),
        (Some(a), Some(b)) => a == b && matches(&pattern[1..], &name[1..]),
        _ => false,
    }
}

fn matches_path(pattern: &str, path: &str) -> bool {
    let parts = |text: &str| text.split('/').map(|part| part.as_bytes().to_vec()).collect::<Vec<_>>();
    let (pattern, path) = (parts(pattern), parts(path));
    pattern.len() == path.len() && pattern.iter().zip(&path).all(|(pattern, name)| matches(pattern, name))
}

impl Files for FakeGuest {
    fn glob(&self, patterns: &[&str]) -> Result<Vec<String>> {
        self.read("glob", |volume| {
            let wanted = |path: &&String| patterns.iter().any(|pattern| matches_path(pattern, path));
            volume.tree.keys().filter(wanted).cloned().collect()
        })
    }

    fn stat(&self, path: &str) -> Result<Option<FileStat>> {
        self.read(path, |volume| volume.tree.get(path).map(stat_of))
    }

    fn lstat(&self, path: &str) -> Result<Option<FileStat>> {
        self.stat(path)
    }

    fn walk(&self, directory: &str) -> Result<Vec<Entry>> {
        let below = format!("{directory}/");
        self.read(directory, |volume| {
            let found = volume.tree.iter().filter(|(path, _)| path.starts_with(&below));
            found.map(|(path, node)| Entry { path: path.clone(), stat: stat_of(node) }).collect()
        })
    }

    fn read(&self, path: &str, _: usize) -> Result<Option<Vec<u8>>> {
        FakeGuest::read(self, path, |volume| match volume.tree.get(path) {
            Some(Node::File(text)) => Some(text.clone().into_bytes()),
            _ => None,
        })
    }

    fn head(&self, path: &str, length: usize) -> Result<Option<Vec<u8>>> {
        Ok(Files::read(self, path, usize::MAX)?.map(|bytes| bytes[..bytes.len().min(length)].to_vec()))
    }

    fn zero_from(&self, _: &str, _: u64) -> Result<bool> {
        bail!("this guest has no swap file")
    }

    fn write(&self, path: &str, content: &[u8]) -> Result<()> {
        let text = String::from_utf8_lossy(content).into_owned();
        self.change(path, |volume| put(&mut volume.tree, path, text))
    }

    fn erase(&self, paths: &[String]) -> Result<()> {
        paths.iter().try_for_each(|path| self.write(path, b""))
    }

    fn truncate(&self, path: &str) -> Result<()> {
        self.write(path, b"")
    }

    fn remove(&self, path: &str) -> Result<()> {
        let below = format!("{path}/");
        let retain = |tree: &mut Tree| tree.retain(|other, _| other != path && !other.starts_with(&below));
        self.change(path, |volume| retain(&mut volume.tree))
    }

    fn rpm_packages(&self) -> Result<Vec<(String, String)>> {
        bail!("this is a Debian")
    }
}

/// Nodes have no owners: only that something can be asked about is checked.
impl Owners for FakeGuest {
    fn make_directory(&self, path: &str) -> Result<bool> {
        if self.stat(path)?.is_some() {
            return Ok(false);
        }
        self.change(path, |volume| put(&mut volume.tree, &format!("{path}/x"), String::new()))?;
        self.remove(&format!("{path}/x"))?;
        Ok(true)
    }

    fn set_mode(&self, path: &str, _: u32) -> Result<()> {
        ensure!(self.stat(path)?.is_some(), "{path}: No such file or directory");
        Ok(())
    }

    fn set_owner(&self, path: &str, _: u32, _: u32) -> Result<()> {
        self.set_mode(path, 0)
    }

    fn make_link(&self, path: &str, target: &str) -> Result<()> {
        self.write(path, format!("-> {target}").as_bytes())
    }

    fn link_target(&self, path: &str) -> Result<Option<String>> {
        let text = Files::read(self, path, 4096)?.and_then(|bytes| String::from_utf8(bytes).ok());
        Ok(text.and_then(|text| text.strip_prefix("-> ").map(str::to_owned)))
    }
}

/// The first bytes of an ext4 filesystem of so many bytes.
fn superblock(size: u64) -> Vec<u8> {
    let mut head = vec![0; 68 << 10];
    let blocks = u32::try_from(size / BLOCK).unwrap();
    let uuid = uuid::Uuid::parse_str("11111111-2222-3333-4444-555555555555").unwrap();
    let parts: [(usize, &[u8]); 5] = [
        (0x4, &blocks.to_le_bytes()),
        (0x18, &2_u32.to_le_bytes()),
        (0x38, &[0x53, 0xef]),
        (0x58, &256_u16.to_le_bytes()),
        (0x68, uuid.as_bytes()),
    ];
    for (offset, bytes) in parts {
        head[1024 + offset..][..bytes.len()].copy_from_slice(bytes);
    }
    head
}

impl Disks for FakeGuest {
    fn device_size(&self, device: &str) -> Result<u64> {
        FakeGuest::read(self, device, |volume| volume.capacity)
    }

    fn read_device(&self, device: &str, offset: u64, length: usize) -> Result<Vec<u8>> {
        let offset = usize::try_from(offset)?;
        FakeGuest::read(self, device, |volume| {
            let head = superblock(volume.filesystem);
            head.get(offset..).map(|rest| rest[..rest.len().min(length)].to_vec()).unwrap_or_default()
        })
    }

    fn write_device(&self, _: &str, _: u64, _: &[u8]) -> Result<()> {
        bail!("there is no partition table to write")
    }

    fn logical_volumes(&self) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn group_metadata(&self, group: &str) -> Result<String> {
        bail!("there is no volume group {group}")
    }

    fn mount(&self, mount: &Mount) -> Result<()> {
        FakeGuest::read(self, &mount.device, |volume| volume.tree.contains_key("/etc/fstab"))
            .and_then(|there| if there { Ok(()) } else { bail!("{} holds no system", mount.device) })
    }

    fn unmount_all(&self) -> Result<()> {
        FakeGuest::read(self, "unmounting", |_| ())
    }

    fn usage(&self, mount_point: &str) -> Result<Usage> {
        FakeGuest::read(self, mount_point, |volume| Usage { size: volume.filesystem, used: 500 * MIB })
    }

    fn resize_ext(&self, device: &str, size: u64) -> Result<()> {
        self.change(device, |volume| volume.filesystem = size)
    }

    fn minimum_ext(&self, device: &str) -> Result<u64> {
        FakeGuest::read(self, device, |_| 500 * MIB)
    }

    fn zero_free_ext(&self, device: &str) -> Result<()> {
        self.change(device, |_| ())
    }

    fn trim(&self, mount_point: &str) -> Result<()> {
        self.change(mount_point, |_| ())
    }

    fn make_swap(&self, device: &str, _: &str, _: &str) -> Result<()> {
        bail!("{device} is no swap")
    }

    fn make_filesystem(&self, device: &str, _: FileSystem, _: Option<&Label>) -> Result<()> {
        self.change(device, |volume| volume.filesystem = volume.capacity)
    }

    fn resize_volume(&self, volume: &str, _: u64) -> Result<()> {
        bail!("there is no volume {volume}")
    }

    fn resize_physical(&self, device: &str, _: u64) -> Result<()> {
        bail!("{device} is no physical volume")
    }

    fn grow_partition(&self, number: u32) -> Result<()> {
        bail!("there is no partition {number}")
    }

    fn grow_volume(&self, _: &str, volume: &str) -> Result<()> {
        bail!("there is no volume {volume}")
    }

    fn grow_filesystem(&self, mount: &Mount) -> Result<bool> {
        self.change(&mount.device, |volume| volume.filesystem = volume.capacity)?;
        Ok(true)
    }

    fn deactivate_groups(&self) -> Result<()> {
        Ok(())
    }
}

impl Blocks for FakeGuest {
    fn xfs_options(&self) -> Result<String> {
        bail!("there is no XFS")
    }

    fn rebuild(&self, device: &str, _: &Rebuild) -> Result<Option<Vec<u8>>> {
        bail!("{device} is no XFS")
    }

    fn cut_btrfs(&self, device: &str) -> Result<u64> {
        bail!("{device} is no btrfs")
    }

    fn shrink_btrfs(&self, device: &str, _: u64) -> Result<bool> {
        bail!("{device} is no btrfs")
    }

    fn restore_group(&self, group: &str, _: &str) -> Result<()> {
        bail!("there is no volume group {group}")
    }

    fn relocate(&self, _: &[Stretch]) -> Result<()> {
        bail!("there is nothing to move")
    }

    fn check(&self, device: &str, _: Checker) -> Result<Option<String>> {
        FakeGuest::read(self, device, |_| None)
    }
}

impl Guest for FakeGuest {
    fn close(self: Box<Self>) -> Result<()> {
        self.run.step(Step::CloseGuest, &self.volume)
    }
}
