//! Writing a partition table back.

use anyhow::Result;

use super::{Extended, MBR_ENTRIES, MIB, PROTECTIVE, Partition, Place, Read, Rewrite, SECTOR, crc32, put, u32_at, u64_at};

/// An MBR with partitions in other places.
pub(super) fn mbr(moved: &[(&Partition, Place)], extended: Option<&Extended>, limit: u64, read: &Read<'_>) -> Result<Rewrite> {
    let mut writes = Vec::new();
    let mut end = 0;
    for (partition, place) in moved {
        end = end.max(place.end());
        if (place.start, place.length) != (partition.start, partition.length) {
            let mut entry = entry(&read(partition.entry, 16)?, place.length, place.end());
            if place.start != partition.start {
                put(&mut entry, 1, &cylinders(place.start / SECTOR));
                put(&mut entry, 8, &u32::try_from(place.start / SECTOR)?.to_le_bytes());
            }
            writes.push((partition.entry, entry));
        }
    }
    if let Some(extended) = extended {
        let inside = |partition: &Partition| (extended.start..extended.end).contains(&partition.start);
        let logical: Vec<_> = moved.iter().filter(|(partition, _)| inside(partition)).collect();
        let cut = logical.iter().any(|(partition, place)| place.length != partition.length);
        let last = logical.iter().map(|(_, place)| place.end()).max().filter(|_| cut);
        if let Some(last) = last {
            // The tables of the chain before the last one give the length of the whole of it too, and nobody reads that.
            writes.push((extended.entry, entry(&read(extended.entry, 16)?, last - extended.start, last)));
        }
        end = end.max(last.unwrap_or(extended.end));
    }
    Ok(Rewrite { writes, disk_size: end.next_multiple_of(MIB).min(limit) })
}

/// An entry of an MBR with another length; its end on the disk is needed for the old notation by cylinders.
fn entry(entry: &[u8], length: u64, end: u64) -> Vec<u8> {
    let mut entry = entry.to_vec();
    put(&mut entry, 12, &u32::try_from(length / SECTOR).unwrap_or(u32::MAX).to_le_bytes());
    put(&mut entry, 5, &cylinders(end / SECTOR - 1));
    entry
}

/// A sector in the notation by cylinder, head and sector.
fn cylinders(sector: u64) -> [u8; 3] {
    let (cylinder, head, sector) = (sector / (255 * 63), sector / 63 % 255, sector % 63 + 1);
    if cylinder > 1023 {
        return [0xfe, 0xff, 0xff];
    }
    [head as u8, sector as u8 | (cylinder >> 8 << 6) as u8, cylinder as u8]
}

/// A GPT, both copies, with partitions in other places.
pub(super) fn gpt(moved: &[(&Partition, Place)], header: &[u8], entries: &[u8], limit: u64, read: &Read<'_>) -> Result<Rewrite> {
    let table = (entries.len() as u64).next_multiple_of(SECTOR);
    let end = moved.iter().map(|(_, place)| place.end()).max().unwrap_or(0);
    // Behind the last partition stand the second array and, in the very last sector, the second header.
    let disk_size = (end + table + SECTOR).next_multiple_of(MIB).min(limit / SECTOR * SECTOR);
    let last = disk_size / SECTOR - 1;
    let backup = last - table / SECTOR;

    let mut entries = entries.to_vec();
    for (partition, place) in moved {
        put(&mut entries, partition.entry as usize + 32, &(place.start / SECTOR).to_le_bytes());
        put(&mut entries, partition.entry as usize + 40, &(place.end() / SECTOR - 1).to_le_bytes());
    }
    let first = u64_at(header, 72);
    let primary = gpt_header(header, &entries, (1, last), first, backup - 1);
    let secondary = gpt_header(header, &entries, (last, 1), backup, backup - 1);

    let mut protective = read(MBR_ENTRIES as u64, 64)?;
    for entry in protective.chunks_exact_mut(16).filter(|entry| entry[4] == PROTECTIVE) {
        put(entry, 12, &u32::try_from(last).unwrap_or(u32::MAX).to_le_bytes());
    }
    // The second copy goes first: until the first one is written, the disk keeps its old table.
    let mut writes = vec![(backup * SECTOR, entries.clone()), (last * SECTOR, secondary)];
    writes.extend([(first * SECTOR, entries), (SECTOR, primary), (MBR_ENTRIES as u64, protective)]);
    Ok(Rewrite { writes, disk_size })
}

/// A header with its places (its own, the other header's, the array's, the last usable sector) and its checksums.
pub(super) fn gpt_header(header: &[u8], entries: &[u8], (own, other): (u64, u64), array: u64, usable: u64) -> Vec<u8> {
    let mut header = header.to_vec();
    for (offset, value) in [(24, own), (32, other), (48, usable), (72, array)] {
        put(&mut header, offset, &value.to_le_bytes());
    }
    put(&mut header, 88, &crc32(entries).to_le_bytes());
    put(&mut header, 16, &[0; 4]);
    let length = u32_at(&header, 12) as usize;
    let sum = crc32(&header[..length]);
    put(&mut header, 16, &sum.to_le_bytes());
    header
}
