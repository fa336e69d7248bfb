//! What the kernel knows of a caller, and the address that the service has on its bridges: by rtnetlink.

pub mod netlink;
pub mod tables;

use std::net::{IpAddr, Ipv4Addr};

use anyhow::{Context as _, Result};
use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressMessage, AddressScope},
};
use rustix::{
    io::Errno,
    net::netdevice::{index_to_name, name_to_index},
};

use self::{
    netlink::{Failed, ask, by_plain, list},
    tables::{neighbour, place},
};
use crate::core::imds::{ADDRESS, Sighting};

/// What marks an address as the service's own, behind the bridge's name: `virbr0:tpl`.
const LABEL: &str = ":tpl";
/// The kernel's limit on a label in bytes, without the NUL.
const MAX_LABEL: usize = 15;

/// A bridge, as the kernel has it now: made again, it has another number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    /// Its name.
    pub name: String,
    /// Its number.
    pub index: u32,
}

/// What tells who is behind an address.
pub trait Sightings: Send + Sync {
    /// What is behind an address on a bridge; none where nothing was heard from it.
    ///
    /// # Errors
    /// The kernel cannot be asked.
    fn sighting(&self, bridge: &Bridge, address: Ipv4Addr) -> Result<Option<Sighting>>;
}

/// The kernel's own tables.
#[derive(Debug, Clone, Copy)]
pub struct Kernel;

impl Sightings for Kernel {
    fn sighting(&self, bridge: &Bridge, address: Ipv4Addr) -> Result<Option<Sighting>> {
        let Some(neighbour) = neighbour(bridge.index, address)? else { return Ok(None) };
        let place = place(bridge.index, neighbour.mac)?;
        let pinned = neighbour.is_permanent && place.as_ref().is_some_and(|place| place.is_sticky);
        let port = place.map(|place| place.name);
        Ok(Some(Sighting { mac: neighbour.mac, port, pinned }))
    }
}

/// The bridge of that name; none where there is no such device, or it is no bridge.
///
/// # Errors
/// The kernel cannot be asked.
pub fn bridge(name: &str) -> Result<Option<Bridge>> {
    if !std::path::Path::new("/sys/class/net").join(name).join("bridge").is_dir() {
        return Ok(None);
    }
    match by_plain(|socket| name_to_index(socket, name)) {
        Ok(index) => Ok(Some(Bridge { name: name.to_owned(), index })),
        Err(Errno::NODEV) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("asking for the number of {name}")),
    }
}

/// Puts the service's address on a bridge. Whether it was put there; it was there before, else.
///
/// # Errors
/// The kernel refuses.
pub fn add_address(bridge: &Bridge) -> Result<bool> {
    let message = RouteNetlinkMessage::NewAddress(address(bridge));
    match ask(message, NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL) {
        Ok(_) => Ok(true),
        Err(Failed::Errno(Errno::EXIST)) => Ok(false),
        Err(failed) => Err(failed.error()).with_context(|| format!("putting {ADDRESS} on {}", bridge.name)),
    }
}

/// Takes the service's address from a bridge, where it is there and is the service's. A bridge that is gone is no error.
///
/// # Errors
/// The kernel refuses.
pub fn remove_address(bridge: &Bridge) -> Result<()> {
    match ask(RouteNetlinkMessage::DelAddress(address(bridge)), NLM_F_REQUEST | NLM_F_ACK) {
        Ok(_) | Err(Failed::Errno(Errno::ADDRNOTAVAIL | Errno::NODEV)) => Ok(()),
        Err(failed) => Err(failed.error()).with_context(|| format!("taking {ADDRESS} from {}", bridge.name)),
    }
}

/// The bridges that have the service's address on them, with its label.
///
/// # Errors
/// The kernel cannot be asked.
pub fn labelled() -> Result<Vec<Bridge>> {
    let mut question = AddressMessage::default();
    question.header.family = AddressFamily::Inet;
    let mut found = Vec::new();
    let each = |message| {
        if let RouteNetlinkMessage::NewAddress(message) = message {
            found.extend(is_ours(&message).then_some(message.header.index));
        }
    };
    list(RouteNetlinkMessage::GetAddress(question), each).context("listing addresses")?;
    let named = |index| match by_plain(|socket| index_to_name(socket, index)) {
        Ok(name) => Ok(Some(Bridge { name, index })),
        Err(Errno::NODEV | Errno::NXIO) => Ok(None),
        Err(error) => Err(error).context("asking for a bridge's name"),
    };
    found.into_iter().filter_map(|index| named(index).transpose()).collect()
}

/// Whether that is the service's address, with its label.
fn is_ours(message: &AddressMessage) -> bool {
    let is_label = |attribute: &_| matches!(attribute, AddressAttribute::Label(label) if label.ends_with(LABEL));
    message.attributes.contains(&AddressAttribute::Local(IpAddr::V4(ADDRESS))) && message.attributes.iter().any(is_label)
}

/// For this machine alone, of this link alone, and with a name that says whose it is: one that somebody else has put there is not
/// taken away.
fn address(bridge: &Bridge) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.prefix_len = 32;
    message.header.scope = AddressScope::Link;
    message.header.index = bridge.index;
    // The kernel takes any text: where the bridge's name leaves no room, its beginning does.
    let beginning = bridge.name.get(..MAX_LABEL - LABEL.len()).unwrap_or(&bridge.name);
    message.attributes = vec![
        AddressAttribute::Local(IpAddr::V4(ADDRESS)),
        AddressAttribute::Address(IpAddr::V4(ADDRESS)),
        AddressAttribute::Label(format!("{beginning}{LABEL}")),
    ];
    message
}
