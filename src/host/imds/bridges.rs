//! The bridges that are served: each with the service's address on it, and a socket that only it reaches.

use std::{collections::BTreeMap, net::TcpListener};

use anyhow::Result;

use super::{
    kernel::{self, Bridge},
    listen,
};
use crate::core::error::Refusal;

/// The bridges that are served now.
#[derive(Debug)]
pub struct Bridges {
    hops: u8,
    served: BTreeMap<String, Held>,
}

#[derive(Debug)]
struct Held {
    bridge: Bridge,
    /// Whether the address is this service's: one that somebody else has put there stays.
    own: bool,
}

/// What has come of a look at a bridge.
#[derive(Debug)]
pub enum Look {
    /// It is as it was.
    Same,
    /// It is served from now on.
    New(Bridge, TcpListener),
    /// It was served, and is gone.
    Gone,
}

impl Bridges {
    /// None yet. What goes out goes `hops` hops far.
    pub fn new(hops: u8) -> Self {
        Self { hops, served: BTreeMap::new() }
    }

    /// Looks at a bridge. One that has been made again lost the address with all else.
    ///
    /// # Errors
    /// The address cannot be put there, or something else listens.
    pub fn look(&mut self, name: &str) -> Result<Look> {
        let now = kernel::bridge(name)?;
        let held = self.served.get(name).map(|held| &held.bridge);
        match now {
            Some(bridge) if held == Some(&bridge) => {
                // Whoever manages the bridge may have put it back to what they know of it.
                if kernel::add_address(&bridge)? {
                    self.served.insert(name.to_owned(), Held { bridge, own: true });
                }
                Ok(Look::Same)
            }
            Some(bridge) => {
                let added = kernel::add_address(&bridge)?;
                let listener = listen::on_bridge(&bridge, self.hops);
                if listener.is_err() && added {
                    kernel::remove_address(&bridge)?;
                }
                let listener = listener?;
                self.served.insert(name.to_owned(), Held { bridge: bridge.clone(), own: added });
                Ok(Look::New(bridge, listener))
            }
            None if held.is_some() => {
                self.served.remove(name);
                Ok(Look::Gone)
            }
            None if kernel::number(name)?.is_some() => Err(Refusal::new(format!("{name} is no bridge")).into()),
            None => Ok(Look::Same),
        }
    }

    /// Takes the address from a bridge again.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn release(&mut self, name: &str) -> Result<()> {
        match self.served.remove(name) {
            Some(Held { bridge, own: true }) => kernel::remove_address(&bridge),
            _ => Ok(()),
        }
    }

    /// The same for all of them: what could not be taken away.
    pub fn release_all(&mut self) -> Vec<anyhow::Error> {
        let names: Vec<String> = self.served.keys().cloned().collect();
        names.iter().filter_map(|name| self.release(name).err()).collect()
    }

    /// Those that are served.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        self.served.keys()
    }
}
