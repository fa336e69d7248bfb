//! The packages of a hypervisor, as each release calls them.

use crate::core::bootstrap::{
    Facts, Item, Probe, apt,
    text::{some_of, values},
};

/// What every release has.
const NEEDED: [&str; 14] = [
    "qemu-system-x86",
    "qemu-utils",
    DAEMON,
    "libvirt-clients",
    "dnsmasq-base",
    "lvm2",
    "thin-provisioning-tools",
    "libguestfs-tools",
    "netcat-openbsd",
    "openssl",
    // Guests come below machine.slice, where the limit is, by systemd-machined alone.
    "systemd-container",
    // What the network's rules are made with; libvirt takes one of them.
    "iptables",
    // Guests with UEFI.
    "ovmf",
    // libvirt asks it what machine this is.
    "dmidecode",
];

/// All parts of libvirt are of one version, that of this one.
const DAEMON: &str = "libvirt-daemon-system";
const LIBVIRT: &str = "libvirt-";

/// What some releases have as packages of their own, and others within those above.
const WHERE_KNOWN: [&str; 6] = [
    "libvirt-daemon-config-network",
    "libvirt-daemon-driver-qemu",
    "libvirt-daemon-driver-storage-logical",
    "guestfs-tools",
    // XFS in guests, for libguestfs.
    "libguestfs-xfs",
    "ipxe-qemu",
];

/// What is known of the packages.
pub fn probe() -> Probe {
    let names = NEEDED.iter().chain(&WHERE_KNOWN).copied().collect::<Vec<_>>().join(" ");
    Probe::with("kvm.packages", ASK, &[&names])
}

/// For each name of `$1`: `installed NAME`, and `known NAME VERSION` where a source has it.
const ASK: &str = r#"dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' $1 2>/dev/null | awk '$1 == "ii" {print "installed", $2}'
apt-cache policy $1 2>/dev/null | awk '/^[^ ]/ {name = $1; sub(":$", "", name)} $1 == "Candidate:" && $2 != "(none)" {print "known", name, $2}'"#;

/// All of them are installed.
pub fn item(facts: &Facts) -> Item {
    let answer = facts.get("kvm.packages").unwrap_or_default();
    let installed = |name: &str| values(answer, "installed").any(|found| found == name);
    let known = |name: &str| values(answer, "known").find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    // A part of libvirt that only another release of it has, as backports do, would not go with the rest.
    let goes = |name: &str| known(name).is_some_and(|version| !name.starts_with(LIBVIRT) || Some(version) == known(DAEMON));
    let wanted = NEEDED.iter().chain(WHERE_KNOWN.iter().filter(|name| goes(name))).copied();
    let missing: Vec<&str> = wanted.filter(|name| !installed(name)).collect();
    let mut mend = Vec::new();
    // A machine that has never fetched lists knows no packages; one with old lists may not know all.
    if missing.iter().any(|name| known(name).is_none()) {
        mend.push(apt::update());
    }
    mend.push(apt::install(&missing));
    Item::holds("packages", missing.is_empty(), &format!("without {}", some_of(&missing)), "all installed", mend)
}
