//! What a pool does with its volumes: the same for files, for logical volumes, and for thin ones.

use std::{
    io::Cursor,
    process,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::Instant,
};

use tpl::{
    core::{
        facts::{NewVolume, PoolKind, VolumeFormat},
        units::ByteSize,
    },
    host::{
        hypervisor::Storage,
        libvirt::Libvirt,
        pool::Pool,
        shell::{Shell, succeeded},
    },
};

use super::bed::{PATIENCE, Turn, sh, shell, uri};

const MIB: u64 = 1 << 20;

/// A pool of the testbed, and what the tests have made in it: that goes with this.
struct Bed<'a> {
    shell: &'a dyn Shell,
    pool: Pool<'a>,
    prefix: String,
}

impl Drop for Bed<'_> {
    fn drop(&mut self) {
        let all = self.pool.volumes().unwrap_or_default();
        // Snapshots before what they stand on.
        for volume in all.iter().filter(|volume| volume.name.starts_with(&self.prefix)).rev() {
            let _ = self.pool.delete(&volume.name);
        }
    }
}

/// Does the same in each kind of pool.
fn in_each(work: impl Fn(&Bed<'_>) + Sync) {
    thread::scope(|scope| {
        for (bed, pool) in [("bed2", "default"), ("bed1", "vg0"), ("bed1", "thin0")] {
            let work = &work;
            scope.spawn(move || on(bed, pool, |bed| work(bed)));
        }
    });
}

fn on<T>(bed: &str, pool: &str, work: impl FnOnce(&Bed<'_>) -> T) -> T {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let _turn = Turn::shared();
    let prefix = format!("ha-{}-{}-", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let (hypervisor, shell) = (Libvirt::open(&uri(bed), "2m".parse().unwrap()).unwrap(), shell(bed));
    let pool = Pool::new(&hypervisor, shell.as_ref(), pool, None);
    work(&Bed { shell: shell.as_ref(), pool, prefix })
}

fn raw(name: &str, capacity: u64) -> NewVolume<'_> {
    let capacity = ByteSize(capacity);
    NewVolume { name, capacity, format: VolumeFormat::Raw, backing: None, room: None, protected: false }
}

impl Bed<'_> {
    fn name(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn kind(&self) -> PoolKind {
        self.pool.size().unwrap().kind
    }

    fn sh(&self, line: &str) -> String {
        sh(self.shell, line)
    }

    /// The SHA-256 of all that a volume holds.
    fn sum(&self, path: &str) -> String {
        self.sh(&format!("sha256sum <{path}"))
    }

    /// What `sum` would be of these bytes with zeros behind them, up to `size`.
    fn expected(&self, bytes: &[u8], size: u64) -> String {
        let rest = size - bytes.len() as u64;
        let line = format!("{{ cat; head -c {rest} /dev/zero; }} | sha256sum");
        let argv = ["sh", "-c", line.as_str()];
        succeeded(&argv, self.shell.feed(&argv, &mut Cursor::new(bytes)).unwrap()).unwrap()
    }

    /// The length of a file or device.
    fn length(&self, path: &str) -> u64 {
        self.sh(&format!("wc -c <{path}")).trim().parse().unwrap()
    }

    /// Leaves something on the disk where the next volumes will be.
    fn soil(&self, size: u64) {
        let name = self.name("soil");
        let path = self.pool.create(&raw(&name, size)).unwrap();
        self.sh(&format!("head -c {size} /dev/zero | tr '\\0' 'x' | dd of={path} bs=1M conv=fsync,nocreat,notrunc status=none"));
        self.pool.delete(&name).unwrap();
    }
}

/// Bytes that repeat nowhere.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(|_| next()).collect()
}

#[test]
fn bytes_are_stored_copied_and_grown() {
    in_each(|bed| {
        bed.soil(24 * MIB);
        // Noise, a hole, and noise again; not a whole number of sectors.
        let mut bytes = noise(3 << 20);
        bytes.resize(9 << 20, 0);
        bytes.extend(noise((1 << 20) + 77));
        let length = bytes.len() as u64;
        let [gold, copy, grown] = ["gold", "copy", "grown"].map(|name| bed.name(name));
        let path = bed.pool.store(&gold, length, &mut Cursor::new(&bytes)).unwrap();
        assert_eq!(path, bed.pool.path_of(&gold).unwrap());
        assert_eq!(bed.sum(&path), bed.expected(&bytes, bed.length(&path)), "stored in {}", bed.pool.pool());

        let began = Instant::now();
        let path = bed.pool.copy(&gold, &raw(&copy, length)).unwrap();
        let took = began.elapsed();
        assert_eq!(bed.sum(&path), bed.expected(&bytes, bed.length(&path)), "copied in {}", bed.pool.pool());
        let path = bed.pool.copy(&gold, &raw(&grown, 20 * MIB)).unwrap();
        assert_eq!(bed.length(&path), 20 * MIB);
        assert_eq!(bed.sum(&path), bed.expected(&bytes, 20 * MIB), "grown in {}", bed.pool.pool());

        let volume = bed.pool.volume(&grown).unwrap().unwrap();
        assert_eq!((volume.capacity, volume.path.as_str()), (ByteSize(20 * MIB), path.as_str()));
        if bed.kind() != PoolKind::Thick {
            assert!(volume.allocation < ByteSize(8 * MIB), "zeros take room: {volume:?}");
        }
        eprintln!("{}: a copy of {length} bytes took {took:?}", bed.pool.pool());
    });
}

#[test]
fn a_new_volume_reads_as_zeros() {
    in_each(|bed| {
        bed.soil(16 * MIB);
        let path = bed.pool.create(&raw(&bed.name("new"), 12 * MIB)).unwrap();
        assert_eq!(bed.sum(&path), bed.expected(&[], 12 * MIB), "{}", bed.pool.pool());
    });
}

#[test]
fn bytes_that_are_too_few_or_too_many_leave_no_volume() {
    in_each(|bed| {
        let name = bed.name("short");
        for length in [4999, 5001] {
            let error = bed.pool.store(&name, 5000, &mut Cursor::new(vec![1; length])).unwrap_err();
            let says = if length < 5000 { "1 bytes of it are missing" } else { "there is more of it than there was" };
            assert!(format!("{error:#}").ends_with(says), "{error:#}");
            assert_eq!(bed.pool.volume(&name).unwrap(), None);
        }
    });
}

#[test]
fn what_is_linked_stands_on_what_cannot_be_written() {
    in_each(|bed| {
        let bytes = noise(8 << 20);
        let [gold, web] = ["gold", "web"].map(|name| bed.name(name));
        let golden = bed.pool.create(&NewVolume { protected: true, ..raw(&gold, 8 * MIB) }).unwrap();
        let argv = ["dd", &format!("of={golden}"), "bs=1M", "conv=fsync,nocreat,notrunc", "status=none"];
        succeeded(&argv, bed.shell.feed(&argv, &mut Cursor::new(&bytes)).unwrap()).unwrap();
        bed.pool.protect(&gold).unwrap();
        bed.pool.protect(&gold).unwrap();
        let written = bed
            .shell
            .run(&["dd", "if=/dev/zero", &format!("of={golden}"), "bs=4096", "count=1", "conv=nocreat,notrunc,fsync"], PATIENCE);

        let logical = bed.kind().is_logical();
        if logical {
            assert_ne!(written.unwrap().code, Some(0), "a template in {} was written to", bed.pool.pool());
            assert_eq!(bed.sum(&golden), bed.expected(&bytes, 8 * MIB));
        }
        let sum = bed.sum(&golden);
        let backing = Some((golden.as_str(), VolumeFormat::Raw));
        let (format, capacity) = if logical { (VolumeFormat::Raw, 8) } else { (VolumeFormat::Qcow2, 20) };
        let capacity = if matches!(bed.kind(), PoolKind::Thin { .. }) { 20 } else { capacity };
        let room = (bed.kind() == PoolKind::Thick).then_some(ByteSize(4 * MIB));
        let path = bed.pool.create(&NewVolume { backing, format, room, ..raw(&web, capacity * MIB) }).unwrap();
        let image = format!("-f {} {path}", format.as_str());
        let options = format!(
            "driver={},file.driver={},file.filename={path}",
            format.as_str(),
            if logical { "host_device" } else { "file" }
        );
        assert_eq!(bed.sh(&format!("qemu-img convert --image-opts {options} -O raw /tmp/{web}; head -c {} /tmp/{web} | cmp - {golden}; wc -c </tmp/{web}; rm /tmp/{web}", 8 * MIB)), format!("{}\n", capacity * MIB));
        bed.sh(&format!("qemu-io -c 'write -P 7 1M 1M' -c 'read -P 7 1M 1M' {image}"));
        assert_eq!(bed.sum(&golden), sum, "what stands on it has changed it");

        let volume = bed.pool.volume(&web).unwrap().unwrap();
        assert_eq!(volume.capacity, ByteSize(capacity * MIB));
        let room = volume.room.map(|room| (room.size, room.lost, room.used >= ByteSize(MIB) && room.used <= ByteSize(2 * MIB)));
        assert_eq!(room, (bed.kind() == PoolKind::Thick).then_some((ByteSize(4 * MIB), false, true)), "{volume:?}");
        bed.pool.delete(&web).unwrap();
        bed.pool.delete(&web).unwrap();
        bed.pool.delete(&gold).unwrap();
        assert_eq!(bed.pool.volume(&gold).unwrap(), None);
    });
}

#[test]
fn what_a_guest_discards_of_a_thin_clone_is_free_again() {
    on("bed1", "thin0", |bed| {
        let [gold, web] = ["gold", "web"].map(|name| bed.name(name));
        let golden = bed.pool.create(&NewVolume { protected: true, ..raw(&gold, 16 * MIB) }).unwrap();
        bed.pool.protect(&gold).unwrap();
        let backing = Some((golden.as_str(), VolumeFormat::Raw));
        let path = bed.pool.create(&NewVolume { backing, ..raw(&web, 16 * MIB) }).unwrap();
        let taken = || bed.pool.volume(&web).unwrap().unwrap().allocation;
        // As the emulator has a disk with discard='unmap'.
        bed.sh(&format!("qemu-io -f raw -d unmap -c 'write -P 7 0 8M' -c flush {path}"));
        assert_eq!(taken(), ByteSize(8 * MIB));
        bed.sh(&format!("qemu-io -f raw -d unmap -c 'discard 0 6M' -c flush {path}"));
        assert_eq!(taken(), ByteSize(2 * MIB));
    });
}

#[test]
fn a_build_disk_is_qcow2_everywhere() {
    in_each(|bed| {
        let [build, overlay] = ["build", "overlay"].map(|name| bed.name(name));
        let qcow2 = |name| NewVolume { format: VolumeFormat::Qcow2, ..raw(name, 8 * MIB) };
        let path = bed.pool.create(&qcow2(&build)).unwrap();
        // All of it, so that the tables are as large as they become.
        bed.sh(&format!("qemu-io -f qcow2 -c 'write -P 5 0 8M' {path}"));
        let backing = Some((path.as_str(), VolumeFormat::Qcow2));
        let on_it = bed.pool.create(&NewVolume { backing, ..qcow2(&overlay) }).unwrap();
        bed.sh(&format!("qemu-io -f qcow2 -c 'read -P 5 0 8M' -c 'write -P 6 0 8M' -c 'read -P 6 0 8M' {on_it}"));
        bed.sh(&format!("qemu-io -f qcow2 -c 'read -P 5 0 8M' {path}; qemu-img check -q -f qcow2 {on_it}"));
    });
}

#[test]
fn names_are_taken_once() {
    in_each(|bed| {
        let name = bed.name("twice");
        bed.pool.create(&raw(&name, MIB)).unwrap();
        let error = format!("{:#}", bed.pool.create(&raw(&name, MIB)).unwrap_err());
        assert!(error.contains("exist"), "{error}");
        let error = format!("{:#}", bed.pool.copy(&bed.name("none"), &raw(&bed.name("copy"), MIB)).unwrap_err());
        assert_eq!(error, format!("volume {} does not exist in pool {}", bed.name("none"), bed.pool.pool()));
        // Of two that race one makes it, and the other one says so.
        let raced = bed.name("raced");
        let both: Vec<bool> = thread::scope(|scope| {
            let one = || bed.pool.create(&raw(&raced, MIB)).is_ok();
            let threads: Vec<_> = (0..2).map(|_| scope.spawn(one)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(both.iter().filter(|made| **made).count(), 1, "{both:?}");
        assert!(bed.pool.volume(&raced).unwrap().is_some(), "the one that lost has removed what the other one made");
    });
}

#[test]
fn figures_add_up() {
    in_each(|bed| {
        let before = bed.pool.size().unwrap();
        let [one, two] = ["one", "two"].map(|name| bed.name(name));
        bed.pool.store(&one, 8 * MIB, &mut Cursor::new(noise(8 << 20))).unwrap();
        bed.pool.create(&raw(&two, 16 * MIB)).unwrap();
        let own: Vec<(String, u64)> = bed
            .pool
            .volumes()
            .unwrap()
            .into_iter()
            .filter(|volume| volume.name.starts_with(&bed.prefix))
            .map(|volume| (volume.name, volume.capacity.0))
            .collect();
        assert_eq!(own, [(one.clone(), 8 * MIB), (two.clone(), 16 * MIB)]);
        let size = bed.pool.size().unwrap();
        assert_eq!((size.capacity, &size.path), (before.capacity, &before.path));
        assert!(size.available < size.capacity);
    });
}

#[test]
fn names_that_lvm2_cannot_hold_are_refused() {
    for pool in ["vg0", "thin0"] {
        on("bed1", pool, |bed| {
            for name in ["snapshot1", "a_tdata", "-a", "a/b", &"x".repeat(119)] {
                let error = format!("{:#}", bed.pool.create(&raw(name, MIB)).unwrap_err());
                assert!(error.contains("cannot be the name of a logical volume: "), "{error}");
                assert_eq!(bed.pool.volume(name).unwrap(), None);
                bed.pool.delete(name).unwrap();
            }
            // The longest that is let is one that can be stood on.
            let hyphens = bed.prefix.matches('-').count();
            let longest = format!("{:x<1$}", bed.name("long"), 122 - pool.len() - 1 - hyphens);
            let path = bed.pool.create(&raw(&longest, MIB)).unwrap();
            let room = (pool == "vg0").then_some(ByteSize(MIB));
            let backing = Some((path.as_str(), VolumeFormat::Raw));
            let linked = bed.name("linked");
            bed.pool.create(&NewVolume { backing, room, ..raw(&linked, MIB) }).unwrap();
            bed.pool.delete(&linked).unwrap();
            bed.pool.delete(&longest).unwrap();
        });
    }
}

#[test]
fn what_is_somebody_elses_stays() {
    on("bed1", "vg0", |bed| {
        let [foreign, gold, web] = ["foreign", "gold", "web"].map(|name| bed.name(name));
        bed.sh(&format!("lvcreate -qq --yes --size 4M --name {foreign} vg0"));
        let error = format!("{:#}", bed.pool.delete(&foreign).unwrap_err());
        assert!(error.starts_with(&format!("removing volume {foreign}: vg0/{foreign} is not tpl's")), "{error}");
        assert!(bed.pool.protect(&foreign).is_err() && bed.pool.volume(&foreign).unwrap().is_some());
        bed.sh(&format!("lvremove -qq --yes vg0/{foreign}"));

        // lvm2 itself would take the snapshots along.
        let path = bed.pool.create(&raw(&gold, 4 * MIB)).unwrap();
        let backing = Some((path.as_str(), VolumeFormat::Raw));
        bed.pool.create(&NewVolume { backing, room: Some(ByteSize(4 * MIB)), ..raw(&web, 4 * MIB) }).unwrap();
        let error = format!("{:#}", bed.pool.delete(&gold).unwrap_err());
        assert_eq!(error, format!("removing volume {gold}: snapshots stand on it: {web}"));
        let select = format!("lvremove --yes --select 'lv_name=\"{gold}\" && lv_tags=tpl && lv_attr!~\"^[oO]\"' vg0");
        bed.sh(&select);
        assert!(bed.pool.volume(&gold).unwrap().is_some() && bed.pool.volume(&web).unwrap().is_some());
        bed.pool.delete(&web).unwrap();
        bed.pool.delete(&gold).unwrap();
    });
}

#[test]
fn a_snapshot_that_is_full_is_seen_to_be_lost() {
    on("bed1", "vg0", |bed| {
        let [gold, web] = ["gold", "web"].map(|name| bed.name(name));
        let path = bed.pool.create(&raw(&gold, 12 * MIB)).unwrap();
        let backing = Some((path.as_str(), VolumeFormat::Raw));
        let path = bed.pool.create(&NewVolume { backing, room: Some(ByteSize(4 * MIB)), ..raw(&web, 12 * MIB) }).unwrap();
        let room = || bed.pool.volume(&web).unwrap().unwrap().room.unwrap();
        assert!(!room().lost && room().used < ByteSize(MIB), "{:?}", room());
        let full = bed.shell.run(&["dd", "if=/dev/zero", &format!("of={path}"), "bs=1M", "oflag=direct"], PATIENCE).unwrap();
        assert_ne!(full.code, Some(0));
        assert!(room().lost, "{:?}", room());
        bed.pool.delete(&web).unwrap();
    });
}

#[test]
fn one_that_is_open_is_removed_when_it_is_closed() {
    for pool in ["vg0", "thin0"] {
        on("bed1", pool, |bed| {
            let name = bed.name("open");
            let path = bed.pool.create(&raw(&name, 4 * MIB)).unwrap();
            let began = Instant::now();
            bed.sh(&format!("sleep 4 <{path} >/dev/null 2>&1 &"));
            bed.pool.delete(&name).unwrap();
            assert!(began.elapsed().as_secs() >= 3, "{:?}", began.elapsed());
            assert_eq!(bed.pool.volume(&name).unwrap(), None);
        });
    }
}

#[test]
fn no_space_leaves_nothing() {
    on("bed1", "vg0", |bed| {
        let name = bed.name("huge");
        let error = format!("{:#}", bed.pool.create(&raw(&name, 1 << 44)).unwrap_err());
        assert!(error.contains("insufficient free space"), "{error}");
        assert_eq!(bed.pool.volume(&name).unwrap(), None);
    });
}
