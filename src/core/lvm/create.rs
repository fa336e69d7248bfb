//! How a logical volume is made: the arguments of `lvcreate`, and what must follow.

use super::{
    name::check_volume_name,
    report::{LogicalVolume, LvKind, TAG},
};
use crate::core::{
    facts::{NewVolume, VolumeFormat},
    units::ByteSize,
};

/// lvm2 wants sizes in whole sectors, and rounds them up to whole extents itself.
const SECTOR: u64 = 512;

/// What is done to make a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Making {
    /// The program and its arguments.
    pub lvcreate: Vec<String>,
    /// What the volume is grown to behind it, in bytes: a thin snapshot is as large as its origin at first.
    pub grow: Option<u64>,
    /// Whether it may hold what somebody else's volume held there before.
    pub dirty: bool,
}

/// How `volume` is made in a group with these volumes, in this thin pool if there is one. A raw volume that stands on another is a
/// snapshot of it.
///
/// # Errors
/// The name is one that lvm2 cannot hold, or is taken; or what it is to stand on cannot be stood on.
pub fn making(group: &str, thin: Option<&str>, all: &[LogicalVolume], volume: &NewVolume<'_>) -> Result<Making, String> {
    check_volume_name(group, volume.name)?;
    if all.iter().any(|there| there.name == volume.name) {
        return Err(format!("volume {} exists already in volume group {group}", volume.name));
    }
    let mut arguments: Vec<String> =
        ["lvcreate", "--yes", "--addtag", TAG, "--setactivationskip", "n"].map(str::to_owned).to_vec();
    arguments.extend(["--name".to_owned(), volume.name.to_owned()]);
    let bytes = |size: u64| format!("{}b", ByteSize(size).round_up(SECTOR).0);
    let origin = match volume.backing {
        Some((path, VolumeFormat::Raw)) if volume.format == VolumeFormat::Raw => Some(origin(group, all, path)?),
        _ => None,
    };
    let Some(origin) = origin else {
        let length = match volume.format {
            VolumeFormat::Raw => volume.capacity.0,
            VolumeFormat::Qcow2 => qcow2_length(volume.capacity).0,
        };
        // A volume has one extent at least.
        let size = bytes(length.max(1));
        match thin {
            Some(pool) => arguments.extend(["--thinpool", pool, "--virtualsize", &size, group].map(str::to_owned)),
            None => arguments.extend(["--wipesignatures", "y", "--zero", "y", "--size", &size, group].map(str::to_owned)),
        }
        return Ok(Making { lvcreate: arguments, grow: None, dirty: thin.is_none() && volume.format == VolumeFormat::Raw });
    };
    let path = format!("{group}/{}", origin.name);
    let cannot = |why: String| Err(format!("volume {} cannot be a snapshot of {}: {why}", volume.name, origin.name));
    arguments.push("--snapshot".to_owned());
    match (&origin.kind, thin) {
        (LvKind::Thin { pool, .. }, Some(thin)) if pool == thin => {
            arguments.push(path);
            let grow = (volume.capacity > origin.size).then_some(volume.capacity.round_up(SECTOR).0);
            Ok(Making { lvcreate: arguments, grow, dirty: false })
        }
        (LvKind::Thick, None) => {
            let Some(room) = volume.room else { return cannot("no room is set aside for what differs".to_owned()) };
            if volume.capacity > origin.size {
                return cannot(format!("that is {}, and a classic snapshot cannot be larger", origin.size));
            }
            arguments.extend(["--size".to_owned(), bytes(room.0.max(1)), path]);
            Ok(Making { lvcreate: arguments, grow: None, dirty: false })
        }
        (_, Some(thin)) => cannot(format!("that is no volume of the thin pool {thin}")),
        (_, None) => cannot("that does not have extents of its own".to_owned()),
    }
}

fn origin<'a>(group: &str, all: &'a [LogicalVolume], path: &str) -> Result<&'a LogicalVolume, String> {
    let name = path.strip_prefix("/dev/").and_then(|path| path.strip_prefix(group)).and_then(|path| path.strip_prefix('/'));
    let found = name.and_then(|name| all.iter().find(|volume| volume.name == name));
    found.ok_or_else(|| format!("{path} does not exist in volume group {group}"))
}

/// The most that a classic snapshot of a volume can come to need: all of its chunks, what says where each of them is, and a header.
/// With less a guest that writes to all of its disk loses it. lvm2 gives no snapshot more. Source: the kernel's
/// Documentation/admin-guide/device-mapper/snapshot.rst and dm-snap-persistent.c, with lvm2's default chunks of 4 KiB and entries of
/// 16 bytes; one chunk of entries more ends them.
pub fn most_room(capacity: ByteSize) -> ByteSize {
    const CHUNK: u64 = 4 << 10;
    let data = capacity.0.div_ceil(CHUNK);
    let entries = data / (CHUNK / 16) + 1;
    ByteSize(data.saturating_add(entries).saturating_add(1).saturating_mul(CHUNK))
}

/// The largest that a qcow2 image of this capacity can become, all of it written to: data, the tables that map it, the counts of
/// references; rounded up, so that none is a byte too short. Source: QEMU's docs/interop/qcow2.rst, with its default clusters of
/// 64 KiB, entries of 8 bytes and counts of 16 bits.
pub fn qcow2_length(capacity: ByteSize) -> ByteSize {
    const CLUSTER: u64 = 64 << 10;
    let data = capacity.0.div_ceil(CLUSTER);
    let second = data.div_ceil(CLUSTER / 8);
    let first = second.div_ceil(CLUSTER / 8);
    let mapped = data.saturating_add(second).saturating_add(first);
    // Counts count themselves: a table of blocks, each for 32,768 clusters, and a few clusters to spare.
    let blocks = mapped.div_ceil(CLUSTER / 2 - 1) + 1;
    let table = blocks.div_ceil(CLUSTER / 8) + 1;
    let spare = 16;
    ByteSize(mapped.saturating_add(blocks).saturating_add(table).saturating_add(spare).saturating_mul(CLUSTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lv(name: &str, kind: LvKind) -> LogicalVolume {
        LogicalVolume { name: name.to_owned(), size: ByteSize::mib(12), kind, own: true, read_only: true }
    }

    fn new(name: &str) -> NewVolume<'_> {
        let capacity = ByteSize(10_000_000);
        NewVolume { name, capacity, format: VolumeFormat::Raw, backing: None, room: None, protected: false }
    }

    fn all() -> Vec<LogicalVolume> {
        let thin = |pool: &str| LvKind::Thin { pool: pool.to_owned(), used: ByteSize(0) };
        let snapshot = LvKind::Snapshot { origin: "gold".to_owned(), capacity: ByteSize(1), used: ByteSize(0), lost: false };
        vec![lv("gold", LvKind::Thick), lv("snap", snapshot), lv("thin", thin("pool")), lv("other", thin("second"))]
    }

    fn made(thin: Option<&str>, volume: &NewVolume<'_>) -> Result<(String, Option<u64>, bool), String> {
        making("vg0", thin, &all(), volume).map(|making| (making.lvcreate.join(" "), making.grow, making.dirty))
    }

    const BEGIN: &str = "lvcreate --yes --addtag tpl --setactivationskip n --name web1";

    #[test]
    fn each_kind_of_volume_has_its_arguments() {
        let on = |path, format| NewVolume { backing: Some((path, format)), ..new("web1") };
        let qcow2 = |volume| NewVolume { format: VolumeFormat::Qcow2, ..volume };
        let raw = VolumeFormat::Raw;
        let room = NewVolume { room: Some(ByteSize(1000)), ..on("/dev/vg0/gold", raw) };
        let larger = NewVolume { capacity: ByteSize::mib(20), ..on("/dev/vg0/thin", raw) };
        let empty = NewVolume { capacity: ByteSize(0), ..new("web1") };
        let length = qcow2_length(ByteSize(10_000_000)).0;
        let table = [
            (None, new("web1"), "--wipesignatures y --zero y --size 10000384b vg0".to_owned(), None, true),
            (None, empty, "--wipesignatures y --zero y --size 512b vg0".to_owned(), None, true),
            (Some("pool"), new("web1"), "--thinpool pool --virtualsize 10000384b vg0".to_owned(), None, false),
            (None, qcow2(new("web1")), format!("--wipesignatures y --zero y --size {length}b vg0"), None, false),
            (Some("pool"), qcow2(on("/dev/vg0/x", raw)), format!("--thinpool pool --virtualsize {length}b vg0"), None, false),
            (None, room, "--snapshot --size 1024b vg0/gold".to_owned(), None, false),
            (Some("pool"), on("/dev/vg0/thin", raw), "--snapshot vg0/thin".to_owned(), None, false),
            (Some("pool"), larger, "--snapshot vg0/thin".to_owned(), Some(20 << 20), false),
        ];
        for (thin, volume, arguments, grow, dirty) in table {
            assert_eq!(made(thin, &volume), Ok((format!("{BEGIN} {arguments}"), grow, dirty)), "{volume:?}");
        }
    }

    #[test]
    fn a_snapshot_has_room_for_all_of_its_disk() {
        // Chunks of data, of what says where they are, the header.
        let table = [(0, 2), (1, 3), (255 << 12, 257), (256 << 12, 259), (1 << 20, 259), (1 << 30, 262_144 + 1025 + 1)];
        for (capacity, chunks) in table {
            assert_eq!(most_room(ByteSize(capacity)), ByteSize(chunks << 12), "{capacity}");
        }
        assert_eq!(most_room(ByteSize(u64::MAX)), ByteSize(u64::MAX));
    }

    #[test]
    fn a_full_qcow2_fits() {
        // What `qemu-img measure -O qcow2 --size` of QEMU 10.0 says of a fully allocated image.
        let table = [
            (0, 196_608),
            (1, 393_216),
            (10_000_000, 10_354_688),
            (1 << 30, 1_074_135_040),
            (1 << 40, 1_099_679_662_080),
            (64 << 40, 70_379_483_430_912),
        ];
        for (capacity, measured) in table {
            let length = qcow2_length(ByteSize(capacity)).0;
            assert!((measured..measured + (2 << 20)).contains(&length), "{capacity}: {length}");
        }
    }

    #[test]
    fn what_cannot_be_made_says_why() {
        let on = |path| NewVolume { backing: Some((path, VolumeFormat::Raw)), room: Some(ByteSize(512)), ..new("web1") };
        let cannot = |origin: &str, why: &str| format!("volume web1 cannot be a snapshot of {origin}: {why}");
        let table = [
            (None, new("gold"), "volume gold exists already in volume group vg0".to_owned()),
            (None, NewVolume { room: None, ..on("/dev/vg0/gold") }, cannot("gold", "no room is set aside for what differs")),
            (
                None,
                NewVolume { capacity: ByteSize::mib(13), ..on("/dev/vg0/gold") },
                cannot("gold", "that is 12 MiB, and a classic snapshot cannot be larger"),
            ),
            (None, on("/dev/vg0/snap"), cannot("snap", "that does not have extents of its own")),
            (None, on("/dev/vg0/thin"), cannot("thin", "that does not have extents of its own")),
            (Some("pool"), on("/dev/vg0/gold"), cannot("gold", "that is no volume of the thin pool pool")),
            (Some("pool"), on("/dev/vg0/other"), cannot("other", "that is no volume of the thin pool pool")),
            (None, on("/dev/vg0/none"), "/dev/vg0/none does not exist in volume group vg0".to_owned()),
            (None, on("/dev/vg00/gold"), "/dev/vg00/gold does not exist in volume group vg0".to_owned()),
        ];
        for (thin, volume, why) in table {
            assert_eq!(made(thin, &volume), Err(why));
        }
        assert!(made(None, &new("-x")).unwrap_err().starts_with("\"-x\" cannot be the name of a logical volume"));
    }
}
