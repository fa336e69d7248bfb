//! Making one filesystem as small as its content allows, with room to work in.

use anyhow::{Context as _, Result};

use super::xfs::Xfs;
use crate::{
    host::guest::{Blocks, Checker, Rebuild, Usage},
    seal::{
        geometry::{Geometry, ROOM},
        layout::Volume,
        probe::{HEAD, Kind},
    },
};

const MIB: u64 = 1 << 20;
/// Below that, btrfs does not go.
const BTRFS_SMALLEST: u64 = 256 * MIB;
/// A btrfs gets smaller by half of what is too much, and by half of that where there is no room for it; less is not worth it.
const BTRFS_STEP: u64 = 16 * MIB;
/// So often there may be no room.
const BTRFS_FAILURES: u32 = 5;

/// The part of the disk behind the guest's own end, where filesystems are made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scratch {
    /// Its first unused byte.
    pub(super) next: u64,
    /// The byte behind its last one.
    pub(super) end: u64,
}

/// What became of a filesystem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fit {
    /// It is so large now.
    Smaller(u64),
    /// A new one of that size is in the scratch, from `start` on the disk; the old one is as it was.
    Anew { start: u64, size: u64 },
    /// It keeps its size, for a reason.
    Kept(String),
}

/// What stays free in a filesystem of its own below the root: there can be several.
const ROOM_BELOW: u64 = 32 * MIB;

/// How much stays free besides 5 %. Nothing makes a clone's boot partition larger, and its next kernel has to go there.
fn room(mount_point: &str, usage: Usage) -> u64 {
    match mount_point {
        "/" => ROOM,
        "/boot" => usage.used.max(ROOM),
        _ => ROOM_BELOW,
    }
}

/// Makes the filesystem on an unmounted volume smaller, to a whole number of `unit` bytes.
pub(super) fn fit(
    guest: &dyn Blocks,
    volume: &Volume,
    (mount_point, usage): (&str, Usage),
    unit: u64,
    scratch: &mut Scratch,
) -> Result<Fit> {
    let room = room(mount_point, usage);
    match volume.content.as_ref().map(|content| content.kind) {
        Some(Kind::Ext) => fit_ext(guest, &volume.device, usage, room, unit),
        Some(Kind::Xfs) => fit_xfs(guest, &volume.device, room, unit, scratch),
        Some(Kind::Btrfs) => fit_btrfs(guest, &volume.device, room, unit),
        Some(Kind::Fat) => {
            // What it finds is in its log; a volume that is still broken is found by the proof.
            guest.check(&volume.device, Checker::FatRepair)?;
            Ok(Fit::Kept("it is a FAT".to_owned()))
        }
        _ => Ok(Fit::Kept("it is none that can shrink".to_owned())),
    }
}

fn full() -> Fit {
    Fit::Kept("its content fills it".to_owned())
}

fn fit_ext(guest: &dyn Blocks, device: &str, usage: Usage, room: u64, unit: u64) -> Result<Fit> {
    let geometry = Geometry::read(guest, device)?.with_context(|| format!("reading the superblock of {device}"))?;
    let size = geometry.wanted(usage, room).max(guest.minimum_ext(device)?).next_multiple_of(unit);
    if size >= geometry.size {
        return Ok(full());
    }
    guest.resize_ext(device, size)?;
    Ok(Fit::Smaller(size))
}

fn fit_xfs(guest: &dyn Blocks, device: &str, room: u64, unit: u64, scratch: &mut Scratch) -> Result<Fit> {
    let old = Xfs::parse(&guest.read_device(device, 0, HEAD)?).with_context(|| format!("reading the superblock of {device}"))?;
    if let Some(odd) = old.odd {
        return Ok(Fit::Kept(odd.to_owned()));
    }
    let program = old.program(&guest.xfs_options()?);
    let mut size = old.wanted(room).next_multiple_of(unit);
    let start = scratch.next;
    let head = loop {
        // Copying everything takes a while: not for a few MiB.
        if size + size / 16 >= old.size {
            return Ok(full());
        }
        if start + size > scratch.end {
            return Ok(Fit::Kept("an XFS cannot shrink, and there is no room to make it anew".to_owned()));
        }
        if let Some(head) = guest.rebuild(device, &Rebuild { start, size, program: program.clone() })? {
            break head;
        }
        size = (size + size / 8).next_multiple_of(unit);
    };
    let new = Xfs::parse(&head).context("reading the superblock of the new XFS")?;
    if new.exceeds(&old) {
        return Ok(Fit::Kept("the appliance's mkfs.xfs makes none that the guest's kernel is sure to know".to_owned()));
    }
    scratch.next = (start + size).next_multiple_of(MIB);
    Ok(Fit::Anew { start, size })
}

fn fit_btrfs(guest: &dyn Blocks, device: &str, room: u64, unit: u64) -> Result<Fit> {
    let head = guest.read_device(device, 0, HEAD)?;
    // Source: btrfs's on-disk format; the superblock is at 64 KiB.
    let number = |offset: usize| {
        let bytes = head.get((64 << 10) + offset..).and_then(|rest| rest.first_chunk::<8>());
        bytes.map(|bytes| u64::from_le_bytes(*bytes)).with_context(|| format!("reading the superblock of {device}"))
    };
    let (old, devices) = (number(0x70)?, number(0x88)?);
    if devices != 1 {
        return Ok(Fit::Kept(format!("it is on {devices} devices")));
    }
    let used = guest.cut_btrfs(device)?;
    // Trees grow by whole chunks, in two copies.
    let wanted = (used + used / 10 + 2 * room).max(BTRFS_SMALLEST).next_multiple_of(unit);
    let half = |size: u64| if size - wanted < 2 * BTRFS_STEP { size - wanted } else { (size - wanted) / 2 };
    let (mut size, mut failures) = (old, 0);
    let mut step = half(size.max(wanted));
    // In steps: a new chunk is a tenth of the filesystem, and so there is room for smaller ones the smaller it has become.
    while size > wanted && failures < BTRFS_FAILURES && (step >= BTRFS_STEP || size - step == wanted) {
        let next = (size - step).next_multiple_of(unit);
        if next >= size {
            break;
        }
        if guest.shrink_btrfs(device, next)? {
            size = next;
            step = half(size);
        } else {
            failures += 1;
            step /= 2;
        }
    }
    Ok(if size < old { Fit::Smaller(size) } else { full() })
}
