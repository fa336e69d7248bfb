//! Networks of a hypervisor: what they are, and which of their addresses are taken.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use super::mac::Mac;

/// What an interface is plugged into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plug {
    /// A libvirt network, by its name.
    Network(String),
    /// A bridge of the hypervisor, by its device's name.
    Bridge(String),
}

impl Plug {
    /// The libvirt network, if it is one.
    pub fn network(&self) -> Option<&str> {
        match self {
            Self::Network(name) => Some(name),
            Self::Bridge(_) => None,
        }
    }
}

/// A libvirt network.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// Whether it runs.
    pub active: bool,
    /// The bridge that it is made of.
    pub bridge: Option<String>,
    /// The domain that its DNS server answers for.
    pub domain: Option<String>,
    /// Whether libvirt runs a DNS server for it: it has an address of its own, and DNS is not switched off.
    pub dns: bool,
    /// Its first IPv4 subnet.
    pub subnet: Option<Subnet>,
    /// The addresses that its DHCP server keeps for someone.
    pub reservations: Vec<Reservation>,
    /// What its DNS server answers besides.
    pub hosts: Vec<(IpAddr, Vec<String>)>,
}

/// An IPv4 subnet of a libvirt network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subnet {
    /// The hypervisor's own address in it.
    pub gateway: Ipv4Addr,
    /// The length of its prefix.
    pub prefix: u8,
    /// What its DHCP server gives away by itself. Empty without a DHCP server.
    pub ranges: Vec<(Ipv4Addr, Ipv4Addr)>,
}

/// An address that a libvirt network's DHCP server keeps for one network card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    /// The network.
    pub network: String,
    /// The card; libvirt knows reservations by name alone, too.
    pub mac: Option<Mac>,
    /// The address.
    pub ip: IpAddr,
    /// The host's name.
    pub name: Option<String>,
}

/// An address that a DHCP server has given away for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Who has it.
    pub mac: Option<Mac>,
    /// The address.
    pub ip: IpAddr,
    /// The name that the guest called itself.
    pub hostname: Option<String>,
}
