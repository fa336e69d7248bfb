//! Telling DNS of a hypervisor.

use std::net::{IpAddr, ToSocketAddrs as _};

use anyhow::{Context as _, Result};

use crate::{
    core::{bootstrap::Wish, config::Config, dns::Host, names::VmName},
    host::dns::{self, Outcome},
    ui,
};

/// Tells the providers of the configuration of the machine that is reached at `place`; a libvirt network's is for the guests in it.
/// What was told, or would be.
///
/// # Errors
/// [`Refusal`](crate::core::error::Refusal): a name or an address is another's. Or a provider cannot be told.
pub fn tell(config: &Config, place: &str, wish: &Wish, dry_run: bool) -> Result<Vec<String>> {
    let addresses = addresses(place);
    if addresses.is_empty() {
        if !config.dns.is_empty() {
            ui::note(&format!("DNS is not told of it: {place} has no address here that others could reach"));
        }
        return Ok(Vec::new());
    }
    let name: VmName = wish.record.name.as_str().parse().map_err(anyhow::Error::msg)?;
    let mut told = Vec::new();
    for (provider, settings) in &config.dns {
        let Some(server) = dns::open(provider.as_str(), settings).with_context(|| format!("opening DNS provider {provider}"))?
        else {
            continue;
        };
        let domain = wish.record.domain.as_ref().filter(|_| server.domain().is_none()).or(server.domain()).cloned();
        let host = Host { name: name.clone(), domain, addresses: addresses.clone(), host_keys: Vec::new() };
        if dry_run {
            told.push(format!("DNS ({provider}) would be told of {name} at {}, if it does not know it", listed(&addresses)));
            continue;
        }
        let line = format!("told DNS ({provider}) of {name} at {}", listed(&addresses));
        match server.add(&host).with_context(|| format!("telling DNS ({provider}) of {name}"))? {
            Outcome::Added => told.push(line),
            Outcome::Unchanged => {}
        }
    }
    Ok(told)
}

/// Where a machine is, as others can reach it: a loopback address is no place for anybody else.
fn addresses(place: &str) -> Vec<IpAddr> {
    let found = (place, 22).to_socket_addrs().map(|found| found.map(|address| address.ip()).collect::<Vec<_>>());
    let mut addresses: Vec<IpAddr> = found.unwrap_or_default().into_iter().filter(|ip| !ip.is_loopback()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

fn listed(addresses: &[IpAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loopback_address_is_nobodys() {
        assert_eq!(addresses("127.0.0.1"), [] as [IpAddr; 0]);
        assert_eq!(addresses("::1"), [] as [IpAddr; 0]);
        assert_eq!(addresses("192.0.2.7"), ["192.0.2.7".parse::<IpAddr>().unwrap()]);
        assert_eq!(listed(&addresses("2001:db8::7")), "2001:db8::7");
    }
}
