//! What tpl reads from network XML, and the entries that it adds to networks.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context as _, Result, ensure};
use quick_xml::escape::escape;
use roxmltree::Node;

use super::{attribute, child, children, is, parse, text};
use crate::core::network::{Network, Reservation, Subnet};

/// One of a network's definitions: the live one, or the persistent one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Definition {
    /// What it says. Whether the network runs is not in it: `active` is false.
    pub network: Network,
    /// The subnets of all its `<ip>` elements, in their order: the hypervisor's own address and the length of the prefix.
    subnets: Vec<(IpAddr, u8)>,
    /// The `<ip>` element that each of the reservations stands in.
    holders: Vec<usize>,
}

impl Definition {
    /// The `<ip>` element whose subnet an address is in, counted from 0 as libvirt's network updates do.
    pub fn holder_of(&self, ip: IpAddr) -> Option<usize> {
        self.subnets.iter().position(|(own, prefix)| contains(*own, *prefix, ip))
    }

    /// The `<ip>` elements and the reservations in them that keep this address for this card.
    pub fn entries<'a>(&'a self, wanted: &'a Reservation) -> impl Iterator<Item = (usize, &'a Reservation)> {
        self.holders.iter().copied().zip(&self.network.reservations).filter(|(_, entry)| entry.is_for_the_same(wanted))
    }
}

fn contains(own: IpAddr, prefix: u8, ip: IpAddr) -> bool {
    let masked = |bits: u128, length: u8| bits.checked_shr(u32::from(length - prefix)).unwrap_or(0);
    match (own, ip) {
        (IpAddr::V4(own), IpAddr::V4(ip)) => masked(own.to_bits().into(), 32) == masked(ip.to_bits().into(), 32),
        (IpAddr::V6(own), IpAddr::V6(ip)) => masked(own.to_bits(), 128) == masked(ip.to_bits(), 128),
        _ => false,
    }
}

/// Reads a network's definition.
///
/// # Errors
/// It is no network XML within the limits of [`parse`], or holds an address that is none.
pub fn definition(xml: &str) -> Result<Definition> {
    let document = parse(xml).context("reading network XML")?;
    let root = document.root_element();
    ensure!(is(root, "network"), "reading network XML: the root is <{}>, not <network>", root.tag_name().name());
    let name = child(root, "name").map(|node| text(node).trim().to_owned()).unwrap_or_default();
    read(root, &name).with_context(|| format!("reading the XML of network {name}"))
}

fn read(root: Node<'_, '_>, name: &str) -> Result<Definition> {
    let value = |element: &str, attribute_name: &str| {
        let found = child(root, element).and_then(|node| attribute(node, attribute_name));
        found.filter(|value| !value.is_empty()).map(str::to_owned)
    };
    let mut network = Network {
        name: name.to_owned(),
        bridge: value("bridge", "name"),
        domain: value("domain", "name"),
        dns: child(root, "ip").is_some() && value("dns", "enable").as_deref() != Some("no"),
        ..Network::default()
    };
    let (mut subnets, mut holders) = (Vec::new(), Vec::new());
    for (index, ip) in children(root, "ip").enumerate() {
        let (own, prefix) = (address(attribute(ip, "address").unwrap_or_default())?, prefix(ip)?);
        let dhcp: Vec<_> = children(ip, "dhcp").collect();
        if let (IpAddr::V4(gateway), None) = (own, &network.subnet) {
            let ranges = dhcp.iter().flat_map(|dhcp| children(*dhcp, "range")).map(range).collect::<Result<_>>()?;
            network.subnet = Some(Subnet { gateway, prefix, ranges });
        }
        subnets.push((own, prefix));
        for host in dhcp.iter().flat_map(|dhcp| children(*dhcp, "host")) {
            network.reservations.push(reservation(name, host)?);
            holders.push(index);
        }
    }
    let hosts = child(root, "dns").into_iter().flat_map(|dns| children(dns, "host"));
    network.hosts = hosts.map(dns_host).collect::<Result<_>>()?;
    Ok(Definition { network, subnets, holders })
}

fn address(text: &str) -> Result<IpAddr> {
    text.parse().ok().with_context(|| format!("{text:?} is no IP address"))
}

/// The length of a subnet's prefix. Where neither it nor a mask is given, libvirt takes what the address had before there
/// were prefixes.
fn prefix(ip: Node<'_, '_>) -> Result<u8> {
    let own = address(attribute(ip, "address").unwrap_or_default())?;
    let longest = if own.is_ipv4() { 32 } else { 128 };
    if let Some(text) = attribute(ip, "prefix") {
        let length = text.parse().ok().filter(|length| *length <= longest);
        return length.with_context(|| format!("{text:?} is no length of a prefix"));
    }
    if let Some(text) = attribute(ip, "netmask") {
        let mask: Option<u32> = text.parse::<Ipv4Addr>().ok().map(Ipv4Addr::to_bits);
        let mask = mask.filter(|mask| mask.leading_ones() + mask.trailing_zeros() == 32);
        return Ok(u8::try_from(mask.with_context(|| format!("{text:?} is no netmask"))?.leading_ones())?);
    }
    Ok(match own {
        IpAddr::V4(own) if own.octets()[0] < 128 => 8,
        IpAddr::V4(own) if own.octets()[0] < 192 => 16,
        IpAddr::V4(_) => 24,
        IpAddr::V6(_) => 64,
    })
}

fn range(range: Node<'_, '_>) -> Result<(Ipv4Addr, Ipv4Addr)> {
    let end = |name: &str| {
        let text = attribute(range, name).unwrap_or_default();
        text.parse::<Ipv4Addr>().ok().with_context(|| format!("the {name} of a DHCP range is {text:?}, no IPv4 address"))
    };
    Ok((end("start")?, end("end")?))
}

fn reservation(network: &str, host: Node<'_, '_>) -> Result<Reservation> {
    let value = |name: &str| attribute(host, name).filter(|value| !value.is_empty());
    Ok(Reservation {
        network: network.to_owned(),
        mac: value("mac").map(str::parse).transpose().map_err(anyhow::Error::msg)?,
        ip: address(value("ip").unwrap_or_default()).context("reading a reservation")?,
        name: value("name").map(str::to_owned),
    })
}

fn dns_host(host: Node<'_, '_>) -> Result<(IpAddr, Vec<String>)> {
    let ip = address(attribute(host, "ip").unwrap_or_default()).context("reading a DNS host")?;
    Ok((ip, children(host, "hostname").map(|name| text(name).trim().to_owned()).collect()))
}

/// What libvirt is told of a reservation.
pub fn reservation_xml(reservation: &Reservation) -> String {
    let mac = reservation.mac.map(|mac| format!(" mac='{mac}'")).unwrap_or_default();
    let name = reservation.name.as_deref().map(|name| format!(" name='{}'", escape(name))).unwrap_or_default();
    format!("<host{mac}{name} ip='{}'/>", reservation.ip)
}

/// What libvirt is told of a host in DNS.
pub fn dns_host_xml(ip: IpAddr, names: &[String]) -> String {
    let names: String = names.iter().map(|name| format!("<hostname>{}</hostname>", escape(name.as_str()))).collect();
    format!("<host ip='{ip}'>{names}</host>")
}

#[cfg(test)]
mod tests;
