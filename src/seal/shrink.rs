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
        geometry::Geometry,
        lvm::{Group, LogicalVolume},
        probe::Kind,
    },
};

const MIB: u64 = 1 << 20;
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

/// A [`Place`] that can be shrunk, with what LVM says about it.
enum Base {
    Disk,
    Partition(u32),
    Volume { partition: u32, group: Group, name: String },
}

/// Makes the root filesystem small and moves the end of the disk behind it. Unmounts the guest.
///
/// # Errors
/// A broken disk. A layout that cannot be shrunk is no error: see [`Shrunk::Kept`].
pub fn shrink(guest: &dyn Disks, layout: &Layout, progress: &dyn Progress) -> Result<Shrunk> {
    let usage = guest.usage("/")?;
    let base = base(guest, layout)?;
    progress.update("trim", Some(0));
    // Where unused blocks are not zeroed below, they are given back, as far as whole clusters go.
    trim(guest, layout, base.is_err())?;
    guest.unmount_all()?;
    refresh_swap(guest, layout)?;
    let shrunk = match base {
        Err(reason) => return Ok(Shrunk::Kept { size: layout.disk_size, reason }),
        Ok(Base::Disk) => resize(guest, layout, usage, MIB, progress)?,
        Ok(Base::Partition(number)) => match resize(guest, layout, usage, MIB, progress)? {
            Some(size) => Some(cut(guest, layout, number, size)?),
            None => None,
        },
        Ok(Base::Volume { partition, group, name }) => shrink_volume(guest, layout, usage, (&group, &name), partition, progress)?,
    };
    let nothing = || Shrunk::Kept { size: layout.disk_size, reason: "the content fills the disk".to_owned() };
    Ok(shrunk.filter(|size| *size < layout.disk_size).map_or_else(nothing, Shrunk::To))
}

/// What the root stands on, with LVM asked; or why it has to stay as large as it is.
fn base(guest: &dyn Disks, layout: &Layout) -> Result<Result<Base, String>> {
    let (partition, group, name) = match place(layout) {
        Err(reason) => return Ok(Err(reason)),
        Ok(Place::Disk) => return Ok(Ok(Base::Disk)),
        Ok(Place::Partition(number)) => return Ok(Ok(Base::Partition(number))),
        Ok(Place::Volume { partition, group, name }) => (partition, group, name),
    };
    let text = guest.group_metadata(&group)?;
    let group = Group::parse(&text).with_context(|| format!("reading the metadata of volume group {group}"))?;
    if !group.is_plain() {
        return Ok(Err(format!("volume group {} is more than plain volumes on one disk", group.name)));
    }
    Ok(Ok(Base::Volume { partition, group, name }))
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
    let geometry = Geometry::read(guest, root)?.with_context(|| format!("reading the superblock of {root}"))?;
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
    (group, name): (&Group, &str),
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

#[cfg(test)]
mod tests;
