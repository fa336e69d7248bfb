//! Callers whose address is pinned to their card, and their card to its port, for as long as they ask.
//!
//! Both tables believe what they hear: a guest can claim an address in an ARP message, and a card in the sender of a frame. What it
//! hears in the next moment cannot make an answer somebody else's that is under way already, or is sent again: the way that it takes is
//! fixed before it is given. A pin makes lasting what the tables say, and nothing that they do not.

use std::{collections::BTreeMap, net::Ipv4Addr};

use anyhow::Result;

use super::kernel::{
    Bridge,
    tables::{Place, forget_neighbour, neighbour, permanent, place, set_permanent, set_sticky},
};
use crate::core::mac::Mac;

/// Addresses that one card may have pinned at once.
const OF_ONE: usize = 8;

/// A card on a link.
type Card = (u32, Mac);

/// What is pinned.
#[derive(Debug, Default)]
pub struct Pins {
    addresses: BTreeMap<(u32, Ipv4Addr), Address>,
    /// The ports that cards are kept at, as they were before.
    cards: BTreeMap<Card, Place>,
}

/// An address.
#[derive(Debug)]
struct Address {
    mac: Mac,
    /// Whether the neighbour table has it from here: what somebody else has written down there stays.
    own: bool,
}

/// What has come of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pinned {
    /// It is pinned.
    Done,
    /// The tables do not know whose the address is.
    Unseen,
    /// The card has too many of them.
    TooMany,
}

impl Pins {
    /// Pins an address on a bridge to the card and port that the tables have for it now.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn pin(&mut self, bridge: &Bridge, address: Ipv4Addr) -> Result<Pinned> {
        let link = bridge.index;
        let Some(neighbour) = neighbour(link, address)? else { return Ok(Pinned::Unseen) };
        let Some(place) = place(link, neighbour.mac)? else { return Ok(Pinned::Unseen) };
        let card = (link, neighbour.mac);
        let others = self.of(card).filter(|other| *other != address).count();
        if others >= OF_ONE {
            return Ok(Pinned::TooMany);
        }
        // One that is pinned already is whose it was.
        let own = !neighbour.is_permanent || self.addresses.get(&(link, address)).is_some_and(|held| held.own);
        if !neighbour.is_permanent {
            set_permanent(link, address, neighbour.mac)?;
        }
        self.addresses.insert((link, address), Address { mac: neighbour.mac, own });
        if !place.is_sticky {
            set_sticky(neighbour.mac, &Place { is_sticky: true, ..place.clone() })?;
            self.cards.insert(card, place);
        }
        Ok(Pinned::Done)
    }

    fn of(&self, (link, mac): Card) -> impl Iterator<Item = Ipv4Addr> {
        let own = self.addresses.iter().filter(move |((on, _), held)| *on == link && held.mac == mac);
        own.map(|((_, address), _)| *address)
    }

    /// Lets an address go, and its card where none of its addresses is left.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn unpin(&mut self, link: u32, address: Ipv4Addr) -> Result<()> {
        let Some(Address { mac, own }) = self.addresses.remove(&(link, address)) else { return Ok(()) };
        let card = (link, mac);
        // The address goes last: by its mark the next service finds what one that was killed has left.
        if self.of(card).next().is_none()
            && let Some(was) = self.cards.remove(&card)
        {
            let_go(link, mac, &was)?;
        }
        if own { forget_neighbour(link, address) } else { Ok(()) }
    }

    /// Lets all of them go: what could not be.
    pub fn release_all(&mut self) -> Vec<anyhow::Error> {
        let all: Vec<_> = self.addresses.keys().copied().collect();
        all.into_iter().filter_map(|(link, address)| self.unpin(link, address).err()).collect()
    }
}

/// A card may be learned at another port again, where it is still at this one.
fn let_go(link: u32, mac: Mac, was: &Place) -> Result<()> {
    let now = place(link, mac)?;
    if now.is_some_and(|now| now.is_sticky && now.index == was.index) { set_sticky(mac, was) } else { Ok(()) }
}

/// Lets go what a service that was killed has left on a bridge: how many addresses.
///
/// # Errors
/// The kernel cannot be asked, or refuses.
pub fn release_left(link: u32) -> Result<usize> {
    let left: BTreeMap<Ipv4Addr, Mac> = permanent(link)?.into_iter().collect();
    for mac in left.values() {
        if let Some(place) = place(link, *mac)?.filter(|place| place.is_sticky) {
            // Static, for it may have been written down by libvirt. It is learned anew in any case, where the port learns at all.
            set_sticky(*mac, &Place { is_sticky: false, is_static: true, ..place })?;
        }
    }
    left.keys().try_for_each(|address| forget_neighbour(link, *address))?;
    Ok(left.len())
}
