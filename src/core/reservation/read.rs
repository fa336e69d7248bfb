//! From domain XML to a [`View`].

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::{Seen, Stake, View};
use crate::core::{
    capacity::{Capacity, Demand, Policy, pledges_disk_only},
    facts::{Domain, HostSize, PoolSize, Volume},
    manifest::{CloneRecord, Metadata, Phase, Run},
    metadata,
    units::ByteSize,
    xml::read::domain_facts,
};

/// One read of a hypervisor. The domains must have been read before the volumes: then a volume that was made between the two is
/// counted by one of them at least.
#[derive(Debug, Clone, Copy)]
pub struct Reread<'a> {
    /// All domains.
    pub domains: &'a [Domain],
    /// Those of each other hypervisor that the call looks at, read at the same time.
    pub elsewhere: &'a [&'a [Domain]],
    /// The host.
    pub host: HostSize,
    /// The pool's name.
    pub pool_name: &'a str,
    /// The pool.
    pub pool: &'a PoolSize,
    /// The pool's volumes.
    pub volumes: &'a [Volume],
    /// How much may be promised.
    pub policy: Policy,
}

/// The runs that have reserved clones: whether they are at work still is what the caller finds out.
pub fn reserved_by(domains: &[Domain]) -> Vec<Run> {
    let mut runs = BTreeMap::new();
    for record in domains.iter().filter_map(record_of).filter(|record| record.phase == Phase::Reserved) {
        runs.insert(record.run.id, record.run);
    }
    runs.into_values().collect()
}

impl View {
    /// Sorts out who holds what. `dead` are the runs that had ended **before** the domains were read: what they have reserved
    /// stays promised until `tpl prune` removes it, and nobody waits for it. One that ends later may have given way or gone
    /// ahead first, and what was read of it is no longer true.
    pub fn of(read: &Reread<'_>, dead: &BTreeSet<Uuid>) -> Self {
        let volumes = Capacity::of(read.host, &[], &BTreeSet::new(), read.pool, read.volumes, read.policy);
        let there: BTreeMap<&str, &Volume> = read.volumes.iter().map(|volume| (volume.name.as_str(), volume)).collect();
        let look = |domain| {
            let mut seen = seen(domain);
            if pledges_disk_only(domain) {
                seen.demand = Demand::default();
            }
            if let Some(record) = record_of(domain) {
                outstanding(&mut seen.demand, &record, read, &there);
                seen.stake = stake(&record, dead);
                seen.addresses = record.addresses;
            }
            seen
        };
        let elsewhere = read.elsewhere.iter().copied().flatten().map(|domain| {
            let stake = record_of(domain).and_then(|record| stake(&record, dead));
            Seen { stake, ..seen(domain) }
        });
        Self::sort(volumes, read.domains.iter().map(look).collect(), elsewhere.collect())
    }
}

/// A clone's record. Metadata that came along when a domain was copied is not the copy's.
fn record_of(domain: &Domain) -> Option<CloneRecord> {
    match metadata::read(&domain.xml) {
        Ok(Some(Metadata::Clone(record))) if record.name.as_str() == domain.name => Some(*record),
        _ => None,
    }
}

/// What the XML alone tells.
fn seen(domain: &Domain) -> Seen {
    // libvirt wrote the XML; one that cannot be read all the same must not stop everybody's work.
    let (demand, macs) = domain_facts(&domain.xml).map_or_else(
        |_| (Demand::default(), Vec::new()),
        |facts| (Demand { vcpus: u64::from(facts.vcpus), memory: facts.memory, ..Demand::default() }, facts.macs),
    );
    Seen { name: domain.name.clone(), demand, macs, addresses: Vec::new(), stake: None }
}

/// Adds what the volumes of an unfinished clone that are not there yet will take of the pool, and what will be written to them.
fn outstanding(demand: &mut Demand, record: &CloneRecord, read: &Reread<'_>, volumes: &BTreeMap<&str, &Volume>) {
    if !matches!(record.phase, Phase::Reserved | Phase::Creating) || record.pool != read.pool_name {
        return;
    }
    let there = || record.volumes.iter().filter_map(|name| volumes.get(name.as_str()).copied());
    let rest = |all: ByteSize, of: &dyn Fn(&Volume) -> ByteSize| {
        ByteSize(there().fold(all.0, |rest, volume| rest.saturating_sub(of(volume).0)))
    };
    demand.pool = rest(record.pool_pledge, &|volume| read.pool.kind.pledge_of(volume));
    demand.written = rest(record.pool_written, &|volume| volume.allocation);
    demand.volumes = (record.volumes.len() - there().count()) as u64;
}

fn stake(record: &CloneRecord, dead: &BTreeSet<Uuid>) -> Option<Stake> {
    let settled = match record.phase {
        Phase::Complete | Phase::Removing => true,
        Phase::Creating => false,
        Phase::Reserved => dead.contains(&record.run.id),
    };
    (!settled).then(|| Stake { run: record.run.clone(), phase: record.phase, forced: record.forced.is_some() })
}
