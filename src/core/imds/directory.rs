//! Who is asking: decided from what libvirt has said last, and from the wire that the connection came in by.
//!
//! A guest can send what it likes: headers, paths, another guest's address, another card's. None of that makes it somebody else:
//!
//! | it lies about | and |
//! |---|---|
//! | headers, paths | they are not looked at |
//! | its address | it is itself by its wire; or nobody, where the address is kept for another or leased to it |
//! | its card's address | no domain has that card at this port: nobody |
//! | ARP, a gateway, frames in between | the answer leaves by its own wire alone: see [`super::wires`] |
//! | its network | each bridge has a listening socket of its own |
//!
//! Nobody is answered 404, and the log says why.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    net::IpAddr,
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use super::{ec2::Answers, instance::Instance};
use crate::core::mac::Mac;

/// All that is known of the domains of a hypervisor, at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// The running domains.
    pub instances: Vec<Instance>,
    /// Addresses on bridges that are kept for a card, or leased to one.
    pub owners: Vec<Owner>,
}

/// Whose an address on a bridge is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Owner {
    /// The bridge.
    pub bridge: String,
    /// The address.
    pub address: IpAddr,
    /// The card.
    pub mac: Mac,
    /// Whether it is kept for the card for good. A lease counts while its domain runs.
    pub reserved: bool,
}

/// The same, made ready to be asked.
#[derive(Debug, Default)]
pub struct Directory {
    told: Vec<Arc<Told>>,
    cards: HashMap<u32, (usize, usize)>,
    owners: HashMap<(String, IpAddr), HashSet<Mac>>,
}

/// A domain and its answers.
#[derive(Debug)]
pub struct Told {
    /// The domain.
    pub instance: Instance,
    /// What it is answered under the paths of the EC2 metadata.
    pub answers: Answers,
}

/// Why a caller is nobody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stranger {
    /// It came in by no wire of a running domain's on this bridge.
    NoDomain,
    /// It uses an address that libvirt keeps for another card, or has leased to one.
    OthersAddress {
        /// The domain.
        domain: String,
    },
}

impl fmt::Display for Stranger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDomain => write!(f, "it is no running domain's card at its own port of this bridge"),
            Self::OthersAddress { domain } => write!(f, "{domain} uses an address that is another card's"),
        }
    }
}

impl Directory {
    /// Makes ready what is known. `host` is the hypervisor's name.
    pub fn new(known: Known, host: &str) -> Self {
        let told: Vec<_> = known
            .instances
            .into_iter()
            .map(|instance| Arc::new(Told { answers: Answers::of(&instance, host), instance }))
            .collect();
        let mut cards = HashMap::new();
        let mut running = HashSet::new();
        for (number, told) in told.iter().enumerate() {
            for (index, card) in told.instance.cards.iter().enumerate() {
                running.insert((card.bridge.clone(), card.mac));
                cards.extend(card.mark.map(|mark| (mark, (number, index))));
            }
        }
        let mut owners: HashMap<_, HashSet<Mac>> = HashMap::new();
        for owner in known.owners {
            // A domain that is gone has left its lease behind.
            if owner.reserved || running.contains(&(owner.bridge.clone(), owner.mac)) {
                owners.entry((owner.bridge, owner.address)).or_default().insert(owner.mac);
            }
        }
        Self { told, cards, owners }
    }

    /// How many domains there are.
    pub fn len(&self) -> usize {
        self.told.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.told.is_empty()
    }

    /// Who asks from this address on this bridge, on a connection with this mark.
    ///
    /// # Errors
    /// [`Stranger`]: nobody that is known.
    pub fn caller(&self, bridge: &str, address: IpAddr, mark: u32) -> Result<&Arc<Told>, Stranger> {
        let (number, index) = self.cards.get(&mark).ok_or(Stranger::NoDomain)?;
        let told = &self.told[*number];
        let card = &told.instance.cards[*index];
        if card.bridge != bridge {
            return Err(Stranger::NoDomain);
        }
        let owners = self.owners.get(&(card.bridge.clone(), address));
        if owners.is_some_and(|owners| !owners.contains(&card.mac)) {
            return Err(Stranger::OthersAddress { domain: told.instance.domain.clone() });
        }
        Ok(told)
    }
}

#[cfg(test)]
#[path = "directory_tests.rs"]
mod tests;
