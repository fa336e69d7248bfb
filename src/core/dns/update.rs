//! What a server of DNS is asked to do for a host: RFC 2136 in the words of this program, without its encoding.
//!
//! A zone has no place for a mark of tpl's. So a name is only ever taken when nothing has it, and kept when it holds just what
//! tpl would write; whatever else is there is somebody else's. Each name is one update of its own, which a server does whole or
//! not at all.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use sha2::{Digest as _, Sha256};

use super::{Host, config::Rfc2136};
use crate::core::{digest::hex, ssh_key::PublicKey, ssh_key::decode_base64, vm_spec::DomainName};

/// The types of records that tpl writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordKind {
    /// An IPv4 address.
    A,
    /// An IPv6 address.
    Aaaa,
    /// The name of an address.
    Ptr,
    /// The fingerprint of an SSH host key.
    Sshfp,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Data {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// The name of an address, without the dot at the end.
    Ptr(String),
    /// An SSH host key: the algorithm's number, and the key's SHA-256.
    Sshfp(u8, [u8; 32]),
}

/// All that a host has at one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The zone that the name is in.
    pub zone: DomainName,
    /// The name, without the dot at the end.
    pub name: String,
    /// Its records.
    pub data: Vec<Data>,
    /// The types that the name must have no others of.
    kinds: &'static [RecordKind],
}

/// What must hold for an update to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Prerequisite {
    /// The name has no record of any type: RFC 2136, 2.4.5.
    NotInUse,
    /// The name has no record of this type: 2.4.3.
    None(RecordKind),
    /// The name's records of these data's type are just these: 2.4.2.
    Just(Vec<Data>),
}

/// What an update does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Adds a record: 2.5.1.
    Add(Data),
    /// Removes this record and no other: 2.5.4. One that is not there is no error.
    Remove(Data),
}

/// One update of one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Update {
    /// The zone.
    pub zone: DomainName,
    /// The name.
    pub name: String,
    /// What must hold.
    pub prerequisites: Vec<Prerequisite>,
    /// What is done then. Nothing: the server only answers whether it holds.
    pub changes: Vec<Change>,
}

/// What a host has: first at its own name, then at those of its addresses that are in a reverse zone.
///
/// # Errors
/// The host has no address, or is in a domain outside the zone.
pub fn entries(host: &Host, config: &Rfc2136) -> Result<Vec<Entry>, String> {
    let name = host.names(Some(&config.zone)).swap_remove(0);
    if !is_in(&name, &config.zone) {
        return Err(format!("{name} is not in the zone {}", config.zone));
    }
    if host.addresses.is_empty() {
        return Err(format!("{name} has no address"));
    }
    let mut addresses = host.addresses.clone();
    addresses.sort_unstable();
    addresses.dedup();
    let mut forward: Vec<Data> = addresses.iter().map(|address| Data::of(*address)).collect();
    let mut kinds: &[RecordKind] = &[RecordKind::A, RecordKind::Aaaa];
    if config.sshfp {
        forward.extend(host.host_keys.iter().filter_map(fingerprint));
        kinds = &[RecordKind::A, RecordKind::Aaaa, RecordKind::Sshfp];
    }
    let mut entries = vec![Entry { zone: config.zone.clone(), name: name.clone(), data: forward, kinds }];
    for address in addresses {
        let reverse = reverse_name(address);
        // The longest one: a zone may have another one cut out of it.
        let zone = config.reverse.iter().filter(|zone| is_in(&reverse, zone)).max_by_key(|zone| zone.as_str().len());
        let data = vec![Data::Ptr(name.clone())];
        entries.extend(zone.map(|zone| Entry { zone: zone.clone(), name: reverse, data, kinds: &[RecordKind::Ptr] }));
    }
    Ok(entries)
}

fn is_in(name: &str, zone: &DomainName) -> bool {
    name.strip_suffix(zone.as_str()).is_some_and(|rest| rest.ends_with('.'))
}

/// The name under which an address has its own name: RFC 1035, 3.5, and RFC 3596, 2.5.
fn reverse_name(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(address) => {
            let nibbles = address.octets().into_iter().rev().flat_map(|byte| [byte & 15, byte >> 4]);
            nibbles.map(|nibble| format!("{nibble:x}.")).collect::<String>() + "ip6.arpa"
        }
    }
}

/// The SSHFP record of a host key; none for a kind of key that has no number there.
fn fingerprint(key: &PublicKey) -> Option<Data> {
    let text = key.key();
    let (algorithm, base64) = text.split_once(' ')?;
    // RFC 4255, 6594 and 7479.
    let number = match algorithm {
        "ssh-rsa" => 1,
        "ecdsa-sha2-nistp256" | "ecdsa-sha2-nistp384" | "ecdsa-sha2-nistp521" => 3,
        "ssh-ed25519" => 4,
        _ => return None,
    };
    Some(Data::Sshfp(number, Sha256::digest(decode_base64(base64)?).into()))
}

impl Data {
    fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::A(address),
            IpAddr::V6(address) => Self::Aaaa(address),
        }
    }

    /// Its type.
    pub fn kind(&self) -> RecordKind {
        match self {
            Self::A(_) => RecordKind::A,
            Self::Aaaa(_) => RecordKind::Aaaa,
            Self::Ptr(_) => RecordKind::Ptr,
            Self::Sshfp(..) => RecordKind::Sshfp,
        }
    }
}

impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::A(address) => write!(f, "A {address}"),
            Self::Aaaa(address) => write!(f, "AAAA {address}"),
            Self::Ptr(name) => write!(f, "PTR {name}"),
            Self::Sshfp(algorithm, digest) => write!(f, "SSHFP {algorithm} 2 {}", hex(digest)),
        }
    }
}

impl Entry {
    /// Takes the name, if nothing has it.
    pub fn claim(&self) -> Update {
        self.update(vec![Prerequisite::NotInUse], self.adding())
    }

    /// Writes the same records again, if the name has just these. They may have had another time to live.
    pub fn repeat(&self) -> Update {
        self.update(self.unchanged(), self.adding())
    }

    /// Removes just these records.
    pub fn withdraw(&self) -> Update {
        self.update(Vec::new(), self.data.iter().cloned().map(Change::Remove).collect())
    }

    /// Asks whether nothing has the name.
    pub fn ask_free(&self) -> Update {
        self.update(vec![Prerequisite::NotInUse], Vec::new())
    }

    /// Asks whether the name has just these records.
    pub fn ask_unchanged(&self) -> Update {
        self.update(self.unchanged(), Vec::new())
    }

    fn adding(&self) -> Vec<Change> {
        self.data.iter().cloned().map(Change::Add).collect()
    }

    fn unchanged(&self) -> Vec<Prerequisite> {
        let of_kind = |kind: &RecordKind| {
            let data: Vec<Data> = self.data.iter().filter(|data| data.kind() == *kind).cloned().collect();
            if data.is_empty() { Prerequisite::None(*kind) } else { Prerequisite::Just(data) }
        };
        self.kinds.iter().map(of_kind).collect()
    }

    fn update(&self, prerequisites: Vec<Prerequisite>, changes: Vec<Change>) -> Update {
        Update { zone: self.zone.clone(), name: self.name.clone(), prerequisites, changes }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with ssh-keygen; the digests are those of `ssh-keygen -r`.
    const KEYS: [&str; 4] = [
        "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQDc2Ji1rfoNMInzvFuH2dC+iUmAJnahx6DRC+TPkcIhEwwUHSutdunQ2jpAYYLBJDbT1eAR9O1wYa3BMFdvRYYo0LoELXHi2Hn0po2ffXeKT+r9sO6nVrcu3ZDBRhOJ++/3UKZ9Lb87YXhBfUwkZWRbLo1F0b3MbJOVyNBOMLR57Q==",
        "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBItkua+TCHBVVZjgSEK6rDq1M7O4BREZ5m0UJrNdqb01TBpnXFNx95KXYuHbPpHzIfNAzf/2to1d2swZSgek2wc=",
        "ecdsa-sha2-nistp521 AAAAE2VjZHNhLXNoYTItbmlzdHA1MjEAAAAIbmlzdHA1MjEAAACFBAD3I0TilqJDadR1YdEVsYH4oVhPI7XtPtj/S7JrvCBNwuoDrT78KJUuThBu6W4kGCSr+PiPEMs1M5PguANF6Vk6swHtoOLRgpzPR6EjKWKH/agpUJmZeMdP0v7Ttg8tGSrPf5ZM2Fy2kwExrxxJnQ2//4odLQu3bb1qrTjoJ8pEYy9o8A==",
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFqvYMVTXmqo6MhcNMa9LtliNSmgko3fY+vgtC9MA4xe",
    ];

    fn config(reverse: &[&str], sshfp: bool) -> Rfc2136 {
        Rfc2136 {
            server: "192.0.2.53:53".parse().unwrap(),
            zone: "lab.example".parse().unwrap(),
            reverse: reverse.iter().map(|zone| zone.parse().unwrap()).collect(),
            key_file: "/k".into(),
            ttl: 300,
            sshfp,
        }
    }

    fn host(addresses: &[&str], domain: Option<&str>, keys: &[&str]) -> Host {
        Host {
            name: "web01".parse().unwrap(),
            domain: domain.map(|domain| domain.parse().unwrap()),
            addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
            host_keys: keys.iter().map(|key| key.parse().unwrap()).collect(),
        }
    }

    #[test]
    fn which_records_a_host_has() {
        let both: &[&str] = &["2001:db8::1:a", "192.0.2.10", "192.0.2.10"];
        let v6 = "a.0.0.0.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";
        let forward = "lab.example: web01.lab.example A 192.0.2.10, AAAA 2001:db8::1:a";
        type Case = (Host, Rfc2136, Result<Vec<String>, &'static str>);
        let table: [Case; 7] = [
            (host(both, None, &KEYS[..1]), config(&[], false), Ok(vec![forward.to_owned()])),
            (
                host(both, None, &[]),
                config(&["192.in-addr.arpa", "2.0.192.in-addr.arpa", "8.b.d.0.1.0.0.2.ip6.arpa"], true),
                Ok(vec![
                    forward.to_owned(),
                    "2.0.192.in-addr.arpa: 10.2.0.192.in-addr.arpa PTR web01.lab.example".to_owned(),
                    format!("8.b.d.0.1.0.0.2.ip6.arpa: {v6} PTR web01.lab.example"),
                ]),
            ),
            (
                host(both, None, &[]),
                config(&["12.0.192.in-addr.arpa", "0.2.0.192.in-addr.arpa"], true),
                Ok(vec![forward.to_owned()]),
            ),
            (
                host(&["192.0.2.10"], Some("a.lab.example"), &[]),
                config(&[], true),
                Ok(vec!["lab.example: web01.a.lab.example A 192.0.2.10".to_owned()]),
            ),
            (
                host(&["192.0.2.10"], Some("xlab.example"), &[]),
                config(&[], true),
                Err("web01.xlab.example is not in the zone lab.example"),
            ),
            (host(&[], None, &[]), config(&[], true), Err("web01.lab.example has no address")),
            (
                host(&["192.0.2.10"], None, &KEYS),
                config(&[], true),
                Ok(vec![
                    "lab.example: web01.lab.example A 192.0.2.10, \
                     SSHFP 1 2 c67c96dd4be1385971b090d8f2dbf6ff07ebdc882a65be72d4edb204827b6669, \
                     SSHFP 3 2 10a0142b6d0facd6ae5785d74542dc9a471360e685abdcd9eb29c0b30078abbd, \
                     SSHFP 3 2 85379d1956d05c22f43c355cf6805f01e1e87764ff56e2c9b27a85c420a86578, \
                     SSHFP 4 2 ec966f89dcea0157201aebbf2ebbd00aeb4c1822e4e64c15f54d5f240ff064bb"
                        .to_owned(),
                ]),
            ),
        ];
        for (host, config, expected) in table {
            let shown = |entry: &Entry| {
                let data: Vec<String> = entry.data.iter().map(ToString::to_string).collect();
                format!("{}: {} {}", entry.zone, entry.name, data.join(", "))
            };
            let found = entries(&host, &config).map(|entries| entries.iter().map(shown).collect::<Vec<_>>());
            assert_eq!(found, expected.map_err(ToOwned::to_owned));
        }
    }

    #[test]
    fn nobody_elses_record_is_overwritten() {
        let entry = entries(&host(&["192.0.2.10", "192.0.2.11"], None, &[]), &config(&[], true)).unwrap().remove(0);
        let data = [Data::A([192, 0, 2, 10].into()), Data::A([192, 0, 2, 11].into())];
        let unchanged =
            [Prerequisite::Just(data.to_vec()), Prerequisite::None(RecordKind::Aaaa), Prerequisite::None(RecordKind::Sshfp)];
        let adds = data.clone().map(Change::Add);
        let table: [(Update, &[Prerequisite], &[Change]); 5] = [
            (entry.claim(), &[Prerequisite::NotInUse], &adds),
            (entry.repeat(), &unchanged, &adds),
            (entry.withdraw(), &[], &data.map(Change::Remove)),
            (entry.ask_free(), &[Prerequisite::NotInUse], &[]),
            (entry.ask_unchanged(), &unchanged, &[]),
        ];
        for (update, prerequisites, changes) in table {
            assert_eq!((update.prerequisites.as_slice(), update.changes.as_slice()), (prerequisites, changes));
            assert_eq!((update.zone.as_str(), update.name.as_str()), ("lab.example", "web01.lab.example"));
        }
    }
}
