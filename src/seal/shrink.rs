//! Making a template's content small.
//!
//! The root filesystem gets as small as its content allows with room to boot in, and what it stands on follows: a logical
//! volume and its physical volume, the partition, the disk. Places on the disk stay: nothing moves but files within the
//! root filesystem, and a swap volume behind it, which holds nothing.

use anyhow::{Context as _, Result};

use crate::{
    core::progress::Progress,
    host::guest::{DISK, Disks, Usage},
    seal::{
        Layout,
        lvm::{Group, LogicalVolume},
        probe::{HEAD, Kind},
    },
};

const MIB: u64 = 1 << 20;
/// What stays free in a shrunk root besides 5 % of what is in use: enough for a first boot on a disk that nobody enlarged.
const ROOM: u64 = 64 * MIB;

/// What shrinking came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shrunk {
    /// The disk's content now ends at this many bytes, a whole number of MiB.
    To(u64),
    /// The disk keeps its size; unused blocks have been given back.
    Kept {
        /// The size in bytes.
        size: u64,
        /// Why, for the operator.
        reason: String,
    },
}

impl Shrunk {
    /// The virtual size in bytes that the template's volume needs.
    pub fn size(&self) -> u64 {
        match self {
            Self::To(size) | Self::Kept { size, .. } => *size,
        }
    }
}

/// What the root filesystem stands on.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    /// The whole disk, without a partition table.
    Disk,
    /// A partition.
    Partition(u32),
    /// A logical volume of a group that has one physical volume, on this partition.
    Volume { partition: u32, group: String, name: String },
}

/// Makes the root filesystem small and moves the end of the disk behind it. Unmounts the guest.
///
/// # Errors
/// A broken disk. A layout that cannot be shrunk is no error: see [`Shrunk::Kept`].
pub fn shrink(guest: &dyn Disks, layout: &Layout, progress: &dyn Progress) -> Result<Shrunk> {
    let usage = guest.usage("/")?;
    // What cannot have its unused blocks zeroed below has them given back, as far as whole clusters go.
    let place = place(layout);
    progress.update("trim", Some(0));
    trim(guest, layout, place.is_err())?;
    guest.unmount_all()?;
    refresh_swap(guest, layout)?;
    let shrunk = match place {
        Ok(Place::Disk) => resize(guest, layout, usage, MIB, progress)?.map(|size| size.next_multiple_of(MIB)),
        Ok(Place::Partition(number)) => match resize(guest, layout, usage, MIB, progress)? {
            Some(size) => Some(cut(guest, layout, number, size)?),
            None => None,
        },
        Ok(Place::Volume { partition, group, name }) => {
            let text = guest.group_metadata(&group)?;
            let group = Group::parse(&text).with_context(|| format!("reading the metadata of volume group {group}"))?;
            if !group.is_plain() {
                let reason = format!("volume group {} is more than plain volumes on one disk", group.name);
                return Ok(Shrunk::Kept { size: layout.disk_size, reason });
            }
            shrink_volume(guest, layout, usage, &group, &name, partition, progress)?
        }
        Err(reason) => return Ok(Shrunk::Kept { size: layout.disk_size, reason }),
    };
    let nothing = || Shrunk::Kept { size: layout.disk_size, reason: "the content fills the disk".to_owned() };
    Ok(shrunk.filter(|size| *size < layout.disk_size).map_or_else(nothing, Shrunk::To))
}

/// Where the root stands, or why it has to stay as large as it is.
fn place(layout: &Layout) -> Result<Place, String> {
    let root = layout.volumes.iter().find(|volume| volume.device == layout.root()).ok_or("there is no root")?;
    let kind = root.content.as_ref().map(|content| content.kind);
    match kind {
        Some(Kind::Ext) => {}
        Some(Kind::Xfs) => return Err("the root filesystem is XFS, which cannot shrink".to_owned()),
        _ => return Err("the root filesystem is not ext2, ext3 or ext4".to_owned()),
    }
    let Some(table) = &layout.table else {
        return Ok(Place::Disk);
    };
    let (number, place) = match root.partition {
        Some(number) => (number, Place::Partition(number)),
        None => {
            let mut physical = layout.volumes.iter().filter(|volume| volume.holds(Kind::Physical));
            let (Some(volume), None) = (physical.next(), physical.next()) else {
                return Err("there is more than one physical volume".to_owned());
            };
            let partition = volume.partition.ok_or("the physical volume is no partition")?;
            let names = layout.root().strip_prefix("/dev/").and_then(|rest| rest.split_once('/'));
            let (group, name) = names.ok_or("the root is no logical volume")?;
            (partition, Place::Volume { partition, group: group.to_owned(), name: name.to_owned() })
        }
    };
    if let Some(behind) = table.behind(number).first() {
        return Err(format!("partition {behind} lies behind the root's partition {number}"));
    }
    Ok(place)
}

fn trim(guest: &dyn Disks, layout: &Layout, all: bool) -> Result<()> {
    for mount in &layout.mounts {
        let kind = layout.volumes.iter().find(|volume| volume.device == mount.device).and_then(|volume| volume.content.as_ref());
        match kind.map(|content| content.kind) {
            Some(Kind::Ext) if all => guest.trim(&mount.mount_point)?,
            Some(Kind::Xfs | Kind::Btrfs) => guest.trim(&mount.mount_point)?,
            _ => {}
        }
    }
    Ok(())
}

/// Swap areas are made anew: what an installer swapped out can hold its secrets.
fn refresh_swap(guest: &dyn Disks, layout: &Layout) -> Result<()> {
    for volume in &layout.volumes {
        if let Some(content) = volume.content.as_ref().filter(|content| content.kind == Kind::Swap) {
            guest.make_swap(&volume.device, &content.uuid, &content.label)?;
        }
    }
    Ok(())
}

/// Shrinks the root filesystem to a whole number of `step` bytes; none if that gains nothing.
fn resize(guest: &dyn Disks, layout: &Layout, usage: Usage, step: u64, progress: &dyn Progress) -> Result<Option<u64>> {
    let root = layout.root();
    let geometry =
        Geometry::parse(&guest.read_device(root, 0, HEAD)?).with_context(|| format!("reading the superblock of {root}"))?;
    progress.update("resize", Some(10));
    let size = geometry.wanted(usage).max(guest.minimum_ext(root)?).next_multiple_of(step);
    let gains = size < geometry.size;
    if gains {
        guest.resize_ext(root, size)?;
    }
    progress.update("zero", Some(80));
    let others = layout
        .mounts
        .iter()
        .filter(|mount| layout.volumes.iter().any(|volume| volume.device == mount.device && volume.holds(Kind::Ext)));
    others.map(|mount| &mount.device).try_for_each(|device| guest.zero_free_ext(device))?;
    Ok(gains.then_some(size))
}

/// Cuts the last partition to `length` bytes; the size of the disk then.
fn cut(guest: &dyn Disks, layout: &Layout, number: u32, length: u64) -> Result<u64> {
    let table = layout.table.as_ref().context("there is no partition table")?;
    let rewrite = table
        .cut(number, length, &|offset, length| guest.read_device(DISK, offset, length))
        .with_context(|| format!("shortening partition {number}"))?;
    if rewrite.disk_size >= layout.disk_size {
        return Ok(layout.disk_size);
    }
    rewrite.writes.iter().try_for_each(|(offset, bytes)| guest.write_device(DISK, *offset, bytes))?;
    Ok(rewrite.disk_size)
}

fn shrink_volume(
    guest: &dyn Disks,
    layout: &Layout,
    usage: Usage,
    group: &Group,
    name: &str,
    partition: u32,
    progress: &dyn Progress,
) -> Result<Option<u64>> {
    let Some(size) = resize(guest, layout, usage, group.extent.max(MIB), progress)? else {
        return Ok(None);
    };
    let root = group.volumes.iter().find(|volume| volume.name == name).with_context(|| format!("no volume {name}"))?;
    let end = root.end(size / group.extent);
    let behind: Vec<_> = swap_behind(layout, group, end);
    for (volume, _, _) in &behind {
        guest.remove_volume(&device(group, volume))?;
    }
    guest.resize_volume(layout.root(), size)?;
    for (volume, uuid, label) in &behind {
        let device = device(group, volume);
        guest.create_volume(&device, volume.extents() * group.extent)?;
        guest.make_swap(&device, uuid, label)?;
    }
    let group = Group::parse(&guest.group_metadata(&group.name)?)?;
    let length = group.data_start + group.end() * group.extent;
    guest.resize_physical(&format!("{DISK}{partition}"), length)?;
    guest.deactivate_groups()?;
    cut(guest, layout, partition, length).map(Some)
}

fn device(group: &Group, volume: &LogicalVolume) -> String {
    format!("/dev/{}/{}", group.name, volume.name)
}

/// The swap volumes that lie behind extent `end`, with their UUIDs and labels: they can move, being empty.
fn swap_behind<'a>(layout: &Layout, group: &'a Group, end: u64) -> Vec<(&'a LogicalVolume, String, String)> {
    let swap = |volume: &'a LogicalVolume| {
        let device = device(group, volume);
        let found = layout.volumes.iter().find(|other| other.device == device && other.holds(Kind::Swap))?;
        let content = found.content.as_ref()?;
        (volume.end(u64::MAX) > end).then(|| (volume, content.uuid.clone(), content.label.clone()))
    };
    group.volumes.iter().filter_map(swap).collect()
}

/// The figures of an ext filesystem's superblock that decide how small it can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Geometry {
    /// The filesystem's size in bytes.
    size: u64,
    /// The size of its inode tables, which shrinks with it.
    inode_tables: u64,
}

impl Geometry {
    /// Reads a device's first bytes. Reference: the kernel's Documentation/filesystems/ext4/super.rst.
    fn parse(head: &[u8]) -> Option<Self> {
        let number = |offset: usize| -> Option<u64> {
            let bytes = head.get(1024 + offset..)?.first_chunk::<4>()?;
            Some(u32::from_le_bytes(*bytes).into())
        };
        let has_64bit = number(0x60)? & 0x80 != 0;
        let blocks = number(0x4)? | if has_64bit { number(0x150)? << 32 } else { 0 };
        let block = 1024_u64.checked_shl(u32::try_from(number(0x18)?).ok()?).filter(|block| *block <= 1 << 16)?;
        let inode = number(0x58)? & 0xffff;
        Some(Self { size: blocks.checked_mul(block)?, inode_tables: number(0)?.checked_mul(inode)? })
    }

    /// The size in bytes that leaves 5 % of what is in use, and [`ROOM`], free.
    fn wanted(self, usage: Usage) -> u64 {
        // The filesystem does not count its own structures as used: the journal and the like, which stay, and the
        // inode tables, which are a fixed share of any size.
        let fixed = self.size.saturating_sub(usage.size).saturating_sub(self.inode_tables);
        let wanted = u128::from(usage.used + usage.used / 20 + fixed + ROOM);
        let scaled = wanted * u128::from(self.size) / u128::from(self.size.saturating_sub(self.inode_tables).max(1));
        u64::try_from(scaled).unwrap_or(u64::MAX)
    }
}
