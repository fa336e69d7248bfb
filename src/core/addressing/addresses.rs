//! IPv4 addresses: kept by a libvirt network's DHCP server, written into the guest, or left to somebody else's DHCP.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::Result;

use super::{CardConfig, FixedAddress, Place, Taken, Wanted};
use crate::core::{
    error::{Invalid, Refusal},
    network::{Network, Plug, Reservation, Subnet},
    vm_spec::{Addressing, IpChoice},
};

/// The address of one VM, and how it gets it. MACs and plug are the caller's.
pub(super) fn choose(vm: &Wanted<'_>, plug: Option<&Plug>, taken: &Taken) -> Result<Place> {
    let network = plug.and_then(Plug::network).map(|name| running(name, taken)).transpose()?;
    let way = way(vm, plug, network)?;
    let mut place = Place {
        plug: None,
        network: None,
        macs: Vec::new(),
        address: None,
        config: CardConfig { fixed: None, nameservers: vm.spec.nameservers.clone(), search: vm.spec.search.clone() },
        reservation: None,
    };
    if way == Addressing::Dhcp {
        return Ok(place);
    }
    let address = address(vm, network, taken)?;
    place.address = Some(IpAddr::V4(address));
    if let (Addressing::Reserve, Some(network)) = (way, network) {
        place.reservation =
            Some(Reservation { network: network.name.clone(), mac: None, ip: address.into(), name: dhcp_name(vm.name.as_str()) });
        return Ok(place);
    }
    let subnet = network.and_then(|network| network.subnet.as_ref());
    place.config.fixed = Some(fixed(vm, address, subnet)?);
    if place.config.nameservers.is_empty()
        && let Some(subnet) = subnet.filter(|_| network.is_some_and(|network| network.dns))
    {
        place.config.nameservers.push(subnet.gateway.into());
    }
    Ok(place)
}

/// The name that libvirt's DHCP server may give a host: none where libvirt would refuse it, as it does all that do not begin with
/// a letter (`virNetworkDHCPHostDefParseXML`). The card is enough.
fn dhcp_name(name: &str) -> Option<String> {
    name.starts_with(|first: char| first.is_ascii_alphabetic()).then(|| name.to_owned())
}

fn running<'a>(name: &str, taken: &'a Taken) -> Result<&'a Network, Refusal> {
    let network = taken.networks.get(name);
    network.filter(|network| network.active).ok_or_else(|| {
        let fault = if network.is_some() { "is not running" } else { "does not exist" };
        Refusal::new(format!("network {name} {fault}")).advise("`virsh net-list --all` lists the networks")
    })
}

/// How the VM comes to its address, if its wishes go together.
fn way(vm: &Wanted<'_>, plug: Option<&Plug>, network: Option<&Network>) -> Result<Addressing, Invalid> {
    let has_dhcp = network.and_then(|network| network.subnet.as_ref()).is_some_and(|subnet| !subnet.ranges.is_empty());
    let wrong = |message: &str| Err(Invalid::argument(format!("'{}': {message}", vm.name)));
    let way = match vm.spec.addressing {
        Some(way) => way,
        None if has_dhcp => Addressing::Reserve,
        None if vm.spec.ip.is_some() => Addressing::Static,
        None => Addressing::Dhcp,
    };
    match way {
        Addressing::Reserve if !has_dhcp => wrong("an address can only be reserved in a libvirt network that has a DHCP server"),
        Addressing::Dhcp if vm.spec.ip.is_some() => wrong("an address that is asked for by DHCP cannot be named"),
        Addressing::Static if plug.is_none() => wrong("its card is in no network and on no bridge: there it can have no address"),
        Addressing::Static if vm.spec.ip.is_none() && network.is_none_or(|network| network.subnet.is_none()) => {
            wrong("a static address outside libvirt's networks must be named, with --ip")
        }
        Addressing::Reserve | Addressing::Dhcp if vm.spec.gateway.is_some() || vm.spec.prefix.is_some() => {
            wrong("gateway and prefix go with a static address; a DHCP server tells its own")
        }
        way => Ok(way),
    }
}

fn address(vm: &Wanted<'_>, network: Option<&Network>, taken: &Taken) -> Result<Ipv4Addr> {
    let holder = |ip: Ipv4Addr| holder(vm, ip, network, taken);
    let subnet = network.and_then(|network| network.subnet.as_ref());
    match &vm.spec.ip {
        Some(choice @ IpChoice::Ranges(_)) => {
            let candidates: Vec<Ipv4Addr> = choice.addresses().collect();
            if let Some(subnet) = subnet
                && let Some(outside) = candidates.iter().find(|ip| !is_host(subnet, **ip))
            {
                let message = format!(
                    "{outside} is no address for a VM in network {}: its subnet is {}",
                    network.map_or("", |n| &n.name),
                    shown(subnet)
                );
                return Err(Invalid::argument(message).into());
            }
            if let Some(free) = candidates.iter().find(|ip| holder(**ip).is_none()) {
                return Ok(*free);
            }
            let why = match candidates.as_slice() {
                [only] => format!("{only} is taken: {}", holder(*only).unwrap_or_default()),
                _ => format!("none of the {} addresses that are named is free any more", candidates.len()),
            };
            Err(Refusal::new(format!("'{}' has no address: {why}", vm.name)).into())
        }
        Some(IpChoice::Next) | None => {
            let subnet = subnet.ok_or_else(|| {
                Invalid::argument(format!("'{}': only a libvirt network can say which address is next", vm.name))
            })?;
            next(subnet, &holder).ok_or_else(|| {
                let name = network.map_or("", |network| &network.name);
                Refusal::new(format!("network {name} has no free address for '{}': all of {} are taken", vm.name, shown(subnet)))
                    .into()
            })
        }
    }
}

/// The lowest free address: outside of what the DHCP server gives away by itself, where there is such a place; else inside.
fn next(subnet: &Subnet, holder: &dyn Fn(Ipv4Addr) -> Option<String>) -> Option<Ipv4Addr> {
    let dynamic = |ip: Ipv4Addr| subnet.ranges.iter().any(|(first, last)| (*first..=*last).contains(&ip));
    let free = |inside: bool| hosts(subnet).find(|ip| dynamic(*ip) == inside && holder(*ip).is_none());
    free(false).or_else(|| free(true))
}

fn mask(prefix: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0)
}

/// First and last address of a subnet.
fn ends(subnet: &Subnet) -> (u32, u32) {
    let mask = mask(subnet.prefix);
    let first = u32::from(subnet.gateway) & mask;
    (first, first | !mask)
}

/// Its hosts' addresses: a large one's first 65,536.
fn hosts(subnet: &Subnet) -> impl Iterator<Item = Ipv4Addr> {
    let (first, last) = ends(subnet);
    (first.saturating_add(1)..last).take(65_536).map(Ipv4Addr::from)
}

fn is_host(subnet: &Subnet, ip: Ipv4Addr) -> bool {
    let (first, last) = ends(subnet);
    (first.saturating_add(1)..last).contains(&u32::from(ip))
}

fn shown(subnet: &Subnet) -> String {
    format!("{}/{}", Ipv4Addr::from(ends(subnet).0), subnet.prefix)
}

/// Who has an address; none if it is free for this VM.
fn holder(vm: &Wanted<'_>, ip: Ipv4Addr, network: Option<&Network>, taken: &Taken) -> Option<String> {
    let ip = IpAddr::V4(ip);
    if let Some(name) = taken.promised.get(&ip) {
        return Some(format!("VM {name} has it"));
    }
    let network = network?;
    if network.subnet.as_ref().is_some_and(|subnet| IpAddr::V4(subnet.gateway) == ip) {
        return Some("it is the hypervisor's own".to_owned());
    }
    if let Some(reservation) = network.reservations.iter().find(|reservation| reservation.ip == ip) {
        return Some(format!("it is reserved for {}", reservation.name.as_deref().unwrap_or("another card")));
    }
    if let Some((_, names)) = network.hosts.iter().find(|(host, _)| *host == ip) {
        return Some(format!("DNS has it as {}", names.join(" ")));
    }
    let lease = taken.leases.get(&network.name)?.iter().find(|lease| lease.ip == ip)?;
    // A VM that is built again has the card that it had: its old lease stands in nobody's way.
    let own = lease.mac.is_some_and(|mac| mac == crate::core::mac::Mac::of_name(vm.name.as_str(), 0, 0));
    (!own).then(|| format!("{} has leased it", lease.hostname.as_deref().unwrap_or("somebody")))
}

fn fixed(vm: &Wanted<'_>, address: Ipv4Addr, subnet: Option<&Subnet>) -> Result<FixedAddress, Invalid> {
    let prefix = vm.spec.prefix.or(subnet.map(|subnet| subnet.prefix));
    let prefix = prefix.filter(|prefix| (1..=32).contains(prefix)).ok_or_else(|| {
        Invalid::argument(format!("'{}': a static address needs the length of its prefix, with --prefix 24", vm.name))
    })?;
    let wrong = |why: &str| Err(Invalid::argument(format!("'{}': {address}/{prefix} is no address for a VM: {why}", vm.name)));
    if address.is_unspecified() || address.is_loopback() || address.is_multicast() || address.is_broadcast() {
        return wrong("it means something else everywhere");
    }
    let host = u32::from(address) & !mask(prefix);
    if prefix < 31 && (host == 0 || host == !mask(prefix)) {
        return wrong("it is its subnet's own");
    }
    if vm.spec.gateway == Some(address.into()) {
        return wrong("it is the gateway's");
    }
    let gateway = vm.spec.gateway.or(subnet.map(|subnet| subnet.gateway.into()));
    if let Some(IpAddr::V4(gateway)) = gateway
        && u32::from(gateway) & mask(prefix) != u32::from(address) & mask(prefix)
    {
        return Err(Invalid::argument(format!(
            "'{}': the gateway {gateway} is not in the subnet of {address}/{prefix}",
            vm.name
        )));
    }
    Ok(FixedAddress { address, prefix, gateway })
}
