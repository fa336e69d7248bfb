//! What `tpl clone` and `tpl apply` say about the VMs that they have made.

use std::{collections::BTreeSet, net::IpAddr, path::Path};

use anyhow::Result;
use serde::Serialize;

use super::{
    sites::Sites,
    vm::Made,
    work::{Failure, Finished},
};
use crate::{
    cli::Output,
    core::{
        clone_plan::{ClonePlan, PlannedClone},
        error::Advised,
        facts::DomainState,
        known_hosts::known_hosts_line,
        manifest::CloneRecord,
        placement::Placed,
        ready::Progress,
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
    /// Where it is, if the call had several.
    #[serde(skip_serializing_if = "Option::is_none")]
    hypervisor: Option<String>,
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

/// A VM that failed, as it is reported.
#[derive(Debug, Serialize)]
pub struct FailureReport {
    name: String,
    error: String,
    progress: Option<Progress>,
}

impl FailureReport {
    /// The report of a failure.
    pub fn of(failure: &Failure) -> Self {
        Self { name: failure.name.clone(), error: format!("{:#}", failure.error), progress: failure.progress.clone() }
    }
}

impl Report {
    /// What has become of a call.
    pub fn of(sites: &Sites<'_>, finished: &Finished) -> Self {
        let mut ids: Vec<_> = finished.made.iter().map(|made| &made.planned.origin.id).collect();
        ids.dedup();
        let only = match ids.as_slice() {
            [only] => Some(*only),
            _ => None,
        };
        Self {
            template: only.map(|id| id.name.to_string()),
            version: only.map(|id| id.version.to_string()),
            clones: finished.made.iter().map(|made| describe(sites, made)).collect(),
            failed: finished.failures.iter().map(FailureReport::of).collect(),
        }
    }

    /// The report for people.
    pub fn table(&self) -> String {
        let several = self.clones.iter().any(|clone| clone.hypervisor.is_some());
        let heading = ["NAME", "ADDRESS", "STATE", "MACHINE-ID", "SSH HOST KEY"];
        let heading: Vec<&str> = several.then_some("HYPERVISOR").into_iter().chain(heading).collect();
        let rows = self.clones.iter().map(|clone| {
            let address = if clone.addresses.is_empty() { "-".to_owned() } else { clone.addresses.join(" ") };
            let (state, keys) = (clone.state.to_owned(), clone.ssh_fingerprints.join(" "));
            let cells = [clone.name.clone(), address, state, clone.machine_id.clone(), keys];
            clone.hypervisor.clone().into_iter().chain(cells).collect()
        });
        ui::table(&heading, rows)
    }
}

/// Prints what has been made, and appends its host keys to a file.
///
/// # Errors
/// Nothing can be printed, or the file not be written: the VMs are made all the same.
pub fn print(sites: &Sites<'_>, finished: &Finished, output: Output, file: Option<&Path>) -> Result<()> {
    let report = Report::of(sites, finished);
    let printed = match output {
        Output::Json => ui::json(&report),
        Output::Text => ui::data(&report.table()),
    };
    let hosts = finished.made.iter().map(|made| (&made.record, made.addresses.as_slice()));
    said(printed.and_then(|()| append_known_hosts(file, hosts)))
}

/// Whoever reads only the exit code must not make them again.
///
/// # Errors
/// What has gone wrong behind the work itself, with that advice.
pub fn said(outcome: Result<()>) -> Result<()> {
    outcome.map_err(|error| Advised::new(error, "the VMs are made all the same: `tpl vms` lists them").into())
}

/// Appends the host keys of VMs, with their addresses, to a file, where one is named.
///
/// # Errors
/// The file cannot be written.
pub fn append_known_hosts<'r>(file: Option<&Path>, vms: impl Iterator<Item = (&'r CloneRecord, &'r [IpAddr])>) -> Result<()> {
    let Some(file) = file else { return Ok(()) };
    let lines: Result<Vec<String>, String> = vms.map(|(record, addresses)| known_hosts_of(record, addresses)).collect();
    known_hosts::append(file, &lines.map_err(anyhow::Error::msg)?).map(drop)
}

fn known_hosts_of(record: &CloneRecord, addresses: &[IpAddr]) -> Result<String, String> {
    let addresses = addresses.iter().map(ToString::to_string);
    let names = record.dns.iter().flat_map(|registration| registration.host.names(None));
    let mut seen = BTreeSet::new();
    let all = std::iter::once(record.name.to_string()).chain(names).chain(addresses);
    let hosts: Vec<String> = all.filter(|host| seen.insert(host.clone())).collect();
    let key = record.ssh_host_keys.first().ok_or_else(|| format!("{} has no host key", record.name))?;
    known_hosts_line(&hosts.iter().map(String::as_str).collect::<Vec<_>>(), key)
}

fn describe(sites: &Sites<'_>, made: &Made) -> CloneReport {
    // The clone is made: that its state cannot be read must not look like a failure to make it.
    let state = sites.world(made.site).hypervisor.state(made.name());
    let names = made.record.dns.iter().flat_map(|registration| {
        registration.host.names(None).into_iter().map(|name| format!("{} ({})", name, registration.provider))
    });
    CloneReport {
        name: made.name().to_owned(),
        hypervisor: sites.label(made.site),
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
    let clones = plan.clones.iter().map(of_planned).collect::<Vec<_>>();
    serde_json::json!({ "dry_run": true, "clones": clones })
}

/// The plans of several hypervisors as one document.
pub fn of_placed(sites: &Sites<'_>, placed: &Placed) -> serde_json::Value {
    let one = |(site, _, clone): (usize, &ClonePlan, &PlannedClone)| {
        let mut value = of_planned(clone);
        value["hypervisor"] = sites.name(site).into();
        value
    };
    serde_json::json!({ "dry_run": true, "clones": placed.clones().map(one).collect::<Vec<_>>() })
}

/// The plans of several hypervisors for people.
pub fn describe_placed(sites: &Sites<'_>, placed: &Placed) -> String {
    let plans = placed.plans.iter().enumerate().filter(|(_, plan)| !plan.clones.is_empty());
    plans.map(|(site, plan)| format!("{}: {}", sites.name(site), plan.describe())).collect()
}

fn of_planned(clone: &PlannedClone) -> serde_json::Value {
    serde_json::json!({
        "name": clone.name,
        "template": clone.origin.id.to_string(),
        "vcpus": clone.vcpus,
        "memory": clone.memory,
        "disk": clone.keeping.disk,
        "linked": clone.keeping.linked,
        "room": clone.keeping.room,
        "macs": clone.place.macs.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "address": clone.place.address,
        "network": clone.place.network,
        "volumes": clone.volumes(),
        "seed": clone.origin.has_cloud_init().then_some(clone.seed),
    })
}
