//! The neighbour table, which says whose an address on a link is, and a bridge's own, which says at which port a card is.

use std::net::Ipv4Addr;

use anyhow::{Context as _, Result, bail};
use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_REPLACE, NLM_F_REQUEST};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    neighbour::{NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState},
    route::RouteProtocol,
};
use rustix::{io::Errno, net::netdevice::index_to_name};

use super::netlink::{Failed, ask, by_plain, list};
use crate::core::mac::Mac;

/// What marks an entry of the neighbour table as the service's own. The numbers below 256 that have a meaning are in
/// /etc/iproute2/rt_protos; this one has none.
const PROTOCOL: RouteProtocol = RouteProtocol::Other(116);

/// The card that has an address on a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neighbour {
    /// The card.
    pub mac: Mac,
    /// Whether no ARP message changes it.
    pub is_permanent: bool,
}

/// Where a card is on a bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The port's name.
    pub name: String,
    /// Its number.
    pub index: u32,
    /// Whether no frame from another port changes it.
    pub is_sticky: bool,
    /// Whether somebody has written it down: it does not age out.
    pub is_static: bool,
}

/// The card that has an address on a link; none where nothing was heard from it.
///
/// # Errors
/// The kernel cannot be asked.
pub fn neighbour(link: u32, address: Ipv4Addr) -> Result<Option<Neighbour>> {
    let found = neighbour_message(neighbour_of(link, address)).context("asking the neighbour table")?;
    Ok(found.and_then(|found| known_neighbour(&found)))
}

fn known_neighbour(found: &NeighbourMessage) -> Option<Neighbour> {
    if matches!(found.header.state, NeighbourState::Incomplete | NeighbourState::Failed | NeighbourState::Noarp) {
        return None;
    }
    Some(Neighbour { mac: card_of(found)?, is_permanent: found.header.state == NeighbourState::Permanent })
}

fn card_of(found: &NeighbourMessage) -> Option<Mac> {
    found.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::LinkLayerAddress(bytes) => bytes.as_slice().try_into().ok().map(Mac),
        _ => None,
    })
}

/// The port of a bridge that a card was heard at last; none where it has aged out, or there is no such device any more.
///
/// # Errors
/// The kernel cannot be asked.
pub fn place(bridge: u32, mac: Mac) -> Result<Option<Place>> {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.attributes = vec![NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()), NeighbourAttribute::Controller(bridge)];
    let Some(found) = neighbour_message(message).context("asking the bridge for a card's port")? else { return Ok(None) };
    let index = found.header.ifindex;
    let is_sticky = found.header.flags.contains(NeighbourFlags::Sticky);
    let is_static = found.header.state == NeighbourState::Noarp;
    match by_plain(|socket| index_to_name(socket, index)) {
        Ok(name) => Ok(Some(Place { name, index, is_sticky, is_static })),
        Err(Errno::NODEV | Errno::NXIO) => Ok(None),
        Err(error) => Err(error).context("asking for a port's name"),
    }
}

fn neighbour_of(link: u32, address: Ipv4Addr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.ifindex = link;
    message.attributes = vec![NeighbourAttribute::Destination(address.into())];
    message
}

/// Makes an address a card's for good, with the service's own mark.
///
/// # Errors
/// The kernel refuses.
pub fn set_permanent(link: u32, address: Ipv4Addr, mac: Mac) -> Result<()> {
    let mut message = neighbour_of(link, address);
    message.header.state = NeighbourState::Permanent;
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
    message.attributes.push(NeighbourAttribute::Protocol(PROTOCOL));
    set_neighbour(message).with_context(|| format!("pinning {address} to {mac}"))
}

/// Forgets an address's card: it is asked for when it is needed next. One that is not there, or on no bridge any more, is no error.
///
/// # Errors
/// The kernel refuses.
pub fn forget_neighbour(link: u32, address: Ipv4Addr) -> Result<()> {
    let message = RouteNetlinkMessage::DelNeighbour(neighbour_of(link, address));
    match ask(message, NLM_F_REQUEST | NLM_F_ACK) {
        Ok(_) | Err(Failed::Errno(Errno::NOENT | Errno::NODEV | Errno::NXIO)) => Ok(()),
        Err(failed) => Err(failed.error()).with_context(|| format!("unpinning {address}")),
    }
}

/// Keeps a card at its port whatever other ports say, or lets it be learned again. A port that is gone is no error in the latter.
///
/// # Errors
/// The kernel refuses.
pub fn set_sticky(mac: Mac, place: &Place) -> Result<()> {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.header.ifindex = place.index;
    message.header.flags = NeighbourFlags::Controller;
    message.header.flags.set(NeighbourFlags::Sticky, place.is_sticky);
    // What is sticky is static, else it would age out.
    let is_static = place.is_sticky || place.is_static;
    message.header.state = if is_static { NeighbourState::Noarp } else { NeighbourState::Reachable };
    message.attributes = vec![NeighbourAttribute::LinkLayerAddress(mac.0.to_vec())];
    match set_neighbour(message) {
        Err(error) if !place.is_sticky && error.downcast_ref() == Some(&Errno::NODEV) => Ok(()),
        outcome => outcome.with_context(|| format!("setting the port of {mac} to {}", place.name)),
    }
}

fn set_neighbour(message: NeighbourMessage) -> Result<()> {
    let flags = NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE;
    ask(RouteNetlinkMessage::NewNeighbour(message), flags).map(drop).map_err(Failed::error)
}

/// The addresses on a link that have the service's own mark, and their cards.
///
/// # Errors
/// The kernel cannot be asked.
pub fn permanent(link: u32) -> Result<Vec<(Ipv4Addr, Mac)>> {
    let mut question = NeighbourMessage::default();
    question.header.family = AddressFamily::Inet;
    let mut found = Vec::new();
    let each = |message| {
        if let RouteNetlinkMessage::NewNeighbour(message) = message {
            found.extend(marked(&message).filter(|_| message.header.ifindex == link));
        }
    };
    list(RouteNetlinkMessage::GetNeighbour(question), each).context("listing the neighbour table")?;
    Ok(found)
}

fn marked(message: &NeighbourMessage) -> Option<(Ipv4Addr, Mac)> {
    let is_ours = message.attributes.contains(&NeighbourAttribute::Protocol(PROTOCOL));
    let address = message.attributes.iter().find_map(|attribute| match attribute {
        NeighbourAttribute::Destination(NeighbourAddress::Inet(address)) => Some(*address),
        _ => None,
    })?;
    let known = known_neighbour(message).filter(|known| is_ours && known.is_permanent)?;
    Some((address, known.mac))
}

/// One entry of a table; none where there is none.
fn neighbour_message(message: NeighbourMessage) -> Result<Option<NeighbourMessage>> {
    match ask(RouteNetlinkMessage::GetNeighbour(message), NLM_F_REQUEST) {
        Ok(Some(RouteNetlinkMessage::NewNeighbour(found))) => Ok(Some(found)),
        Ok(_) => bail!("the kernel answers something else"),
        Err(Failed::Errno(Errno::NOENT | Errno::NODEV)) => Ok(None),
        Err(failed) => Err(failed.error()),
    }
}
