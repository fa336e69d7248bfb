//! The root filesystem of a clone whose disk is larger than its template: without cloud-init nobody grows it from inside.

use anyhow::Result;

use crate::{
    host::guest::{DISK, Guest},
    seal::Layout,
};

const MIB: u64 = 1 << 20;
/// Less is not worth the work: alignment and a GPT's second copy leave as much behind the last partition.
const GAIN: u64 = 8 * MIB;

/// What has to grow, from the outside in, before the filesystem can.
#[derive(Debug, PartialEq, Eq)]
enum Below {
    /// Nothing: the filesystem fills the whole disk.
    Nothing,
    /// A partition.
    Partition(u32),
    /// A partition, with the physical volume on it of the group that the root is in.
    Physical(u32),
}

/// Makes the mounted guest's root as large as its disk allows, and mounts the guest again.
///
/// # Errors
/// A broken disk. A layout that cannot grow is no error: then the reason is given back.
pub(super) fn grow(guest: &dyn Guest, layout: &Layout) -> Result<Result<(), String>> {
    let Some(root) = layout.mounts.first() else {
        return Ok(Ok(()));
    };
    if !has_room(guest, layout)? {
        return Ok(Ok(()));
    }
    let below = match below(layout) {
        Ok(below) => below,
        Err(reason) => return Ok(Err(reason)),
    };
    guest.unmount_all()?;
    match below {
        Below::Nothing => {}
        Below::Partition(number) => guest.grow_partition(number)?,
        Below::Physical(number) => {
            guest.deactivate_groups()?;
            guest.grow_partition(number)?;
            guest.grow_volume(&format!("{DISK}{number}"), &root.device)?;
        }
    }
    let grown = guest.grow_filesystem(root)?;
    layout.mounts.iter().try_for_each(|mount| guest.mount(mount))?;
    Ok(if grown { Ok(()) } else { Err("its filesystem is none that the appliance can grow".to_owned()) })
}

/// Whether there is room on the disk behind what is in use.
fn has_room(guest: &dyn Guest, layout: &Layout) -> Result<bool> {
    let Some(table) = &layout.table else {
        // A filesystem does not count its own structures as its size: an eighth is more than they are.
        let size = guest.usage("/")?.size;
        return Ok(size + size / 8 + GAIN < layout.disk_size);
    };
    let end = table.partitions.iter().map(|partition| partition.start + partition.length).max().unwrap_or(0);
    Ok(end + GAIN < layout.disk_size)
}

/// What the root stands on, or why that cannot grow.
fn below(layout: &Layout) -> Result<Below, String> {
    let Some(table) = &layout.table else {
        return Ok(Below::Nothing);
    };
    let root = layout.volumes.iter().find(|volume| volume.device == layout.root()).ok_or("it has no volume")?;
    let (number, below) = match root.partition {
        Some(number) => (number, Below::Partition(number)),
        None => {
            let mut physical = layout.physical();
            let (Some(volume), None) = (physical.next(), physical.next()) else {
                return Err("there is more than one physical volume".to_owned());
            };
            let number = volume.partition.ok_or("its physical volume is no partition")?;
            (number, Below::Physical(number))
        }
    };
    if let Some(behind) = table.behind(number).first() {
        return Err(format!("partition {behind} lies behind partition {number}"));
    }
    if table.is_logical(number) {
        return Err(format!("partition {number} is a logical one"));
    }
    Ok(below)
}
