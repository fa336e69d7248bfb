//! Watching libvirt: what it says, each time that it has something new to say. It is never asked for a guest's sake.

use std::{collections::BTreeMap, thread, time::Duration};

use anyhow::{Result, bail};

use crate::{
    core::{imds::gather::Said, seed::handed::HandedSeed, units::Span},
    host::{
        hypervisor::Hypervisor as _,
        libvirt::{
            Libvirt,
            live::{Watching, changes, wait_for_change},
        },
    },
};

/// How long to collect changes after the first one: a VM that starts makes several.
const SETTLE: Duration = Duration::from_millis(50);
/// How long to wait for a change before all is read again: leases come without one.
const AGAIN: Duration = Duration::from_secs(5);
/// How long to wait before libvirt is connected to again.
const RECONNECT: Duration = Duration::from_secs(1);

/// What a watcher tells.
#[derive(Debug)]
pub enum Heard {
    /// What libvirt said.
    Said(Said),
    /// Why it says nothing: it is connected to again.
    Lost(String),
}

/// Watches until `tell` says that nobody listens any more.
pub fn watch(uri: &str, deadline: Span, tell: &dyn Fn(Heard) -> bool) {
    loop {
        if let Err(error) = follow(uri, deadline, tell) {
            let Some(error) = error else { return };
            if !tell(Heard::Lost(format!("{error:#}"))) {
                return;
            }
        }
        thread::sleep(RECONNECT);
    }
}

/// Follows one connection to its end. The error is none where nobody listens any more.
fn follow(uri: &str, deadline: Span, tell: &dyn Fn(Heard) -> bool) -> Result<(), Option<anyhow::Error>> {
    let libvirt = Watching::open(uri, deadline)?;
    let mut seen = changes();
    loop {
        if !tell(Heard::Said(read(&libvirt)?)) {
            return Err(None);
        }
        let now = wait_for_change(seen, AGAIN);
        if now != seen {
            thread::sleep(SETTLE);
        }
        seen = changes();
        if libvirt.is_lost() {
            return Err(Some(anyhow::anyhow!("libvirt has closed the connection")));
        }
    }
}

fn read(libvirt: &Libvirt) -> Result<Said> {
    let networks = libvirt.networks()?;
    let mut leases = BTreeMap::new();
    for network in networks.iter().filter(|network| network.active) {
        match libvirt.leases(&network.name) {
            Ok(found) => drop(leases.insert(network.name.clone(), found)),
            // It may have been stopped meanwhile.
            Err(_) if !libvirt.is_lost() => {}
            Err(error) => bail!(error),
        }
    }
    // Before the seeds: a clone's is there before it starts.
    let domains = libvirt.running()?;
    let mut seeds = BTreeMap::new();
    for (uuid, name) in libvirt.seeds()? {
        let read = libvirt.seed(uuid).and_then(|value| value.map(|value| HandedSeed::parse(&value)).transpose());
        match read {
            Ok(seed) => seeds.extend(seed.map(|seed| (uuid, seed))),
            Err(error) if libvirt.is_lost() => bail!(error),
            // One that is of a later tpl's making, or that may not be read, is nobody's misfortune but its own.
            Err(error) => tracing::warn!(domain = name, error = format!("{error:#}"), "its seed cannot be read"),
        }
    }
    Ok(Said { domains, networks, leases, seeds })
}
