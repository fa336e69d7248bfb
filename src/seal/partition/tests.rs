use super::*;

/// The first 100 MiB of a disk with an MBR: type, first sector and length of each partition.
pub(in crate::seal) fn mbr(partitions: &[(u8, u32, u32)]) -> Vec<u8> {
    let mut disk = vec![0; 4 << 20];
    disk[..440].fill(0x90);
    put(&mut disk, 440, &[0xef, 0xbe, 0xad, 0xde]);
    put(&mut disk, 510, &[0x55, 0xaa]);
    partitions.iter().enumerate().for_each(|(index, entry)| put_entry(&mut disk, MBR_ENTRIES + 16 * index, *entry));
    disk
}

fn put_entry(disk: &mut [u8], offset: usize, (kind, start, length): (u8, u32, u32)) {
    disk[offset] = 0x80;
    disk[offset + 4] = kind;
    put(disk, offset + 8, &start.to_le_bytes());
    put(disk, offset + 12, &length.to_le_bytes());
}

/// A disk of 4 MiB with a GPT of the given partitions: first and last sector.
fn gpt(partitions: &[(u64, u64)]) -> Vec<u8> {
    let mut disk = mbr(&[(PROTECTIVE, 1, 8191)]);
    let mut entries = vec![0; 128 * 128];
    for (index, (first, last)) in partitions.iter().enumerate() {
        entries[128 * index..][..32].fill(0x11 * (index as u8 + 1));
        put(&mut entries, 128 * index + 32, &first.to_le_bytes());
        put(&mut entries, 128 * index + 40, &last.to_le_bytes());
    }
    let mut header = vec![0; 512];
    put(&mut header, 0, b"EFI PART\0\0\x01\0");
    put(&mut header, 12, &92_u32.to_le_bytes());
    put(&mut header, 40, &34_u64.to_le_bytes());
    put(&mut header, 80, &128_u32.to_le_bytes());
    put(&mut header, 84, &128_u32.to_le_bytes());
    put(&mut disk, 512, &gpt_header(&header, &entries, (1, 8191), 2, 8158));
    put(&mut disk, 8191 * 512, &gpt_header(&header, &entries, (8191, 1), 8159, 8158));
    put(&mut disk, 1024, &entries);
    put(&mut disk, 8159 * 512, &entries);
    disk
}

fn read(disk: &[u8]) -> impl Fn(u64, usize) -> Result<Vec<u8>> {
    |offset, length| Ok(disk.get(offset as usize..).map(|rest| rest[..rest.len().min(length)].to_vec()).unwrap_or_default())
}

fn places(table: &Table) -> Vec<(u32, u64, u64)> {
    table.partitions.iter().map(|partition| (partition.number, partition.start / SECTOR, partition.length / SECTOR)).collect()
}

/// The table with one partition in another length.
fn cut(table: &Table, number: u32, length: u64, read: &Read<'_>) -> Result<Rewrite> {
    let start = table.partitions.iter().find(|partition| partition.number == number).map_or(0, |partition| partition.start);
    table.arrange(&[Place { number, start, length }], u64::MAX, read)
}

fn apply(disk: &mut [u8], rewrite: &Rewrite) {
    rewrite.writes.iter().for_each(|(offset, bytes)| put(disk, *offset as usize, bytes));
}

#[test]
fn an_mbr_is_cut_in_its_one_entry() {
    let mut disk = mbr(&[(0x82, 2048, 2048), (0x83, 4096, 4096)]);
    let table = Table::parse(&read(&disk)).unwrap().unwrap();
    assert_eq!(places(&table), [(1, 2048, 2048), (2, 4096, 4096)]);
    assert_eq!(table.partitions[1].uuid, "deadbeef-02");
    let rewrite = cut(&table, 2, 1 << 20, &read(&disk)).unwrap();
    assert_eq!(rewrite.disk_size, 3 << 20);
    let before = disk.clone();
    apply(&mut disk, &rewrite);
    assert_eq!(places(&Table::parse(&read(&disk)).unwrap().unwrap()), [(1, 2048, 2048), (2, 4096, 2048)]);
    // Boot code, signature, first entry; then flag, start and type of the second.
    assert!(disk[..467] == before[..467] && disk[470..474] == before[470..474] && disk[478..] == before[478..]);
    // 6,143 is cylinder 0, head 97, sector 33.
    assert_eq!(disk[467..470], [97, 33, 0]);
}

#[test]
fn a_logical_partition_takes_the_extended_one_with_it() {
    let mut disk = mbr(&[(0x83, 2048, 1024), (0x05, 3072, 5120)]);
    for (table, entries) in [(3072_usize, [(0x82, 1, 1023), (0x05, 1024, 4096)]), (4096, [(0x8e, 1, 4095), (0, 0, 0)])] {
        put(&mut disk, table * 512 + 510, &[0x55, 0xaa]);
        entries
            .iter()
            .enumerate()
            .for_each(|(index, entry)| put_entry(&mut disk, table * 512 + MBR_ENTRIES + 16 * index, *entry));
    }
    let table = Table::parse(&read(&disk)).unwrap().unwrap();
    assert_eq!(places(&table), [(1, 2048, 1024), (5, 3073, 1023), (6, 4097, 4095)]);
    assert_eq!(table.behind(5), [6]);
    let rewrite = cut(&table, 6, 1023 * 512, &read(&disk)).unwrap();
    apply(&mut disk, &rewrite);
    let table = Table::parse(&read(&disk)).unwrap().unwrap();
    assert_eq!(places(&table), [(1, 2048, 1024), (5, 3073, 1023), (6, 4097, 1023)]);
    assert_eq!(u32_at(&disk, MBR_ENTRIES + 16 + 12), 2048, "the extended partition");
    assert_eq!(table.faults(rewrite.disk_size, &read(&disk)).unwrap(), [""; 0]);
}

#[test]
fn a_gpt_gets_its_second_copy_at_the_new_end() {
    let mut disk = gpt(&[(34, 2047), (2048, 8158)]);
    let table = Table::parse(&read(&disk)).unwrap().unwrap();
    assert_eq!(places(&table), [(1, 34, 2014), (2, 2048, 6111)]);
    assert_eq!(table.partitions[0].uuid, "11111111-1111-1111-1111-111111111111");
    assert_eq!(table.faults(4 << 20, &read(&disk)).unwrap(), [""; 0]);
    let rewrite = cut(&table, 2, 1 << 20, &read(&disk)).unwrap();
    assert_eq!(rewrite.disk_size, 3 << 20);
    apply(&mut disk, &rewrite);
    let disk = &disk[..3 << 20];
    let table = Table::parse(&read(disk)).unwrap().unwrap();
    assert_eq!(places(&table), [(1, 34, 2014), (2, 2048, 2048)]);
    assert_eq!(table.faults(3 << 20, &read(disk)).unwrap(), [""; 0]);
    assert_eq!(u32_at(disk, MBR_ENTRIES + 12), 6143, "the protective entry");
    // On a disk of another size the copy is not where it must be.
    assert_eq!(
        table.faults(1 << 20, &read(disk)).unwrap(),
        ["partition 2 ends behind the end of the disk", "the GPT has no second copy at the end of the disk"]
    );
}

#[test]
fn partitions_move_forward_in_either_table() {
    let places_of = |list: &[(u32, u64, u64)]| -> Vec<Place> {
        list.iter().map(|(number, start, length)| Place { number: *number, start: start * 512, length: length * 512 }).collect()
    };
    let moved = [(1, 2048, 1024), (2, 4096, 1024)];
    for mut disk in [mbr(&[(0x83, 2048, 2048), (0x82, 6144, 1024)]), gpt(&[(2048, 4095), (6144, 7167)])] {
        let table = Table::parse(&read(&disk)).unwrap().unwrap();
        let rewrite = table.arrange(&places_of(&moved), u64::MAX, &read(&disk)).unwrap();
        assert_eq!(rewrite.disk_size, 3 << 20);
        apply(&mut disk, &rewrite);
        let table = Table::parse(&read(&disk)).unwrap().unwrap();
        assert_eq!(places(&table), moved);
        assert_eq!(table.faults(3 << 20, &read(&disk)).unwrap(), [""; 0]);
        let back = table.arrange(&places_of(&[(2, 4097, 1023)]), u64::MAX, &read(&disk)).unwrap_err();
        assert_eq!(back.to_string(), "partition 2 cannot begin at 2097664");
    }
}

#[test]
fn no_partition_grows() {
    let disk = mbr(&[(0x83, 2048, 2048), (0x83, 4096, 2048)]);
    let table = Table::parse(&read(&disk)).unwrap().unwrap();
    let list = [
        (1, 511, "partition 1 has no whole sectors"),
        (2, 2049 * 512, "partition 2 has 1048576 bytes, not 1049088"),
        (2, 0, "partition 2 has 1048576 bytes, not 0"),
        (3, 512, "there is no partition 3"),
    ];
    for (number, length, text) in list {
        assert_eq!(cut(&table, number, length, &read(&disk)).unwrap_err().to_string(), text);
    }
}

#[test]
fn broken_tables_are_refused_without_a_panic() {
    assert_eq!(Table::parse(&read(&[0; 4096])).unwrap(), None);
    assert_eq!(Table::parse(&read(b"short")).unwrap(), None);
    let good = gpt(&[(34, 2047)]);
    let cases: [(usize, &[u8], &str); 5] = [
        (512, b"X", "the GPT has no header"),
        (512 + 12, &[0xff; 4], "the GPT's header has 4294967295 bytes"),
        (512 + 12, &[91, 0, 0, 0], "the GPT's header has 91 bytes"),
        (512 + 72, &[0xff; 8], "the GPT's header has a wrong checksum"),
        (1024 + 5, &[0xff], "the GPT's entries have a wrong checksum"),
    ];
    for (offset, bytes, text) in cases {
        let mut disk = good.clone();
        put(&mut disk, offset, bytes);
        assert_eq!(Table::parse(&read(&disk)).unwrap_err().to_string(), text, "{offset}");
    }
    // A chain of logical partitions that leads back to its start ends.
    let mut disk = mbr(&[(0x05, 2048, 4096)]);
    put(&mut disk, 2048 * 512 + 510, &[0x55, 0xaa]);
    put_entry(&mut disk, 2048 * 512 + MBR_ENTRIES, (0x83, 1, 10));
    put_entry(&mut disk, 2048 * 512 + MBR_ENTRIES + 16, (0x05, 0, 10));
    assert_eq!(places(&Table::parse(&read(&disk)).unwrap().unwrap()), [(5, 2049, 10)]);
}

#[test]
fn the_checksum_is_that_of_zlib() {
    assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
}
