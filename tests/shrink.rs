//! Shrinking with the real libguestfs, on one disk of each layout that an installer makes, full of what is easily lost: hard
//! links, ACLs, labels, capabilities, holes, devices, strange names, times. Four launches for all disks together:
//!
//! 1. they are made, and every file is written down, by the appliance's own programs (tests/shrink/*.sh);
//! 2. tpl shrinks them, in overlays as a build does it;
//! 3. tpl looks at the templates, and grows some of them, as a clone's disk grows;
//! 4. every file is written down again, and every filesystem checked, without tpl in between.
//!
//! `TPL_TEST_ACCEL=kvm` makes it fast where KVM works; the default is `tcg`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

#[path = "shrink/layouts.rs"]
mod layouts;

use std::{
    fs::{File, OpenOptions},
    path::{Path, PathBuf},
    time::Duration,
};

use guestfs::{AddDriveOptArgs, Handle};
use tpl::{
    core::{facts::VolumeFormat, progress::Silent},
    host::{
        guest::{Access, Appliance, Checker, DISK, Libguestfs, Mount},
        image,
        process::{QEMU_IMG, run},
    },
    seal::{Layout, Shrunk, overlay_size, probe::Kind, shrink},
};

use layouts::{DISK_SIZE, Disk, disks};

const MIB: u64 = 1 << 20;
const FILL: &str = include_str!("shrink/fill.sh");
const LIST: &str = include_str!("shrink/list.sh");
const IDENTITY: &str = include_str!("shrink/identity.sh");
const CHECK: &str = include_str!("shrink/check.sh");

fn appliance() -> Libguestfs {
    let accel = std::env::var("TPL_TEST_ACCEL").unwrap_or_else(|_| "tcg".to_owned());
    Libguestfs { tcg: accel != "kvm" }
}

/// libguestfs without tpl in between, with these disks.
fn outside(disks: &[PathBuf], readonly: bool) -> Handle {
    let g = Handle::create().unwrap();
    g.set_backend("direct").unwrap();
    g.set_backend_settings(if appliance().tcg { &["force_tcg"] } else { &[] }).unwrap();
    for (index, disk) in disks.iter().enumerate() {
        let label = label(index);
        let options = AddDriveOptArgs {
            readonly: Some(readonly),
            format: Some("raw"),
            cachemode: (!readonly).then_some("unsafe"),
            label: Some(&label),
            ..AddDriveOptArgs::default()
        };
        g.add_drive(disk.to_str().unwrap(), options).unwrap();
    }
    g.launch().unwrap();
    g
}

/// Runs a script in the appliance; what it said.
fn sh(g: &Handle, script: &str, args: &[&str]) -> String {
    let quoted = |word: &str| format!("'{}'", word.replace('\'', r"'\''"));
    let args_text: String = args.iter().map(|arg| format!(" {}", quoted(arg))).collect();
    // libguestfs gives only a part of what a program that failed has said.
    let all = format!(
        "sh -c {} test{args_text} >/tmp/said 2>&1 || {{ echo FAILED $?; dmesg | tail -n 5; }}; cat -v /tmp/said",
        quoted(script)
    );
    let words = [all.as_str()];
    let said = g.debug("sh", &words).unwrap_or_else(|error| panic!("{error:?}"));
    assert!(!said.starts_with("FAILED"), "{script}\n{args:?}\n{said}");
    said
}

/// Mounts a guest's tree and says everything about its files.
fn list(g: &Handle, disk: &Disk, device: &str) -> String {
    let mounts: String = disk.mounts.iter().map(|(spec, at)| format!("{}\n", mount_line(device, spec, at))).collect();
    sh(g, &format!("set -e; mkdir -p /tmp/root; cd /\n{mounts}"), &[]);
    let listed = sh(g, LIST, &["/tmp/root"]);
    sh(g, "cd /; umount -R /tmp/root", &[]);
    listed
}

/// Read-only and without replaying a journal, for what is read-only as a whole.
fn mount_line(device: &str, spec: &str, at: &str) -> String {
    let (spec, options) = spec.split_once(' ').unwrap_or((spec, "defaults"));
    format!("mkdir -p /tmp/root{at}; mount -o {options} {} /tmp/root{at}", on(device, spec))
}

/// A device of a layout by its name on that disk: `1` is the first partition, `vg/root` a volume.
fn on(device: &str, spec: &str) -> String {
    if spec.contains('/') { format!("/dev/{spec}") } else { format!("{device}{spec}") }
}

/// Makes a disk as its layout says, fills it, and writes down what is there.
fn make(g: &Handle, disk: &Disk, device: &str) -> (String, String) {
    let script = disk.make.replace("DISK", device);
    sh(g, &format!("set -e\n{script}\nudevadm settle"), &[]);
    let mounts: String = disk.mounts.iter().map(|(spec, at)| format!("{}\n", mount_line(device, spec, at))).collect();
    sh(g, &format!("set -e; mkdir -p /tmp/root; cd /\n{mounts}"), &[]);
    sh(g, FILL, &["/tmp/root", disk.fill]);
    let fstab: String = disk.fstab.iter().map(|line| format!("{line}\n")).collect();
    sh(g, "printf %s \"$1\" >/tmp/root/etc/fstab; cd /; umount -R /tmp/root", &[&fstab]);
    let identity = identity(g, disk, device);
    (list(g, disk, device), identity)
}

fn identity(g: &Handle, disk: &Disk, device: &str) -> String {
    let devices: Vec<String> = disk.volumes.iter().map(|spec| on(device, spec)).collect();
    let devices: Vec<&str> = devices.iter().map(String::as_str).collect();
    sh(g, IDENTITY, &devices)
}

fn label(index: usize) -> String {
    format!("test{}", char::from(b'a' + index as u8))
}

/// The kernel's own name of a disk: it finds them in any order, and only libguestfs's calls know that.
fn device(g: &Handle, index: usize) -> String {
    sh(g, "udevadm settle; readlink -f \"/dev/disk/guestfs/$1\"", &[&label(index)]).trim().to_owned()
}

/// Compares two texts line by line: the first lines that differ say more than both texts.
fn same(name: &str, before: &str, after: &str) {
    let differ: Vec<_> = before.lines().zip(after.lines()).filter(|(before, after)| before != after).take(8).collect();
    assert!(before == after, "{name}: {} lines, then {}: {differ:#?}", before.lines().count(), after.lines().count());
}

fn overlay(disk: &Path) -> PathBuf {
    let overlay = disk.with_extension("overlay");
    let (size, backing) = (overlay_size(DISK_SIZE).to_string(), disk.to_str().unwrap());
    let args = ["create", "-q", "-f", "qcow2", "-F", "raw", "-b", backing, overlay.to_str().unwrap(), &size];
    run(QEMU_IMG, &args, Duration::from_secs(60)).unwrap();
    overlay
}

/// Shrinks every disk as a build does it, and gives the templates' volumes and their sizes.
fn templates(files: &[PathBuf]) -> Vec<(PathBuf, u64)> {
    let overlays: Vec<_> = files.iter().map(|file| (overlay(file), VolumeFormat::Qcow2)).collect();
    let mut sizes = Vec::new();
    appliance()
        .each(&overlays, Access::ThrowAway, &Silent, &mut |index, guest| {
            let started = std::time::Instant::now();
            let layout = Layout::mount_within(guest, DISK_SIZE)?;
            let shrunk = shrink(guest, &layout, &Silent)?;
            eprintln!("{}: {shrunk:?} in {:?}", files[index].display(), started.elapsed());
            let Shrunk::To(size) = shrunk else { panic!("{}: {shrunk:?}", files[index].display()) };
            sizes.push(size);
            Ok(())
        })
        .unwrap();
    let copy = |((overlay, format), size): (&(PathBuf, VolumeFormat), u64)| {
        let volume = overlay.with_extension("volume");
        File::create(&volume).unwrap().set_len(size).unwrap();
        image::copy(overlay, *format, &volume, size).unwrap();
        (volume, size)
    };
    overlays.iter().zip(sizes).map(copy).collect()
}

/// Holds each template's size against its use, and grows those whose layout says so, as a clone grows.
fn look_and_grow(disks: &[Disk], templates: &[(PathBuf, u64)]) {
    for ((volume, size), disk) in templates.iter().zip(disks) {
        let more = if disk.grow.is_empty() { 0 } else { 256 * MIB };
        OpenOptions::new().write(true).open(volume).unwrap().set_len(size + more).unwrap();
    }
    let volumes: Vec<_> = templates.iter().map(|(volume, _)| (volume.clone(), VolumeFormat::Raw)).collect();
    appliance()
        .each(&volumes, Access::Keep, &Silent, &mut |index, guest| {
            let (disk, size) = (&disks[index], templates[index].1);
            let layout = Layout::mount(guest)?;
            let mut used = 0;
            for (position, mount) in layout.mounts.iter().enumerate() {
                if layout.mounts[..position].iter().all(|other| other.device != mount.device) {
                    used += guest.usage(&mount.mount_point)?.used;
                }
            }
            for swap in layout.volumes.iter().filter(|volume| volume.holds(Kind::Swap)) {
                used += guest.device_size(&swap.device)?;
            }
            let limit = used * 5 / 4 + 256 * MIB;
            eprintln!("{}: {} MiB for {} MiB in use, limit {}", disk.name, size / MIB, used / MIB, limit / MIB);
            assert!(size <= limit, "{}: {size} bytes for {used} in use", disk.name);
            let root = layout.mounts[0].clone();
            let before = guest.usage("/")?.size;
            guest.unmount_all()?;
            let kind = layout.volumes.iter().find(|volume| volume.device == root.device).unwrap().content.as_ref().unwrap().kind;
            let checker = match kind {
                Kind::Xfs => Checker::Xfs,
                Kind::Btrfs => Checker::Btrfs,
                _ => Checker::Ext,
            };
            assert_eq!(guest.check(&root.device, checker)?, None, "{}", disk.name);
            match disk.grow {
                "" => return Ok(()),
                "disk" => {}
                number => guest.grow_partition(number.parse()?)?,
            }
            if root.device.matches('/').count() == 3 {
                guest.grow_volume(&format!("{DISK}{}", disk.grow), &root.device)?;
            }
            assert!(guest.grow_filesystem(&root)?);
            guest.mount(&Mount { mount_point: "/".to_owned(), ..root })?;
            assert!(guest.usage("/")?.size > before + 200 * MIB, "{}", disk.name);
            Ok(())
        })
        .unwrap();
}

#[test]
fn every_layout_gets_small_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let disks = disks();
    let file = |disk: &Disk| {
        let path = folder.path().join(disk.name);
        File::create(&path).unwrap().set_len(DISK_SIZE).unwrap();
        path
    };
    let files: Vec<_> = disks.iter().map(file).collect();
    let g = outside(&files, false);
    let before: Vec<_> = disks.iter().enumerate().map(|(index, disk)| make(&g, disk, &device(&g, index))).collect();
    g.shutdown().unwrap();
    drop(g);

    let templates = templates(&files);
    look_and_grow(&disks, &templates);

    let volumes: Vec<_> = templates.iter().map(|(volume, _)| volume.clone()).collect();
    let g = outside(&volumes, true);
    g.vg_activate_all(true).unwrap();
    for (index, (disk, (files, known))) in disks.iter().zip(&before).enumerate() {
        let device = device(&g, index);
        let devices: Vec<String> = disk.volumes.iter().map(|spec| on(&device, spec)).collect();
        sh(&g, CHECK, &devices.iter().map(String::as_str).collect::<Vec<_>>());
        same(disk.name, known, &identity(&g, disk, &device));
        same(disk.name, files, &list(&g, disk, &device));
    }
    g.shutdown().unwrap();
}

#[test]
fn an_encrypted_disk_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("luks");
    File::create(&disk).unwrap().set_len(64 * MIB).unwrap();
    let g = outside(std::slice::from_ref(&disk), false);
    let script = "udevadm settle; disk=$(readlink -f /dev/disk/guestfs/testa)
        printf 'label: dos\\nstart=2048, size=32768\\nstart=34816\\n' | sfdisk -q --lock=yes $disk; udevadm settle
        mkfs.ext4 -q ${disk}1; printf secret | cryptsetup -q luksFormat --pbkdf pbkdf2 --pbkdf-force-iterations 1000 ${disk}2 -";
    sh(&g, script, &[]);
    g.shutdown().unwrap();
    drop(g);
    let guest = appliance().open(&disk, VolumeFormat::Raw, Access::ThrowAway, &Silent).unwrap();
    let error = Layout::mount(&*guest).unwrap_err();
    guest.close().unwrap();
    let refusal = error.downcast_ref::<tpl::core::error::Refusal>().unwrap();
    assert_eq!(refusal.reasons, ["the guest's disk is encrypted (LUKS on /dev/sda2): it cannot be sealed"]);
}
