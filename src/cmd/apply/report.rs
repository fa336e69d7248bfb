//! What `tpl apply` says.

use std::{collections::BTreeMap, net::IpAddr};

use anyhow::Result;
use serde::Serialize;

use super::Compared;
use crate::{
    cli::{Output, Stage},
    cmd::clone::{
        Made,
        existing::Existing,
        report::{FailureReport, of_plan},
        work::Finished,
    },
    core::{
        clone_plan::ClonePlan,
        facts::DomainState,
        fleet::diff::{self, Action, Difference, Step},
        timings::Timing,
    },
    ui,
};

/// What has been done.
pub(super) struct Done {
    /// None where there was nothing to do.
    pub(super) finished: Option<Finished>,
    /// The VMs that were there and have been started, or have failed at that.
    pub(super) started: Vec<Existing>,
}

impl Done {
    /// The VMs that are new.
    pub(super) fn made(&self) -> impl Iterator<Item = &Made> {
        self.finished.iter().flat_map(|finished| &finished.made)
    }

    /// The addresses of a VM that was there.
    pub(super) fn addresses(&self, there: &diff::Existing) -> Vec<IpAddr> {
        let started = self.started.iter().find(|vm| vm.awaited.name == there.record.name.as_str());
        let heard = started.map(|vm| vm.awaited.addresses.clone()).filter(|addresses| !addresses.is_empty());
        heard.unwrap_or_else(|| known(there))
    }

    fn has_failed(&self, name: &str) -> bool {
        self.finished.iter().flat_map(|finished| &finished.failures).any(|failure| failure.name == name)
    }
}

/// The promised addresses, else those that were heard of.
fn known(there: &diff::Existing) -> Vec<IpAddr> {
    if there.record.addresses.is_empty() { there.addresses.clone() } else { there.record.addresses.clone() }
}

/// What `--output json` prints.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    file: String,
    dry_run: bool,
    /// Whether anything has been done, or would be.
    changed: bool,
    vms: Vec<Row>,
    failed: Vec<FailureReport>,
    /// What would be made, in detail.
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<serde_json::Value>,
    #[serde(skip)]
    described: String,
    #[serde(skip)]
    settled: &'static str,
}

/// One declared VM.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    action: &'static str,
    addresses: Vec<IpAddr>,
    state: String,
    differences: Vec<Difference>,
    /// Seconds a stage.
    seconds: BTreeMap<String, f64>,
}

impl Report {
    /// What would be done.
    pub(super) fn planned(compared: &Compared<'_, '_>, plan: Option<&ClonePlan>) -> Self {
        let planned = |step: &Step| plan?.clones.iter().find(|clone| clone.name == step.name);
        let rows = compared.steps.iter().map(|step| {
            let action = match step.action {
                Action::Create => "create",
                Action::Start if compared.is_due(step) => "start",
                _ => "unchanged",
            };
            let promised = planned(step).and_then(|clone| clone.place.address).into_iter().collect();
            let there = compared.existing.vms.get(&step.name);
            let state = there.map_or("missing", |there| there.state.as_str()).to_owned();
            row(step, action, there.map_or(promised, known), state, &[])
        });
        let mut report = Self::of(compared, rows.collect());
        report.dry_run = true;
        report.plan = plan.map(|plan| of_plan(plan)["clones"].clone());
        report.described = plan.map_or_else(String::new, |plan| format!("\nto be made: {}", plan.describe()));
        report
    }

    /// What has been done.
    pub(super) fn done(compared: &Compared<'_, '_>, done: &Done, times: &[Timing]) -> Self {
        let made: BTreeMap<&str, &Made> = done.made().map(|made| (made.name(), made)).collect();
        let rows = compared.steps.iter().map(|step| {
            let name = step.name.as_str();
            let there = compared.existing.vms.get(&step.name);
            let action = match step.action {
                _ if done.has_failed(name) => "failed",
                Action::Create => "created",
                Action::Start if compared.is_due(step) => "started",
                _ => "unchanged",
            };
            let state = match there.filter(|_| action == "unchanged") {
                Some(there) => there.state.as_str().to_owned(),
                None => state(compared, name).to_owned(),
            };
            let addresses = made.get(name).map(|made| made.addresses.clone());
            let addresses = addresses.or_else(|| there.map(|there| done.addresses(there))).unwrap_or_default();
            row(step, action, addresses, state, times)
        });
        let mut report = Self::of(compared, rows.collect());
        let failures = done.finished.iter().flat_map(|finished| &finished.failures);
        report.failed = failures.map(FailureReport::of).collect();
        report
    }

    fn of(compared: &Compared<'_, '_>, vms: Vec<Row>) -> Self {
        Self {
            file: compared.fleet.file.clone(),
            dry_run: false,
            changed: vms.iter().any(|row| row.action != "unchanged"),
            vms,
            failed: Vec::new(),
            plan: None,
            described: String::new(),
            settled: if compared.args.stage == Stage::Create { "there" } else { "there and running" },
        }
    }

    /// Prints it.
    ///
    /// # Errors
    /// stdout is closed.
    pub(super) fn print(&self, output: Output) -> Result<()> {
        let differing = self.vms.iter().filter(|row| !row.differences.is_empty()).count();
        match output {
            Output::Json => ui::json(self)?,
            Output::Text if !self.changed && differing == 0 => {
                ui::data(&format!("nothing to do: all {} VMs of {} are {}\n", self.vms.len(), self.file, self.settled))?;
            }
            Output::Text => ui::data(&(self.table() + &self.described))?,
        }
        if differing > 0 {
            let verb = if self.changed { "" } else { "nothing to do, but " };
            ui::note(&format!(
                "{verb}{differing} of {} VMs are otherwise than {} says, and cannot be changed in place: `tpl destroy VM` and \
                 another `tpl apply` make one anew",
                self.vms.len(),
                self.file
            ));
        }
        Ok(())
    }

    fn table(&self) -> String {
        let heading = ["NAME", "ACTION", "ADDRESS", "STATE", "DIFFERENCES"];
        let rows = self.vms.iter().map(|row| {
            let addresses: Vec<String> = row.addresses.iter().map(ToString::to_string).collect();
            let differences: Vec<String> = row
                .differences
                .iter()
                .map(|Difference { what, declared, actual }| format!("{what}: {actual}, declared {declared}"))
                .collect();
            let or_dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
            vec![
                row.name.clone(),
                row.action.to_owned(),
                or_dash(addresses.join(" ")),
                row.state.clone(),
                or_dash(differences.join("; ")),
            ]
        });
        ui::table(&heading, rows)
    }
}

fn row(step: &Step, action: &'static str, addresses: Vec<IpAddr>, state: String, times: &[Timing]) -> Row {
    let name = step.name.to_string();
    let own = times.iter().filter(|timing| timing.vm == name);
    let seconds = own.map(|timing| (timing.stage.clone(), timing.seconds)).collect();
    Row { action, addresses, state, differences: step.differences.clone(), seconds, name }
}

/// A state that cannot be read must not look like a failure of the work.
fn state(compared: &Compared<'_, '_>, name: &str) -> &'static str {
    let state = compared.world.hypervisor.state(name);
    state.map_or("unknown", |state| state.map_or("gone", DomainState::as_str))
}
