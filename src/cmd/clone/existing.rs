//! VMs that are there and off: starting them, and what the waiting for them goes by.

use std::{
    net::IpAddr,
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use anyhow::Result;

use super::{
    ready::Awaited,
    vm::{self, Stage},
    work::Work,
};
use crate::{
    cmd::{dns, parallel, world::World},
    core::{
        manifest::{CloneRecord, Metadata},
        names::TemplateId,
        timings::Timing,
        vm_spec::SeedWay,
    },
    ui::Lines,
};

/// A VM that was made by an earlier call.
#[derive(Debug)]
pub struct Existing {
    /// What its metadata says.
    record: CloneRecord,
    /// The libvirt network that it is in.
    network: Option<String>,
    /// What it is waited for by, and how that went.
    pub awaited: Awaited,
}

impl Existing {
    /// The VM that a record is of, and the libvirt network that it is in.
    pub fn of(record: &CloneRecord, network: Option<&str>) -> Self {
        Self {
            record: record.clone(),
            network: network.map(str::to_owned),
            awaited: Awaited {
                site: 0,
                name: record.name.to_string(),
                host_key: record.ssh_host_keys.first().cloned().unwrap_or_default(),
                promised: record.addresses.iter().copied().min_by_key(IpAddr::is_ipv6),
                has_cloud_init: has_cloud_init(record),
                addresses: record.addresses.clone(),
                stages: Vec::new(),
                failed: None,
                progress: None,
            },
        }
    }

    /// How long its stages took.
    pub(super) fn timings(&self) -> Vec<Timing> {
        let id = TemplateId { name: self.record.template.clone(), version: self.record.version.clone() };
        let template = id.to_string();
        self.awaited.stages.iter().map(|stage| stage.timing(&self.awaited.name, &template, None)).collect()
    }
}

/// Whether a VM reads a seed: only those with cloud-init have one. The template may be gone.
pub fn has_cloud_init(record: &CloneRecord) -> bool {
    let seed = format!("{}-seed", record.name);
    record.seed == SeedWay::Metadata || record.volumes.contains(&seed)
}

/// Lets DNS know of those whose address came by DHCP and is known only now: an earlier call that made them has not waited for it.
pub(super) fn tell_dns(world: World<'_>, vms: &mut [Existing]) {
    for vm in vms.iter_mut().filter(|vm| vm.awaited.failed.is_none() && vm.record.dns.is_empty()) {
        vm.awaited.failed = register(world, vm).err();
    }
}

fn register(world: World<'_>, vm: &mut Existing) -> Result<()> {
    let Existing { record, network, awaited } = vm;
    if awaited.addresses.is_empty() {
        return Ok(());
    }
    let host = vm::host(&record.name, &awaited.host_key, &awaited.addresses);
    record.dns = dns::registrations(world, network.as_deref(), &host);
    if record.dns.is_empty() {
        return Ok(());
    }
    // What is told stands in its metadata first, so that it is taken back whatever happens.
    world.hypervisor.write_metadata(record.name.as_str(), &Metadata::Clone(Box::new(record.clone())))?;
    record.dns.iter().try_for_each(|registration| dns::add(world, registration).map(|_| ()))
}

/// Starts them. Their lines are those from `first` on; those that fail say so themselves.
pub(super) fn start(work: &Work<'_>, vms: &mut [Existing], lines: &Lines, first: usize) {
    let world = work.sites.first();
    // Behind one that fails no other is started, unless the call is to go on.
    let over = AtomicBool::new(false);
    parallel::each(work.jobs, vms, |index, vm| {
        if over.load(Ordering::Relaxed) || world.local.go_on().is_err() {
            return;
        }
        lines.set(first + index, "start");
        let (started, clock) = (world.local.now(), Instant::now());
        let result = world.hypervisor.start(&vm.awaited.name);
        over.fetch_or(result.is_err() && !work.keep_going, Ordering::Relaxed);
        vm.awaited.stages.push(Stage { name: "start", started, took: clock.elapsed(), good: result.is_ok() });
        vm.awaited.failed = result.err();
    });
}
