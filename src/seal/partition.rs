//! Partition tables, MBR and GPT: read, and written back with shorter partitions in other places. Everything else in them, the boot
//! code and the disk's signature above all, keeps its bytes; partitioning programs rewrite more than that.

mod rewrite;

use anyhow::{Result, bail, ensure};

use rewrite::gpt_header;

/// Bytes in a sector; libguestfs shows every disk with this size.
pub const SECTOR: u64 = 512;
const MIB: u64 = 1 << 20;

const MBR_ENTRIES: usize = 446;
const EXTENDED: [u8; 3] = [0x05, 0x0f, 0x85];
const PROTECTIVE: u8 = 0xee;
/// A chain of logical partitions is followed this far; a loop on a broken disk ends here.
const LOGICAL_LIMIT: u32 = 64;
/// The table of 128 entries of 128 bytes that everybody writes, four times.
const GPT_LIMIT: usize = 64 << 10;

/// A partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition {
    /// Its number, as in `/dev/sda1`.
    pub number: u32,
    /// Its first byte.
    pub start: u64,
    /// Its length in bytes.
    pub length: u64,
    /// How fstab's `PARTUUID=` names it.
    pub uuid: String,
    /// Where its entry stands on the disk (MBR, logical partitions too), or in the GPT's array.
    entry: u64,
}

/// A disk's partition table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    /// All partitions that hold something, in the order of the table. An extended partition is none of them.
    pub partitions: Vec<Partition>,
    scheme: Scheme,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Scheme {
    Mbr { extended: Option<Extended> },
    Gpt { header: Vec<u8>, entries: Vec<u8> },
}

/// An extended partition: its own entry and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Extended {
    entry: u64,
    start: u64,
    end: u64,
}

/// Where a partition is to stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Its number.
    pub number: u32,
    /// Its first byte.
    pub start: u64,
    /// Its length in bytes.
    pub length: u64,
}

impl Place {
    /// The byte behind its last one.
    pub fn end(&self) -> u64 {
        self.start + self.length
    }
}

/// What to write where, and how large the disk is then.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrite {
    /// Offsets on the disk and the bytes that go there, in this order.
    pub writes: Vec<(u64, Vec<u8>)>,
    /// The size of the disk in bytes, a whole number of MiB.
    pub disk_size: u64,
}

/// Reads bytes of the disk: offset, length.
pub type Read<'a> = dyn Fn(u64, usize) -> Result<Vec<u8>> + 'a;

impl Table {
    /// The table of a disk; none if it has none.
    ///
    /// # Errors
    /// The disk cannot be read, or the table contradicts itself.
    pub fn parse(read: &Read<'_>) -> Result<Option<Self>> {
        let mbr = read(0, 512)?;
        if mbr.get(510..512) != Some(&[0x55, 0xaa]) {
            return Ok(None);
        }
        if (0..4).any(|index| mbr[MBR_ENTRIES + 16 * index + 4] == PROTECTIVE) {
            return parse_gpt(read).map(Some);
        }
        // A FAT or a boot sector ends in the same two bytes: a table has only these two values of its boot flag.
        if (0..4).any(|index| mbr[MBR_ENTRIES + 16 * index] & 0x7f != 0) {
            return Ok(None);
        }
        parse_mbr(&mbr, read).map(Some)
    }

    /// The numbers of the partitions behind this one.
    pub fn behind(&self, number: u32) -> Vec<u32> {
        let start = self.partitions.iter().find(|partition| partition.number == number).map_or(0, |partition| partition.start);
        self.partitions.iter().filter(|other| other.start > start).map(|other| other.number).collect()
    }

    /// Whether a partition lies in an extended one.
    pub fn is_logical(&self, number: u32) -> bool {
        matches!(self.scheme, Scheme::Mbr { .. }) && number > 4
    }

    /// Whether a partition can stand elsewhere: not where some are logical ones, whose places hang on each other.
    pub fn can_move(&self) -> bool {
        !matches!(self.scheme, Scheme::Mbr { extended: Some(_) })
    }

    /// The table with these partitions in other places; the others stay. The disk gets as small as they allow, and no larger
    /// than `limit` bytes.
    ///
    /// # Errors
    /// There is no such partition, one would grow or move backwards, or is a logical one and would move.
    pub fn arrange(&self, places: &[Place], limit: u64, read: &Read<'_>) -> Result<Rewrite> {
        let unknown = places.iter().find(|place| self.partitions.iter().all(|partition| partition.number != place.number));
        ensure!(unknown.is_none(), "there is no partition {}", unknown.map_or(0, |place| place.number));
        let mut moved = Vec::new();
        for partition in &self.partitions {
            let place = places.iter().find(|place| place.number == partition.number);
            let place =
                place.copied().unwrap_or(Place { number: partition.number, start: partition.start, length: partition.length });
            let (number, length) = (place.number, place.length);
            ensure!(length > 0 && length <= partition.length, "partition {number} has {} bytes, not {length}", partition.length);
            let stays = place.start == partition.start;
            ensure!(
                stays || place.start < partition.start && self.can_move(),
                "partition {number} cannot begin at {}",
                place.start
            );
            ensure!(
                place.start.is_multiple_of(SECTOR) && length.is_multiple_of(SECTOR),
                "partition {number} has no whole sectors"
            );
            moved.push((partition, place));
        }
        match &self.scheme {
            Scheme::Mbr { extended } => rewrite::mbr(&moved, extended.as_ref(), limit, read),
            Scheme::Gpt { header, entries } => rewrite::gpt(&moved, header, entries, limit, read),
        }
    }

    /// What is wrong with the table on a disk of `disk_size` bytes; nothing, as a rule.
    ///
    /// # Errors
    /// The disk cannot be read.
    pub fn faults(&self, disk_size: u64, read: &Read<'_>) -> Result<Vec<String>> {
        let outside = self.partitions.iter().filter(|partition| partition.start + partition.length > disk_size);
        let mut faults: Vec<_> =
            outside.map(|partition| format!("partition {} ends behind the end of the disk", partition.number)).collect();
        if let Scheme::Gpt { header, entries } = &self.scheme {
            let last = disk_size / SECTOR - 1;
            let backup = read(last * SECTOR, SECTOR as usize)?;
            let array = u64_at(&backup, 72);
            let same = backup == gpt_header(header, entries, (last, 1), array, u64_at(header, 48));
            if !same || read(array.saturating_mul(SECTOR), entries.len())? != *entries {
                faults.push("the GPT has no second copy at the end of the disk".to_owned());
            }
        }
        Ok(faults)
    }
}

fn u32_at(bytes: &[u8], offset: usize) -> u64 {
    bytes.get(offset..).and_then(|rest| rest.first_chunk::<4>()).map_or(0, |bytes| u32::from_le_bytes(*bytes).into())
}

fn u64_at(bytes: &[u8], offset: usize) -> u64 {
    bytes.get(offset..).and_then(|rest| rest.first_chunk::<8>()).map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

fn put(bytes: &mut [u8], offset: usize, value: &[u8]) {
    bytes[offset..offset + value.len()].copy_from_slice(value);
}

fn parse_mbr(mbr: &[u8], read: &Read<'_>) -> Result<Table> {
    let signature = u32_at(mbr, 440);
    let mut partitions = Vec::new();
    let mut extended = None;
    for number in 1..=4 {
        let entry = MBR_ENTRIES + 16 * (number as usize - 1);
        let (kind, start, length) = (mbr[entry + 4], u32_at(mbr, entry + 8) * SECTOR, u32_at(mbr, entry + 12) * SECTOR);
        if EXTENDED.contains(&kind) {
            ensure!(extended.is_none(), "there is more than one extended partition");
            extended = Some(Extended { entry: entry as u64, start, end: start + length });
        } else if kind != 0 && length > 0 {
            let uuid = format!("{signature:08x}-{number:02x}");
            partitions.push(Partition { number, start, length, uuid, entry: entry as u64 });
        }
    }
    if let Some(extended) = &extended {
        partitions.extend(parse_logical(extended, signature, read)?);
    }
    Ok(Table { partitions, scheme: Scheme::Mbr { extended } })
}

/// The chain of logical partitions: each has a table of its own, with its place and the place of the next table.
fn parse_logical(extended: &Extended, signature: u64, read: &Read<'_>) -> Result<Vec<Partition>> {
    let mut partitions = Vec::new();
    let mut table = extended.start;
    for number in 5..5 + LOGICAL_LIMIT {
        let ebr = read(table, 512)?;
        if ebr.get(510..512) != Some(&[0x55, 0xaa]) {
            break;
        }
        let (start, length) = (table + u32_at(&ebr, MBR_ENTRIES + 8) * SECTOR, u32_at(&ebr, MBR_ENTRIES + 12) * SECTOR);
        if length > 0 {
            let uuid = format!("{signature:08x}-{number:02x}");
            partitions.push(Partition { number, start, length, uuid, entry: table + MBR_ENTRIES as u64 });
        }
        let next = extended.start + u32_at(&ebr, MBR_ENTRIES + 24) * SECTOR;
        if next <= table || next >= extended.end {
            break;
        }
        table = next;
    }
    Ok(partitions)
}

fn parse_gpt(read: &Read<'_>) -> Result<Table> {
    let header = read(SECTOR, 512)?;
    ensure!(header.starts_with(b"EFI PART") && header.len() == 512, "the GPT has no header");
    let (length, count, size) = (u32_at(&header, 12), u32_at(&header, 80), u32_at(&header, 84));
    ensure!((92..=512).contains(&length), "the GPT's header has {length} bytes");
    let mut sum = header[..length as usize].to_vec();
    put(&mut sum, 16, &[0; 4]);
    ensure!(u64::from(crc32(&sum)) == u32_at(&header, 16), "the GPT's header has a wrong checksum");
    let total = count.saturating_mul(size) as usize;
    ensure!(size >= 128 && size.is_multiple_of(8) && total <= GPT_LIMIT, "the GPT has {count} entries of {size} bytes");
    let entries = read(u64_at(&header, 72).saturating_mul(SECTOR), total)?;
    if entries.len() != total || u64::from(crc32(&entries)) != u32_at(&header, 88) {
        bail!("the GPT's entries have a wrong checksum");
    }
    let mut partitions = Vec::new();
    for (index, entry) in entries.chunks(size as usize).enumerate() {
        let (first, last) = (u64_at(entry, 32), u64_at(entry, 40));
        if entry[..16] == [0; 16] {
            continue;
        }
        ensure!(first <= last && last < 1 << 50, "partition {} ends before it begins", index + 1);
        partitions.push(Partition {
            number: u32::try_from(index + 1)?,
            start: first * SECTOR,
            length: (last - first + 1) * SECTOR,
            uuid: guid(&entry[16..32]),
            entry: index as u64 * size,
        });
    }
    Ok(Table { partitions, scheme: Scheme::Gpt { header, entries } })
}

/// A GUID in its mixed order: the first three groups are little-endian.
fn guid(bytes: &[u8]) -> String {
    bytes.first_chunk::<16>().map(|bytes| uuid::Uuid::from_bytes_le(*bytes).to_string()).unwrap_or_default()
}

/// The CRC-32 of zlib and of UEFI.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    };
    !bytes.iter().fold(!0, step)
}

#[cfg(test)]
pub(super) mod tests;
