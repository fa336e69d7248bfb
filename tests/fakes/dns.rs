//! A DNS server besides libvirt's, in memory.

use anyhow::Result;
use tpl::{
    core::{dns::Host, error::Refusal, vm_spec::DomainName},
    host::dns::{DnsProvider, Outcome},
};

use super::run::{FakeRun, Step};

/// What the configuration would call it.
pub const NAME: &str = "lab";
/// The domain that it answers for.
pub const DOMAIN: &str = "lab.example";

/// The server, as one invocation of tpl sees it.
pub struct FakeDns {
    run: FakeRun,
    domain: DomainName,
}

impl FakeDns {
    pub fn of(run: &FakeRun) -> Self {
        Self { run: run.clone(), domain: DOMAIN.parse().unwrap() }
    }

    /// Other registrations that have the host's name or one of its addresses.
    fn clashes(&self, host: &Host) -> Vec<String> {
        let shares = |other: &&Host| {
            **other != *host
                && (other.name == host.name || other.addresses.iter().any(|address| host.addresses.contains(address)))
        };
        let state = self.run.machine.state();
        state.records.iter().filter(shares).map(|other| format!("{} is in the DNS of {NAME} already", other.name)).collect()
    }
}

impl DnsProvider for FakeDns {
    fn name(&self) -> &str {
        NAME
    }

    fn domain(&self) -> Option<&DomainName> {
        Some(&self.domain)
    }

    fn taken(&self, host: &Host) -> Result<Vec<String>> {
        self.run.step(Step::AskDns, host.name.as_str())?;
        Ok(self.clashes(host))
    }

    fn add(&self, host: &Host) -> Result<Outcome> {
        self.run.step(Step::AddDns, host.name.as_str())?;
        let reasons = self.clashes(host);
        if !reasons.is_empty() {
            return Err(Refusal { reasons, advice: None }.into());
        }
        let mut state = self.run.machine.state();
        if state.records.contains(host) {
            return Ok(Outcome::Unchanged);
        }
        state.records.push(host.clone());
        Ok(Outcome::Added)
    }

    fn remove(&self, host: &Host) -> Result<()> {
        self.run.step(Step::RemoveDns, host.name.as_str())?;
        self.run.machine.state().records.retain(|other| other != host);
        Ok(())
    }
}
