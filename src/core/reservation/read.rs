//! From domain XML to a [`View`].

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use uuid::Uuid;

use super::{Seen, Stake, View};
use crate::core::{
    capacity::{Capacity, Demand, Policy},
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

impl View {
    /// Sorts out who holds what. `alive` tells whether a run may still be at work; it is asked once for each run that has
    /// reserved clones. What a dead one has reserved stays promised until `tpl prune` removes it, and nobody waits for it.
    ///
    /// # Errors
    /// Those of `alive`.
    pub fn of(read: &Reread<'_>, alive: &mut dyn FnMut(&Run) -> Result<bool>) -> Result<Self> {
        let volumes = Capacity::of(read.host, &[], &BTreeSet::new(), read.pool, read.volumes, read.policy);
        let capacities: BTreeMap<&str, ByteSize> =
            read.volumes.iter().map(|volume| (volume.name.as_str(), volume.capacity)).collect();
        let mut known = BTreeMap::<Uuid, bool>::new();
        let mut domains = Vec::with_capacity(read.domains.len());
        for domain in read.domains {
            let record = match metadata::read(&domain.xml) {
                // Metadata that came along when a domain was copied is not the copy's.
                Ok(Some(Metadata::Clone(record))) if record.name.as_str() == domain.name => Some(*record),
                Ok(Some(Metadata::Template(manifest))) if manifest.id().domain() == domain.name && !domain.state.is_active() => {
                    domains.push(Seen { demand: Demand::default(), ..seen(domain) });
                    continue;
                }
                _ => None,
            };
            let mut seen = seen(domain);
            if let Some(record) = record {
                seen.demand.pool = outstanding(&record, read.pool_name, &capacities);
                seen.stake = stake(&record, &mut known, alive)?;
                seen.addresses = record.addresses;
            }
            domains.push(seen);
        }
        Ok(Self::sort(volumes, domains))
    }
}

/// What the XML alone tells.
fn seen(domain: &Domain) -> Seen {
    // libvirt wrote the XML; one that cannot be read all the same must not stop everybody's work.
    let (demand, macs) = domain_facts(&domain.xml).map_or_else(
        |_| (Demand::default(), Vec::new()),
        |facts| (Demand { vcpus: u64::from(facts.vcpus), memory: facts.memory, pool: ByteSize(0) }, facts.macs),
    );
    Seen { name: domain.name.clone(), demand, macs, addresses: Vec::new(), stake: None }
}

/// What the volumes of an unfinished clone that are not there yet will take of the pool.
fn outstanding(record: &CloneRecord, pool: &str, capacities: &BTreeMap<&str, ByteSize>) -> ByteSize {
    if !record.is_unfinished() || record.pool != pool {
        return ByteSize(0);
    }
    let there = record.volumes.iter().filter_map(|volume| capacities.get(volume.as_str()));
    ByteSize(there.fold(record.pool_pledge.0, |rest, capacity| rest.saturating_sub(capacity.0)))
}

fn stake(
    record: &CloneRecord,
    known: &mut BTreeMap<Uuid, bool>,
    alive: &mut dyn FnMut(&Run) -> Result<bool>,
) -> Result<Option<Stake>> {
    let run = &record.run;
    let lives = match (record.phase, known.get(&run.id)) {
        (Phase::Complete, _) => false,
        (Phase::Creating, _) => true,
        (Phase::Reserved, Some(known)) => *known,
        (Phase::Reserved, None) => {
            let lives = alive(run)?;
            known.insert(run.id, lives);
            lives
        }
    };
    Ok(lives.then(|| Stake { run: run.clone(), phase: record.phase, forced: record.forced.is_some() }))
}
