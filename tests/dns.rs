//! DNS providers against real servers, each test with its own on a port of its own: dnsmasq and BIND's named, read with dig.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]
#![expect(clippy::disallowed_methods, reason = "the tests look at the world with other tools than tpl")]

#[path = "dns/hosts.rs"]
mod hosts;
#[path = "dns/servers.rs"]
#[allow(dead_code, reason = "shared with other tests, which need other parts of it")]
mod servers;
#[path = "dns/trust.rs"]
mod trust;
#[path = "dns/updates.rs"]
mod updates;

use tpl::{
    core::{config, dns::Host},
    host::dns::{DnsProvider, open},
};

/// Made with ssh-keygen; the fingerprint is that of `ssh-keygen -r`.
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFqvYMVTXmqo6MhcNMa9LtliNSmgko3fY+vgtC9MA4xe";
const FINGERPRINT: &str = "4 2 EC966F89DCEA0157201AEBBF2EBBD00AEB4C1822E4E64C15F54D5F24 0FF064BB";

/// The provider that this table of a configuration describes.
fn provider(table: &str) -> Box<dyn DnsProvider> {
    try_provider(table).unwrap()
}

fn try_provider(table: &str) -> anyhow::Result<Box<dyn DnsProvider>> {
    let config = config::parse("config.toml", &format!("[dns.test]\n{table}")).unwrap();
    let (name, config) = config.dns.first_key_value().unwrap();
    Ok(open(name.as_str(), config)?.unwrap())
}

fn host(name: &str, addresses: &[&str]) -> Host {
    Host {
        name: name.parse().unwrap(),
        domain: None,
        addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        host_keys: vec![KEY.parse().unwrap()],
    }
}

/// The whole text of what must have been an error, and its exit code.
fn failure<T>(result: anyhow::Result<T>) -> (String, u8) {
    let error = result.err().unwrap();
    (format!("{error:#}"), tpl::core::error::exit_code(&error))
}
