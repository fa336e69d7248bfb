//! Which network card gets which MAC, and which VM which address. Pure: decided from what the hypervisor says is taken.

mod addresses;
mod macs;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr},
};

use anyhow::Result;
use uuid::Uuid;

use super::{
    error::Invalid,
    mac::Mac,
    names::VmName,
    network::{Lease, Network, Plug, Reservation},
    vm_spec::{DomainName, VmSpec},
};

/// What is taken, and by whom, as far as the hypervisor knows.
#[derive(Debug, Clone, Default)]
pub struct Taken {
    /// The MACs of all domains.
    pub macs: BTreeSet<Mac>,
    /// Addresses that were promised to VMs, with the VM's name.
    pub promised: BTreeMap<IpAddr, String>,
    /// The networks that exist.
    pub networks: BTreeMap<String, Network>,
    /// What their DHCP servers have given away.
    pub leases: BTreeMap<String, Vec<Lease>>,
}

/// How a VM is on the network.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// What its first card is plugged into; none leaves it as the template has it.
    pub plug: Option<Plug>,
    /// The libvirt network that this is, if it is one.
    pub network: Option<String>,
    /// A MAC for each card.
    pub macs: Vec<Mac>,
    /// The first card's address, where it is decided now.
    pub address: Option<IpAddr>,
    /// How the guest comes to it.
    pub config: CardConfig,
    /// What the network's DHCP server is to keep.
    pub reservation: Option<Reservation>,
}

impl Place {
    /// The place for people. `template` is what the card is plugged into if nothing else was asked for.
    pub fn describe(&self, template: Option<&Plug>) -> String {
        let plug = match self.plug.as_ref().or(template) {
            Some(Plug::Network(name)) => format!("network {name}"),
            Some(Plug::Bridge(name)) => format!("bridge {name}"),
            None => "the template's own network".to_owned(),
        };
        let address = match (self.address, &self.reservation) {
            (Some(address), Some(_)) => format!("{address} (reserved)"),
            (Some(address), None) => format!("{address} (static)"),
            (None, _) => "address by DHCP".to_owned(),
        };
        let macs: Vec<_> = self.macs.iter().map(ToString::to_string).collect();
        format!("{plug}, {address}, {}", macs.join(" "))
    }
}

/// How a guest configures its first card.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CardConfig {
    /// Written into the guest; none asks for it by DHCP.
    pub fixed: Option<FixedAddress>,
    /// Name servers.
    pub nameservers: Vec<IpAddr>,
    /// Domains in which short names are looked for.
    pub search: Vec<DomainName>,
}

/// An address that a guest has of its own configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FixedAddress {
    /// The address.
    pub address: Ipv4Addr,
    /// The length of its prefix.
    pub prefix: u8,
    /// The router.
    pub gateway: Option<IpAddr>,
}

/// A VM that wants a place.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Its name.
    pub name: &'a VmName,
    /// What was asked for.
    pub spec: &'a VmSpec,
    /// What its template's first card is plugged into; none, if that is neither a network nor a bridge.
    pub plug: Option<&'a Plug>,
    /// How many cards it has.
    pub cards: usize,
}

/// Gives each VM its place. What one gets is taken for the next.
///
/// # Errors
/// [`Invalid`] for what cannot be, [`super::error::Refusal`] for what is taken.
pub fn places(wanted: &[Wanted<'_>], taken: &mut Taken, fresh: &mut dyn FnMut() -> Uuid) -> Result<Vec<Place>> {
    let mut explicit = macs::Explicit::new(wanted)?;
    wanted
        .iter()
        .map(|vm| {
            let plug = asked_plug(vm.spec)?;
            let effective = plug.as_ref().or(vm.plug);
            let network = effective.and_then(Plug::network).map(str::to_owned);
            // By name or given: the address may follow from a lease that this card has already. By address: the other way round.
            let mut place = addresses::choose(vm, effective, taken)?;
            place.macs = macs::choose(vm, place.address, &mut explicit, taken, fresh)?;
            if let (Some(reservation), Some(first)) = (&mut place.reservation, place.macs.first()) {
                reservation.mac = Some(*first);
            }
            if let Some(address) = place.address {
                taken.promised.insert(address, vm.name.to_string());
            }
            place.plug = plug;
            place.network = network;
            Ok(place)
        })
        .collect()
}

fn asked_plug(spec: &VmSpec) -> Result<Option<Plug>, Invalid> {
    match (&spec.network, &spec.bridge) {
        (Some(_), Some(_)) => Err(Invalid::argument("a VM's first card is in a network or on a bridge, not both")),
        (Some(network), None) => Ok(Some(Plug::Network(network.to_string()))),
        (None, Some(bridge)) => Ok(Some(Plug::Bridge(bridge.to_string()))),
        (None, None) => Ok(None),
    }
}

#[cfg(test)]
mod tests;
