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

#[test]
fn a_root_on_the_last_partition_takes_the_disk_with_it() {
    let disk = mbr(&[(0x82, 2048, 204_800), (0x83, 206_848, 1_843_200)]);
    let guest = fake("/dev/sda2", disk.clone());
    let layout =
        layout("/dev/sda2", &disk, vec![volume("/dev/sda1", Some(1), Kind::Swap), volume("/dev/sda2", Some(2), Kind::Ext)]);
    assert_eq!(shrink(&guest, &layout, &Silent).unwrap(), Shrunk::To(101 * MIB + WANTED));
    let resize = format!("resize /dev/sda2 to {WANTED}");
    assert_eq!(guest.calls.take(), ["unmount", "swap /dev/sda1 uuid-Swap ", &resize, "zero /dev/sda2"]);
}

#[test]
fn a_swap_volume_behind_the_root_moves() {
    let disk = mbr(&[(0x8e, 2048, 2_095_104)]);
    let guest = fake("/dev/vg/root", disk.clone());
    // 176 MiB are 44 extents.
    guest
        .metadata
        .replace(vec![metadata(&[("root", 0, 225), ("swap", 225, 10)]), metadata(&[("root", 0, 44), ("swap", 44, 10)])]);
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
        "remove /dev/vg/swap".to_owned(),
        format!("volume /dev/vg/root to {}", 176 * MIB),
        format!("create /dev/vg/swap of {}", 40 * MIB),
        "swap /dev/vg/swap uuid-Swap ".to_owned(),
        format!("physical /dev/sda1 to {}", 217 * MIB),
        "deactivate".to_owned(),
    ];
    assert_eq!(guest.calls.take(), calls);
}

#[test]
fn what_cannot_shrink_is_kept_and_trimmed() {
    let one = [(0x83, 2048, 1_843_200)];
    let two = [(0x83, 2048, 1_843_200), (0x83, 1_845_248, 2048)];
    type Case<'a> = (&'a [(u8, u32, u32)], Kind, &'a str);
    let table: [Case<'_>; 3] = [
        (&one, Kind::Xfs, "the root filesystem is XFS, which cannot shrink"),
        (&one, Kind::Btrfs, "the root filesystem is not ext2, ext3 or ext4"),
        (&two, Kind::Ext, "partition 2 lies behind the root's partition 1"),
    ];
    for (partitions, kind, reason) in table {
        let disk = mbr(partitions);
        let guest = fake("/dev/sda1", disk.clone());
        let layout = layout("/dev/sda1", &disk, vec![volume("/dev/sda1", Some(1), kind)]);
        let kept = Shrunk::Kept { size: 1024 * MIB, reason: reason.to_owned() };
        assert_eq!(shrink(&guest, &layout, &Silent).unwrap(), kept);
        assert_eq!(guest.calls.take(), ["trim /", "unmount"], "{reason}");
        assert!(guest.devices.borrow()[DISK] == disk, "{reason}");
    }
}

#[test]
fn a_group_of_striped_volumes_is_kept_and_trimmed() {
    let disk = mbr(&[(0x8e, 2048, 2_095_104)]);
    let guest = fake("/dev/vg/root", disk.clone());
    guest.metadata.replace(vec![metadata(&[("root", 0, 225)]).replace("stripe_count = 1", "stripe_count = 2")]);
    let volumes = vec![volume("/dev/sda1", Some(1), Kind::Physical), volume("/dev/vg/root", None, Kind::Ext)];
    let layout = layout("/dev/vg/root", &disk, volumes);
    let reason = "volume group vg is more than plain volumes on one disk".to_owned();
    assert_eq!(shrink(&guest, &layout, &Silent).unwrap(), Shrunk::Kept { size: 1024 * MIB, reason });
    assert_eq!(guest.calls.take(), ["trim /", "unmount"]);
}

#[test]
fn a_full_disk_keeps_its_size() {
    let disk = mbr(&[(0x83, 2048, 1_843_200)]);
    let mut guest = fake("/dev/sda1", disk.clone());
    guest.minimum = 900 * MIB;
    let layout = layout("/dev/sda1", &disk, vec![volume("/dev/sda1", Some(1), Kind::Ext)]);
    let kept = Shrunk::Kept { size: 1024 * MIB, reason: "the content fills the disk".to_owned() };
    assert_eq!(shrink(&guest, &layout, &Silent).unwrap(), kept);
    assert_eq!(guest.calls.take(), ["unmount", "zero /dev/sda1"]);
}

#[test]
fn the_partition_table_is_not_touched_when_a_step_before_fails() {
    for fail in ["unmount", "resize", "zero"] {
        let disk = mbr(&[(0x83, 2048, 1_843_200)]);
        let mut guest = fake("/dev/sda1", disk.clone());
        guest.fail_at = Some(fail);
        let layout = layout("/dev/sda1", &disk, vec![volume("/dev/sda1", Some(1), Kind::Ext)]);
        assert!(shrink(&guest, &layout, &Silent).is_err(), "{fail}");
        assert!(guest.devices.borrow()[DISK] == disk, "{fail}");
    }
}
