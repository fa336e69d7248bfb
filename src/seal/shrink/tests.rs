use super::*;
use crate::{
    core::progress::Silent,
    host::guest::Mount,
    seal::{
        fake_disks::FakeDisks,
        layout::Volume,
        partition::{Table, tests::mbr},
        probe::{Content, HEAD},
    },
};

/// What is in use on the root in these tests, in a filesystem of 900 MiB with 16 MiB of inode tables and no other overhead.
const USAGE: Usage = Usage { size: 884 * MIB, used: 100 * MIB };
/// (105 + 64) MiB · 900/884, rounded up to MiB: what [`USAGE`] leads to.
const WANTED: u64 = 173 * MIB;

/// The superblock of an ext4 of 900 MiB: 230,400 blocks of 4 KiB, 65,536 inodes of 256 bytes.
fn superblock() -> Vec<u8> {
    let mut head = vec![0; HEAD];
    for (offset, value) in [(0x0, 65_536_u32), (0x4, 230_400), (0x18, 2), (0x38, 0xef53), (0x58, 256)] {
        head[1024 + offset..][..4].copy_from_slice(&value.to_le_bytes());
    }
    head
}

fn volume(device: &str, partition: Option<u32>, kind: Kind) -> Volume {
    let content = Content { kind, uuid: format!("uuid-{kind:?}"), label: String::new() };
    Volume { device: device.to_owned(), partition, partition_uuid: String::new(), content: Some(content) }
}

fn layout(root: &str, disk: &[u8], volumes: Vec<Volume>) -> Layout {
    let read = |offset: u64, length: usize| Ok(disk[offset as usize..][..length].to_vec());
    let mount = Mount { device: root.to_owned(), mount_point: "/".to_owned(), subvolume: None };
    Layout { disk_size: 1024 * MIB, table: Table::parse(&read).unwrap(), volumes, fstab: Vec::new(), mounts: vec![mount] }
}

fn fake(root: &str, disk: Vec<u8>) -> FakeDisks {
    let fake = FakeDisks::new(USAGE, 90 * MIB);
    fake.devices.borrow_mut().insert(DISK.to_owned(), disk);
    fake.devices.borrow_mut().insert(root.to_owned(), superblock());
    fake
}

/// LVM's metadata of a group of 4 MiB extents from 1 MiB on: name, first extent and number of extents of each volume.
fn metadata(volumes: &[(&str, u64, u64)]) -> String {
    let volume = |(name, start, count): &(&str, u64, u64)| {
        format!(
            "{name} {{\nid = \"x\"\nsegment1 {{\nstart_extent = 0\nextent_count = {count}\t# note\ntype = \"striped\"\n\
             stripe_count = 1\nstripes = [\n\"pv0\", {start}\n]\n}}\n}}\n"
        )
    };
    let volumes: String = volumes.iter().map(volume).collect();
    format!(
        "contents = \"Text Format Volume Group\"\nversion = 1\nvg {{\nextent_size = 8192\t# 4 Megabytes\n\
         physical_volumes {{\npv0 {{\npe_start = 2048\n}}\n}}\nlogical_volumes {{\n{volumes}}}\n}}\n"
    )
}

/// The superblock of an XFS of 900 MiB of which 116 are in use, 16 of them for its journal.
fn xfs() -> Vec<u8> {
    let mut head = vec![0; HEAD];
    let mut put = |offset: usize, bytes: &[u8]| head[offset..offset + bytes.len()].copy_from_slice(bytes);
    put(0, b"XFSB");
    put(4, &4096_u32.to_be_bytes());
    put(8, &230_400_u64.to_be_bytes());
    put(48, &1_u64.to_be_bytes());
    put(96, &4096_u32.to_be_bytes());
    put(100, &[0xb4, 0xb5, 2, 0, 2, 0]);
    put(144, &(230_400_u64 - 29_696).to_be_bytes());
    head
}

/// The superblock of a btrfs of 900 MiB on so many devices.
fn btrfs(devices: u64) -> Vec<u8> {
    let mut head = vec![0; HEAD];
    for (offset, value) in [(0x70, 900 * MIB), (0x88, devices)] {
        head[(64 << 10) + offset..][..8].copy_from_slice(&value.to_le_bytes());
    }
    head
}

#[test]
fn a_root_on_the_last_partition_takes_the_disk_with_it() {
    let disk = mbr(&[(0x82, 2048, 204_800), (0x83, 206_848, 1_843_200)]);
    let guest = fake("/dev/sda2", disk.clone());
    let layout =
        layout("/dev/sda2", &disk, vec![volume("/dev/sda1", Some(1), Kind::Swap), volume("/dev/sda2", Some(2), Kind::Ext)]);
    assert_eq!(shrink(&guest, &layout, &Silent).unwrap(), Shrunk::To(101 * MIB + WANTED));
    let calls = [
        "unmount".to_owned(),
        "swap /dev/sda1 uuid-Swap ".to_owned(),
        format!("resize /dev/sda2 to {WANTED}"),
        "zero /dev/sda2".to_owned(),
        format!("empty {} of {}", 101 * MIB + WANTED, 2 * MIB),
    ];
    assert_eq!(guest.calls.take(), calls);
}

#[test]
fn what_is_behind_the_root_moves_with_it() {
    let disk = mbr(&[(0x83, 2048, 1_843_200), (0x82, 1_845_248, 204_800)]);
    let guest = fake("/dev/sda1", disk.clone());
    let layout =
        layout("/dev/sda1", &disk, vec![volume("/dev/sda1", Some(1), Kind::Ext), volume("/dev/sda2", Some(2), Kind::Swap)]);
    assert_eq!(shrink(&guest, &layout, &Silent).unwrap(), Shrunk::To(101 * MIB + WANTED));
    let calls = [
        "unmount".to_owned(),
        "swap /dev/sda2 uuid-Swap ".to_owned(),
        format!("resize /dev/sda1 to {WANTED}"),
        "zero /dev/sda1".to_owned(),
        format!("move {} to {} of {}", 901 * MIB, MIB + WANTED, 100 * MIB),
        format!("empty {} of {}", 101 * MIB + WANTED, 2 * MIB),
    ];
    assert_eq!(guest.calls.take(), calls);
    let disk = guest.devices.borrow()[DISK].clone();
    let read = |offset: u64, length: usize| Ok(disk[offset as usize..][..length].to_vec());
    let table = Table::parse(&read).unwrap().unwrap();
    let places: Vec<_> = table.partitions.iter().map(|one| (one.number, one.start, one.length)).collect();
    assert_eq!(places, [(1, MIB, WANTED), (2, MIB + WANTED, 100 * MIB)]);
}

#[test]
fn volumes_of_a_group_move_together() {
    let disk = mbr(&[(0x8e, 2048, 2_095_104)]);
    let guest = fake("/dev/vg/root", disk.clone());
    // 176 MiB are 44 extents.
    guest
        .metadata
        .replace(vec![metadata(&[("root", 0, 225), ("swap", 225, 10)]), metadata(&[("root", 0, 44), ("swap", 225, 10)])]);
    let volumes = vec![
        volume("/dev/sda1", Some(1), Kind::Physical),
        volume("/dev/vg/root", None, Kind::Ext),
        volume("/dev/vg/swap", None, Kind::Swap),
    ];
    let layout = layout("/dev/vg/root", &disk, volumes);
    assert_eq!(shrink(&guest, &layout, &Silent).unwrap(), Shrunk::To((1 + 1 + 54 * 4) * MIB));
    let calls = [
        "unmount".to_owned(),
        "swap /dev/vg/swap uuid-Swap ".to_owned(),
        format!("resize /dev/vg/root to {}", 176 * MIB),
        "zero /dev/vg/root".to_owned(),
        format!("volume /dev/vg/root to {}", 176 * MIB),
        "restore vg".to_owned(),
        format!("physical /dev/sda1 to {}", 217 * MIB),
        "deactivate".to_owned(),
        format!("move {} to {} of {}", (2 + 225 * 4) * MIB, (2 + 44 * 4) * MIB, 40 * MIB),
        format!("empty {} of {}", 218 * MIB, 2 * MIB),
    ];
    assert_eq!(guest.calls.take(), calls);
}

#[test]
fn an_xfs_is_made_anew_behind_the_disk_and_fetched() {
    let disk = mbr(&[(0x83, 2048, 1_843_200)]);
    let guest = fake("/dev/sda1", disk.clone());
    guest.devices.borrow_mut().insert("/dev/sda1".to_owned(), xfs());
    let layout = layout("/dev/sda1", &disk, vec![volume("/dev/sda1", Some(1), Kind::Xfs)]);
    assert_eq!(shrink(&guest, &layout, &Silent).unwrap(), Shrunk::To(301 * MIB));
    let calls = [
        "trim /".to_owned(),
        "unmount".to_owned(),
        format!("rebuild /dev/sda1 at {} of {}", 1024 * MIB, 300 * MIB),
        format!("move {} to {MIB} of {}", 1024 * MIB, 300 * MIB),
        format!("empty {} of {}", 301 * MIB, 2 * MIB),
    ];
    assert_eq!(guest.calls.take(), calls);
}

#[test]
fn an_xfs_that_finds_no_room_gets_more() {
    let mut guest = fake("/dev/sda1", Vec::new());
    guest.minimum = 350 * MIB;
    guest.devices.borrow_mut().insert(DISK.to_owned(), xfs());
    let layout = Layout { table: None, ..layout(DISK, &mbr(&[]), vec![volume(DISK, None, Kind::Xfs)]) };
    assert_eq!(shrink(&guest, &layout, &Silent).unwrap(), Shrunk::To(381 * MIB));
    let tries: Vec<_> = guest.calls.take().into_iter().skip(2).collect();
    let anew = |size: u64| format!("rebuild {DISK} at {} of {}", 1024 * MIB, size * MIB);
    assert_eq!(tries, [anew(300), anew(338), anew(381), format!("move {} to 0 of {}", 1024 * MIB, 381 * MIB)]);
}

#[test]
fn a_btrfs_gets_smaller_until_there_is_no_room() {
    // 100 and a tenth, and twice 64, are less than 256. The MBR's disk ends behind its partition whatever it holds.
    for (minimum, sizes, shrunk) in [
        (0, &[578, 417, 337, 297, 277, 256][..], 257),
        (400, &[578, 417, 337, 377, 397], 418),
        (2000, &[578, 739, 820, 860, 880], 901),
    ] {
        let disk = mbr(&[(0x83, 2048, 1_843_200)]);
        let mut guest = fake("/dev/sda1", disk.clone());
        guest.minimum = minimum * MIB;
        guest.devices.borrow_mut().insert("/dev/sda1".to_owned(), btrfs(1));
        let layout = layout("/dev/sda1", &disk, vec![volume("/dev/sda1", Some(1), Kind::Btrfs)]);
        assert_eq!(shrink(&guest, &layout, &Silent).unwrap(), Shrunk::To(shrunk * MIB));
        let tried: Vec<_> = guest.calls.take().into_iter().filter(|call| call.starts_with("btrfs")).collect();
        let expected: Vec<_> = sizes.iter().map(|size| format!("btrfs /dev/sda1 to {}", size * MIB)).collect();
        assert_eq!(tried, expected);
    }
}

#[test]
fn what_cannot_shrink_is_kept() {
    let mut odd = xfs();
    odd[55] = 0;
    let table: [(Kind, Vec<u8>, u64, &str); 4] = [
        (Kind::Xfs, xfs(), 1024, "/ keeps its size: an XFS cannot shrink, and there is no room to make it anew"),
        (Kind::Xfs, odd, 2048, "/ keeps its size: its journal is on another device"),
        (Kind::Btrfs, btrfs(2), 2048, "/ keeps its size: it is on 2 devices"),
        (Kind::Ext, superblock(), 2048, "/ keeps its size: its content fills it"),
    ];
    for (kind, head, disk_size, reason) in table {
        let disk = mbr(&[(0x83, 2048, 2_095_104)]);
        let mut guest = fake("/dev/sda1", disk.clone());
        (guest.disk_size, guest.minimum) = (disk_size * MIB, 900 * MIB);
        guest.devices.borrow_mut().insert("/dev/sda1".to_owned(), head);
        let layout = layout("/dev/sda1", &disk, vec![volume("/dev/sda1", Some(1), kind)]);
        let kept = Shrunk::Kept { size: 1024 * MIB, reason: reason.to_owned() };
        assert_eq!(shrink(&guest, &layout, &Silent).unwrap(), kept);
        assert!(guest.devices.borrow()[DISK] == disk, "{reason}");
    }
}

#[test]
fn a_group_of_striped_volumes_is_kept() {
    let disk = mbr(&[(0x8e, 2048, 2_095_104)]);
    let guest = fake("/dev/vg/root", disk.clone());
    guest.metadata.replace(vec![metadata(&[("root", 0, 225)]).replace("stripe_count = 1", "stripe_count = 2")]);
    let volumes = vec![volume("/dev/sda1", Some(1), Kind::Physical), volume("/dev/vg/root", None, Kind::Ext)];
    let layout = layout("/dev/vg/root", &disk, volumes);
    let reason = "volume group vg is more than plain volumes on one disk; / keeps its size: its volume group is no plain one";
    assert_eq!(shrink(&guest, &layout, &Silent).unwrap(), Shrunk::Kept { size: 1024 * MIB, reason: reason.to_owned() });
    assert_eq!(guest.calls.take(), ["unmount", "zero /dev/vg/root", "deactivate"]);
}

#[test]
fn a_disk_that_is_to_keep_its_size_gives_back_what_is_unused() {
    let disk = mbr(&[(0x83, 2048, 1_843_200), (0x82, 1_845_248, 2048)]);
    for (kind, calls) in [
        (Kind::Ext, &["unmount", "swap /dev/sda2 uuid-Swap ", "zero /dev/sda1"][..]),
        (Kind::Xfs, &["trim /", "unmount", "swap /dev/sda2 uuid-Swap "]),
    ] {
        let guest = fake("/dev/sda1", disk.clone());
        let volumes = vec![volume("/dev/sda1", Some(1), kind), volume("/dev/sda2", Some(2), Kind::Swap)];
        let kept = keep(&guest, &layout("/dev/sda1", &disk, volumes), "so it is").unwrap();
        assert_eq!(kept, Shrunk::Kept { size: 1024 * MIB, reason: "so it is".to_owned() });
        assert_eq!(guest.calls.take(), calls);
    }
}

#[test]
fn the_partition_table_is_not_touched_when_a_step_before_fails() {
    for fail in ["unmount", "resize", "zero", "empty"] {
        let disk = mbr(&[(0x83, 2048, 1_843_200)]);
        let mut guest = fake("/dev/sda1", disk.clone());
        guest.fail_at = Some(fail);
        let layout = layout("/dev/sda1", &disk, vec![volume("/dev/sda1", Some(1), Kind::Ext)]);
        assert!(shrink(&guest, &layout, &Silent).is_err(), "{fail}");
        assert!(guest.devices.borrow()[DISK] == disk, "{fail}");
    }
}
