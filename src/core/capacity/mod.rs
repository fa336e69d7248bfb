//! What a hypervisor has promised to its VMs, and whether there is room for more.
//!
//! A pledge is the most that a domain may come to take, whether it runs or not: all of its vCPUs, all of its memory, the whole
//! capacity of its volumes. An overlay's volume counts with its virtual size, however little it holds today. Templates never
//! run, and pledge disk only. On each axis `pledged + requested` must stay within the cap: a part of the total, since the host
//! itself needs something too. All arithmetic saturates: figures come from outside.

mod policy;

use std::{collections::BTreeSet, fmt};

use serde::Serialize;

use super::{
    error::Refusal,
    facts::{Domain, HostSize, Pledge, PoolKind, PoolSize, Volume},
    manifest::Metadata,
    metadata,
    names::{TemplateName, Version},
    units::ByteSize,
};
pub use policy::{CapPercent, Overcommit, Policy, PolicyFile};

/// What can run out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Axis {
    /// vCPUs.
    Cpu,
    /// Memory.
    Memory,
    /// Space in the pool.
    Pool,
    /// What is really written of a thin pool's data.
    Data,
    /// What is really written of a thin pool's metadata.
    Metadata,
}

impl Axis {
    /// The axis as people read it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Cpu => "vCPUs",
            Self::Memory => "memory",
            Self::Pool => "pool",
            Self::Data => "thin data",
            Self::Metadata => "thin metadata",
        }
    }

    /// What its amounts count.
    pub fn unit(self) -> &'static str {
        match self {
            Self::Cpu => "vcpus",
            _ => "bytes",
        }
    }

    /// An amount on this axis as people read it.
    pub fn amount(self, amount: u64) -> String {
        match self {
            Self::Cpu => amount.to_string(),
            _ => ByteSize(amount).to_string(),
        }
    }

    /// How its amounts came to be.
    fn participle(self) -> &'static str {
        match self {
            Self::Cpu | Self::Memory | Self::Pool => "pledged",
            Self::Data | Self::Metadata => "written",
        }
    }

    /// How there comes to be more of it, where that is not a matter of fewer VMs.
    fn remedy(self, thin_pool: &str) -> String {
        match self {
            Self::Cpu | Self::Memory | Self::Pool => String::new(),
            Self::Data => format!("; `lvextend --size +SIZE {thin_pool}` makes it larger"),
            Self::Metadata => format!("; `lvextend --poolmetadatasize +SIZE {thin_pool}` makes it larger"),
        }
    }
}

/// One axis of a hypervisor. Amounts are in the axis's unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Which.
    pub axis: Axis,
    /// All there is, with overcommit.
    pub total: u64,
    /// What is promised; of a thin pool's data and metadata, what is written.
    pub pledged: u64,
    policy: Policy,
}

impl Load {
    /// How much may be promised.
    pub fn cap(&self) -> u64 {
        percent_of(self.total, u32::from(self.policy.cap.percent()))
    }

    /// How much can still be promised; nothing where more than the cap already is.
    pub fn free(&self) -> u64 {
        self.cap().saturating_sub(self.pledged)
    }
}

/// What one VM asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Demand {
    /// vCPUs.
    pub vcpus: u64,
    /// Memory.
    pub memory: ByteSize,
    /// What all its volumes in the pool may come to take, the seed's too.
    pub pool: ByteSize,
    /// What making it writes at once.
    pub written: ByteSize,
    /// How many volumes it has.
    pub volumes: u64,
}

/// What a thin pool notes down of each volume: some blocks of 4 KiB of its tree.
const VOLUME_METADATA: u64 = 16 << 10;
/// And of what is written: lvm2 reckons with 64 bytes for each chunk, of which none is smaller than 64 KiB.
const WRITTEN_PER_METADATA: u64 = 1024;

impl Demand {
    /// How much of an axis, in its unit.
    pub fn on(&self, axis: Axis) -> u64 {
        match axis {
            Axis::Cpu => self.vcpus,
            Axis::Memory => self.memory.0,
            Axis::Pool => self.pool.0,
            Axis::Data => self.written.0,
            Axis::Metadata => {
                self.volumes.saturating_mul(VOLUME_METADATA).saturating_add(self.written.0.div_ceil(WRITTEN_PER_METADATA))
            }
        }
    }
}

/// An axis on which a call does not fit. Prints the whole reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shortage {
    /// The axis as it stands.
    pub load: Load,
    /// How many VMs are asked for.
    pub vms: usize,
    /// What each of them asks for; none where they differ.
    pub each: Option<u64>,
    /// What all of them ask for.
    pub requested: u64,
    /// How many of them, taken in their order, would fit.
    pub fit: usize,
    /// The thin pool whose axis it may be, as lvm2's programs name it.
    pub thin_pool: Option<String>,
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Load { axis, total, pledged, policy } = self.load;
        let amount = |amount| axis.amount(amount);
        write!(f, "{}: ", axis.label())?;
        match self.each {
            Some(each) => write!(f, "{} × {} is {}", self.vms, amount(each), amount(self.requested))?,
            None => write!(f, "{} VMs ask for {}", self.vms, amount(self.requested))?,
        }
        write!(f, " and {} of {} ({} % of {}", amount(pledged), amount(self.load.cap()), policy.cap.percent(), amount(total))?;
        if axis == Axis::Cpu && policy.cpu_overcommit != Overcommit::NONE {
            write!(f, ", {} for each logical CPU", policy.cpu_overcommit)?;
        }
        let remedy = axis.remedy(self.thin_pool.as_deref().unwrap_or("GROUP/THINPOOL"));
        write!(f, ") are {}; {} would fit{remedy}", axis.participle(), self.fit)
    }
}

/// A hypervisor's capacity on every axis, and what is promised of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capacity {
    loads: Vec<Load>,
    thin_pool: Option<String>,
    policy: Policy,
    domains: usize,
    templates: usize,
}

impl Capacity {
    /// Sums up what is promised. `templates` names the domains that pledge disk only.
    ///
    /// The pool's pledge is what its volumes may come to take, and whatever else its file system or volume group holds, which nobody
    /// promised and which is gone all the same. A thin pool has two axes more: what is written counts there, and not what is promised,
    /// for a thin pool that is full takes all of its volumes down.
    pub fn of(
        host: HostSize,
        pledges: &[Pledge],
        templates: &BTreeSet<String>,
        pool: &PoolSize,
        volumes: &[Volume],
        policy: Policy,
    ) -> Self {
        let running = || pledges.iter().filter(|pledge| !templates.contains(&pledge.name));
        let vcpus = running().fold(0, |sum: u64, pledge| sum.saturating_add(u64::from(pledge.vcpus)));
        let memory = running().fold(0, |sum: u64, pledge| sum.saturating_add(pledge.memory.0));
        let taken = pool.capacity.0.saturating_sub(pool.available.0);
        let besides = volumes.iter().fold(taken, |rest, volume| rest.saturating_sub(volume.allocation.0));
        let promised = volumes.iter().fold(0, |sum: u64, volume| sum.saturating_add(pool.kind.pledge_of(volume).0));
        let space = promised.saturating_add(besides);
        let cpus = percent_of(u64::from(host.cpus), policy.cpu_overcommit.percent());
        let load = |axis, total, pledged| Load { axis, total, pledged, policy };
        let mut loads = vec![
            load(Axis::Cpu, cpus, vcpus),
            load(Axis::Memory, host.memory.0, memory),
            load(Axis::Pool, pool.capacity.0, space),
        ];
        if let PoolKind::Thin { metadata, metadata_used } = pool.kind {
            loads.extend([load(Axis::Data, pool.capacity.0, taken), load(Axis::Metadata, metadata.0, metadata_used.0)]);
        }
        Self { loads, thin_pool: pool.thin_pool(), policy, domains: pledges.len(), templates: pledges.len() - running().count() }
    }

    /// Each axis: vCPUs, memory, pool; and the data and the metadata of a thin pool.
    pub fn loads(&self) -> &[Load] {
        &self.loads
    }

    /// What it is measured by.
    pub fn policy(&self) -> Policy {
        self.policy
    }

    /// How many domains there are, templates among them.
    pub fn domains(&self) -> usize {
        self.domains
    }

    /// How many of the domains pledge disk only.
    pub fn templates(&self) -> usize {
        self.templates
    }

    /// Counts a demand as promised.
    pub fn pledge(&mut self, demand: &Demand) {
        for load in &mut self.loads {
            load.pledged = load.pledged.saturating_add(demand.on(load.axis));
        }
    }

    /// The axes on which these VMs, one demand each, do not fit. An axis that none of them asks anything of is none.
    pub fn shortages(&self, demands: &[Demand]) -> Vec<Shortage> {
        self.loads.iter().filter_map(|load| shortage(load, self.thin_pool.as_ref(), demands)).collect()
    }

    /// Whether there is room for these VMs, one demand each.
    ///
    /// # Errors
    /// [`Refusal`] with every axis on which there is none.
    pub fn admit(&self, demands: &[Demand]) -> Result<(), Refusal> {
        let shortages = self.shortages(demands);
        if shortages.is_empty() {
            return Ok(());
        }
        Err(refusal(shortages.iter().map(ToString::to_string).collect()))
    }
}

/// A refusal for want of room.
pub fn refusal(reasons: Vec<String>) -> Refusal {
    Refusal { reasons, advice: Some("ask for fewer or smaller clones, or remove some with `tpl destroy`".to_owned()) }
}

/// Whether a domain's name is one that a template's domain has, `NAME.VERSION`: only then is it worth reading its metadata.
pub fn has_a_templates_name(domain: &str) -> bool {
    domain
        .split_once('.')
        .is_some_and(|(name, version)| name.parse::<TemplateName>().is_ok() && version.parse::<Version>().is_ok())
}

/// Whether a domain is a template that does not run. The name alone proves nothing: anybody may have chosen it.
pub fn pledges_disk_only(domain: &Domain) -> bool {
    let own = |own| matches!(own, Ok(Some(Metadata::Template(manifest))) if manifest.id().domain() == domain.name);
    !domain.state.is_active() && has_a_templates_name(&domain.name) && own(metadata::read(&domain.xml))
}

fn shortage(load: &Load, thin_pool: Option<&String>, demands: &[Demand]) -> Option<Shortage> {
    let free = load.free();
    // In 128 bits the sum of any number of demands is exact, so that none that saturates is taken to fit.
    let mut sum: u128 = 0;
    let mut fit = 0;
    for demand in demands {
        sum += u128::from(demand.on(load.axis));
        fit += usize::from(sum <= u128::from(free));
    }
    if sum <= u128::from(free) {
        return None;
    }
    let first = demands.first().map(|demand| demand.on(load.axis));
    Some(Shortage {
        load: *load,
        vms: demands.len(),
        each: first.filter(|first| demands.iter().all(|demand| demand.on(load.axis) == *first)),
        requested: u64::try_from(sum).unwrap_or(u64::MAX),
        fit,
        thin_pool: thin_pool.cloned(),
    })
}

fn percent_of(total: u64, percent: u32) -> u64 {
    u64::try_from(u128::from(total) * u128::from(percent) / 100).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
