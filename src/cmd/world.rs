//! Everything outside that a command may touch, behind its traits.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use anyhow::{Context as _, Result};

use crate::{
    cmd::{
        clone::sites::{Site, Sites},
        parallel,
        seen::Seen,
    },
    core::{
        addressing::Taken,
        capacity::{Capacity, Policy},
        clone_plan::Facts,
        config::Config,
        domain::{Accelerator, may_be_boot_file},
        error::Refusal,
        facts::{Domain, is_local},
        inventory::Inventory,
        lvm::ThinChoice,
        reservation::{Reread, View, reserved_by},
        xml::clone::DiskLocation,
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
        reach::{Elsewhere, OpenSsh, Reach},
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

    /// Where a volume of the pool is or will be, in the words of a domain.
    ///
    /// # Errors
    /// The connection fails.
    pub fn location(&self, volume: &str) -> Result<DiskLocation> {
        Ok(DiskLocation::in_pool(self.storage.size()?.kind, self.storage.path_of(volume)?))
    }

    /// Removes a volume, and the file that a kernel or an initrd is in where the pool has no files. What does not exist is no error.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove_volume(&self, volume: &str) -> Result<()> {
        if may_be_boot_file(volume) {
            self.hypervisor.remove_boot_file(volume)?;
        }
        self.storage.delete(volume)
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
        let (capacity, pool, volumes) = self.seen().capacity_and_pool(policy)?;
        Ok(Facts { pool, volumes, capacity, taken, inventory })
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
        let mut views = views(&Sites::one(*self, policy))?;
        views.pop().context("there is no view")
    }
}

/// The same of each hypervisor of a call.
///
/// # Errors
/// As for [`World::view`].
pub fn views(sites: &Sites<'_>) -> Result<Vec<View>> {
    let on_each = |read: &(dyn Fn(World<'_>) -> Result<Vec<Domain>> + Sync)| -> Result<Vec<Vec<Domain>>> {
        let mut all: Vec<(usize, Site<'_>)> = sites.iter().collect();
        parallel::each(all.len(), &mut all, |_, (index, site)| sites.of_one(*index, read(site.world))).into_iter().collect()
    };
    let mut domains = on_each(&|world| world.hypervisor.domains())?;
    let runs: BTreeMap<_, _> = domains.iter().flat_map(|domains| reserved_by(domains)).map(|run| (run.id, run)).collect();
    let mut dead = BTreeSet::new();
    for run in runs.into_values() {
        if !sites.local().is_alive(&run)? {
            dead.insert(run.id);
        }
    }
    if !dead.is_empty() {
        // One that ended just now has given way or gone ahead: only what it left behind for good must count as such.
        domains = on_each(&|world| world.hypervisor.domains())?;
    }
    let mut all: Vec<(usize, Site<'_>)> = sites.iter().collect();
    let view = |(index, site): &mut (usize, Site<'_>)| -> Result<View> {
        let (World { hypervisor, storage, .. }, policy) = (site.world, site.policy);
        // Behind the domains: see `Reread`.
        let volumes = storage.volumes()?;
        let others = domains.iter().enumerate().filter(|(other, _)| other != index);
        let read = Reread {
            domains: &domains[*index],
            elsewhere: &others.map(|(_, domains)| domains.as_slice()).collect::<Vec<_>>(),
            host: hypervisor.size()?,
            pool_name: storage.pool(),
            pool: &storage.size()?,
            volumes: &volumes,
            policy,
        };
        Ok(View::of(&read, &dead))
    };
    parallel::each(all.len(), &mut all, |_, one| sites.of_one(one.0, view(one))).into_iter().collect()
}

/// The outside, opened.
pub struct Opened {
    hypervisors: Vec<OpenedHypervisor>,
    appliances: [Libguestfs; 2],
    source: crate::host::source::Sources,
    local: crate::host::local::ThisMachine,
    dns: Directory,
    keys: KeyFiles,
}

/// What of it is a hypervisor's own.
struct OpenedHypervisor {
    libvirt: Libvirt,
    shell: Box<dyn Shell + Send>,
    pool: String,
    thin_pool: Option<ThinChoice>,
}

impl OpenedHypervisor {
    fn new(config: &Config) -> Result<Self> {
        let libvirt = match &config.name {
            Some(name) => connect(config).with_context(|| format!("hypervisor {name}"))?,
            None => connect(config)?,
        };
        let shell = shell::of(config);
        Ok(Self { libvirt, shell, pool: config.pool.clone(), thin_pool: config.thin_pool.clone() })
    }
}

/// Connects to the hypervisor that a configuration is for.
///
/// # Errors
/// libvirt does not answer.
pub fn connect(config: &Config) -> Result<Libvirt> {
    let opened = Libvirt::open(&config.uri, config.connect_timeout)?;
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
        Self::all(std::slice::from_ref(config))
    }

    /// The same with several hypervisors. What is this machine's is as the first configuration has it: they differ in the
    /// hypervisor alone.
    ///
    /// # Errors
    /// As for [`Self::new`]; one of the hypervisors does not answer.
    pub fn all(configs: &[Config]) -> Result<Self> {
        let config = configs.first().context("no hypervisor is named")?;
        let local = crate::host::local::ThisMachine::register()?;
        let mut each: Vec<&Config> = configs.iter().collect();
        let hypervisors = parallel::each(each.len(), &mut each, |_, config| OpenedHypervisor::new(config));
        Ok(Self {
            hypervisors: hypervisors.into_iter().collect::<Result<_>>()?,
            appliances: [Libguestfs { tcg: false }, Libguestfs { tcg: true }],
            source: crate::host::source::Sources::new(config.cache.clone(), local.stop()).context("preparing downloads")?,
            local,
            dns: Directory::of(&config.dns),
            keys: KeyFiles::new(config.signing.clone()),
        })
    }

    /// Runs a command in it, on the first hypervisor.
    ///
    /// # Errors
    /// The command's.
    pub fn with<T>(&self, command: impl FnOnce(World<'_>) -> Result<T>) -> Result<T> {
        self.with_each(|worlds| command(*worlds.first().context("no hypervisor is named")?))
    }

    /// Runs a command in it, on all hypervisors.
    ///
    /// # Errors
    /// The command's.
    pub fn with_each<T>(&self, command: impl FnOnce(&[World<'_>]) -> Result<T>) -> Result<T> {
        let hypervisors = self.hypervisors.iter();
        let pools: Vec<_> =
            hypervisors.map(|one| Pool::new(&one.libvirt, one.shell.as_ref(), &one.pool, one.thin_pool.clone())).collect();
        let volumes = self.hypervisors.iter().zip(&pools);
        let bytes: Vec<_> = volumes
            .map(|(one, pool)| PoolBytes::new(one.libvirt.uri(), pool, one.libvirt.streams(&one.pool), one.shell.as_ref()))
            .collect();
        let reaches: Vec<Box<dyn Reach + '_>> = self
            .hypervisors
            .iter()
            .map(|one| -> Box<dyn Reach + '_> {
                if is_local(one.libvirt.uri()) { Box::new(OpenSsh) } else { Box::new(Elsewhere { shell: one.shell.as_ref() }) }
            })
            .collect();
        let appliance =
            |accelerator: Accelerator| -> &dyn Appliance { &self.appliances[usize::from(accelerator == Accelerator::Tcg)] };
        let world = |(((one, storage), bytes), reach)| -> World<'_> {
            let one: &OpenedHypervisor = one;
            World {
                hypervisor: &one.libvirt,
                storage,
                bytes,
                shell: one.shell.as_ref(),
                appliance: &appliance,
                images: &LocalImages,
                source: &self.source,
                reach,
                local: &self.local,
                dns: &self.dns,
                keys: &self.keys,
            }
        };
        let storages = pools.iter().map(|pool| pool as &dyn Storage);
        command(
            &self
                .hypervisors
                .iter()
                .zip(storages)
                .zip(bytes.iter().map(|one| one as &dyn VolumeBytes))
                .zip(reaches.iter().map(AsRef::as_ref))
                .map(world)
                .collect::<Vec<_>>(),
        )
        .map_err(|error| self.lost(error))
    }

    /// A command's error, behind the hypervisors that have fallen silent: what failed then says little.
    fn lost(&self, error: anyhow::Error) -> anyhow::Error {
        let lost = self.hypervisors.iter().filter(|one| one.libvirt.is_lost());
        let names: Vec<&str> = lost.map(|one| Hypervisor::name(&one.libvirt)).collect();
        if names.is_empty() {
            return error;
        }
        error.context(format!("the connection to {} is lost", names.join(" and to ")))
    }
}
