//! VMs that are there and off: starting them, and what the waiting for them goes by.

use std::{
    net::IpAddr,
    sync::atomic::{AtomicBool, Ordering},
    time::Instant,
};

use super::{ready::Awaited, vm::Stage, work::Work};
use crate::{
    cmd::parallel,
    core::{manifest::CloneRecord, names::TemplateId, timings::Timing},
    ui::Lines,
};

/// A VM that was made by an earlier call.
#[derive(Debug)]
pub struct Existing {
    /// Its template.
    template: TemplateId,
    /// What it is waited for by, and how that went.
    pub awaited: Awaited,
}

impl Existing {
    /// The VM that a record is of.
    pub fn of(record: &CloneRecord) -> Self {
        Self {
            template: TemplateId { name: record.template.clone(), version: record.version.clone() },
            awaited: Awaited {
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
        let template = self.template.to_string();
        self.awaited.stages.iter().map(|stage| stage.timing(&self.awaited.name, &template)).collect()
    }
}

/// Whether a VM reads a seed: only those with cloud-init have one. The template may be gone.
pub fn has_cloud_init(record: &CloneRecord) -> bool {
    let seed = format!("{}-seed", record.name);
    record.volumes.contains(&seed)
}

/// Starts them. Their lines are those from `first` on; those that fail say so themselves.
pub(super) fn start(work: &Work<'_>, vms: &mut [Existing], lines: &Lines, first: usize) {
    let world = work.world;
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
