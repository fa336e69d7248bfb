//! Who is asking: decided from what libvirt has said last, and from what the kernel says of the caller now.
//!
//! A guest can send what it likes: headers, paths, another guest's address, another card's MAC. None of that makes it somebody else:
//!
//! | it lies about | and |
//! |---|---|
//! | headers, paths | they are not looked at |
//! | its address | the neighbour table has its own card for it: it is itself, or nobody where the address is another's |
//! | its card's MAC | the bridge has heard that MAC at another port than the domain's own: nobody |
//! | both, while the other is silent | the same: a port is the host's end of the wire, and no guest's to choose |
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

use super::{Sighting, ec2::Answers, instance::Instance};
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
    cards: HashMap<(String, Mac), Vec<(usize, usize)>>,
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
    /// The neighbour table has no card for the address.
    Unseen,
    /// No running domain has a card like that on the bridge.
    NoDomain(Mac),
    /// Several running domains have a card like that on the bridge.
    SeveralDomains(Mac),
    /// The card was heard at another port than its domain's.
    OtherPort {
        /// The domain.
        domain: String,
        /// Where it was heard.
        port: Option<String>,
    },
    /// The address is another card's.
    OthersAddress {
        /// The domain that uses it.
        domain: String,
    },
}

impl fmt::Display for Stranger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unseen => f.write_str("its address has no card in the neighbour table"),
            Self::NoDomain(mac) => write!(f, "no running domain has the card {mac} on this bridge"),
            Self::SeveralDomains(mac) => write!(f, "several running domains have the card {mac} on this bridge"),
            Self::OtherPort { domain, port: Some(port) } => {
                write!(f, "{domain}'s card was heard at port {port}, which is not its own")
            }
            Self::OtherPort { domain, port: None } => write!(f, "{domain}'s card was heard at no port of this bridge"),
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
        let mut cards: HashMap<_, Vec<_>> = HashMap::new();
        for (number, told) in told.iter().enumerate() {
            for (index, card) in told.instance.cards.iter().enumerate() {
                cards.entry((card.bridge.clone(), card.mac)).or_default().push((number, index));
            }
        }
        let mut owners: HashMap<_, HashSet<Mac>> = HashMap::new();
        for owner in known.owners {
            // A domain that is gone has left its lease behind.
            if owner.reserved || cards.contains_key(&(owner.bridge.clone(), owner.mac)) {
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

    /// Whether an address on a bridge is kept for a card, or leased to it.
    pub fn is_kept(&self, bridge: &str, address: IpAddr, mac: Mac) -> bool {
        self.owners.get(&(bridge.to_owned(), address)).is_some_and(|owners| owners.contains(&mac))
    }

    /// Who asks from this address on this bridge.
    ///
    /// # Errors
    /// [`Stranger`]: nobody that is known.
    pub fn caller(&self, bridge: &str, address: IpAddr, seen: Option<&Sighting>) -> Result<&Arc<Told>, Stranger> {
        let seen = seen.ok_or(Stranger::Unseen)?;
        let key = (bridge.to_owned(), seen.mac);
        let (number, index) = match self.cards.get(&key).map(Vec::as_slice) {
            None | Some([]) => return Err(Stranger::NoDomain(seen.mac)),
            Some([only]) => *only,
            Some(_) => return Err(Stranger::SeveralDomains(seen.mac)),
        };
        let told = &self.told[number];
        let domain = || told.instance.domain.clone();
        let port = &told.instance.cards[index].port;
        if port.is_none() || *port != seen.port {
            return Err(Stranger::OtherPort { domain: domain(), port: seen.port.clone() });
        }
        let owners = self.owners.get(&(key.0, address));
        if owners.is_some_and(|owners| !owners.contains(&seen.mac)) {
            return Err(Stranger::OthersAddress { domain: domain() });
        }
        Ok(told)
    }
}

#[cfg(test)]
#[path = "directory_tests.rs"]
mod tests;
