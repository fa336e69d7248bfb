//! Sealing, shrinking and proving with the real libguestfs, on two small guests made here:
//!
//! - an MBR with a swap partition and an ext4 root, in a qcow2;
//! - a GPT with a boot partition and a volume group of a root and a swap volume behind it, raw.
//!
//! What was done is looked at with libguestfs itself, not with tpl's adapter. `TPL_TEST_ACCEL=kvm` makes it fast where KVM
//! works; the default is `tcg`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::{
    fs::File,
    path::{Path, PathBuf},
    time::Duration,
};

use guestfs::{AddDriveOptArgs, Handle, MkfsOptArgs, MkswapOptArgs};
use tpl::{
    core::{facts::VolumeFormat, manifest::Package, progress::Silent},
    host::{
        guest::{Access, Appliance, Libguestfs},
        image,
        process::{QEMU_IMG, run},
    },
    seal::{Layout, OperatingSystem, Selection, Shrunk, facts, seal, shrink, verify},
};

const MIB: u64 = 1 << 20;
/// Stands in every planted secret: not one byte of it may be left on the template's disk, in unused blocks neither.
const SECRET: &str = "TPL-PLANTED-SECRET";
const SWAP_UUID: &str = "0a0b0c0d-1111-2222-3333-444455556666";
const ROOT_UUID: &str = "e806fdc2-aa03-4c9a-b93a-a808bbb0c7b8";
const BOOT_UUID: &str = "12345678-aa03-4c9a-b93a-a808bbb0c7b8";

const PLANTED: [(&str, &str); 12] = [
    ("/etc/ssh/ssh_host_ed25519_key", "{SECRET} key"),
    ("/etc/machine-id", "0123456789abcdef0123456789abcdef\n"),
    ("/etc/shadow", "root:$6${SECRET}$hash:20778:0:99999:7:::\ndaemon:*:20778:0:99999:7:::\n"),
    ("/etc/shadow-", "root:$6${SECRET}$old:20778:0:99999:7:::\n"),
    ("/var/log/syslog", "booted\n"),
    ("/var/log/syslog.1", "booted before\n"),
    ("/var/log/journal/0123/system.journal", "journal"),
    ("/var/log/installer/cdebconf/questions.dat", "Value: {SECRET}\n"),
    ("/var/lib/dhcp/dhclient.eth0.leases", "lease"),
    ("/var/lib/systemd/random-seed", "{SECRET} seed"),
    ("/var/lib/cloud/instances/i-1/user-data.txt", "{SECRET}"),
    ("/root/.bash_history", "echo {SECRET}\n"),
];

const KEPT: [(&str, &str); 5] = [
    ("/etc/os-release", "ID=debian\nVERSION_ID=\"13\"\nPRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\n"),
    ("/etc/passwd", "root:x:0:0:root:/root:/bin/bash\n"),
    ("/var/lib/dpkg/status", "Package: base-files\nStatus: install ok installed\nVersion: 13.8\n\n"),
    ("/boot/vmlinuz-6.12", "kernel"),
    ("/boot/initrd.img-6.12", "initrd"),
];

fn appliance() -> Libguestfs {
    let accel = std::env::var("TPL_TEST_ACCEL").unwrap_or_else(|_| "tcg".to_owned());
    Libguestfs { tcg: accel != "kvm" }
}

/// libguestfs without tpl in between.
fn outside(disk: &Path, format: VolumeFormat, readonly: bool) -> Handle {
    let g = Handle::create().unwrap();
    g.set_backend("direct").unwrap();
    g.set_backend_settings(if appliance().tcg { &["force_tcg"] } else { &[] }).unwrap();
    let options = AddDriveOptArgs { readonly: Some(readonly), format: Some(format.as_str()), ..AddDriveOptArgs::default() };
    g.add_drive(disk.to_str().unwrap(), options).unwrap();
    g.launch().unwrap();
    g
}

fn mkfs(g: &Handle, device: &str, uuid: &str) {
    let options = MkfsOptArgs { blocksize: None, features: None, inode: None, sectorsize: None, label: None };
    g.mkfs("ext4", device, options).unwrap();
    g.set_e2uuid(device, uuid).unwrap();
}

/// Fills a mounted guest and gives the checksums of what must stay as it is.
fn plant(g: &Handle, fstab: &str, grub: &str) -> String {
    for (path, text) in PLANTED.iter().chain(&KEPT).chain(&[("/etc/fstab", fstab), ("/boot/grub/grub.cfg", grub)]) {
        g.mkdir_p(path.rsplit_once('/').map(|(folder, _)| if folder.is_empty() { "/" } else { folder }).unwrap()).unwrap();
        g.write(path, text.replace("{SECRET}", SECRET).as_bytes()).unwrap();
    }
    g.chmod(0o640, "/etc/shadow").unwrap();
    // The first blocks on the disk are given up again, so that shrinking has something to move.
    g.mkdir_p("/usr/share/data").unwrap();
    g.fill(0x61, 40 << 20, "/usr/share/given-up").unwrap();
    g.fill_dir("/usr/share/data", 300).unwrap();
    g.fill(0x62, 30 << 20, "/usr/share/blob").unwrap();
    g.rm("/usr/share/given-up").unwrap();
    g.sync().unwrap();
    checksums(g)
}

fn checksums(g: &Handle) -> String {
    let list = tempfile::NamedTempFile::new().unwrap();
    g.checksums_out("sha256", "/usr", list.path().to_str().unwrap()).unwrap();
    std::fs::read_to_string(list.path()).unwrap()
}

/// Everything that a build does with an installed disk: the template's volume and its size.
fn make_template(disk: &Path, format: VolumeFormat) -> (PathBuf, u64) {
    let guest = appliance().open(disk, format, Access::ThrowAway, &Silent).unwrap();
    let layout = Layout::mount(&*guest).unwrap();
    let sealed = seal(&*guest, &Selection::default(), &Silent).unwrap();
    assert!(sealed.operations.len() > 20);
    let facts = facts(&*guest).unwrap();
    let os = ["debian", "13", "Debian GNU/Linux 13 (trixie)", ""].map(str::to_owned);
    let [id, version, name, like] = os;
    assert_eq!(facts.os, OperatingSystem { id, version, name, like });
    assert_eq!(facts.packages, [Package { name: "base-files".to_owned(), version: "13.8".to_owned() }]);
    let shrunk = shrink(&*guest, &layout, &Silent).unwrap();
    guest.close().unwrap();
    let Shrunk::To(size) = shrunk else { panic!("{shrunk:?}") };
    let volume = disk.with_extension("volume");
    File::create(&volume).unwrap().set_len(size).unwrap();
    image::copy(disk, format, &volume, size).unwrap();
    let digest = image::digest(&volume, size, &Silent).unwrap();
    assert_eq!(digest.virtual_size(), size);
    assert!(!find(&volume, SECRET.as_bytes()), "a planted secret is still on the disk");
    (volume, size)
}

fn find(path: &Path, text: &[u8]) -> bool {
    let bytes = std::fs::read(path).unwrap();
    bytes.windows(text.len()).any(|window| window == text)
}

fn prove(volume: &Path) {
    let guest = appliance().open(volume, VolumeFormat::Raw, Access::ReadOnly, &Silent).unwrap();
    let layout = Layout::mount(&*guest).unwrap();
    let broken: Vec<_> = verify(&*guest, &layout).unwrap().into_iter().filter(|invariant| invariant.holds.is_err()).collect();
    guest.close().unwrap();
    assert_eq!(broken, []);
}

/// Looks at a template's root from outside: checked, files unchanged, small, with room.
fn inspect(g: &Handle, root: &str, before: &str, size: u64) {
    assert_eq!(g.fsck("ext4", root).unwrap(), 0);
    g.mount_ro(root, "/").unwrap();
    assert_eq!(checksums(g), before);
    assert_eq!(g.cat("/etc/shadow").unwrap(), "root:!*:20778:0:99999:7:::\ndaemon:*:20778:0:99999:7:::\n");
    assert_eq!(g.stat("/etc/shadow").unwrap().mode & 0o7777, 0o640);
    assert_eq!(g.filesize("/etc/machine-id").unwrap(), 0);
    let stat = g.statvfs("/").unwrap();
    let (used, free) = (((stat.blocks - stat.bfree) * stat.frsize) as u64, (stat.bfree * stat.frsize) as u64);
    assert!(size <= used * 5 / 4 + 256 * MIB, "{size} bytes for {used} in use");
    assert!(free >= 48 * MIB, "{free} bytes are free");
    g.umount_all().unwrap();
}

#[test]
fn an_mbr_with_an_ext4_root() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk.qcow2");
    run(QEMU_IMG, &["create", "-q", "-f", "qcow2", disk.to_str().unwrap(), "1G"], Duration::from_secs(60)).unwrap();
    let g = outside(&disk, VolumeFormat::Qcow2, false);
    g.part_init("/dev/sda", "mbr").unwrap();
    g.part_add("/dev/sda", "p", 2048, 67_583).unwrap();
    g.part_add("/dev/sda", "p", 67_584, 2_095_103).unwrap();
    g.part_set_mbr_id("/dev/sda", 1, 0x82).unwrap();
    g.part_set_bootable("/dev/sda", 2, true).unwrap();
    g.pwrite_device("/dev/sda", &[0x90; 440], 0).unwrap();
    let table = g.pread_device("/dev/sda", 512, 0).unwrap();
    g.mkswap("/dev/sda1", MkswapOptArgs { label: Some("swap"), uuid: Some(SWAP_UUID) }).unwrap();
    g.pwrite_device("/dev/sda1", SECRET.as_bytes(), MIB as i64).unwrap();
    mkfs(&g, "/dev/sda2", ROOT_UUID);
    g.mount("/dev/sda2", "/").unwrap();
    let fstab = format!("UUID={ROOT_UUID} / ext4 errors=remount-ro 0 1\nUUID={SWAP_UUID} none swap sw 0 0\n");
    let grub = format!(
        "search --no-floppy --fs-uuid --set=root {ROOT_UUID}\nlinux /boot/vmlinuz-6.12 root=UUID={ROOT_UUID} ro\ninitrd /boot/initrd.img-6.12\n"
    );
    let before = plant(&g, &fstab, &grub);
    g.shutdown().unwrap();
    drop(g);

    let (volume, size) = make_template(&disk, VolumeFormat::Qcow2);
    prove(&volume);

    let g = outside(&volume, VolumeFormat::Raw, true);
    let after = g.pread_device("/dev/sda", 512, 0).unwrap();
    // Boot code, signature and first partition; of the second, all but its end.
    assert!(after[..467] == table[..467] && after[470..474] == table[470..474] && after[478..] == table[478..]);
    assert!(g.part_get_bootable("/dev/sda", 2).unwrap());
    let partitions = g.part_list("/dev/sda").unwrap();
    assert_eq!(partitions.iter().map(|partition| partition.part_start).collect::<Vec<_>>(), [MIB, 33 * MIB]);
    assert_eq!(partitions[1].part_end + 1, size);
    assert_eq!(g.vfs_uuid("/dev/sda1").unwrap(), SWAP_UUID);
    assert_eq!(g.vfs_label("/dev/sda1").unwrap(), "swap");
    inspect(&g, "/dev/sda2", &before, size);
}

#[test]
fn a_gpt_with_a_volume_group() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk.raw");
    File::create(&disk).unwrap().set_len(1024 * MIB).unwrap();
    let g = outside(&disk, VolumeFormat::Raw, false);
    g.part_init("/dev/sda", "gpt").unwrap();
    g.part_add("/dev/sda", "p", 2048, 133_119).unwrap();
    g.part_add("/dev/sda", "p", 133_120, 2_095_103).unwrap();
    let guid = g.part_get_gpt_guid("/dev/sda", 2).unwrap();
    mkfs(&g, "/dev/sda1", BOOT_UUID);
    g.pvcreate("/dev/sda2").unwrap();
    g.vgcreate("debian-vg", &["/dev/sda2"]).unwrap();
    g.lvcreate("root", "debian-vg", 800).unwrap();
    g.lvcreate("swap_1", "debian-vg", 64).unwrap();
    g.mkswap("/dev/debian-vg/swap_1", MkswapOptArgs { label: None, uuid: Some(SWAP_UUID) }).unwrap();
    g.pwrite_device("/dev/debian-vg/swap_1", SECRET.as_bytes(), MIB as i64).unwrap();
    mkfs(&g, "/dev/debian-vg/root", ROOT_UUID);
    g.mount("/dev/debian-vg/root", "/").unwrap();
    g.mkdir("/boot").unwrap();
    g.mount("/dev/sda1", "/boot").unwrap();
    let fstab = format!(
        "/dev/mapper/debian--vg-root / ext4 errors=remount-ro 0 1\nUUID={BOOT_UUID} /boot ext4 defaults 0 2\n\
         /dev/mapper/debian--vg-swap_1 none swap sw 0 0\n/dev/sr0 /media/cdrom0 udf,iso9660 user,noauto 0 0\n"
    );
    let grub = format!(
        "search --no-floppy --fs-uuid --set=root {BOOT_UUID}\nlinux /vmlinuz-6.12 root=/dev/mapper/debian--vg-root ro\ninitrd /initrd.img-6.12\n"
    );
    let before = plant(&g, &fstab, &grub);
    g.shutdown().unwrap();
    drop(g);

    let (volume, size) = make_template(&disk, VolumeFormat::Raw);
    prove(&volume);

    let g = outside(&volume, VolumeFormat::Raw, true);
    assert_eq!(g.part_get_parttype("/dev/sda").unwrap(), "gpt");
    assert_eq!(g.part_get_gpt_guid("/dev/sda", 2).unwrap(), guid);
    assert_eq!(g.lvs().unwrap(), ["/dev/debian-vg/root", "/dev/debian-vg/swap_1"]);
    assert_eq!(g.vfs_uuid("/dev/debian-vg/swap_1").unwrap(), SWAP_UUID);
    assert_eq!(g.blockdev_getsize64("/dev/debian-vg/swap_1").unwrap(), 64 * MIB as i64);
    inspect(&g, "/dev/debian-vg/root", &before, size);
}
