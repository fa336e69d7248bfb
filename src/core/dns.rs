//! What DNS is told about a clone.

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
    /// What it was told.
    pub host: Host,
}
