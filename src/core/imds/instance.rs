//! A running domain, as the metadata service knows it.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
};

use anyhow::{Result, anyhow};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::defaults::Item;
use crate::core::{
    mac::Mac,
    manifest::{Metadata, Purpose},
    metadata::{self, ready},
    ssh_key::PublicKey,
    vm_spec::SeedWay,
    xml::{attribute, child, children, parse_domain},
};

/// The longest name of a host in bytes: a label of DNS.
const MAX_LABEL: usize = 63;

/// A running domain: who it is, and what it is told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Its UUID. The same to the guest's cloud-init, which compares it with its board's: a later boot asks nobody.
    pub uuid: Uuid,
    /// libvirt's name for it: any text without a slash.
    pub domain: String,
    /// The name that it is told: that of a clone; else its domain's, as a label of DNS.
    pub hostname: String,
    /// The domain of DNS that it is in.
    pub search: Option<String>,
    /// vCPUs.
    pub vcpus: u32,
    /// Memory in MiB.
    pub memory: u64,
    /// The machine type's architecture: `x86_64`.
    pub architecture: String,
    /// Whose it is.
    pub kind: Kind,
    /// Whether it has reported that it is ready.
    pub ready: bool,
    /// Whether it was made to have its seed from this service.
    pub handed: bool,
    /// The template that it was cloned from.
    pub template: Option<String>,
    /// The SSH host keys that it was made with, algorithm and key; none of another than a clone.
    pub host_keys: Vec<String>,
    /// Its network cards on bridges, in order.
    pub cards: Vec<Card>,
    /// What it is told beyond that.
    pub content: Content,
}

/// Whose a domain is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A clone of tpl's: it is told what its maker said, and no defaults.
    Clone,
    /// Something that tpl needs for a while, a template that is being installed before all: it is told its name, and no secrets, which
    /// would be in the template for good.
    Passing,
    /// Somebody else's: it is told the service's defaults.
    Other,
}

/// A network card of a running domain that is plugged into a bridge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Card {
    /// Its number among all cards of the domain, from 0.
    pub index: usize,
    /// Its address.
    pub mac: Mac,
    /// The bridge.
    pub bridge: String,
    /// The bridge's port: the host's end of the card.
    pub port: Option<String>,
    /// libvirt's network, where it is one.
    pub network: Option<String>,
    /// The addresses that are kept for it or leased to it, the most certain one first.
    pub addresses: Vec<IpAddr>,
    /// What the kernel marks with that comes from it; none where it is not served, or its port is not there.
    pub mark: Option<u32>,
}

/// What a guest is told beyond its name. Secret in parts, and on its way from one process of the service to the other alone.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// The SSH keys that open it, a line each.
    pub keys: Vec<String>,
    /// The document `user-data`.
    pub user_data: Option<String>,
    /// The document `vendor-data`.
    pub vendor_data: Option<String>,
    /// NoCloud's own documents, where the clone was made with them.
    pub nocloud: Option<Handed>,
    /// What is handed out once only.
    pub once: BTreeSet<Item>,
    /// For how many seconds after the first time it still is.
    pub again: u64,
}

impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[content]")
    }
}

/// The documents that a clone's maker wrote for it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handed {
    /// `meta-data`.
    pub meta_data: String,
    /// `network-config`.
    pub network_config: String,
}

impl Instance {
    /// Reads a running domain from its live XML. It is told nothing yet, and its cards have no addresses.
    ///
    /// # Errors
    /// It is no domain XML within the limits, or something that libvirt always states is missing.
    pub fn read(xml: &str) -> Result<Self> {
        let facts = crate::core::xml::read::domain_facts(xml)?;
        let document = parse_domain(xml)?;
        let root = document.root_element();
        let kind = child(root, "os").and_then(|os| child(os, "type"));
        let architecture = kind.and_then(|kind| attribute(kind, "arch")).unwrap_or("x86_64").to_owned();
        let interfaces = child(root, "devices").into_iter().flat_map(|devices| children(devices, "interface"));
        let cards = interfaces.enumerate().filter_map(|(index, interface)| card(index, interface)).collect();
        let (kind, clone) = match metadata::read(xml).map_err(|error| anyhow!(error))? {
            None => (Kind::Other, None),
            Some(Metadata::Clone(record)) if record.purpose == Purpose::Clone => (Kind::Clone, Some(record)),
            Some(_) => (Kind::Passing, None),
        };
        let hostname = clone.as_ref().map_or_else(|| hostname(&facts.name, facts.uuid), |clone| clone.name.to_string());
        // A copy of a clone has the clone's record, but no seed was ever written for it.
        let handed = clone.as_ref().is_some_and(|clone| clone.seed == SeedWay::Metadata && clone.name.as_str() == facts.name);
        Ok(Self {
            uuid: facts.uuid,
            hostname,
            domain: facts.name,
            handed,
            search: None,
            vcpus: facts.vcpus,
            memory: facts.memory.0 >> 20,
            architecture,
            kind,
            ready: ready::read(xml).is_ok_and(|ready| ready.is_some_and(|ready| ready.instance == facts.uuid)),
            template: clone.as_ref().map(|clone| format!("{}@{}", clone.template, clone.version)),
            host_keys: clone.iter().flat_map(|clone| &clone.ssh_host_keys).filter_map(|line| host_key(line)).collect(),
            cards,
            content: Content::default(),
        })
    }

    /// Whether there must be a seed for it that is not known at the moment. Whatever it were told now without that, its cloud-init would
    /// take for good. One that is ready has had it.
    pub fn lacks_seed(&self) -> bool {
        self.handed && !self.ready && self.content.nocloud.is_none()
    }

    /// The address of the card with this mark: of those that libvirt keeps for it or has leased to it the one that it uses, or the first;
    /// where there are none, the one that it uses. A container behind it, or a second address of its own, changes nothing.
    pub fn address(&self, mark: u32, used: Ipv4Addr) -> IpAddr {
        let card = self.cards.iter().find(|card| card.mark == Some(mark));
        let mut known = card.iter().flat_map(|card| &card.addresses).filter(|address| address.is_ipv4());
        let used = IpAddr::V4(used);
        let first = known.next().copied().unwrap_or(used);
        if known.any(|address| *address == used) { used } else { first }
    }

    /// The name with its domain, where it is in one.
    pub fn fqdn(&self) -> String {
        self.search.as_ref().map_or_else(|| self.hostname.clone(), |search| format!("{}.{search}", self.hostname))
    }
}

/// A card on a bridge; none of another kind: what macvtap, passthrough or user-mode networking carries passes no bridge.
fn card(index: usize, interface: roxmltree::Node<'_, '_>) -> Option<Card> {
    let source = child(interface, "source")?;
    let mac = attribute(child(interface, "mac")?, "address")?.parse().ok()?;
    let bridge = attribute(source, "bridge").filter(|bridge| is_device(bridge))?.to_owned();
    let port = child(interface, "target").and_then(|target| attribute(target, "dev")).map(str::to_owned);
    Some(Card {
        index,
        mac,
        bridge,
        port,
        network: attribute(source, "network").map(str::to_owned),
        addresses: Vec::new(),
        mark: None,
    })
}

/// Algorithm and key of the line that a key's own file holds.
fn host_key(line: &str) -> Option<String> {
    line.trim().parse::<PublicKey>().ok().map(|key| key.key())
}

/// Whether that can be a network device's name: <https://docs.kernel.org/networking/> has 15 bytes, no slash and no white space.
pub fn is_device(name: &str) -> bool {
    let plain = name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/' && byte != b':');
    plain && !matches!(name, "" | "." | "..") && name.len() <= 15
}

/// A label of DNS out of any name of a domain.
fn hostname(domain: &str, uuid: Uuid) -> String {
    let letter = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let label: String = domain.chars().map(letter).collect();
    let label: String = label.trim_matches('-').chars().take(MAX_LABEL).collect();
    match label.trim_end_matches('-') {
        "" => format!("vm-{}", &uuid.simple().to_string()[..8]),
        label => label.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn xml(metadata: &str, interfaces: &str) -> String {
        format!(
            "<domain type='kvm'><name>Web_01 (ü)</name><uuid>11111111-2222-4333-8444-555555555555</uuid>{metadata}<vcpu>2</vcpu>\
             <memory>1048576</memory><os><type arch='aarch64'>hvm</type></os><devices>{interfaces}</devices></domain>"
        )
    }

    #[test]
    fn a_running_domain() {
        let interfaces = "<interface type='network'><mac address='52:54:00:00:00:01'/>\
             <source network='default' portid='x' bridge='virbr0'/><target dev='vnet0'/></interface>\
             <interface type='user'><mac address='52:54:00:00:00:02'/></interface>\
             <interface type='bridge'><mac address='52:54:00:00:00:03'/><source bridge='br1'/></interface>\
             <interface type='bridge'><mac address='52:54:00:00:00:04'/><source bridge='../../etc'/></interface>";
        let instance = Instance::read(&xml("", interfaces)).unwrap();
        assert_eq!((instance.domain.as_str(), instance.hostname.as_str()), ("Web_01 (ü)", "web-01"));
        assert_eq!((instance.vcpus, instance.memory, instance.architecture.as_str()), (2, 1024, "aarch64"));
        assert_eq!(instance.kind, Kind::Other);
        let cards: Vec<_> = instance.cards.iter().map(|card| (card.index, card.bridge.as_str(), card.port.as_deref())).collect();
        assert_eq!(cards, [(0, "virbr0", Some("vnet0")), (2, "br1", None)]);
        assert_eq!(instance.cards[0].network.as_deref(), Some("default"));
    }

    #[test]
    fn names_of_hosts() {
        let uuid = "11111111-2222-4333-8444-555555555555".parse().unwrap();
        let table = [
            ("web01", "web01"),
            ("a b\n#c", "a-b--c"),
            ("-_-", "vm-11111111"),
            ("ü", "vm-11111111"),
            (&format!("{}-{}", "x".repeat(62), "y"), &"x".repeat(62)),
        ];
        for (domain, expected) in table {
            assert_eq!(hostname(domain, uuid), expected);
        }
    }

    #[test]
    fn names_of_devices() {
        for good in ["virbr0", "br-lan", "br0.100", "a"] {
            assert!(is_device(good), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a b", "1234567890123456", "a:b", "ü"] {
            assert!(!is_device(bad), "{bad}");
        }
    }

    #[test]
    fn content_is_not_shown() {
        let content = Content { keys: vec!["key".to_owned()], user_data: Some("password".to_owned()), ..Content::default() };
        assert_eq!(format!("{content:?}"), "[content]");
    }
}
