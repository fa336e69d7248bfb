//! The document `network-config`, in cloud-init's version 1: the one that is turned into ifupdown's, networkd's, netplan's and
//! NetworkManager's files alike. <https://docs.cloud-init.io/en/latest/reference/network-config-format-v1.html>

use std::net::IpAddr;

use serde::Serialize;

use crate::core::{mac::Mac, vm_spec::DomainName};

/// What a network card is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardConfig {
    /// By which the guest finds it.
    pub mac: Mac,
    /// How it comes to its address.
    pub address: CardAddress,
    /// Who resolves names, for static addresses; with DHCP besides what its server says.
    pub nameservers: Vec<IpAddr>,
    /// The domains in which short names are looked for.
    pub search: Vec<DomainName>,
}

/// How a network card comes to its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CardAddress {
    /// From a DHCP server, for IPv4; IPv6 comes from router advertisements by itself.
    Dhcp,
    /// Written into the guest's configuration.
    Static {
        /// The address, of either family.
        address: IpAddr,
        /// The length of its network's prefix.
        prefix: u8,
        /// The router.
        gateway: Option<IpAddr>,
    },
}

impl CardConfig {
    /// A card that asks for its address.
    pub fn dhcp(mac: Mac) -> Self {
        Self { mac, address: CardAddress::Dhcp, nameservers: Vec::new(), search: Vec::new() }
    }
}

#[derive(Serialize)]
pub(super) struct NetworkConfig {
    version: u8,
    config: Vec<Card>,
}

#[derive(Serialize)]
struct Card {
    #[serde(rename = "type")]
    kind: &'static str,
    name: String,
    mac_address: String,
    subnets: [Subnet; 1],
}

#[derive(Serialize)]
struct Subnet {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gateway: Option<IpAddr>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dns_nameservers: Vec<IpAddr>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dns_search: Vec<DomainName>,
}

/// DHCP for IPv4 alone: asked for both, cloud-init asks for DHCPv6 too, which fails, and takes the whole network unit along,
/// where there is no client for it.
pub(super) fn document(cards: &[CardConfig]) -> NetworkConfig {
    let card = |(index, card): (usize, &CardConfig)| Card {
        kind: "physical",
        name: format!("eth{index}"),
        mac_address: card.mac.to_string(),
        subnets: [subnet(card)],
    };
    NetworkConfig { version: 1, config: cards.iter().enumerate().map(card).collect() }
}

fn subnet(card: &CardConfig) -> Subnet {
    let (kind, address, gateway) = match card.address {
        CardAddress::Dhcp => ("dhcp4", None, None),
        CardAddress::Static { address, prefix, gateway } => {
            (if address.is_ipv6() { "static6" } else { "static" }, Some(format!("{address}/{prefix}")), gateway)
        }
    };
    Subnet { kind, address, gateway, dns_nameservers: card.nameservers.clone(), dns_search: card.search.clone() }
}

/// The lines of `/etc/resolv.conf` for a guest with static addresses; none without name servers. ifupdown leaves that file to
/// a package that a small system does not have.
pub(super) fn resolv_conf(cards: &[CardConfig]) -> Option<String> {
    let fixed = || cards.iter().filter(|card| card.address != CardAddress::Dhcp);
    // With DHCP on any card its client writes the file.
    if fixed().count() < cards.len() {
        return None;
    }
    let mut lines = Vec::new();
    let domains: Vec<&str> = fixed().flat_map(|card| &card.search).map(DomainName::as_str).collect();
    if !domains.is_empty() {
        lines.push(format!("search {}", domains.join(" ")));
    }
    let servers: Vec<String> = fixed().flat_map(|card| &card.nameservers).map(|server| format!("nameserver {server}")).collect();
    if servers.is_empty() {
        return None;
    }
    lines.extend(servers);
    Some(lines.iter().map(|line| format!("{line}\n")).collect())
}
