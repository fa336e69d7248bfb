//! A hypervisor and its pool, to be read: what commands need that change nothing, and all that can be had of another machine.

use std::{collections::BTreeSet, net::IpAddr};

use anyhow::Result;

use crate::{
    cmd::parallel,
    core::{
        capacity::{self, Capacity, Policy},
        facts::{Domain, Pledge, PoolSize, Volume, is_local},
        inventory::Inventory,
    },
    host::hypervisor::{Hypervisor, Storage},
};

/// So many calls are on their way at once over the one connection: all together they take as long as one, where the way is what
/// takes the time.
const READERS: usize = 256;
/// The same where it is not, as in `host::libvirt`.
const LOCAL_READERS: usize = 4;

/// A hypervisor and its pool.
#[derive(Clone, Copy)]
pub struct Seen<'a> {
    /// Domains and networks.
    pub hypervisor: &'a dyn Hypervisor,
    /// The volumes of the pool.
    pub storage: &'a dyn Storage,
}

impl Seen<'_> {
    /// The hypervisor's domains, sorted.
    ///
    /// # Errors
    /// The connection fails.
    pub fn inventory(&self) -> Result<Inventory> {
        Ok(Inventory::of(self.hypervisor.domains()?))
    }

    /// What is promised to all domains, and how much of it there is: in a few calls, however many domains there are.
    ///
    /// What a clone is promised whose volumes are still being made is in its metadata, and not in this:
    /// [`super::world::World::view`] has it.
    ///
    /// # Errors
    /// The connection fails.
    pub fn capacity(&self, policy: Policy) -> Result<Capacity> {
        self.capacity_and_pool(policy).map(|(capacity, ..)| capacity)
    }

    /// The same with the pool and the volumes that it was read from: a pool is not read twice.
    pub(super) fn capacity_and_pool(&self, policy: Policy) -> Result<(Capacity, PoolSize, Vec<Volume>)> {
        // In this order: a volume that is made in between is rather counted without its domain than its domain without it.
        let pledges = self.hypervisor.pledges()?;
        let templates = self.templates_among(&pledges)?;
        let volumes = self.storage.volumes()?;
        let (host, pool) = (self.hypervisor.size()?, self.storage.size()?);
        let capacity = Capacity::of(host, &pledges, &templates, &pool, &volumes, policy);
        Ok((capacity, pool, volumes))
    }

    fn readers(&self) -> usize {
        if is_local(self.hypervisor.uri()) { LOCAL_READERS } else { READERS }
    }

    /// The domains that pledge disk only: only those with a template's name are read, all at once.
    fn templates_among(&self, pledges: &[Pledge]) -> Result<BTreeSet<String>> {
        let named = |pledge: &&Pledge| !pledge.active && capacity::has_a_templates_name(&pledge.name);
        let mut names: Vec<&str> = pledges.iter().filter(named).map(|pledge| pledge.name.as_str()).collect();
        let read = parallel::each(self.readers(), &mut names, |_, name| self.hypervisor.domain(name));
        let domains: Vec<Option<Domain>> = read.into_iter().collect::<Result<_>>()?;
        Ok(domains.into_iter().flatten().filter(capacity::pledges_disk_only).map(|domain| domain.name).collect())
    }

    /// The addresses that DHCP has given to these domains, in their order. One that has stopped meanwhile has none.
    pub fn addresses(&self, domains: &[&str]) -> Vec<Vec<IpAddr>> {
        let mut domains = domains.to_vec();
        parallel::each(self.readers(), &mut domains, |_, domain| self.hypervisor.addresses(domain).unwrap_or_default())
    }
}
