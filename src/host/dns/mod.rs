//! Those who answer for clones' names.

mod directory;
mod hosts_file;
mod network;
mod rfc2136;
mod wire;

use anyhow::Result;

use crate::core::{
    dns::{Host, config::ProviderConfig},
    vm_spec::DomainName,
};

pub use directory::Directory;
pub use network::NetworkDns;

/// What telling a provider has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The host is registered now. A provider that does not look whether it was before says so, too.
    Added,
    /// It was.
    Unchanged,
}

/// Somebody who answers for names.
pub trait DnsProvider: Sync {
    /// Its name in the configuration.
    fn name(&self) -> &str;

    /// The domain that its hosts are in, where it has one. A host that is kept for later, to be removed again, should name its
    /// domain itself: the configuration may have another one by then.
    fn domain(&self) -> Option<&DomainName>;

    /// What answers to the host's name or addresses already and is not just this registration, a line each. Empty: free.
    ///
    /// # Errors
    /// The provider cannot be asked.
    fn taken(&self, host: &Host) -> Result<Vec<String>>;

    /// Registers the host. Once more is no error.
    ///
    /// # Errors
    /// [`Refusal`](crate::core::error::Refusal): a name or an address is another's. Or the provider cannot be told.
    fn add(&self, host: &Host) -> Result<Outcome>;

    /// Takes the registration back. One that is not there is no error; what is not just this registration stays.
    ///
    /// # Errors
    /// The provider cannot be told.
    fn remove(&self, host: &Host) -> Result<()>;
}

/// The provider that is configured as `[dns.NAME]`. None for a libvirt network's, which needs a connection to libvirt.
///
/// # Errors
/// The key file cannot be read, or others can read it.
pub fn open(name: &str, config: &ProviderConfig) -> Result<Option<Box<dyn DnsProvider>>> {
    Ok(match config {
        ProviderConfig::HostsFile(config) => Some(Box::new(hosts_file::HostsFiles::new(name, config))),
        ProviderConfig::Rfc2136(config) => Some(Box::new(rfc2136::Server::open(name, config)?)),
        ProviderConfig::Libvirt(_) => None,
    })
}
