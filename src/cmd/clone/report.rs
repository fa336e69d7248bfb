//! What `tpl clone` and `tpl apply` say about the VMs that they have made.

use std::path::Path;

use anyhow::Result;
use serde::Serialize;

use super::{vm::Made, work::Finished};
use crate::{
    cli::Output,
    cmd::world::World,
    core::{
        clone_plan::ClonePlan, error::Advised, facts::DomainState, known_hosts::known_hosts_line, ready::Progress,
        seed::machine_id,
    },
    host::known_hosts,
    ui,
};

/// What `--output json` prints.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The template of the VMs; none where there are several.
    template: Option<String>,
    version: Option<String>,
    clones: Vec<CloneReport>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    failed: Vec<FailureReport>,
}

/// One VM that has been made.
#[derive(Debug, Serialize)]
struct CloneReport {
    name: String,
    template: String,
    uuid: String,
    macs: Vec<String>,
    addresses: Vec<String>,
    dns: Vec<String>,
    machine_id: String,
    ssh_host_keys: Vec<String>,
    ssh_fingerprints: Vec<String>,
    disks: Vec<String>,
    state: &'static str,
}

#[derive(Debug, Serialize)]
struct FailureReport {
    name: String,
    error: String,
    progress: Option<Progress>,
}

impl Report {
    /// What has become of a call.
    pub fn of(world: World<'_>, finished: &Finished) -> Self {
        let mut ids: Vec<_> = finished.made.iter().map(|made| &made.planned.origin.id).collect();
        ids.dedup();
        let only = match ids.as_slice() {
            [only] => Some(*only),
            _ => None,
        };
        let failed = finished.failures.iter().map(|failure| FailureReport {
            name: failure.name.clone(),
            error: format!("{:#}", failure.error),
            progress: failure.progress.clone(),
        });
        Self {
            template: only.map(|id| id.name.to_string()),
            version: only.map(|id| id.version.to_string()),
            clones: finished.made.iter().map(|made| describe(world, made)).collect(),
            failed: failed.collect(),
        }
    }

    /// The report for people.
    pub fn table(&self) -> String {
        let heading = ["NAME", "ADDRESS", "STATE", "MACHINE-ID", "SSH HOST KEY"].map(str::to_owned).to_vec();
        let rows = self.clones.iter().map(|clone| {
            let address = if clone.addresses.is_empty() { "-".to_owned() } else { clone.addresses.join(" ") };
            vec![clone.name.clone(), address, clone.state.to_owned(), clone.machine_id.clone(), clone.ssh_fingerprints.join(" ")]
        });
        ui::table(&std::iter::once(heading).chain(rows).collect::<Vec<_>>())
    }
}

/// Prints what has been made, and appends its host keys to a file.
///
/// # Errors
/// Nothing can be printed, or the file not be written: the VMs are made all the same.
pub fn print(world: World<'_>, finished: &Finished, output: Output, file: Option<&Path>) -> Result<()> {
    let report = Report::of(world, finished);
    let printed = match output {
        Output::Json => ui::json(&report),
        Output::Text => ui::data(&report.table()),
    };
    printed.and_then(|()| append_known_hosts(file, &finished.made)).map_err(made_all_the_same)
}

/// A failure behind the making: whoever reads only the exit code must not make them again.
pub(super) fn made_all_the_same(error: anyhow::Error) -> anyhow::Error {
    Advised::new(error, "the VMs are made all the same: `tpl vms` lists them").into()
}

fn append_known_hosts(file: Option<&Path>, made: &[Made]) -> Result<()> {
    let Some(file) = file else { return Ok(()) };
    let lines: Result<Vec<String>, String> = made.iter().map(known_hosts_of).collect();
    known_hosts::append(file, &lines.map_err(anyhow::Error::msg)?).map(drop)
}

fn known_hosts_of(made: &Made) -> Result<String, String> {
    let addresses: Vec<String> = made.addresses.iter().map(ToString::to_string).collect();
    let names = made.record.dns.iter().flat_map(|registration| registration.host.names(None));
    let mut hosts: Vec<String> = std::iter::once(made.name().to_owned()).chain(names).chain(addresses).collect();
    hosts.dedup();
    known_hosts_line(&hosts.iter().map(String::as_str).collect::<Vec<_>>(), &made.host_key.public)
}

fn describe(world: World<'_>, made: &Made) -> CloneReport {
    // The clone is made: that its state cannot be read must not look like a failure to make it.
    let state = world.hypervisor.state(made.name());
    let names = made.record.dns.iter().flat_map(|registration| {
        registration.host.names(None).into_iter().map(|name| format!("{} ({})", name, registration.provider))
    });
    CloneReport {
        name: made.name().to_owned(),
        template: made.planned.origin.id.to_string(),
        uuid: made.planned.uuid.to_string(),
        macs: made.planned.place.macs.iter().map(ToString::to_string).collect(),
        addresses: made.addresses.iter().map(ToString::to_string).collect(),
        dns: names.collect(),
        machine_id: machine_id(made.planned.uuid),
        ssh_host_keys: vec![made.host_key.public.clone()],
        ssh_fingerprints: vec![made.host_key.fingerprint.clone()],
        disks: made.disks.clone(),
        state: state.map_or("unknown", |state| state.map_or("gone", DomainState::as_str)),
    }
}

/// A plan as JSON. A dry run has made no keys, so it reports no more than what is decided.
pub fn of_plan(plan: &ClonePlan) -> serde_json::Value {
    let one = |clone: &crate::core::clone_plan::PlannedClone| {
        serde_json::json!({
            "name": clone.name,
            "template": clone.origin.id.to_string(),
            "vcpus": clone.vcpus,
            "memory": clone.memory,
            "disk": clone.disk,
            "macs": clone.place.macs.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "address": clone.place.address,
            "network": clone.place.network,
            "volumes": clone.volumes(),
        })
    };
    serde_json::json!({ "dry_run": true, "clones": plan.clones.iter().map(one).collect::<Vec<_>>() })
}
