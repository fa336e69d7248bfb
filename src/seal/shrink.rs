//! Making a template's content small.
//!
//! Every filesystem that the guest mounts gets as small as its content allows, with room to work in: ext and btrfs by
//! resizing, XFS, which cannot shrink, by making it anew. What they stand on follows: logical volumes move together and their
//! physical volume is cut; partitions move together, in their order, and the disk ends behind the last one.
//!
//! ```text
//! usage → unmount → fit each filesystem → close the group's gaps → plan (pure) → move the bytes → write the table
//! ```
//!
//! A new XFS is made on the disk itself, behind the guest's own end: the overlay on a build disk is larger than that disk, see
//! [`overlay_size`]. So there is one file to clean up after a killed run, and it is the one that there is anyway.

mod fit;
mod group;
mod plan;
mod xfs;

use anyhow::{Context as _, Result};

use crate::{
    core::progress::Progress,
    host::guest::{Blocks, DISK, Disks, Stretch, Usage},
    seal::{Layout, layout::Volume, lvm::Group, partition::Table, probe::Kind},
};
use fit::{Fit, Scratch, fit};
use plan::{Chunk, Part};

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

/// The virtual size in bytes of an overlay in which a disk of `disk_size` bytes can be shrunk, whatever it holds: the disk, and
/// as much again behind it. Nothing of it takes room before it is written to.
pub fn overlay_size(disk_size: u64) -> u64 {
    2 * disk_size.next_multiple_of(MIB)
}

/// A volume group on one partition, of plain volumes.
struct Plain {
    partition: u32,
    group: Group,
}

/// A filesystem that is another one now: its device, and what became of it.
type Fitted = (String, Fit);

/// Gives unused blocks back, and changes no size. Unmounts the guest.
///
/// # Errors
/// A broken disk.
pub fn keep(guest: &dyn Disks, layout: &Layout, reason: &str) -> Result<Shrunk> {
    trim(guest, layout)?;
    guest.unmount_all()?;
    refresh_swap(guest, layout)?;
    zero(guest, layout)?;
    Ok(Shrunk::Kept { size: layout.disk_size, reason: reason.to_owned() })
}

/// Makes the guest's filesystems small and moves everything together. Unmounts the guest.
///
/// # Errors
/// A broken disk, or the appliance has no programs for one of the filesystems. A layout that cannot be shrunk is no error: see
/// [`Shrunk::Kept`].
pub fn shrink(guest: &dyn Blocks, layout: &Layout, progress: &dyn Progress) -> Result<Shrunk> {
    // Known before anything is cut: it must not turn out when the volumes stand elsewhere in LVM's description already.
    if layout.table.as_ref().is_some_and(|table| plan::arrange(&mut parts(layout, table, &[], None)).is_none()) {
        return keep(guest, layout, "partitions overlap");
    }
    progress.update("trim", Some(0));
    let usages = usages(guest, layout)?;
    trim(guest, layout)?;
    guest.unmount_all()?;
    refresh_swap(guest, layout)?;
    let mut reasons = Vec::new();
    let plain = plain_group(guest, layout, &mut reasons)?;
    let mut fitted = Vec::new();
    let mut scratch = Scratch { next: layout.disk_size.next_multiple_of(MIB), end: guest.device_size(DISK)? };
    for (done, (volume, mount_point, usage)) in usages.iter().enumerate() {
        progress.update(&format!("resize {mount_point}"), u8::try_from(10 + 60 * done / usages.len()).ok());
        let unit = match unit(layout, volume, plain.as_ref()) {
            Ok(unit) => unit,
            Err(reason) => {
                reasons.push(format!("{mount_point} keeps its size: {reason}"));
                continue;
            }
        };
        match fit(guest, volume, (mount_point, *usage), unit, &mut scratch)? {
            Fit::Kept(_) if volume.holds(Kind::Fat) => {}
            Fit::Kept(reason) => reasons.push(format!("{mount_point} keeps its size: {reason}")),
            other => fitted.push((volume.device.clone(), other)),
        }
    }
    progress.update("zero", Some(70));
    zero(guest, layout)?;
    progress.update("move", Some(80));
    let size = match &layout.table {
        None => whole_disk(guest, layout, &fitted)?,
        Some(table) => {
            let pieces = plain.map(|plain| close_gaps(guest, table, &fitted, plain)).transpose()?;
            if layout.physical().next().is_some() {
                guest.deactivate_groups()?;
            }
            let mut parts = parts(layout, table, &fitted, pieces);
            together(guest, layout, table, &mut parts, &mut reasons)?
        }
    };
    if size < layout.disk_size {
        reasons.iter().for_each(|reason| progress.note(reason));
        return Ok(Shrunk::To(size));
    }
    let reason = if reasons.is_empty() { "the content fills the disk".to_owned() } else { reasons.join("; ") };
    Ok(Shrunk::Kept { size: layout.disk_size, reason })
}

/// Each volume with a mounted filesystem, once, with the first place where it is mounted.
fn usages<'a>(guest: &dyn Disks, layout: &'a Layout) -> Result<Vec<(&'a Volume, &'a str, Usage)>> {
    let mut usages: Vec<(&Volume, &str, Usage)> = Vec::new();
    for mount in &layout.mounts {
        let volume = layout.volumes.iter().find(|volume| volume.device == mount.device);
        let known = usages.iter().any(|(volume, _, _)| volume.device == mount.device);
        if let Some(volume) = volume.filter(|_| !known) {
            usages.push((volume, &mount.mount_point, guest.usage(&mount.mount_point)?));
        }
    }
    Ok(usages)
}

fn trim(guest: &dyn Disks, layout: &Layout) -> Result<()> {
    let mut trimmed: Vec<&str> = Vec::new();
    for mount in &layout.mounts {
        let volume = layout.volumes.iter().find(|volume| volume.device == mount.device);
        // Unused blocks of ext are zeroed instead, to the last.
        let wanted = volume.is_some_and(|volume| volume.holds(Kind::Xfs) || volume.holds(Kind::Btrfs));
        if wanted && !trimmed.contains(&mount.device.as_str()) {
            guest.trim(&mount.mount_point)?;
            trimmed.push(&mount.device);
        }
    }
    Ok(())
}

fn zero(guest: &dyn Disks, layout: &Layout) -> Result<()> {
    let ext = layout.volumes.iter().filter(|volume| volume.holds(Kind::Ext));
    let mounted = ext.filter(|volume| layout.mounts.iter().any(|mount| mount.device == volume.device));
    mounted.map(|volume| &volume.device).try_for_each(|device| guest.zero_free_ext(device))
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

/// The one group, if its volumes can be shrunk and moved.
fn plain_group(guest: &dyn Disks, layout: &Layout, reasons: &mut Vec<String>) -> Result<Option<Plain>> {
    let physical: Vec<_> = layout.physical().collect();
    let [volume] = physical[..] else {
        if !physical.is_empty() {
            reasons.push("there is more than one physical volume".to_owned());
        }
        return Ok(None);
    };
    let name = layout.volumes.iter().find_map(|volume| names(&volume.device)).map(|(group, _)| group);
    let (Some(partition), Some(name)) = (volume.partition, name) else {
        return Ok(None);
    };
    let group = Group::parse(&guest.group_metadata(name)?).with_context(|| format!("reading the metadata of group {name}"))?;
    if !group.is_plain() || group::packed(&group).is_err() {
        reasons.push(format!("volume group {name} is more than plain volumes on one disk"));
        return Ok(None);
    }
    Ok(Some(Plain { partition, group }))
}

/// Group and name of a logical volume's device.
fn names(device: &str) -> Option<(&str, &str)> {
    device.strip_prefix("/dev/")?.split_once('/')
}

/// In what steps a volume's size goes; or why its size has to stay.
fn unit(layout: &Layout, volume: &Volume, plain: Option<&Plain>) -> Result<u64, String> {
    let Some(table) = &layout.table else {
        return Ok(MIB);
    };
    let (partition, unit) = match (volume.partition, plain) {
        (Some(partition), _) => (partition, MIB),
        (None, Some(plain)) => (plain.partition, plain.group.extent.max(MIB)),
        (None, None) => return Err("its volume group is no plain one".to_owned()),
    };
    if !table.can_move() && !table.behind(partition).is_empty() {
        return Err(format!("partition {partition} has others behind it, and some are logical ones"));
    }
    Ok(unit)
}

fn find<'a>(fitted: &'a [Fitted], device: &str) -> Option<&'a Fit> {
    fitted.iter().find(|(other, _)| other == device).map(|(_, fit)| fit)
}

fn whole_disk(guest: &dyn Blocks, layout: &Layout, fitted: &[Fitted]) -> Result<u64> {
    Ok(match find(fitted, DISK) {
        Some(Fit::Smaller(size)) => *size,
        Some(Fit::Anew { start, size }) => {
            guest.relocate(&[Stretch { from: Some(*start), to: 0, length: *size }])?;
            *size
        }
        Some(Fit::Kept(_)) | None => layout.disk_size,
    })
}

/// Cuts the group's volumes to their filesystems, closes the gaps between them in LVM's description, and ends the physical
/// volume behind the last one. Where the bytes are that belong there: partition, length, chunks.
fn close_gaps(guest: &dyn Blocks, table: &Table, fitted: &[Fitted], plain: Plain) -> Result<(u32, u64, Vec<Chunk>)> {
    let name = plain.group.name;
    let mut anew = Vec::new();
    for (device, fit) in fitted {
        let Some((_, volume)) = names(device) else { continue };
        match fit {
            Fit::Smaller(size) => guest.resize_volume(device, *size)?,
            Fit::Anew { start, size } => {
                guest.resize_volume(device, *size)?;
                anew.push((volume, *start));
            }
            Fit::Kept(_) => {}
        }
    }
    let text = guest.group_metadata(&name)?;
    let group = Group::parse(&text)?;
    let pieces = group::packed(&group)?;
    if pieces.iter().any(|piece| piece.from != piece.to) {
        guest.restore_group(&name, &group::described(&text, &pieces)?)?;
    }
    let partition = table.partitions.iter().find(|partition| partition.number == plain.partition);
    let partition = partition.with_context(|| format!("there is no partition {}", plain.partition))?;
    let end = pieces.last().map_or(0, |piece| piece.to + piece.count);
    let length = (group.data_start + end * group.extent).min(partition.length);
    if length < partition.length {
        guest.resize_physical(&format!("{DISK}{}", partition.number), length)?;
    }
    let mut chunks = vec![Chunk { at: 0, from: partition.start, length: group.data_start }];
    chunks.extend(pieces.iter().map(|piece| {
        let scratch = anew.iter().find(|(volume, _)| *volume == piece.volume).map(|(_, start)| *start);
        let old = partition.start + group.data_start + piece.from * group.extent;
        let from = scratch.map_or(old, |start| start + piece.logical * group.extent);
        Chunk { at: group.data_start + piece.to * group.extent, from, length: piece.count * group.extent }
    }));
    Ok((partition.number, length, chunks))
}

/// All partitions, and what becomes of each.
fn parts(layout: &Layout, table: &Table, fitted: &[Fitted], pieces: Option<(u32, u64, Vec<Chunk>)>) -> Vec<Part> {
    let part = |partition: &crate::seal::partition::Partition| {
        let (number, start, length) = (partition.number, partition.start, partition.length);
        let volume = layout.volumes.iter().find(|volume| volume.partition == Some(number));
        let fit = volume.and_then(|volume| find(fitted, &volume.device));
        let (mut wanted, from) = match fit {
            Some(Fit::Smaller(size)) => (*size, start),
            Some(Fit::Anew { start, size }) => (*size, *start),
            Some(Fit::Kept(_)) | None => (length, start),
        };
        wanted = wanted.min(length);
        let mut chunks = vec![Chunk { at: 0, from, length: wanted }];
        if let Some((_, length, moved)) = pieces.as_ref().filter(|(physical, _, _)| *physical == number) {
            (wanted, chunks) = (*length, moved.clone());
        }
        // What nobody knows can hang on its place: GRUB's own partition is found by the sector that the boot code names.
        let known = volume.is_some_and(|volume| volume.content.is_some());
        Part { number, start, length, wanted, fixed: !known || !table.can_move(), chunks }
    };
    table.partitions.iter().map(part).collect()
}

/// Moves partitions together and writes their table; the size of the disk then.
fn together(guest: &dyn Blocks, layout: &Layout, table: &Table, parts: &mut [Part], reasons: &mut Vec<String>) -> Result<u64> {
    let Some((places, stretches)) = plan::arrange(parts) else {
        reasons.push("partitions overlap".to_owned());
        return Ok(layout.disk_size);
    };
    let read = |offset, length| guest.read_device(DISK, offset, length);
    let rewrite = table.arrange(&places, layout.disk_size, &read).context("rewriting the partition table")?;
    let inside =
        |stretch: &Stretch| Stretch { length: stretch.length.min(layout.disk_size.saturating_sub(stretch.to)), ..*stretch };
    let stretches: Vec<_> = stretches.iter().map(inside).filter(|stretch| stretch.length > 0).collect();
    if !stretches.is_empty() {
        guest.relocate(&stretches)?;
    }
    rewrite.writes.iter().try_for_each(|(offset, bytes)| guest.write_device(DISK, *offset, bytes))?;
    Ok(rewrite.disk_size)
}

#[cfg(test)]
mod tests;
