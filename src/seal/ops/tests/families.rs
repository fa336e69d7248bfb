//! Trees as each family's installer leaves them: exactly what changes.

use super::run;
use crate::seal::{
    Selection,
    fake::FakeFiles,
    table::{Outcome, table},
};

/// Path, text before, and after; none where it is removed.
type Tree = &'static [(&'static str, &'static str, Option<&'static str>)];

const HASH: &str = "root:$6$salt$hash:20778:0:99999:7:::\n";
const LOCKED: &str = "root:!*:20778:0:99999:7:::\n";

/// subiquity and curtin, 22.04; not booted yet.
const UBUNTU: Tree = &[
    ("/etc/apt/apt.conf.d/90curtin-aptproxy", "Acquire::http::Proxy \"http://u:p@192.0.2.1\";\n", None),
    (
        "/etc/apt/sources.list",
        "deb http://mirror.example/ubuntu jammy main\n",
        Some("deb http://mirror.example/ubuntu jammy main\n"),
    ),
    ("/etc/apt/sources.list.curtin.old", "deb\n", None),
    ("/etc/cloud/cloud.cfg.d/50-curtin-networking.cfg", "network:\n", None),
    (
        "/etc/cloud/cloud.cfg.d/90-installer-network.cfg",
        "network:\n  ethernets:\n    enp1s0: {dhcp4: true}\n  version: 2\n",
        None,
    ),
    ("/etc/cloud/cloud.cfg.d/90_dpkg.cfg", "datasource_list: [ NoCloud, None ]\n", Some("datasource_list: [ NoCloud, None ]\n")),
    ("/etc/cloud/cloud.cfg.d/99-installer.cfg", "datasource:\n  None:\n    userdata_raw: hash\n", None),
    ("/etc/cloud/cloud.cfg.d/curtin-preserve-sources.cfg", "apt:\n", Some("apt:\n")),
    ("/etc/cloud/cloud.cfg.d/subiquity-disable-cloudinit-networking.cfg", "network: {config: disabled}\n", None),
    ("/etc/fstab", "/dev/disk/by-uuid/1 / ext4 defaults 0 1\n", Some("/dev/disk/by-uuid/1 / ext4 defaults 0 1\n")),
    ("/etc/hostname", "template\n", Some("localhost\n")),
    ("/etc/hosts", "127.0.0.1 localhost\n127.0.1.1 template\n", Some("127.0.0.1 localhost\n")),
    ("/etc/machine-id", "0123456789abcdef0123456789abcdef\n", Some("")),
    (
        "/etc/netplan/00-installer-config.yaml",
        "# This is the network config written by 'subiquity'\nnetwork:\n  ethernets:\n    enp1s0:\n      dhcp4: true\n  version: 2\n",
        None,
    ),
    (
        "/etc/netplan/60-storage.yaml",
        "network:\n  ethernets:\n    enp2s0:\n      match:\n        macaddress: 52:54:00:00:00:01\n      addresses: [192.0.2.9/24]\n  version: 2\n",
        Some(
            "network:\n  ethernets:\n    enp2s0:\n      match:\n        name: \"enp2s0\"\n      addresses: [192.0.2.9/24]\n  version: 2\n",
        ),
    ),
    ("/etc/os-release", "ID=ubuntu\nID_LIKE=debian\n", Some("ID=ubuntu\nID_LIKE=debian\n")),
    ("/etc/passwd", "root:x:0:0:root:/root:/bin/bash\n", Some("root:x:0:0:root:/root:/bin/bash\n")),
    ("/etc/shadow", HASH, Some(LOCKED)),
    ("/etc/shadow-", HASH, None),
    ("/etc/ssh/sshd_config.d/50-cloud-init.conf", "PasswordAuthentication no\n", Some("PasswordAuthentication no\n")),
    ("/etc/ssh/ssh_host_ed25519_key", "key", None),
    ("/etc/systemd/system/snapd.service.d/snap_proxy.conf", "[Service]\n", None),
    ("/run/cloud-init/instance-data.json", "{}", None),
    ("/var/lib/cloud/seed/nocloud-net/user-data", "hash", None),
    ("/var/lib/snapd/seed/seed.yaml", "snaps:\n", Some("snaps:\n")),
    ("/var/lib/systemd/random-seed", "seed", None),
    ("/var/lib/systemd/timers/stamp-fstrim.timer", "", None),
    ("/var/lib/update-notifier/updates-available", "12 updates\n", None),
    ("/var/log/apt/history.log", "log", Some("")),
    ("/var/log/installer/autoinstall-user-data", "hash", None),
    ("/var/log/installer/curtin-install.log", "log", None),
];

/// subiquity, 24.04, with an address that the pipeline asked for.
const UBUNTU_STATIC: Tree = &[
    (
        "/etc/cloud/cloud.cfg.d/90-installer-network.cfg",
        "network:\n  ethernets:\n    enp1s0:\n      match:\n        macaddress: 52:54:00:00:00:01\n      addresses: [192.0.2.9/24]\n",
        None,
    ),
    ("/etc/netplan/50-cloud-init.yaml", "network:\n", None),
    ("/etc/netplan/90-ours.yaml", "network:\n", Some("network:\n")),
    ("/etc/os-release", "ID=ubuntu\n", Some("ID=ubuntu\n")),
];

/// Anaconda, release 9, with a volume group.
const ROCKY: Tree = &[
    ("/boot/initramfs-0-rescue-01ab.img", "i", None),
    ("/boot/initramfs-5.14.0.img", "i", Some("i")),
    ("/boot/initramfs-5.14.0kdump.img", "i", None),
    ("/boot/loader/entries/01ab-0-rescue.conf", "e", None),
    ("/boot/loader/entries/01ab-5.14.0.conf", "e", Some("e")),
    ("/boot/vmlinuz-0-rescue-01ab", "k", None),
    (
        "/etc/NetworkManager/system-connections/bond0.nmconnection",
        "[connection]\nid=bond0\ntype=bond\n[ethernet]\nmac-address=52:54:00:00:00:01\n",
        Some("[connection]\nid=bond0\ntype=bond\n[ethernet]\n"),
    ),
    (
        "/etc/NetworkManager/system-connections/enp1s0.nmconnection",
        "[connection]\nid=enp1s0\nuuid=1\ntype=ethernet\nautoconnect-priority=-999\ninterface-name=enp1s0\n\n[ethernet]\n\n[ipv4]\nmethod=auto\n\n[ipv6]\naddr-gen-mode=eui64\nmethod=auto\n\n[proxy]\n",
        None,
    ),
    (
        "/etc/NetworkManager/system-connections/enp2s0.nmconnection",
        "[connection]\nid=enp2s0\ntype=ethernet\ninterface-name=enp2s0\n[ipv4]\naddress1=192.0.2.9/24\nmethod=manual\n",
        Some("[connection]\nid=enp2s0\ntype=ethernet\ninterface-name=enp2s0\n[ipv4]\naddress1=192.0.2.9/24\nmethod=manual\n"),
    ),
    ("/etc/hostname", "template\n", Some("localhost\n")),
    ("/etc/lvm/backup/rl", "contents\n", None),
    ("/etc/lvm/devices/system.devices", "IDTYPE=sys_serial IDNAME=x\n", None),
    ("/etc/machine-id", "0123456789abcdef0123456789abcdef\n", Some("")),
    ("/etc/os-release", "ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n", Some("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n")),
    ("/etc/pki/consumer/key.pem", "key", None),
    ("/etc/pki/product/69.pem", "p", Some("p")),
    ("/etc/resolv.conf", "# Generated by NetworkManager\nnameserver 192.0.2.1\n", Some("")),
    ("/etc/shadow", HASH, Some(LOCKED)),
    ("/etc/yum.repos.d/redhat.repo", "[x]\nsslclientkey=1\n", None),
    ("/etc/yum.repos.d/rocky.repo", "[baseos]\n", Some("[baseos]\n")),
    ("/root/anaconda-ks.cfg", "rootpw --iscrypted hash\n", None),
    ("/root/original-ks.cfg", "rootpw --iscrypted hash\n", None),
    ("/var/cache/dnf/x/repodata/primary.xml", "x", None),
    ("/var/lib/NetworkManager/secret_key", "k", None),
    ("/var/lib/NetworkManager/timestamps", "t", None),
    ("/var/lib/dnf/history.sqlite", "h", Some("h")),
    ("/var/lib/rhsm/facts/facts.json", "{}", None),
    ("/var/lib/rpm/rpmdb.sqlite", "r", Some("r")),
    ("/var/log/anaconda/anaconda.log", "log", None),
    ("/var/log/audit/audit.log", "log", Some("")),
];

/// Anaconda, release 7: interface scripts, and a rescue kernel in GRUB's own configuration.
const CENTOS_7: Tree = &[
    (
        "/boot/grub2/grub.cfg",
        "linux16 /vmlinuz-0-rescue-01ab root=/dev/mapper/x\n",
        Some("linux16 /vmlinuz-0-rescue-01ab root=/dev/mapper/x\n"),
    ),
    ("/boot/vmlinuz-0-rescue-01ab", "k", Some("k")),
    ("/etc/os-release", "ID=\"centos\"\nID_LIKE=\"rhel fedora\"\n", Some("ID=\"centos\"\nID_LIKE=\"rhel fedora\"\n")),
    (
        "/etc/sysconfig/network-scripts/ifcfg-eth0",
        "TYPE=Ethernet\nBOOTPROTO=dhcp\nNAME=eth0\nUUID=1\nDEVICE=eth0\nONBOOT=yes\nHWADDR=52:54:00:00:00:01\n",
        None,
    ),
    (
        "/etc/sysconfig/network-scripts/ifcfg-eth1",
        "BOOTPROTO=none\nIPADDR=192.0.2.9\nHWADDR=52:54:00:00:00:02\n",
        Some("BOOTPROTO=none\nIPADDR=192.0.2.9\n"),
    ),
    (
        "/etc/sysconfig/network-scripts/ifcfg-eth2",
        "# Created by cloud-init on instance boot automatically, do not edit.\nBOOTPROTO=dhcp\n",
        None,
    ),
    ("/etc/sysconfig/network-scripts/ifcfg-lo", "DEVICE=lo\nIPADDR=127.0.0.1\n", Some("DEVICE=lo\nIPADDR=127.0.0.1\n")),
    ("/var/lib/rpm/__db.001", "d", None),
];

/// debian-installer.
const DEBIAN: Tree = &[
    ("/etc/machine-id", "0123456789abcdef0123456789abcdef\n", Some("")),
    (
        "/etc/network/interfaces",
        "source /etc/network/interfaces.d/*\n\nauto lo\niface lo inet loopback\n\n# The primary network interface\nallow-hotplug enp1s0\niface enp1s0 inet dhcp\n",
        Some("source /etc/network/interfaces.d/*\n\nauto lo\niface lo inet loopback\n\n"),
    ),
    ("/etc/os-release", "ID=debian\n", Some("ID=debian\n")),
    ("/etc/popularity-contest.conf", "PARTICIPATE=\"no\"\nMY_HOSTID=\"1\"\n", Some("PARTICIPATE=\"no\"\n")),
    ("/etc/resolv.conf", "nameserver 192.0.2.1\n", Some("")),
    ("/etc/shadow", HASH, Some(LOCKED)),
    ("/var/cache/debconf/passwords.dat", "Value: hash\n", Some("")),
    ("/var/lib/dhcp/dhclient.enp1s0.leases", "lease", None),
    ("/var/log/installer/cdebconf/questions.dat", "Value: hash\n", None),
    ("/var/log/installer/syslog", "log", None),
];

/// The same with an address that the pipeline asked for.
const DEBIAN_STATIC: Tree = &[
    (
        "/etc/network/interfaces",
        "source x\niface enp1s0 inet static\n\taddress 192.0.2.9/24\n\thwaddress ether 52:54:00:00:00:01\n",
        Some("source x\niface enp1s0 inet static\n\taddress 192.0.2.9/24\n"),
    ),
    ("/etc/os-release", "ID=debian\n", Some("ID=debian\n")),
    ("/etc/resolv.conf", "nameserver 192.0.2.1\n", Some("nameserver 192.0.2.1\n")),
];

/// A vendor's cloud image, never booted: there is nothing to seal.
const CLOUD_IMAGE: Tree = &[
    ("/etc/cloud/cloud.cfg", "users: [default]\n", Some("users: [default]\n")),
    ("/etc/machine-id", "", Some("")),
    ("/etc/os-release", "ID=ubuntu\n", Some("ID=ubuntu\n")),
    ("/etc/shadow", "root:*:20778:0:99999:7:::\n", Some("root:*:20778:0:99999:7:::\n")),
    ("/usr/bin/cloud-init", "#!", Some("#!")),
];

#[test]
fn what_each_installer_leaves_is_sealed_and_the_rest_stays() {
    let trees = [
        ("ubuntu", UBUNTU),
        ("rocky", ROCKY),
        ("centos 7", CENTOS_7),
        ("debian", DEBIAN),
        ("debian static", DEBIAN_STATIC),
        ("cloud image", CLOUD_IMAGE),
    ];
    for (name, tree) in trees {
        let files = FakeFiles::new(&tree.iter().map(|(path, before, _)| (*path, *before)).collect::<Vec<_>>());
        let sealed = run(&files, &Selection::default());
        let after = |(path, _, after): &(&str, &str, Option<&str>)| Some(((*path).to_owned(), (*after)?.to_owned()));
        assert_eq!(files.texts(), tree.iter().filter_map(after).collect::<Vec<_>>(), "{name}");
        // The report names each file that is another now, or a folder that it was in, and nothing else.
        let named: Vec<String> = sealed.operations.into_iter().flat_map(|(_, outcome)| paths(outcome)).collect();
        for (path, before, after) in tree {
            let covered = named.iter().any(|named| path == named || path.starts_with(&format!("{named}/")));
            assert_eq!(covered, *after != Some(*before), "{name}: {path}");
        }
        let again = run(&files, &Selection::default());
        assert!(again.operations.iter().all(|(_, outcome)| *outcome == Outcome::Unchanged), "{name}: {again:?}");
    }
    assert!(table().len() > 40);
}

#[test]
fn what_ubuntus_installer_was_asked_for_is_moved_to_netplan() {
    let files = FakeFiles::new(&UBUNTU_STATIC.iter().map(|(path, before, _)| (*path, *before)).collect::<Vec<_>>());
    let sealed = run(&files, &Selection::default());
    let moved = "network:\n  ethernets:\n    enp1s0:\n      match:\n        name: \"enp1s0\"\n      addresses: [192.0.2.9/24]\n";
    let kept = [
        ("/etc/netplan/00-installer-config.yaml", moved),
        ("/etc/netplan/90-ours.yaml", "network:\n"),
        ("/etc/os-release", "ID=ubuntu\n"),
    ];
    assert_eq!(files.texts(), kept.map(|(path, text)| (path.to_owned(), text.to_owned())));
    let changed = sealed.operations.into_iter().find(|(name, _)| *name == "installer-network").unwrap().1;
    assert_eq!(paths(changed), [UBUNTU_STATIC[0].0, "/etc/netplan/00-installer-config.yaml"]);
}

fn paths(outcome: Outcome) -> Vec<String> {
    match outcome {
        Outcome::Unchanged => Vec::new(),
        Outcome::Changed(paths) => paths,
    }
}
