//! All providers of a configuration.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};

use super::{DnsProvider, NetworkDns, Outcome, open};
use crate::{
    core::{
        dns::{
            Registration,
            config::{LibvirtDns, ProviderConfig},
        },
        vm_spec::{DomainName, Label},
    },
    host::hypervisor::Hypervisor,
};

/// The provider that there is without any configuration: the DNS of a clone's own libvirt network.
const OWN_NETWORK: &str = "network";

enum Provider {
    /// The DNS of a libvirt network.
    Network(LibvirtDns),
    /// Opened when it is needed: a command that tells nobody anything needs no key.
    Configured(ProviderConfig),
    /// One that is open.
    Open(Box<dyn DnsProvider>),
}

/// Those who are told of clones.
pub struct Directory(BTreeMap<String, Provider>);

/// A provider that hears of a clone: its name, the libvirt network that it answers for, the domain.
pub type Listener<'a> = (&'a str, Option<&'a str>, Option<&'a DomainName>);

impl Directory {
    /// What is configured; the network's own DNS where nothing is.
    pub fn of(config: &BTreeMap<Label, ProviderConfig>) -> Self {
        let provider = |config: &ProviderConfig| match config {
            ProviderConfig::Libvirt(config) => Provider::Network(config.clone()),
            other => Provider::Configured(other.clone()),
        };
        let mut providers: BTreeMap<_, _> = config.iter().map(|(name, config)| (name.to_string(), provider(config))).collect();
        if providers.is_empty() {
            providers.insert(OWN_NETWORK.to_owned(), Provider::Network(LibvirtDns::default()));
        }
        Self(providers)
    }

    /// Providers that are there already, by their names; and the DNS of each clone's own network.
    pub fn with(servers: Vec<Box<dyn DnsProvider>>) -> Self {
        let named = servers.into_iter().map(|server| (server.name().to_owned(), Provider::Open(server)));
        let own = (OWN_NETWORK.to_owned(), Provider::Network(LibvirtDns::default()));
        Self(named.chain([own]).collect())
    }

    /// Who hears of a clone in this libvirt network, or in none.
    pub fn listeners<'a>(&'a self, network: Option<&'a str>) -> Vec<Listener<'a>> {
        self.0
            .iter()
            .filter_map(|(name, provider)| match provider {
                Provider::Open(server) => Some((name.as_str(), None, server.domain())),
                Provider::Configured(config) => Some((name.as_str(), None, config.domain())),
                Provider::Network(config) => {
                    let network = config.network.as_ref().map(Label::as_str).or(network)?;
                    Some((name.as_str(), Some(network), config.domain.as_ref()))
                }
            })
            .collect()
    }

    /// The provider that was told, or is to be; none if the configuration has it no more.
    ///
    /// # Errors
    /// A key file that cannot be read.
    pub fn provider<'a>(
        &'a self,
        hypervisor: &'a dyn Hypervisor,
        registration: &Registration,
    ) -> Result<Option<Box<dyn DnsProvider + 'a>>> {
        let name = &registration.provider;
        if let Some(network) = &registration.network {
            let domain = registration.host.domain.as_ref();
            return Ok(Some(Box::new(NetworkDns::new(hypervisor, name, network, domain))));
        }
        match self.0.get(name) {
            Some(Provider::Open(server)) => Ok(Some(Box::new(server.as_ref()))),
            Some(Provider::Configured(config)) => {
                let opened = open(name, config).with_context(|| format!("opening DNS provider {name}"))?;
                Ok(opened.map(|server| server as Box<dyn DnsProvider + 'a>))
            }
            Some(Provider::Network(_)) | None => Ok(None),
        }
    }
}

impl DnsProvider for &dyn DnsProvider {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn domain(&self) -> Option<&DomainName> {
        (**self).domain()
    }

    fn taken(&self, host: &crate::core::dns::Host) -> Result<Vec<String>> {
        (**self).taken(host)
    }

    fn add(&self, host: &crate::core::dns::Host) -> Result<Outcome> {
        (**self).add(host)
    }

    fn remove(&self, host: &crate::core::dns::Host) -> Result<()> {
        (**self).remove(host)
    }
}
