//! Everything outside that a command may touch, behind its traits.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::{
    core::{
        addressing::Taken,
        capacity::{self, Capacity, Policy},
        clone_plan::Facts,
        config::Config,
        domain::Accelerator,
        error::Refusal,
        facts::{Pledge, Volume},
        inventory::Inventory,
        reservation::{Reread, View, reserved_by},
    },
    host::{
        dns::Directory,
        guest::{Appliance, Libguestfs},
        hypervisor::{Hypervisor, Storage},
        images::{Images, LocalImages},
        keys::{KeyFiles, Keys},
        local::{Local, Lock},
        reach::Reach,
        source::Source,
    },
};

/// How long a run waits for another one on this machine to reserve its clones.
const RESERVATION_PATIENCE: Duration = Duration::from_secs(120);

/// Appliances, by how their CPUs are made.
pub type Appliances<'a> = &'a (dyn (Fn(Accelerator) -> &'a dyn Appliance) + Sync);

/// The outside world, as commands see it. Tests put fakes into it.
#[derive(Clone, Copy)]
pub struct World<'a> {
    /// Domains and networks.
    pub hypervisor: &'a dyn Hypervisor,
    /// The volumes of the pool.
    pub storage: &'a dyn Storage,
    /// The insides of disks, through an appliance that runs on KVM or emulated.
    pub appliance: Appliances<'a>,
    /// The bytes of disks.
    pub images: &'a dyn Images,
    /// Installers.
    pub source: &'a dyn Source,
    /// Guests, from outside.
    pub reach: &'a dyn Reach,
    /// This machine.
    pub local: &'a dyn Local,
    /// Those who answer for clones' names.
    pub dns: &'a Directory,
    /// Who signs, and whose signatures count.
    pub keys: &'a dyn Keys,
}

impl World<'_> {
    /// The hypervisor's domains, sorted.
    ///
    /// # Errors
    /// The connection fails.
    pub fn inventory(&self) -> Result<Inventory> {
        Ok(Inventory::of(self.hypervisor.domains()?))
    }

    /// The lock under which clones are planned and defined, and templates removed: who holds it sees a hypervisor in which no
    /// other run of this user on this machine begins to stand a clone on a template, or takes one away.
    ///
    /// # Errors
    /// [`Refusal`] when another run does not let go of it.
    pub fn reserve(&self) -> Result<Lock> {
        let lock = self.local.lock(&format!("clone {}", self.hypervisor.uri()), RESERVATION_PATIENCE)?;
        lock.map_err(|holder| Refusal::new(format!("another tpl is at work: {holder}")).advise("try again later").into())
    }

    /// What a clone's plan needs to know, in one read.
    ///
    /// # Errors
    /// The connection fails.
    pub fn facts(&self, policy: Policy) -> Result<Facts> {
        let inventory = self.inventory()?;
        let networks = self.hypervisor.networks()?;
        let mut leases = BTreeMap::new();
        for network in networks.iter().filter(|network| network.active) {
            leases.insert(network.name.clone(), self.hypervisor.leases(&network.name)?);
        }
        let promised = inventory
            .clones
            .iter()
            .flat_map(|clone| clone.record.addresses.iter().map(|address| (*address, clone.record.name.to_string())));
        let taken = Taken {
            macs: inventory.macs.clone(),
            promised: promised.collect(),
            networks: networks.into_iter().map(|network| (network.name.clone(), network)).collect(),
            leases,
        };
        let (capacity, volumes) = self.capacity_and_volumes(policy)?;
        Ok(Facts { volumes, capacity, taken, inventory })
    }

    /// What is promised to all domains, and how much of it there is: in a few calls, however many domains there are.
    ///
    /// What a clone is promised whose volumes are still being made is in its metadata, and not in this: [`World::view`] has it.
    ///
    /// # Errors
    /// The connection fails.
    pub fn capacity(&self, policy: Policy) -> Result<Capacity> {
        self.capacity_and_volumes(policy).map(|(capacity, _)| capacity)
    }

    /// The same with the volumes that it was read from: a pool is not listed twice.
    fn capacity_and_volumes(&self, policy: Policy) -> Result<(Capacity, Vec<Volume>)> {
        // In this order: a volume that is made in between is rather counted without its domain than its domain without it.
        let pledges = self.hypervisor.pledges()?;
        let templates = self.templates_among(&pledges)?;
        let volumes = self.storage.volumes()?;
        let capacity = Capacity::of(self.hypervisor.size()?, &pledges, &templates, &self.storage.size()?, &volumes, policy);
        Ok((capacity, volumes))
    }

    /// The domains that pledge disk only: only those with a template's name are read.
    fn templates_among(&self, pledges: &[Pledge]) -> Result<BTreeSet<String>> {
        let mut templates = BTreeSet::new();
        for pledge in pledges.iter().filter(|pledge| !pledge.active && capacity::has_a_templates_name(&pledge.name)) {
            let Some(domain) = self.hypervisor.domain(&pledge.name)? else { continue };
            if capacity::pledges_disk_only(&domain) {
                templates.insert(pledge.name.clone());
            }
        }
        Ok(templates)
    }

    /// Who holds what, for `core::reservation::verdict`: to be read after a call has defined all of its domains.
    ///
    /// # Errors
    /// The connection fails, or the locks of other runs cannot be read.
    pub fn view(&self, policy: Policy) -> Result<View> {
        let mut domains = self.hypervisor.domains()?;
        let mut dead = BTreeSet::new();
        for run in reserved_by(&domains) {
            if !self.local.is_alive(&run)? {
                dead.insert(run.id);
            }
        }
        if !dead.is_empty() {
            // One that ended just now has given way or gone ahead: only what it left behind for good must count as such.
            domains = self.hypervisor.domains()?;
        }
        // Behind the domains: see `Reread`.
        let volumes = self.storage.volumes()?;
        let read = Reread {
            domains: &domains,
            host: self.hypervisor.size()?,
            pool_name: self.storage.pool(),
            pool: &self.storage.size()?,
            volumes: &volumes,
            policy,
        };
        Ok(View::of(&read, &dead))
    }
}

/// What is needed of the outside besides the hypervisor, opened.
pub struct Opened {
    hypervisor: crate::host::libvirt::Libvirt,
    appliances: [Libguestfs; 2],
    source: crate::host::source::Sources,
    local: crate::host::local::ThisMachine,
    pool: String,
    dns: Directory,
    keys: KeyFiles,
}

impl Opened {
    /// Opens the real world.
    ///
    /// # Errors
    /// libvirt does not answer, or this run cannot be registered.
    pub fn new(config: &Config) -> Result<Self> {
        let local = crate::host::local::ThisMachine::register()?;
        Ok(Self {
            hypervisor: crate::host::libvirt::Libvirt::open(&config.uri)?,
            appliances: [Libguestfs { tcg: false }, Libguestfs { tcg: true }],
            source: crate::host::source::Sources::new(config.cache.clone(), local.stop()).context("preparing downloads")?,
            local,
            pool: config.pool.clone(),
            dns: Directory::of(&config.dns),
            keys: KeyFiles::new(config.signing.clone()),
        })
    }

    /// Runs a command in it.
    ///
    /// # Errors
    /// The command's.
    pub fn with<T>(&self, command: impl FnOnce(World<'_>) -> Result<T>) -> Result<T> {
        let storage = self.hypervisor.pool(&self.pool);
        command(World {
            hypervisor: &self.hypervisor,
            storage: &storage,
            appliance: &|accelerator| &self.appliances[usize::from(accelerator == Accelerator::Tcg)],
            images: &LocalImages,
            source: &self.source,
            reach: &crate::host::reach::OpenSsh,
            local: &self.local,
            dns: &self.dns,
            keys: &self.keys,
        })
    }
}
