//! What DNS is told about a clone.

pub mod config;
pub mod hosts_file;
pub mod tsig;
pub mod update;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::{names::VmName, ssh_key::PublicKey, vm_spec::DomainName};

/// A host in DNS: its name, its addresses, its SSH host keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// The host's own label.
    pub name: VmName,
    /// The domain that it is in, where the provider has one.
    #[serde(default)]
    pub domain: Option<DomainName>,
    /// Its addresses, of both families.
    pub addresses: Vec<IpAddr>,
    /// The public halves of its SSH host keys, for SSHFP records.
    #[serde(default)]
    pub host_keys: Vec<PublicKey>,
}

/// What one provider has been told, as a clone's metadata keeps it: what is to be taken back with the clone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Registration {
    /// The provider's name in the configuration.
    pub provider: String,
    /// The libvirt network whose DNS server that is, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<String>,
    /// What it was told.
    pub host: Host,
}

impl Host {
    /// What the host is called, its canonical name first: with the domain and without, or its label alone. A domain that the host
    /// itself names goes before the provider's, which may have been another one when the host was registered.
    pub fn names(&self, provider: Option<&DomainName>) -> Vec<String> {
        let label = self.name.as_str().to_owned();
        match self.domain.as_ref().or(provider) {
            Some(domain) => vec![format!("{label}.{domain}"), label],
            None => vec![label],
        }
    }
}
