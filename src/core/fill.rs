//! How full is what must never become full: a thin pool takes all of its volumes down, a classic snapshot itself.

use super::facts::{PoolKind, PoolSize, Room, Volume};
use super::units::ByteSize;

/// From here on, in percent, somebody should be told.
const FULL: u64 = 80;

/// One thing that fills up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fill {
    /// What it is.
    pub what: String,
    /// How full, and what makes it larger where that is needed.
    pub detail: String,
    /// Whether somebody should do something.
    pub is_full: bool,
}

/// How much of something is taken, in whole percent.
pub fn percent(used: ByteSize, size: ByteSize) -> u64 {
    let part = u128::from(used.0) * 100 / u128::from(size.0.max(1));
    u64::try_from(part).unwrap_or(u64::MAX)
}

impl Room {
    /// The fill level for people.
    pub fn describe(&self) -> String {
        if self.lost { "snapshot LOST".to_owned() } else { format!("snapshot {} % full", percent(self.used, self.size)) }
    }
}

/// What can become full in a pool: its thin pool's data and metadata, and each classic snapshot that is or soon will be full.
pub fn fills(pool: &PoolSize, volumes: &[Volume]) -> Vec<Fill> {
    let group = pool.group().unwrap_or("GROUP");
    let thin_pool = pool.thin_pool().unwrap_or_else(|| "GROUP/THINPOOL".to_owned());
    let mut fills = Vec::new();
    if let PoolKind::Thin { metadata, metadata_used } = pool.kind {
        let used = ByteSize(pool.capacity.0.saturating_sub(pool.available.0));
        fills.push(thin("data", used, pool.capacity, &format!("lvextend --size +SIZE {thin_pool}")));
        let grow = format!("lvextend --poolmetadatasize +SIZE {thin_pool}");
        fills.push(thin("metadata", metadata_used, metadata, &grow));
    }
    let rooms = volumes.iter().filter_map(|volume| volume.room.map(|room| (&volume.name, room)));
    fills.extend(rooms.filter(|(_, room)| room.lost || percent(room.used, room.size) >= FULL).map(|(name, room)| Fill {
        what: format!("snapshot {name}"),
        detail: if room.lost {
            let lost = "was full, and is lost: nothing brings its bytes back";
            if room.own { format!("{lost}. `tpl destroy` removes the VM") } else { format!("{lost}. tpl has not made it") }
        } else {
            let (used, size, level) = (room.used, room.size, percent(room.used, room.size));
            let what = if room.own { "the VM's disk" } else { "it" };
            format!(
                "{level} % full, {used} of {size}: when it is full, {what} is lost. \
                 `lvextend --size +SIZE {group}/{name}` makes it larger"
            )
        },
        is_full: true,
    }));
    fills
}

fn thin(what: &str, used: ByteSize, size: ByteSize, grow: &str) -> Fill {
    let level = percent(used, size);
    let is_full = level >= FULL;
    let advice =
        if is_full { format!(": when it is full, all of its volumes fail. `{grow}` makes it larger") } else { String::new() };
    Fill { what: format!("thin {what}"), detail: format!("{level} % full, {used} of {size}{advice}"), is_full }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::facts::Beside;

    fn volume(name: &str, used: u64, lost: bool) -> Volume {
        let room = Some(Room { size: ByteSize::mib(100), used: ByteSize::mib(used), lost, own: name != "d" && name != "e" });
        let (capacity, allocation) = (ByteSize::mib(500), ByteSize::mib(100));
        Volume { name: name.to_owned(), path: String::new(), capacity, allocation, room }
    }

    fn pool(kind: PoolKind) -> PoolSize {
        let (capacity, available) = (ByteSize::mib(1000), ByteSize::mib(200));
        PoolSize {
            capacity,
            available,
            path: "/dev/vg0".to_owned(),
            kind,
            extent: ByteSize::mib(4),
            beside: Beside { thin_pool: Some("pool0".to_owned()), ..Beside::default() },
        }
    }

    #[test]
    fn what_is_nearly_full_is_told_with_what_to_do() {
        let volumes =
            [("a", 79), ("b", 80), ("c", 100), ("d", 80), ("e", 100)].map(|(name, used)| volume(name, used, used == 100));
        let said = |kind| {
            let fills = fills(&pool(kind), &volumes);
            fills.into_iter().map(|fill| format!("{}: {} {}", fill.what, fill.detail, fill.is_full)).collect::<Vec<_>>()
        };
        let snapshots = [
            "snapshot b: 80 % full, 80 MiB of 100 MiB: when it is full, the VM's disk is lost. `lvextend --size +SIZE vg0/b` makes it larger true",
            "snapshot c: was full, and is lost: nothing brings its bytes back. `tpl destroy` removes the VM true",
            "snapshot d: 80 % full, 80 MiB of 100 MiB: when it is full, it is lost. `lvextend --size +SIZE vg0/d` makes it larger true",
            "snapshot e: was full, and is lost: nothing brings its bytes back. tpl has not made it true",
        ];
        assert_eq!(said(PoolKind::Thick), snapshots);
        let thin = PoolKind::Thin { metadata: ByteSize::mib(100), metadata_used: ByteSize::mib(79) };
        assert_eq!(
            said(thin)[..2],
            [
                "thin data: 80 % full, 800 MiB of 1000 MiB: when it is full, all of its volumes fail. `lvextend --size +SIZE vg0/pool0` makes it larger true",
                "thin metadata: 79 % full, 79 MiB of 100 MiB false",
            ]
        );
        assert_eq!(volumes.map(|volume| volume.room.unwrap().describe())[1..3], ["snapshot 80 % full", "snapshot LOST"]);
        assert_eq!((percent(ByteSize(5), ByteSize(0)), percent(ByteSize(u64::MAX), ByteSize(1))), (500, u64::MAX));
    }
}
