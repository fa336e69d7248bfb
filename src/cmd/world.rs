//! Everything outside that a command may touch, behind its traits.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::{
    cmd::seen::Seen,
    core::{
        addressing::Taken,
        capacity::{Capacity, Policy},
        clone_plan::Facts,
        config::Config,
        domain::Accelerator,
        error::Refusal,
        inventory::Inventory,
        lvm::ThinChoice,
        reservation::{Reread, View, reserved_by},
    },
    host::{
        bytes::{PoolBytes, VolumeBytes},
        dns::Directory,
        guest::{Appliance, Libguestfs},
        hypervisor::{Hypervisor, Storage},
        images::{Images, LocalImages},
        keys::{KeyFiles, Keys},
        libvirt::Libvirt,
        local::{Local, Lock},
        pool::Pool,
        reach::Reach,
        shell::{self, Shell},
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
    /// The bytes of the pool's raw volumes.
    pub bytes: &'a dyn VolumeBytes,
    /// The hypervisor's own programs.
    pub shell: &'a dyn Shell,
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

impl<'a> World<'a> {
    /// The hypervisor alone, to be read.
    pub fn seen(&self) -> Seen<'a> {
        Seen { hypervisor: self.hypervisor, storage: self.storage }
    }

    /// The hypervisor's domains, sorted.
    ///
    /// # Errors
    /// The connection fails.
    pub fn inventory(&self) -> Result<Inventory> {
        self.seen().inventory()
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
        let (capacity, volumes) = self.seen().capacity_and_volumes(policy)?;
        Ok(Facts { volumes, capacity, taken, inventory })
    }

    /// What is promised to all domains, and how much of it there is.
    ///
    /// # Errors
    /// The connection fails.
    pub fn capacity(&self, policy: Policy) -> Result<Capacity> {
        self.seen().capacity(policy)
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
    hypervisor: Libvirt,
    shell: Box<dyn Shell + Send>,
    appliances: [Libguestfs; 2],
    source: crate::host::source::Sources,
    local: crate::host::local::ThisMachine,
    pool: String,
    thin_pool: Option<ThinChoice>,
    dns: Directory,
    keys: KeyFiles,
}

/// Connects to the hypervisor that a configuration is for.
///
/// # Errors
/// libvirt does not answer.
pub fn connect(config: &Config) -> Result<Libvirt> {
    let opened = Libvirt::open(&config.uri)?;
    Ok(match &config.name {
        Some(name) => opened.called(name.as_str()),
        None => opened,
    })
}

impl Opened {
    /// Opens the real world.
    ///
    /// # Errors
    /// libvirt does not answer, or this run cannot be registered.
    pub fn new(config: &Config) -> Result<Self> {
        let local = crate::host::local::ThisMachine::register()?;
        Ok(Self {
            hypervisor: match &config.name {
                Some(name) => connect(config).with_context(|| format!("hypervisor {name}"))?,
                None => connect(config)?,
            },
            shell: shell::open(&config.uri, config.hypervisor()),
            appliances: [Libguestfs { tcg: false }, Libguestfs { tcg: true }],
            source: crate::host::source::Sources::new(config.cache.clone(), local.stop()).context("preparing downloads")?,
            local,
            pool: config.pool.clone(),
            thin_pool: config.thin_pool.clone(),
            dns: Directory::of(&config.dns),
            keys: KeyFiles::new(config.signing.clone()),
        })
    }

    /// Runs a command in it.
    ///
    /// # Errors
    /// The command's.
    pub fn with<T>(&self, command: impl FnOnce(World<'_>) -> Result<T>) -> Result<T> {
        let storage = Pool::new(&self.hypervisor, self.shell.as_ref(), &self.pool, self.thin_pool.clone());
        let streams = self.hypervisor.streams(&self.pool);
        let bytes = PoolBytes::new(self.hypervisor.uri(), &storage, streams, self.shell.as_ref());
        command(World {
            hypervisor: &self.hypervisor,
            storage: &storage,
            bytes: &bytes,
            shell: self.shell.as_ref(),
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
