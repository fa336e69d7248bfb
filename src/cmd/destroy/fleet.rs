//! `tpl destroy --fleet`: removes the declared VMs that carry tpl's metadata, and nothing else.

use std::{
    collections::BTreeSet,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use jiff::Timestamp;
use serde::Serialize;

use crate::{
    cli::{DestroyArgs, Output},
    cmd::{apply, parallel, remove, timings, world::World},
    core::{
        fleet::destroy::{DestroyPlan, Going, Stock, plan},
        inventory::{Clone, Inventory},
        names::{TemplateId, VmName},
        timings::{self as times, Timing},
    },
    ui::{self, Lines},
};

#[derive(Debug, Serialize)]
struct Report {
    file: String,
    dry_run: bool,
    changed: bool,
    destroyed: Vec<String>,
    removed_volumes: Vec<String>,
    kept_volumes: Vec<String>,
    /// What is declared and left alone: why.
    untouched: Vec<String>,
    failed: Vec<Failure>,
}

#[derive(Debug, Serialize)]
struct Failure {
    name: String,
    error: String,
}

/// Runs it.
///
/// # Errors
/// The file is wrong: then nothing is touched. Something cannot be removed: the rest is removed all the same.
pub(super) fn run(world: World<'_>, args: &DestroyArgs, file: &Path, output: Output) -> Result<()> {
    let fleet = apply::read(file)?;
    let declared: Vec<VmName> = fleet.names().cloned().collect();
    let _lock = world.reserve()?;
    // Who is dead is asked before what they have left is read, as `tpl prune` does. Volumes are read before domains: a volume
    // that is there belongs to a domain that is there, or to nobody.
    let dead = dead_runs(world, &world.inventory()?, &declared)?;
    let volumes = world.storage.volumes()?;
    let domains = world.hypervisor.domains()?;
    let inventory = Inventory::of(domains.clone());
    super::super::list::warn_unreadable(&inventory);
    let (busy, free): (Vec<VmName>, Vec<VmName>) = declared.into_iter().partition(|name| is_busy(name, &inventory, &dead));
    let stock = Stock { domains: &domains, inventory: &inventory, pool: world.storage.pool(), volumes: &volumes };
    let further = |name: &VmName| fleet.vms.iter().find(|vm| vm.name == *name).map_or(0, |vm| vm.spec.disks.len());
    let free: Vec<(VmName, usize)> = free.into_iter().map(|name| (name.clone(), further(&name))).collect();
    let mut plan = plan(&free, stock, args.disks);
    plan.untouched.extend(busy.iter().map(|name| format!("{name} is being made by another tpl that is still at work")));
    let mut report = Report::of(file, &plan, args.dry_run);
    let mut written = Ok(());
    if !args.dry_run {
        let times = act(world, &inventory, &plan, usize::from(args.jobs), &mut report);
        written = timings::write(args.timings.as_deref(), &times);
    }
    match output {
        Output::Json => ui::json(&report)?,
        Output::Text => report.print()?,
    }
    // Why VMs could not be removed goes before why it could not be told.
    report.verdict().and(written)
}

/// The runs that have ended, of those that have left something unfinished under these names.
fn dead_runs(world: World<'_>, inventory: &Inventory, names: &[VmName]) -> Result<BTreeSet<uuid::Uuid>> {
    let mut dead = BTreeSet::new();
    for clone in inventory.clones.iter().filter(|clone| clone.record.is_unfinished() && names.contains(&clone.record.name)) {
        if !world.local.is_alive(&clone.record.run)? {
            dead.insert(clone.record.run.id);
        }
    }
    Ok(dead)
}

/// Whether a living run is making this VM.
fn is_busy(name: &VmName, inventory: &Inventory, dead: &BTreeSet<uuid::Uuid>) -> bool {
    let clone = inventory.clones.iter().find(|clone| clone.record.name == *name);
    clone.is_some_and(|clone| clone.record.is_unfinished() && !dead.contains(&clone.record.run.id))
}

/// One VM that goes, and how that went.
struct Job<'a> {
    clone: &'a Clone,
    keep: Vec<String>,
}

/// Removes what is planned; what cannot be removed does not stop the rest.
fn act(world: World<'_>, inventory: &Inventory, plan: &DestroyPlan, jobs: usize, report: &mut Report) -> Vec<Timing> {
    let job = |going: &Going| {
        let clone = inventory.clones.iter().find(|clone| clone.record.name == going.name)?;
        let keep = clone.record.volumes.iter().filter(|volume| !going.remove.contains(volume)).cloned().collect();
        Some(Job { clone, keep })
    };
    let mut going: Vec<Job<'_>> = plan.vms.iter().filter_map(job).collect();
    let mut times = Vec::new();
    if !going.is_empty() {
        let names: Vec<String> = going.iter().map(|job| job.clone.record.name.to_string()).collect();
        let lines = Lines::begin("destroy", &names);
        let outcomes = parallel::each(jobs, &mut going, |index, job| {
            lines.set(index, "remove");
            let (started, clock) = (world.local.now(), Instant::now());
            let result = world.local.go_on().and_then(|()| remove::clone_keeping(world, job.clone, &job.keep));
            let took = clock.elapsed();
            lines.done(
                index,
                result.as_ref().map_or_else(|error| ui::Outcome::Failed(format!("{error:#}")), |()| ui::Outcome::Done(took)),
            );
            (timing(job.clone, started, took, result.is_ok()), result)
        });
        lines.finish();
        for ((timing, result), going) in outcomes.into_iter().zip(&plan.vms) {
            if let Err(error) = result {
                report.fail(going, &error);
            }
            times.push(timing);
        }
    }
    for volume in &plan.remove_volumes {
        if let Err(error) = world.storage.delete(volume).with_context(|| format!("removing volume {volume}")) {
            report.removed_volumes.retain(|removed| removed != volume);
            report.failed.push(Failure { name: volume.clone(), error: format!("{error:#}") });
        }
    }
    times
}

fn timing(clone: &Clone, started: Timestamp, took: Duration, good: bool) -> Timing {
    let record = &clone.record;
    Timing {
        hypervisor: None,
        vm: record.name.to_string(),
        template: TemplateId { name: record.template.clone(), version: record.version.clone() }.to_string(),
        stage: "remove".to_owned(),
        seconds: took.as_secs_f64(),
        outcome: if good { times::Outcome::Ok } else { times::Outcome::Failed },
        started,
    }
}

impl Report {
    fn of(file: &Path, plan: &DestroyPlan, dry_run: bool) -> Self {
        let all = |of: fn(&Going) -> &Vec<String>, besides: &[String]| {
            plan.vms.iter().flat_map(of).chain(besides).cloned().collect::<Vec<String>>()
        };
        Self {
            file: file.display().to_string(),
            dry_run,
            changed: !plan.vms.is_empty() || !plan.remove_volumes.is_empty(),
            destroyed: plan.vms.iter().map(|going| going.name.to_string()).collect(),
            removed_volumes: all(|going| &going.remove, &plan.remove_volumes),
            kept_volumes: all(|going| &going.keep, &plan.keep_volumes),
            untouched: plan.untouched.clone(),
            failed: Vec::new(),
        }
    }

    /// A VM could not be removed: nobody knows how far that has come.
    fn fail(&mut self, going: &Going, error: &anyhow::Error) {
        self.destroyed.retain(|name| name != going.name.as_str());
        self.removed_volumes.retain(|volume| !going.remove.contains(volume));
        self.failed.push(Failure { name: going.name.to_string(), error: format!("{error:#}") });
    }

    fn print(&self) -> Result<()> {
        let (destroyed, removed) =
            if self.dry_run { ("would be destroyed", "would be removed") } else { ("destroyed", "removed") };
        let mut text: String = self.destroyed.iter().map(|name| format!("{name} {destroyed}\n")).collect();
        text.extend(self.removed_volumes.iter().map(|volume| format!("volume {volume} {removed}\n")));
        text.extend(self.kept_volumes.iter().map(|volume| format!("volume {volume} stays\n")));
        text.extend(self.untouched.iter().map(|why| format!("left alone: {why}\n")));
        if !self.changed {
            text.push_str(&format!("nothing to destroy of {}\n", self.file));
        }
        ui::data(&text)?;
        if !self.kept_volumes.is_empty() {
            ui::note(&format!("`tpl destroy --fleet {} --disks` removes the disks, too", self.file));
        }
        Ok(())
    }

    fn verdict(&self) -> Result<()> {
        if self.failed.is_empty() {
            return Ok(());
        }
        let lines: Vec<&str> = self.failed.iter().map(|failure| failure.error.as_str()).collect();
        Err(anyhow!("not everything could be removed\n{}\nthe same call again takes it up where it stopped", lines.join("\n")))
    }
}
