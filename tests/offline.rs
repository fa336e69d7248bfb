//! Offline identity with the real libguestfs: two clones of a guest with LVM inside, whose volume groups have one name and one
//! UUID, and a clone of another guest, all in one launch.
//!
//! - Debian-like: a volume group, ifupdown, sudo;
//! - Red Hat-like: an ext4 root on a partition, NetworkManager, SELinux, no sudo; with an extra disk.
//!
//! What was written is looked at with libguestfs itself, not with tpl's adapter. `TPL_TEST_ACCEL=kvm` makes it fast where KVM
//! works; the default is `tcg`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on panics")]

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::Duration,
};

use guestfs::{Handle, MkfsOptArgs};
use tpl::{
    core::{
        digest::ChunkList,
        facts::VolumeFormat,
        names::{UserName, VmName},
        progress::Silent,
        secret::Secret,
        seed::machine_id,
        ssh_key::PublicKey,
        vm_spec::FileSystem,
    },
    host::{
        guest::Libguestfs,
        image,
        process::{QEMU_IMG, run},
    },
    offline::{CardAddress, CardConfig, ExtraDisk, Identity, Target, User, write_all},
};
use uuid::Uuid;

use offline::appliance::{outside, tcg};

mod offline {
    pub mod appliance;
    pub mod bootable;
}

const MIB: u64 = 1 << 20;
const SIZE: u64 = 160 * MIB;
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

const DEBIAN: [(&str, &str); 14] = [
    ("/etc/os-release", "ID=debian\nVERSION_ID=\"13\"\n"),
    ("/etc/debian_version", "13.1\n"),
    ("/etc/fstab", "/dev/mapper/debian--vg-root / ext4 errors=remount-ro 0 1\n"),
    ("/etc/passwd", "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n"),
    ("/etc/shadow", "root:!*:20000:0:99999:7:::\ndaemon:*:20000:0:99999:7:::\n"),
    ("/etc/group", "root:x:0:\nsudo:x:27:\n"),
    ("/etc/gshadow", "root:*::\nsudo:*::\n"),
    ("/etc/hosts", "127.0.0.1\tlocalhost\n127.0.1.1\ttemplate.lab\ttemplate\n::1\tlocalhost\n"),
    (
        "/etc/network/interfaces",
        "source /etc/network/interfaces.d/*\n\nauto lo\niface lo inet loopback\n\niface enp1s0 inet dhcp\n",
    ),
    ("/usr/sbin/ifup", "#!"),
    ("/bin/bash", "#!"),
    ("/etc/sudoers", "@includedir /etc/sudoers.d\n"),
    ("/etc/skel/.bashrc", "alias ll='ls -l'\n"),
    ("/usr/share/zoneinfo/Europe/Vienna", "TZif"),
];

const RED_HAT: [(&str, &str); 9] = [
    ("/etc/os-release", "ID=rocky\nID_LIKE=\"rhel centos fedora\"\n"),
    ("/etc/fstab", "UUID=none /mnt ext4 noauto 0 0\n"),
    ("/etc/passwd", "root:x:0:0:root:/root:/bin/bash\nrocky:x:1000:1000::/home/rocky:/bin/bash\n"),
    ("/etc/shadow", "root:!!:20000::::::\nrocky:!!:20000:0:99999:7:::\n"),
    ("/etc/group", "root:x:0:\nrocky:x:1000:\n"),
    ("/etc/hosts", "127.0.0.1 localhost\n"),
    ("/etc/systemd/system/multi-user.target.wants/NetworkManager.service", "[Unit]\n"),
    ("/etc/selinux/config", "SELINUX=enforcing\n"),
    ("/home/rocky/.ssh/authorized_keys", "ssh-rsa of-the-pipeline\n"),
];

fn fill(g: &Handle, device: &str, files: &[(&str, &str)]) {
    let options = MkfsOptArgs { blocksize: None, features: None, inode: None, sectorsize: None, label: None };
    g.mkfs("ext4", device, options).unwrap();
    g.mount(device, "/").unwrap();
    let folders = ["/etc/ssh", "/etc/sudoers.d", "/var/lib/dbus", "/home", "/root"];
    folders.iter().for_each(|folder| g.mkdir_p(folder).unwrap());
    for (path, text) in files {
        g.mkdir_p(path.rsplit_once('/').unwrap().0).unwrap();
        g.write(path, text.as_bytes()).unwrap();
    }
    g.chmod(0o640, "/etc/shadow").unwrap();
    for path in ["/etc/machine-id", "/etc/ssh/ssh_host_rsa_key", "/etc/ssh/ssh_host_rsa_key.pub", "/var/lib/dbus/machine-id"] {
        g.touch(path).unwrap();
    }
    g.umount_all().unwrap();
}

/// The two sealed templates.
fn templates(folder: &Path) -> (PathBuf, PathBuf) {
    let (debian, red_hat) = (folder.join("debian.raw"), folder.join("red-hat.raw"));
    for path in [&debian, &red_hat] {
        File::create(path).unwrap().set_len(SIZE).unwrap();
    }
    let g = outside(&[(&debian, VolumeFormat::Raw), (&red_hat, VolumeFormat::Raw)], false);
    for disk in ["/dev/sda", "/dev/sdb"] {
        g.part_disk(disk, "gpt").unwrap();
    }
    g.pvcreate("/dev/sda1").unwrap();
    g.vgcreate("debian-vg", &["/dev/sda1"]).unwrap();
    g.lvcreate("root", "debian-vg", 128).unwrap();
    fill(&g, "/dev/debian-vg/root", &DEBIAN);
    fill(&g, "/dev/sdb1", &RED_HAT);
    g.shutdown().unwrap();
    (debian, red_hat)
}

fn digests(debian: &Path, red_hat: &Path) -> [ChunkList; 2] {
    [debian, red_hat].map(|path| image::digest(path, SIZE, &Silent).unwrap())
}

/// The size of the mounted root in MiB.
fn size(g: &Handle) -> i64 {
    let stat = g.statvfs("/").unwrap();
    stat.blocks * stat.frsize / MIB as i64
}

fn overlay(base: &Path, name: &str) -> PathBuf {
    let path = base.with_file_name(format!("{name}.qcow2"));
    let args = ["create", "-q", "-f", "qcow2", "-F", "raw", "-b", base.to_str().unwrap(), path.to_str().unwrap()];
    run(QEMU_IMG, &args, Duration::from_secs(60)).unwrap();
    path
}

fn holds(path: &Path, text: &str) -> bool {
    fs::read(path).unwrap().windows(text.len()).any(|window| window == text.as_bytes())
}

/// A file's mode and owner.
fn look(g: &Handle, path: &str) -> String {
    let stat = g.lstatns(path).unwrap();
    format!("{:o} {}:{}", stat.st_mode & 0o7777, stat.st_uid, stat.st_gid)
}

struct Person {
    name: VmName,
    uuid: Uuid,
    user: UserName,
    keys: Vec<PublicKey>,
    private: Secret<String>,
    public: String,
    hash: Secret<String>,
}

impl Person {
    fn new(name: &str, user: &str, number: u128) -> Self {
        Self {
            name: name.parse().unwrap(),
            uuid: Uuid::from_u128(0x0a1b_2c3d_4e5f_4071_8293_a4b5_c6d7_0000 + number),
            user: user.parse().unwrap(),
            keys: vec![format!("{KEY} operator-of-{name}").parse().unwrap()],
            private: Secret::new(format!("private-key-of-{name}\n")),
            public: format!("{KEY} root@{name}"),
            hash: Secret::new(format!("$6$salt$hash-of-{name}")),
        }
    }

    fn identity(&self, mac: &str) -> Identity<'_> {
        let user = User { name: &self.user, keys: &self.keys, password_hash: Some(&self.hash), groups: &[], sudo: true };
        Identity {
            name: &self.name,
            domain: None,
            uuid: self.uuid,
            users: vec![user],
            host_key: (&self.private, &self.public),
            cards: vec![CardConfig {
                mac: mac.parse().unwrap(),
                address: CardAddress::Dhcp,
                nameservers: vec![],
                search: vec![],
            }],
            timezone: None,
            locale: None,
            files: vec![],
            disks: vec![],
        }
    }
}

fn assert_files(g: &Handle, expected: &[(&str, &str, String)]) {
    for (path, meta, text) in expected {
        assert_eq!((look(g, path).as_str(), &g.cat(path).unwrap()), (*meta, text), "{path}");
    }
}

fn assert_debian(g: &Handle, person: &Person, mac: &str) {
    let (name, key) = (&person.name, &person.keys[0]);
    let hosts = format!("127.0.0.1\tlocalhost\n127.0.1.1\t{name}\n::1\tlocalhost\n");
    let interfaces = "source /etc/network/interfaces.d/*\nauto lo\niface lo inet loopback\n\nauto eth0\niface eth0 inet dhcp\n";
    assert_files(
        g,
        &[
            ("/etc/hostname", "644 0:0", format!("{name}\n")),
            ("/etc/hosts", "644 0:0", hosts),
            ("/etc/machine-id", "444 0:0", format!("{}\n", machine_id(person.uuid))),
            ("/etc/ssh/ssh_host_ed25519_key", "600 0:0", person.private.expose().clone()),
            ("/etc/ssh/ssh_host_ed25519_key.pub", "644 0:0", format!("{}\n", person.public)),
            ("/etc/passwd", "644 0:0", format!("{}admin:x:1000:1000::/home/admin:/bin/bash\n", DEBIAN[3].1)),
            ("/etc/shadow", "640 0:0", format!("{}admin:{}::0:99999:7:::\n", DEBIAN[4].1, person.hash.expose())),
            ("/etc/group", "644 0:0", format!("{}admin:x:1000:\n", DEBIAN[5].1)),
            ("/etc/gshadow", "644 0:0", format!("{}admin:!::\n", DEBIAN[6].1)),
            ("/home/admin/.ssh/authorized_keys", "600 1000:1000", format!("{key}\n")),
            ("/home/admin/.bashrc", "644 1000:1000", DEBIAN[12].1.to_owned()),
            ("/etc/sudoers.d/90-tpl", "440 0:0", "admin ALL=(ALL) NOPASSWD:ALL\n".to_owned()),
            ("/etc/network/interfaces", "644 0:0", interfaces.to_owned()),
            ("/etc/systemd/network/05-tpl-0.link", "644 0:0", format!("[Match]\nMACAddress={mac}\n\n[Link]\nName=eth0\n")),
        ],
    );
    for (folder, meta) in [("/home/admin", "700 1000:1000"), ("/home/admin/.ssh", "700 1000:1000")] {
        assert_eq!(look(g, folder), meta, "{folder}");
    }
    assert_eq!(g.readlink("/var/lib/dbus/machine-id").unwrap(), "/etc/machine-id");
    assert_eq!(g.glob_expand("/etc/ssh/ssh_host_rsa*", guestfs::GlobExpandOptArgs { directoryslash: None }).unwrap(), [""; 0]);
}

fn assert_red_hat(g: &Handle, person: &Person) {
    let (name, key) = (&person.name, &person.keys[0]);
    let keyfile = g.cat("/etc/NetworkManager/system-connections/tpl-0.nmconnection").unwrap();
    assert!(keyfile.contains("\nmac-address=52:54:00:00:00:03\n"), "{keyfile}");
    assert_files(
        g,
        &[
            ("/etc/hostname", "644 0:0", format!("{name}\n")),
            ("/etc/NetworkManager/system-connections/tpl-0.nmconnection", "600 0:0", keyfile),
            ("/etc/passwd", "644 0:0", RED_HAT[2].1.to_owned()),
            ("/etc/shadow", "640 0:0", RED_HAT[3].1.replace("rocky:!!", &format!("rocky:{}", person.hash.expose()))),
            ("/home/rocky/.ssh/authorized_keys", "600 1000:1000", format!("ssh-rsa of-the-pipeline\n{key}\n")),
            ("/etc/fstab", "644 0:0", format!("{}LABEL=data /srv/data ext4 defaults,nofail 0 2\n", RED_HAT[1].1)),
            ("/.autorelabel", "644 0:0", String::new()),
        ],
    );
    assert!(g.is_dir("/srv/data", guestfs::IsDirOptArgs { followsymlinks: None }).unwrap());
    assert!(!g.exists("/etc/sudoers.d/90-tpl").unwrap());
}

#[test]
fn each_clone_gets_its_own_identity_and_nothing_of_anothers() {
    let folder = tempfile::tempdir().unwrap();
    let (debian, red_hat) = templates(folder.path());
    let before = digests(&debian, &red_hat);
    let people = [Person::new("lvm-one", "admin", 1), Person::new("lvm-two", "admin", 2), Person::new("plain", "rocky", 3)];
    let bases = [&debian, &debian, &red_hat];
    let disks: Vec<_> = people.iter().zip(bases).map(|(person, base)| overlay(base, person.name.as_str())).collect();
    // Two are larger than their templates.
    for (disk, size) in [(&disks[1], "400M"), (&disks[2], "300M")] {
        run(QEMU_IMG, &["resize", "-q", disk.to_str().unwrap(), size], Duration::from_secs(60)).unwrap();
    }
    let extra = folder.path().join("extra.raw");
    File::create(&extra).unwrap().set_len(32 * MIB).unwrap();

    let macs = ["52:54:00:00:00:01", "52:54:00:00:00:02", "52:54:00:00:00:03"];
    let mut clones: Vec<_> = people
        .iter()
        .zip(&disks)
        .zip(macs)
        .map(|((person, disk), mac)| Target { disk: disk.clone(), format: VolumeFormat::Qcow2, identity: person.identity(mac) })
        .collect();
    clones[2].identity.disks.push(ExtraDisk {
        path: extra.clone(),
        format: VolumeFormat::Raw,
        serial: "data".parse().unwrap(),
        filesystem: Some(FileSystem::Ext4),
        label: Some("data".parse().unwrap()),
        mount: Some("/srv/data".parse().unwrap()),
        options: None,
        force: false,
    });
    write_all(&Libguestfs { tcg: tcg() }, &clones, &Silent).unwrap();

    // Of another clone not even a byte that no file has.
    for (disk, own) in disks.iter().zip(&people) {
        for person in &people {
            assert_eq!(holds(disk, person.private.expose()), person.name == own.name, "{} of {}", person.name, own.name);
        }
    }
    assert!(before == digests(&debian, &red_hat), "a template was written to");

    let mut all: Vec<_> = disks.iter().map(|disk| (disk.as_path(), VolumeFormat::Qcow2)).collect();
    all.push((&extra, VolumeFormat::Raw));
    let g = outside(&all, true);
    let mut sizes = Vec::new();
    for (disk, person, mac) in [("/dev/sda", &people[0], macs[0]), ("/dev/sdb", &people[1], macs[1])] {
        g.lvm_set_filter(&[disk]).unwrap();
        g.mount_ro("/dev/debian-vg/root", "/").unwrap();
        assert_debian(&g, person, mac);
        sizes.push(size(&g));
        g.umount_all().unwrap();
    }
    g.mount_ro("/dev/sdc1", "/").unwrap();
    sizes.push(size(&g));
    assert!(sizes[0] < 128 && (340..400).contains(&sizes[1]) && (240..300).contains(&sizes[2]), "roots of {sizes:?} MiB");
    assert_red_hat(&g, &people[2]);
    g.umount_all().unwrap();
    assert_eq!((g.vfs_type("/dev/sdd").unwrap(), g.vfs_label("/dev/sdd").unwrap()), ("ext4".to_owned(), "data".to_owned()));
}
