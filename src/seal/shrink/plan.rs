//! Where everything on the disk goes: partitions stand one behind the other again, as before, only closer.

use crate::{host::guest::Stretch, seal::partition::Place};

const MIB: u64 = 1 << 20;

/// A piece of a partition's content that stays together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunk {
    /// Its first byte within the partition, as it will be.
    pub(super) at: u64,
    /// Where it is now, on the disk.
    pub(super) from: u64,
    /// Its length in bytes.
    pub(super) length: u64,
}

/// A partition and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// Its number.
    pub(super) number: u32,
    /// Its first byte now.
    pub(super) start: u64,
    /// Its length now.
    pub(super) length: u64,
    /// The length that it gets; never more.
    pub(super) wanted: u64,
    /// Whether it has to stay where it is.
    pub(super) fixed: bool,
    /// Its content, in ascending order.
    pub(super) chunks: Vec<Chunk>,
}

/// Where partitions go, and what has to be moved for it, in ascending order. None if partitions overlap: then none may move.
pub(super) fn arrange(parts: &mut [Part]) -> Option<(Vec<Place>, Vec<Stretch>)> {
    parts.sort_by_key(|part| part.start);
    if parts.windows(2).any(|pair| pair[0].start + pair[0].length > pair[1].start) {
        return None;
    }
    let mut places: Vec<Place> = Vec::new();
    for part in parts.iter() {
        let behind = places.last().map(|place| place.end().next_multiple_of(MIB));
        let start = behind.filter(|_| !part.fixed).map_or(part.start, |behind| behind.min(part.start));
        places.push(Place { number: part.number, start, length: part.wanted });
    }
    let mut stretches = Vec::new();
    for (index, (part, place)) in parts.iter().zip(&places).enumerate() {
        for chunk in &part.chunks {
            let to = place.start + chunk.at;
            if chunk.from != to {
                stretches.push(Stretch { from: Some(chunk.from), to, length: chunk.length });
            }
        }
        // What is left between partitions was in one, and could be anything. Behind the last one a disk is rounded up to a
        // MiB, and a GPT's second copy takes less than another.
        let content = part.chunks.last().map_or(place.end(), |chunk| place.start + chunk.at + chunk.length);
        let next = places.get(index + 1).map_or(place.end() + 2 * MIB, |next| next.start);
        stretches.extend(zeros(parts, content, next));
    }
    Some((places, stretches))
}

/// The parts of a gap that were in a partition.
fn zeros(parts: &[Part], from: u64, to: u64) -> Vec<Stretch> {
    let inside = |part: &Part| {
        let (start, end) = (part.start.max(from), (part.start + part.length).min(to));
        (start < end).then(|| Stretch { from: None, to: start, length: end - start })
    };
    parts.iter().filter_map(inside).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(number: u32, start: u64, length: u64, wanted: u64) -> Part {
        let (start, length, wanted) = (start * MIB, length * MIB, wanted * MIB);
        let chunks = vec![Chunk { at: 0, from: start, length: wanted }];
        Part { number, start, length, wanted, fixed: false, chunks }
    }

    type InMib = (Vec<(u32, u64, u64)>, Vec<(Option<u64>, u64, u64)>);

    fn in_mib(arranged: Option<(Vec<Place>, Vec<Stretch>)>) -> InMib {
        let (places, stretches) = arranged.unwrap();
        (
            places.iter().map(|place| (place.number, place.start / MIB, place.length / MIB)).collect(),
            stretches.iter().map(|one| (one.from.map(|from| from / MIB), one.to / MIB, one.length / MIB)).collect(),
        )
    }

    #[test]
    fn what_is_behind_a_smaller_partition_follows() {
        // Ubuntu's cloud image: the first number stands last.
        let mut parts = [part(1, 200, 800, 300), part(14, 1, 4, 4), part(15, 5, 95, 95), part(16, 100, 100, 50)];
        let (places, stretches) = in_mib(arrange(&mut parts));
        assert_eq!(places, [(14, 1, 4), (15, 5, 95), (16, 100, 50), (1, 150, 300)]);
        assert_eq!(stretches, [(Some(200), 150, 300), (None, 450, 2)]);
    }

    #[test]
    fn what_is_fixed_stays_and_the_gap_before_it_is_emptied() {
        let mut parts = [part(1, 1, 100, 40), part(2, 101, 1, 1), part(3, 102, 100, 100)];
        parts[1].fixed = true;
        let (places, stretches) = in_mib(arrange(&mut parts));
        assert_eq!(places, [(1, 1, 40), (2, 101, 1), (3, 102, 100)]);
        assert_eq!(stretches, [(None, 41, 60)]);
    }

    #[test]
    fn content_that_is_elsewhere_is_fetched() {
        let mut parts = [part(1, 1, 100, 40)];
        parts[0].chunks = vec![
            Chunk { at: 0, from: MIB, length: MIB },
            Chunk { at: MIB, from: 500 * MIB, length: 30 * MIB },
            Chunk { at: 31 * MIB, from: 50 * MIB, length: 8 * MIB },
        ];
        let (_, stretches) = in_mib(arrange(&mut parts));
        assert_eq!(stretches, [(Some(500), 2, 30), (Some(50), 32, 8), (None, 40, 3)]);
    }

    #[test]
    fn overlapping_partitions_do_not_move() {
        assert_eq!(arrange(&mut [part(1, 1, 100, 40), part(2, 50, 100, 100)]), None);
    }
}
