//! The DNS server of a libvirt network.

use std::net::IpAddr;

use anyhow::{Context as _, Result};

use super::{DnsProvider, Outcome};
use crate::{
    core::{dns::Host, vm_spec::DomainName},
    host::hypervisor::Hypervisor,
};

/// The DNS server that libvirt runs for one of its networks.
pub struct NetworkDns<'a> {
    hypervisor: &'a dyn Hypervisor,
    name: String,
    network: String,
    domain: Option<DomainName>,
}

impl<'a> NetworkDns<'a> {
    /// The server of a network. `name` is the provider's in the configuration.
    pub fn new(hypervisor: &'a dyn Hypervisor, name: &str, network: &str, domain: Option<&DomainName>) -> Self {
        Self { hypervisor, name: name.to_owned(), network: network.to_owned(), domain: domain.cloned() }
    }
}

impl DnsProvider for NetworkDns<'_> {
    fn name(&self) -> &str {
        &self.name
    }

    fn domain(&self) -> Option<&DomainName> {
        self.domain.as_ref()
    }

    fn taken(&self, host: &Host) -> Result<Vec<String>> {
        let network = self.hypervisor.network(&self.network)?;
        let network = network.with_context(|| format!("network {} does not exist", self.network))?;
        let names = host.names(self.domain());
        let mine = |ip: &IpAddr, others: &[String]| host.addresses.contains(ip) && others == names;
        let clash =
            |ip: &IpAddr, others: &[String]| host.addresses.contains(ip) || others.iter().any(|name| names.contains(name));
        let taken = network.hosts.iter().filter(|(ip, others)| clash(ip, others) && !mine(ip, others));
        Ok(taken.map(|(ip, others)| format!("the DNS of network {} has {} at {ip}", self.network, others.join(" "))).collect())
    }

    fn add(&self, host: &Host) -> Result<Outcome> {
        let names = host.names(self.domain());
        host.addresses.iter().try_for_each(|ip| self.hypervisor.add_dns_host(&self.network, *ip, &names))?;
        Ok(Outcome::Added)
    }

    fn remove(&self, host: &Host) -> Result<()> {
        let names = host.names(self.domain());
        host.addresses.iter().try_for_each(|ip| self.hypervisor.remove_dns_host(&self.network, *ip, &names))
    }
}
