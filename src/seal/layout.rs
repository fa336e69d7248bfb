//! Where a guest's filesystems are, and mounting them as its fstab says. libguestfs could inspect that too, and takes
//! seconds to; a template has one root, and its fstab is right or the template is broken.

use anyhow::{Context as _, Result, bail, ensure};

use crate::{
    core::error::Refusal,
    host::guest::{DISK, Disks, FileKind, Files, Guest, Mount},
    seal::{
        fstab::{self, FstabEntry},
        partition::Table,
        probe::{Content, HEAD, Kind, probe},
    },
};

/// Larger than any fstab.
const FSTAB_LIMIT: usize = 64 << 10;
/// Where distributions keep their root in a btrfs filesystem; the first is the whole of it.
const SUBVOLUMES: [Option<&str>; 4] = [None, Some("root"), Some("@"), Some("@rootfs")];

/// A partition, a logical volume, or the whole disk, and what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Its device in the appliance.
    pub device: String,
    /// The number of the partition, if it is one.
    pub partition: Option<u32>,
    /// How fstab's `PARTUUID=` names it; empty if it is no partition.
    pub partition_uuid: String,
    /// What it holds, if that is known.
    pub content: Option<Content>,
}

/// A guest's disk layout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    /// The size of the disk in bytes.
    pub disk_size: u64,
    /// The partition table; none where a filesystem fills the whole disk.
    pub table: Option<Table>,
    /// All partitions and logical volumes.
    pub volumes: Vec<Volume>,
    /// The guest's fstab.
    pub fstab: Vec<FstabEntry>,
    /// What is mounted, root first.
    pub mounts: Vec<Mount>,
}

impl Volume {
    /// Whether it holds this.
    pub fn holds(&self, kind: Kind) -> bool {
        self.content.as_ref().is_some_and(|content| content.kind == kind)
    }
}

impl Layout {
    /// Finds the root filesystem and mounts the guest's whole tree.
    ///
    /// # Errors
    /// The disk is encrypted (a [`Refusal`]), there is no root filesystem, or something cannot be mounted.
    pub fn mount(guest: &dyn Guest) -> Result<Self> {
        Self::mount_within(guest, guest.device_size(DISK)?)
    }

    /// The same for a disk of `disk_size` bytes in an overlay that is larger: what lies behind is not the guest's.
    ///
    /// # Errors
    /// See [`Layout::mount`].
    pub fn mount_within(guest: &dyn Guest, disk_size: u64) -> Result<Self> {
        let table =
            Table::parse(&|offset, length| guest.read_device(DISK, offset, length)).context("reading the partition table")?;
        let volumes = volumes(guest, table.as_ref())?;
        refuse_encrypted(&volumes)?;
        let root = mount_root(guest, &volumes)?;
        let text = guest.read("/etc/fstab", FSTAB_LIMIT)?.unwrap_or_default();
        let fstab = fstab::parse(&String::from_utf8_lossy(&text));
        let mut layout = Self { disk_size, table, volumes, fstab, mounts: vec![root] };
        layout.mount_rest(guest)?;
        Ok(layout)
    }

    /// The device of the root filesystem.
    pub fn root(&self) -> &str {
        self.mounts.first().map_or("", |mount| &mount.device)
    }

    /// The volume that an fstab's first field names; none if there is no such volume.
    pub fn resolve(&self, spec: &str) -> Option<&Volume> {
        fstab::resolve(spec, &self.volumes)
    }

    /// LVM's physical volumes.
    pub fn physical(&self) -> impl Iterator<Item = &Volume> {
        self.volumes.iter().filter(|volume| volume.holds(Kind::Physical))
    }

    fn mount_rest(&mut self, guest: &dyn Guest) -> Result<()> {
        let mut mounts: Vec<_> = self.fstab.iter().filter_map(|entry| Some((self.mount_of(entry)?, entry.optional))).collect();
        // A parent before its children.
        mounts.sort_by_key(|(mount, _)| mount.mount_point.split('/').count());
        for (mount, optional) in mounts {
            match ensure_inside(guest, &mount.mount_point).and_then(|()| guest.mount(&mount)) {
                Ok(()) => self.mounts.push(mount),
                // The guest boots without it, too.
                Err(_) if optional => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// What an entry mounts; none for the root, swap, what is not a filesystem on this disk, and what has no directory.
    fn mount_of(&self, entry: &FstabEntry) -> Option<Mount> {
        let volume = self.resolve(&entry.spec)?;
        let filesystem = volume.content.as_ref().is_some_and(|content| content.kind.is_filesystem());
        let wanted = filesystem && entry.mount_point.starts_with('/') && entry.mount_point != "/";
        wanted.then(|| Mount {
            device: volume.device.clone(),
            mount_point: entry.mount_point.clone(),
            subvolume: entry.subvolume.clone(),
        })
    }
}

/// libguestfs's daemon follows a path's links and `..` out of the guest's tree, and what is mounted over the appliance's own programs
/// is run in their place.
fn ensure_inside(guest: &dyn Files, mount_point: &str) -> Result<()> {
    let what = || format!("the guest's fstab mounts something on {mount_point}");
    ensure!(mount_point.split('/').skip(1).all(|part| !matches!(part, "" | "." | "..")), "{}: this is no plain path", what());
    for (end, _) in mount_point.match_indices('/').skip(1).chain([(mount_point.len(), "")]) {
        let folder = &mount_point[..end];
        let kind = guest.stat(folder).with_context(what)?.map(|stat| stat.kind);
        ensure!(kind == Some(FileKind::Directory), "{}: {folder} is no folder", what());
    }
    Ok(())
}

/// Secrets could be left in what cannot be read, and clones would share its key.
fn refuse_encrypted(volumes: &[Volume]) -> Result<()> {
    let encrypted: Vec<_> =
        volumes.iter().filter(|volume| volume.holds(Kind::Luks)).map(|volume| volume.device.as_str()).collect();
    if encrypted.is_empty() {
        return Ok(());
    }
    let refusal = Refusal::new(format!("the guest's disk is encrypted (LUKS on {}): it cannot be sealed", encrypted.join(", ")));
    Err(refusal.advise("install the system without encryption, and encrypt its clones' storage on the hypervisor").into())
}

fn volumes(guest: &dyn Disks, table: Option<&Table>) -> Result<Vec<Volume>> {
    let content = |device: &str| Ok::<_, anyhow::Error>(probe(&guest.read_device(device, 0, HEAD)?));
    let whole = |device: &str| {
        Ok::<_, anyhow::Error>(Volume {
            device: device.to_owned(),
            partition: None,
            partition_uuid: String::new(),
            content: content(device)?,
        })
    };
    let Some(table) = table else {
        return Ok(vec![whole(DISK)?]);
    };
    let mut volumes = Vec::new();
    for partition in &table.partitions {
        let device = format!("{DISK}{}", partition.number);
        // The appliance's kernel may see less than the table says; and an unknown content hides nothing that could be sealed.
        let content = content(&device)?;
        volumes.push(Volume { device, partition: Some(partition.number), partition_uuid: partition.uuid.clone(), content });
    }
    if volumes.iter().any(|volume| volume.holds(Kind::Physical)) {
        for device in guest.logical_volumes()? {
            volumes.push(whole(&device)?);
        }
    }
    Ok(volumes)
}

/// Mounts the volume that holds the guest's root: the one with an fstab or an os-release.
fn mount_root(guest: &dyn Guest, volumes: &[Volume]) -> Result<Mount> {
    // From the end: a boot partition stands before the root, on every common layout.
    for volume in volumes.iter().rev() {
        let Some(kind) = volume.content.as_ref().map(|content| content.kind).filter(|kind| kind.can_be_root()) else {
            continue;
        };
        let subvolumes = if kind == Kind::Btrfs { &SUBVOLUMES[..] } else { &SUBVOLUMES[..1] };
        for subvolume in subvolumes {
            let subvolume = subvolume.map(str::to_owned);
            let mount = Mount { device: volume.device.clone(), mount_point: "/".to_owned(), subvolume };
            if let Err(error) = guest.mount(&mount) {
                if mount.subvolume.is_none() {
                    return Err(error);
                }
                continue;
            }
            if is_root(guest)? {
                return Ok(mount);
            }
            guest.unmount_all()?;
        }
    }
    bail!("the guest has no root filesystem: none of its volumes has an /etc/fstab or /etc/os-release");
}

fn is_root(guest: &dyn Files) -> Result<bool> {
    Ok(guest.stat("/etc/fstab")?.is_some() || guest.stat("/etc/os-release")?.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::fake::{FakeFiles, Node};

    #[test]
    fn nothing_is_mounted_outside_the_guests_tree() {
        let guest = FakeFiles::new(&[("/boot/efi/x", ""), ("/etc/fstab", ""), ("/srv/data/x", "")]);
        guest.put("/mnt", Node::Link("/usr".to_owned()));
        let table = [
            ("/boot", Ok(())),
            ("/boot/efi", Ok(())),
            ("/../usr", Err("this is no plain path")),
            ("/srv/./data", Err("this is no plain path")),
            ("/srv//data", Err("this is no plain path")),
            ("/mnt", Err("/mnt is no folder")),
            ("/mnt/bin", Err("/mnt is no folder")),
            ("/etc/fstab", Err("/etc/fstab is no folder")),
            ("/nowhere", Err("/nowhere is no folder")),
        ];
        for (mount_point, expected) in table {
            let found = ensure_inside(&guest, mount_point).map_err(|error| error.to_string());
            let expected = expected.map_err(|fault| format!("the guest's fstab mounts something on {mount_point}: {fault}"));
            assert_eq!(found, expected);
        }
    }
}
