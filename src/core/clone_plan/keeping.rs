//! How a clone's disks are kept: what the pool that they come into makes of what is asked for.

use anyhow::Result;

use super::{Facts, Origin, size};
use crate::core::{
    error::{Invalid, Refusal},
    facts::{PoolKind, PoolSize, VolumeFormat},
    lvm,
    manifest::Purpose,
    units::ByteSize,
    vm_spec::VmSpec,
    xml::clone::DiskLocation,
};

/// The least room that a classic snapshot gets where nobody says how much: a first boot fits.
const LEAST_ROOM: ByteSize = ByteSize::mib(1024);
/// Else this part of its disk, in percent.
const ROOM_PERCENT: u64 = 20;

/// A clone's system disk, and how its pool keeps volumes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keeping {
    /// How the pool keeps its volumes.
    pub kind: PoolKind,
    /// What the pool rounds sizes up to.
    pub extent: ByteSize,
    /// A disk that stands on the template's volume, or a whole copy.
    pub linked: bool,
    /// The disk's virtual size.
    pub disk: ByteSize,
    /// The room for what comes to differ from the template, if that is set aside from the start.
    pub room: Option<ByteSize>,
    /// What is copied at once.
    pub copied: ByteSize,
}

impl Keeping {
    /// The disk that a clone gets.
    ///
    /// # Errors
    /// [`Invalid`] for what this kind of pool never has, [`Refusal`] for a disk that does not go with the template's.
    pub(super) fn of(spec: &VmSpec, origin: &Origin, purpose: Purpose, facts: &Facts) -> Result<Self> {
        let pool = &facts.pool;
        let (kind, extent) = (pool.kind, pool.extent);
        // A boot test is thrown away: nothing is copied for it anywhere.
        let linked = spec.full.map_or(kind != PoolKind::Thick || purpose == Purpose::BootTest, |full| !full);
        if spec.snapshot.is_some() && kind.is_logical() {
            let message = "snapshot: libvirt makes snapshots of qcow2 disks, and a logical pool has none: leave it out";
            return Err(Invalid::argument(message).into());
        }
        let wanted = size::disk(spec, origin)?;
        if let (Some(group), Some(thin), true) = (pool.group(), &pool.beside.thin_pool, pool.beside.shows_old_data) {
            return Err(lvm::shows_old_data(group, thin).into());
        }
        let own = facts.volumes.iter().find(|volume| volume.name == origin.volume);
        if kind.is_logical() && linked && own.is_none() {
            return Err(not_beside(origin, pool).into());
        }
        if kind == PoolKind::Thick && linked {
            let disk = pool.rounded(own.map_or(origin.virtual_size, |volume| volume.capacity));
            if spec.disk.is_some() && wanted > disk {
                return Err(classic_cannot_grow(origin, wanted, disk).into());
            }
            return Ok(Self { kind, extent, linked, disk, room: Some(room(spec, disk, pool)?), copied: ByteSize(0) });
        }
        if spec.snapshot_size.is_some() {
            let message = "snapshot size: that is the room of a linked clone in a volume group without a thin pool, and this is none: \
                           leave it out";
            return Err(Invalid::argument(message).into());
        }
        let copied = if linked { ByteSize(0) } else { own.map_or(origin.virtual_size, |volume| volume.allocation) };
        Ok(Self { kind, extent, linked, disk: pool.rounded(wanted), room: None, copied })
    }

    /// The format of the clone's own disks.
    pub fn format(&self) -> VolumeFormat {
        if self.kind.is_logical() { VolumeFormat::Raw } else { VolumeFormat::Qcow2 }
    }

    /// Where a volume's bytes are, in the words of a domain.
    pub fn location(&self, path: String) -> DiskLocation {
        DiskLocation::in_pool(self.kind, path)
    }

    /// What a volume of so many bytes takes of the pool.
    pub(super) fn rounded(&self, size: ByteSize) -> ByteSize {
        size.round_up(self.extent.0.max(1))
    }

    /// How it is made, for people.
    pub(super) fn describe(&self) -> String {
        match (self.linked, self.room) {
            (true, Some(room)) => format!("linked clone (a snapshot with room for {room} of changes)"),
            (true, None) => "linked clone".to_owned(),
            (false, _) => "full clone".to_owned(),
        }
    }
}

/// The room of a classic snapshot: never more than what can come to differ needs.
fn room(spec: &VmSpec, disk: ByteSize, pool: &PoolSize) -> Result<ByteSize, Invalid> {
    let usual = ByteSize(disk.0.saturating_mul(ROOM_PERCENT) / 100).max(LEAST_ROOM);
    match spec.snapshot_size {
        Some(ByteSize(0)) => Err(Invalid::argument("a snapshot without room is lost at the first write: name a size for it")),
        wanted => Ok(pool.rounded(wanted.unwrap_or(usual)).min(pool.rounded(lvm::most_room(disk)))),
    }
}

fn not_beside(origin: &Origin, pool: &PoolSize) -> Refusal {
    let group = pool.group().unwrap_or_default();
    let place = match &pool.beside.thin_pool {
        Some(thin) => format!("thin pool {group}/{thin}"),
        None => format!("volume group {group}, outside its thin pools"),
    };
    let Origin { id, volume, .. } = origin;
    Refusal::new(format!("a linked clone of {id} stands on its volume {volume}, and that is not in {place}"))
        .advise("ask for a full clone, or say with `--pool` or `thin_pool` where the template is")
}

fn classic_cannot_grow(origin: &Origin, wanted: ByteSize, disk: ByteSize) -> Refusal {
    let id = &origin.id;
    Refusal::new(format!(
        "a linked clone of {id} is a classic LVM snapshot here, which is as large as the template, {disk}, and cannot have {wanted}"
    ))
    .advise("ask for a full clone, or leave the size of the disk out")
}

/// That a pool can hold volumes of these names.
///
/// # Errors
/// [`Invalid`] with every name that LVM or device-mapper cannot hold.
pub fn check_names<'n>(pool: &PoolSize, names: impl IntoIterator<Item = &'n str>) -> Result<(), Invalid> {
    let Some(group) = pool.group() else { return Ok(()) };
    let faults: Vec<String> = names.into_iter().filter_map(|name| lvm::check_volume_name(group, name).err()).collect();
    if faults.is_empty() { Ok(()) } else { Err(Invalid::argument(faults.join("\n"))) }
}
