//! Watching libvirt: what it says, each time that it has something new to say. It is never asked for a guest's sake.

use std::{collections::BTreeMap, thread, time::Duration};

use anyhow::{Context as _, Result, bail};

use super::kernel::devices;
use crate::{
    core::{
        imds::{
            gather::Said,
            seeds::{Kept, Look, Seeds},
        },
        units::Span,
    },
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
    // Of all connections: what one has told is not forgotten by the next one.
    let mut seeds = Seeds::default();
    loop {
        if let Err(error) = follow(uri, deadline, &mut seeds, tell) {
            let Some(error) = error else { return };
            if !tell(Heard::Lost(format!("{error:#}"))) {
                return;
            }
        }
        thread::sleep(RECONNECT);
    }
}

/// Follows one connection to its end. The error is none where nobody listens any more.
fn follow(uri: &str, deadline: Span, seeds: &mut Seeds, tell: &dyn Fn(Heard) -> bool) -> Result<(), Option<anyhow::Error>> {
    let libvirt = Watching::open(uri, deadline)?;
    let mut seen = changes();
    loop {
        if !tell(Heard::Said(read(&libvirt, seeds)?)) {
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

fn read(libvirt: &Libvirt, seeds: &mut Seeds) -> Result<Said> {
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
    let ports = devices()?;
    // Before the seeds: a clone's is there before it starts.
    let domains = libvirt.running()?;
    for fault in seeds.look(look(libvirt)?, &domains) {
        match fault.domain {
            Some(domain) => tracing::warn!(domain, error = fault.error, "its seed cannot be read"),
            None => tracing::warn!(error = fault.error, "libvirt does not say which seeds it keeps: those stay that were known"),
        }
    }
    Ok(Said { domains, networks, leases, ports, seeds: seeds.known().clone() })
}

/// What libvirt says of the seeds.
fn look(libvirt: &Libvirt) -> Result<Look> {
    let listed = match libvirt.try_seeds().context("listing the seeds that libvirt keeps")? {
        Err(error) => return Ok(Look::Nothing(format!("{error:#}"))),
        Ok(listed) => listed,
    };
    let mut all = Vec::new();
    for (uuid, domain) in listed {
        let value = match libvirt.seed(uuid) {
            Err(error) if libvirt.is_lost() => bail!(error),
            value => value.map_err(|error| format!("{error:#}")),
        };
        all.push(Kept { uuid, domain, value });
    }
    Ok(Look::All(all))
}
