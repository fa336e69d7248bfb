//! One VM in the making: what is planned, what its metadata says, and how to undo what has been done for it.

use std::{net::IpAddr, time::Duration};

use anyhow::{Context as _, Result};

use super::ready::Awaited;
use crate::{
    cmd::{dns, undo::Undo, world::World},
    core::{
        clone_plan::{ClonePlan, PlannedClone},
        dns::Host,
        manifest::{CloneRecord, Metadata, Phase},
        names::VmName,
        ready::Progress,
        timings::{Outcome, Timing},
    },
    host::identity::HostKey,
};

/// A VM that has been made, or is being made.
#[derive(Debug)]
pub struct Made {
    /// The number of its hypervisor among the call's.
    pub site: usize,
    /// As planned.
    pub planned: PlannedClone,
    /// What its domain's metadata says.
    pub record: CloneRecord,
    /// Its SSH host key.
    pub host_key: HostKey,
    /// The paths of its volumes, in the record's order.
    pub disks: Vec<String>,
    /// Its addresses, once it has some.
    pub addresses: Vec<IpAddr>,
}

/// A VM on its way, with what undoes it.
pub struct Vm<'a> {
    /// The VM.
    pub made: Made,
    /// How to undo it.
    pub undo: Undo<'a>,
    /// Why it goes no further.
    pub failed: Option<anyhow::Error>,
    /// How far it has come, where it was waited for in vain.
    pub progress: Option<Progress>,
    /// How long each stage took, and whether it ended well.
    pub stages: Vec<Stage>,
}

/// How one stage of one VM went.
#[derive(Debug, Clone)]
pub struct Stage {
    /// The stage.
    pub name: &'static str,
    /// When it began.
    pub started: jiff::Timestamp,
    /// How long it took.
    pub took: Duration,
    /// Whether it ended well.
    pub good: bool,
}

impl Stage {
    /// The same for a file of timings.
    pub(super) fn timing(&self, vm: &str, template: &str, hypervisor: Option<String>) -> Timing {
        Timing {
            hypervisor,
            vm: vm.to_owned(),
            template: template.to_owned(),
            stage: self.name.to_owned(),
            seconds: self.took.as_secs_f64(),
            outcome: if self.good { Outcome::Ok } else { Outcome::Failed },
            started: self.started,
        }
    }
}

impl Vm<'_> {
    /// What the waiting for it goes by.
    pub(super) fn awaited(&self) -> Awaited {
        Awaited {
            site: self.made.site,
            name: self.made.name().to_owned(),
            host_key: self.made.host_key.public.clone(),
            promised: self.made.planned.place.address,
            has_cloud_init: self.made.planned.origin.has_cloud_init(),
            addresses: self.made.addresses.clone(),
            stages: Vec::new(),
            failed: None,
            progress: None,
        }
    }

    /// Takes in how the waiting for it went.
    pub(super) fn waited(&mut self, awaited: Awaited) {
        self.made.addresses = awaited.addresses;
        self.stages.extend(awaited.stages);
        self.failed = awaited.failed;
        self.progress = awaited.progress;
    }
}

impl Made {
    /// Its name.
    pub fn name(&self) -> &str {
        self.planned.name.as_str()
    }

    /// The path of one of its volumes.
    ///
    /// # Errors
    /// It has no volume of this name.
    pub fn path_of(&self, volume: &str) -> Result<&str> {
        path_of(&self.record, &self.disks, volume)
    }

    /// Writes its record into its metadata.
    ///
    /// # Errors
    /// libvirt refuses.
    pub fn write(&self, world: World<'_>) -> Result<()> {
        world.hypervisor.write_metadata(self.name(), &Metadata::Clone(Box::new(self.record.clone())))
    }

    /// Writes down how far its making has come.
    ///
    /// # Errors
    /// As for [`Made::write`].
    pub fn reach(&mut self, world: World<'_>, phase: Phase) -> Result<()> {
        self.record.phase = phase;
        self.write(world)
    }

    /// What DNS is told of it, for these addresses.
    pub fn host(&self, addresses: &[IpAddr]) -> Host {
        host(&self.planned.name, &self.host_key.public, addresses)
    }
}

/// The path of a volume that a record names, of the paths of all that it names, in their order.
pub(super) fn path_of<'p>(record: &CloneRecord, paths: &'p [String], volume: &str) -> Result<&'p str> {
    let index = record.volumes.iter().position(|known| known == volume);
    let path = index.and_then(|index| paths.get(index)).map(String::as_str);
    path.with_context(|| format!("{} has no volume {volume}", record.name))
}

/// What DNS is told of a VM with this host key.
pub(super) fn host(name: &VmName, host_key: &str, addresses: &[IpAddr]) -> Host {
    let host_keys = host_key.parse().into_iter().collect();
    Host { name: name.clone(), domain: None, addresses: addresses.to_vec(), host_keys }
}

/// The first record of a planned clone.
pub(super) fn record(world: World<'_>, plan: &ClonePlan, planned: &PlannedClone, host_key: &HostKey) -> CloneRecord {
    let origin = &planned.origin;
    CloneRecord {
        purpose: plan.purpose,
        name: planned.name.clone(),
        template: origin.id.name.clone(),
        version: origin.id.version.clone(),
        digest: origin.digest.clone(),
        linked: planned.keeping.linked,
        phase: Phase::Reserved,
        run: world.local.run().clone(),
        created_at: world.local.now(),
        user: planned.user.clone(),
        ssh_host_keys: vec![host_key.public.clone()],
        volumes: planned.volumes(),
        pool: world.storage.pool().to_owned(),
        pool_pledge: planned.demand().pool,
        pool_written: planned.demand().written,
        room: planned.keeping.room,
        addresses: planned.place.address.into_iter().collect(),
        reservations: planned.place.reservation.iter().cloned().collect(),
        dns: Vec::new(),
        forced: plan.forced.clone(),
        guest_digest: Some(planned.guest.digest()),
        seed: planned.seed,
    }
}

/// Tells DNS of a VM whose addresses are known. What is told stands in its metadata first, so that it can be taken back
/// whatever happens.
///
/// # Errors
/// A provider refuses, or cannot be reached.
pub(super) fn tell_dns<'a>(world: World<'a>, vm: &mut Vm<'a>, addresses: &[IpAddr]) -> Result<()> {
    let registrations = dns::registrations(world, vm.made.planned.place.network.as_deref(), &vm.made.host(addresses));
    if registrations.is_empty() {
        return Ok(());
    }
    vm.made.record.dns.extend(registrations.iter().cloned());
    vm.made.write(world)?;
    let name = vm.made.name().to_owned();
    for registration in registrations {
        let taken_back = registration.clone();
        let what = format!("taking {name} out of DNS ({})", registration.provider);
        vm.undo.push(&name, what, move || dns::remove(world, &taken_back));
        dns::add(world, &registration)?;
    }
    Ok(())
}
