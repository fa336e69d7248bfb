//! What networks are, and the entries in their DHCP and DNS servers.
//!
//! A network has two definitions, the one that runs and the one that is kept, and somebody may have changed one of both. An
//! entry is put into both and taken out of both.
//!
//! libvirt changes one entry at a time, under the network's lock, and takes none that shares an address with another of its
//! kind: two processes lose nothing to each other. What is decided here by looking first can be overtaken, and then libvirt
//! refuses the change; so a change that fails is decided again, and is an error only if nothing has changed meanwhile.

use std::net::IpAddr;

use anyhow::{Context, Result, anyhow};
use virt::{error::ErrorNumber, network::Network as VirtNetwork, sys};

use super::{Libvirt, leases, optional, plain};
use crate::core::{
    error::Refusal,
    network::{Lease, Network, Reservation, same_names},
    xml::network::{Definition, definition, dns_host_xml, reservation_xml},
};

/// How often others may overtake a change before it gives up.
const TRIES: usize = 10;

/// A network with its definitions, read at one moment.
struct Known {
    network: VirtNetwork,
    /// What runs.
    live: Option<Definition>,
    /// What is kept; a transient network has none, and a driver may tell none of one that runs.
    persistent: Option<Definition>,
}

/// A change to one entry of one definition.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Change {
    command: sys::virNetworkUpdateCommand,
    section: sys::virNetworkUpdateSection,
    /// The element that the entry stands in, where there can be several.
    parent: i32,
    xml: String,
}

/// A change, and the definitions that it is for.
type Step = (sys::virNetworkUpdateFlags, Change);

const LIVE: sys::virNetworkUpdateFlags = sys::VIR_NETWORK_UPDATE_AFFECT_LIVE;
const PERSISTENT: sys::virNetworkUpdateFlags = sys::VIR_NETWORK_UPDATE_AFFECT_CONFIG;

impl Known {
    /// None if the network has vanished.
    fn read(network: VirtNetwork) -> Result<Option<Self>> {
        let Some(active) = optional(network.is_active())? else { return Ok(None) };
        let Some(kept) = optional(network.is_persistent())? else { return Ok(None) };
        let live = if active { read(&network, 0)? } else { None };
        let persistent = match (kept, active) {
            (true, true) => read(&network, sys::VIR_NETWORK_XML_INACTIVE)?,
            (true, false) => read(&network, 0)?,
            (false, _) => None,
        };
        Ok((live.is_some() || persistent.is_some()).then_some(Self { network, live, persistent }))
    }

    fn merged(self) -> Network {
        let active = self.live.is_some();
        let definitions = self.live.into_iter().chain(self.persistent).map(|definition| definition.network);
        Network { active, ..definitions.reduce(Network::with_entries_of).unwrap_or_default() }
    }

    /// What is to be done to the definitions, after looking at each of them; all refusals at once.
    fn steps(&self, decide: impl Fn(&Definition) -> Result<Option<Change>, Refusal>) -> Result<Vec<Step>, Refusal> {
        let (mut steps, mut reasons): (Vec<Step>, Vec<String>) = (Vec::new(), Vec::new());
        for (flag, definition) in [(LIVE, &self.live), (PERSISTENT, &self.persistent)] {
            match definition.as_ref().map_or(Ok(None), &decide) {
                // The same change in both is one change, which libvirt does as a whole or not at all.
                Ok(Some(change)) => match steps.last_mut() {
                    Some((flags, other)) if *other == change => *flags |= flag,
                    _ => steps.push((flag, change)),
                },
                Ok(None) => {}
                Err(refusal) => {
                    // Mostly the entry in the way is in both.
                    let new: Vec<String> = refusal.reasons.into_iter().filter(|reason| !reasons.contains(reason)).collect();
                    reasons.extend(new);
                }
            }
        }
        if reasons.is_empty() { Ok(steps) } else { Err(Refusal { reasons, advice: None }) }
    }

    fn apply(&self, steps: &[Step]) -> Result<()> {
        for (flags, change) in steps {
            let Change { command, section, parent, xml } = change;
            self.network.update(*command, *section, *parent, xml, *flags).map_err(plain)?;
        }
        Ok(())
    }
}

/// One of a network's definitions; none where there is none.
fn read(network: &VirtNetwork, flags: sys::virNetworkXMLFlags) -> Result<Option<Definition>> {
    match network.xml_desc(flags) {
        // The test driver does not know the flag.
        Err(error) if flags != 0 && error.code().is_known_and(|code| matches!(code, ErrorNumber::InvalidArg)) => Ok(None),
        other => optional(other)?.map(|xml| definition(&xml)).transpose(),
    }
}

impl Libvirt {
    fn known(&self, name: &str) -> Result<Option<Known>> {
        let found = optional(self.connect.lookup_network_by_name(name)).with_context(|| format!("looking for network {name}"))?;
        let Some(network) = found else { return Ok(None) };
        Known::read(network).with_context(|| format!("reading network {name}"))
    }

    pub(super) fn one_network(&self, name: &str) -> Result<Option<Network>> {
        Ok(self.known(name)?.map(Known::merged))
    }

    pub(super) fn all_networks(&self) -> Result<Vec<Network>> {
        let all = self.connect.list_all_networks(0).map_err(plain)?;
        let known: Result<Vec<_>> = all.into_iter().map(Known::read).collect();
        let mut networks: Vec<Network> = known?.into_iter().flatten().map(Known::merged).collect();
        networks.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(networks)
    }

    pub(super) fn all_leases(&self, name: &str) -> Result<Vec<Lease>> {
        let found = optional(self.connect.lookup_network_by_name(name))?;
        leases::of(&found.with_context(|| format!("network {name} does not exist"))?)
    }

    /// Changes a network's definitions until there is nothing left to do.
    fn settle(&self, name: &str, decide: impl Fn(&Definition) -> Result<Option<Change>, Refusal>) -> Result<()> {
        let mut failed: Option<(Vec<Step>, anyhow::Error)> = None;
        for _ in 0..TRIES {
            let Some(known) = self.known(name)? else { return Err(anyhow!("network {name} does not exist")) };
            let steps = known.steps(&decide)?;
            match failed {
                Some((before, error)) if before == steps => return Err(error),
                _ => {}
            }
            match known.apply(&steps) {
                Ok(()) => return Ok(()),
                Err(error) => failed = Some((steps, error)),
            }
        }
        Err(failed.map_or_else(|| anyhow!("nothing was tried"), |(_, error)| error))
    }

    pub(super) fn add_reservation(&self, wanted: &Reservation) -> Result<()> {
        self.settle(&wanted.network, |definition| {
            if definition.network.has_reservation(wanted)? {
                return Ok(None);
            }
            let Some(parent) = definition.holder_of(wanted.ip) else {
                let reason = format!("{} is in no subnet of network {}", wanted.ip, wanted.network);
                return Err(Refusal::new(reason));
            };
            let section = sys::VIR_NETWORK_SECTION_IP_DHCP_HOST;
            Ok(Some(Change::add(section, index(parent), reservation_xml(wanted))))
        })
    }

    pub(super) fn remove_reservation(&self, wanted: &Reservation) -> Result<()> {
        self.unless_gone(&wanted.network, |definition| {
            let (parent, entry) = definition.entries(wanted).next()?;
            let section = sys::VIR_NETWORK_SECTION_IP_DHCP_HOST;
            Some(Change::remove(section, index(parent), reservation_xml(entry)))
        })
    }

    pub(super) fn put_dns_host(&self, network: &str, ip: IpAddr, names: &[String]) -> Result<()> {
        self.settle(network, |definition| {
            let there = definition.network.has_dns_host(ip, names)?;
            let change = || Change::add(sys::VIR_NETWORK_SECTION_DNS_HOST, -1, dns_host_xml(ip, names));
            Ok((!there).then(change))
        })
    }

    pub(super) fn take_dns_host(&self, network: &str, ip: IpAddr, names: &[String]) -> Result<()> {
        self.unless_gone(network, |definition| {
            let is_it = |(address, theirs): &&(IpAddr, Vec<String>)| *address == ip && same_names(theirs, names);
            definition.network.hosts.iter().find(|host| is_it(host))?;
            // The address alone: of the names libvirt takes any that matches, another host's too.
            Some(Change::remove(sys::VIR_NETWORK_SECTION_DNS_HOST, -1, dns_host_xml(ip, &[])))
        })
    }

    /// Removes an entry. In a network that is gone there is nothing to remove.
    fn unless_gone(&self, network: &str, decide: impl Fn(&Definition) -> Option<Change>) -> Result<()> {
        match self.known(network)? {
            Some(_) => self.settle(network, |definition| Ok(decide(definition))),
            None => Ok(()),
        }
    }
}

impl Change {
    fn add(section: sys::virNetworkUpdateSection, parent: i32, xml: String) -> Self {
        Self { command: sys::VIR_NETWORK_UPDATE_COMMAND_ADD_LAST, section, parent, xml }
    }

    fn remove(section: sys::virNetworkUpdateSection, parent: i32, xml: String) -> Self {
        Self { command: sys::VIR_NETWORK_UPDATE_COMMAND_DELETE, section, parent, xml }
    }
}

/// An element's index as libvirt takes it. XML within tpl's limits has no more elements than that.
fn index(parent: usize) -> i32 {
    i32::try_from(parent).unwrap_or(i32::MAX)
}
