//! `tpl prune`: removes what failed or killed runs have left. What belongs to a run that still lives is left alone.

use std::collections::BTreeSet;

use anyhow::Result;
use serde::Serialize;
use uuid::Uuid;

use crate::{
    cli::{Output, PruneArgs},
    cmd::{remove, world::World},
    core::{
        build_plan,
        domain::{LOG_FOLDER, boot_file, boot_file_owner, log_owner},
        error::UndoIncomplete,
        facts::is_local,
        inventory::{Clone, Inventory, Template},
        manifest::{Manifest, Metadata, Probe, Purpose, State},
        names::TemplateName,
    },
    host::imds::left::Left,
    ui,
};

/// One thing to remove.
enum Leftover<'a> {
    Build(&'a Template),
    Clone(&'a Clone),
    Probe(&'a Probe),
    /// A finished template that a killed run has left with disks of its build.
    Scaffolding(&'a Template),
    Log(String),
    /// An installer's kernel or initrd whose template was removed from another machine.
    BootFile(String),
    /// What the metadata service would hand out to a VM that is gone.
    Seed(Uuid, String),
    /// What a metadata service has left on this machine that was killed.
    OfService(Left),
}

/// What the hypervisor has besides domains and volumes.
struct Beside<'f> {
    logs: &'f [String],
    boot_files: &'f [String],
    seeds: &'f [(Uuid, String)],
    /// What is there of a metadata service that is not.
    service: &'f [Left],
}

#[derive(Debug, Serialize)]
struct Report {
    removed: Vec<String>,
    dry_run: bool,
}

/// Runs `tpl prune`.
///
/// # Errors
/// Something cannot be removed; the rest is removed all the same.
pub fn run(world: World<'_>, args: &PruneArgs, output: Output) -> Result<()> {
    let _lock = world.reserve()?;
    // Who is dead is asked before what they have left is read: what a run finishes in between is no leftover.
    let dead = dead_runs(world, &world.inventory()?)?;
    // Before the domains: a build defines its own before it puts a file there, a clone's is there before its seed.
    let boot_files = world.hypervisor.boot_files()?;
    let seeds = world.hypervisor.seeds()?;
    let inventory = world.inventory()?;
    super::list::warn_unreadable(&inventory);
    let logs = world.hypervisor.guest_logs(LOG_FOLDER)?;
    let mut removed = Vec::new();
    let mut failed = Vec::new();
    let service = if is_local(world.hypervisor.uri()) { world.local.left_by_service()? } else { Vec::new() };
    let beside = Beside { logs: &logs, boot_files: &boot_files, seeds: &seeds, service: &service };
    for leftover in leftovers(&dead, &inventory, &beside, args.template.as_ref()) {
        if let Some(pool) = leftover.pool().filter(|pool| *pool != world.storage.pool()) {
            ui::note(&format!("left alone: {} is in pool {pool}: `tpl prune --pool {pool}` removes it", leftover.describe()));
            continue;
        }
        match if args.dry_run { Ok(()) } else { leftover.remove(world) } {
            Ok(()) => removed.push(leftover.describe()),
            Err(error) => failed.push(error),
        }
    }
    match output {
        Output::Json => ui::json(&Report { removed, dry_run: args.dry_run })?,
        Output::Text if removed.is_empty() && failed.is_empty() => ui::data("nothing to prune\n")?,
        Output::Text => {
            let verb = if args.dry_run { "would be removed" } else { "removed" };
            ui::data(&removed.iter().map(|what| format!("{what} {verb}\n")).collect::<String>())?;
        }
    }
    match failed.len() {
        0 => Ok(()),
        _ => Err(UndoIncomplete::new(anyhow::anyhow!("not everything could be pruned"), failed).into()),
    }
}

/// The runs that have ended, of all that have anything here.
fn dead_runs(world: World<'_>, inventory: &Inventory) -> Result<BTreeSet<Uuid>> {
    let clones = inventory.clones.iter().map(|clone| &clone.record.run);
    let templates = inventory.templates.iter().map(|template| &template.manifest.run);
    let probes = inventory.probes.iter().map(|probe| &probe.run);
    let mut dead = BTreeSet::new();
    let mut alive = BTreeSet::new();
    for run in clones.chain(templates).chain(probes) {
        if dead.contains(&run.id) || alive.contains(&run.id) {
            continue;
        }
        let known = if world.local.is_alive(run)? { &mut alive } else { &mut dead };
        known.insert(run.id);
    }
    Ok(dead)
}

fn leftovers<'a>(
    dead: &BTreeSet<Uuid>,
    inventory: &'a Inventory,
    beside: &Beside<'_>,
    only: Option<&TemplateName>,
) -> Vec<Leftover<'a>> {
    let mut found = Vec::new();
    let wanted = |name: &TemplateName| only.is_none_or(|only| only == name);
    // Clones first: a template cannot go while clones stand on it.
    for clone in inventory.clones.iter().filter(|clone| wanted(&clone.record.template)) {
        let unfinished = clone.record.is_unfinished() || clone.record.purpose == Purpose::BootTest;
        if unfinished && dead.contains(&clone.record.run.id) {
            found.push(Leftover::Clone(clone));
        }
    }
    for template in inventory.templates.iter().filter(|template| wanted(&template.manifest.name)) {
        let manifest = &template.manifest;
        if !dead.contains(&manifest.run.id) {
            continue;
        }
        let id = manifest.id();
        let idle = inventory
            .clones_of(&id)
            .all(|clone| clone.record.purpose == Purpose::BootTest || clone.record.is_unfinished() || !clone.record.linked);
        if manifest.state < State::Published {
            if idle {
                found.push(Leftover::Build(template));
            }
        } else if manifest.volumes.len() > lasting(manifest).len() {
            found.push(Leftover::Scaffolding(template));
        }
    }
    if only.is_some() {
        return found;
    }
    for probe in &inventory.probes {
        if dead.contains(&probe.run.id) {
            found.push(Leftover::Probe(probe));
        }
    }
    let ownerless = beside.logs.iter().filter(|log| log_owner(log).is_some_and(|owner| !inventory.names.contains(&owner)));
    found.extend(ownerless.map(|log| Leftover::Log(log.clone())));
    let is_ownerless = |file: &&String| boot_file_owner(file).is_some_and(|owner| !inventory.names.contains(owner));
    found.extend(beside.boot_files.iter().filter(is_ownerless).map(|file| Leftover::BootFile(file.clone())));
    let is_ownerless = |(uuid, _): &&(Uuid, String)| !inventory.uuids.contains(uuid);
    found.extend(beside.seeds.iter().filter(is_ownerless).map(|(uuid, name)| Leftover::Seed(*uuid, name.clone())));
    found.extend(beside.service.iter().cloned().map(Leftover::OfService));
    found
}

fn lasting(manifest: &Manifest) -> Vec<String> {
    let names = build_plan::LASTING.map(|suffix| format!("{}{suffix}", manifest.id().domain()));
    names.into_iter().filter(|name| manifest.volumes.contains(name)).collect()
}

impl Leftover<'_> {
    /// The pool of its volumes; files and seeds have none.
    fn pool(&self) -> Option<&str> {
        match self {
            Self::Build(template) | Self::Scaffolding(template) => Some(&template.manifest.pool),
            Self::Clone(clone) => Some(&clone.record.pool),
            Self::Probe(probe) => Some(&probe.pool),
            Self::Log(_) | Self::BootFile(_) | Self::Seed(..) | Self::OfService(_) => None,
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::Build(template) => format!("build {} ({})", template.manifest.id(), template.manifest.state.as_str()),
            Self::Clone(clone) if clone.is_vm() => format!("unfinished clone {}", clone.record.name),
            Self::Clone(clone) => format!("boot test {}", clone.record.name),
            Self::Probe(probe) => format!("KVM probe {}", probe.name),
            Self::Scaffolding(template) => format!("build disks of {}", template.manifest.id()),
            Self::Log(path) => format!("log {path}"),
            Self::BootFile(name) => format!("boot file {}", boot_file(name)),
            Self::Seed(uuid, name) => format!("seed of {name} ({uuid})"),
            Self::OfService(Left::Address(bridge)) => format!("the metadata service's address on {}", bridge.name),
            Self::OfService(Left::Rules) => "the metadata service's rules in the packet filter".to_owned(),
        }
    }

    fn remove(&self, world: World<'_>) -> Result<()> {
        match self {
            Self::Build(template) => remove::template(world, template),
            Self::Clone(clone) => remove::clone(world, clone),
            Self::Probe(probe) => remove::probe(world, probe),
            Self::Log(path) => world.hypervisor.remove_log(path),
            Self::BootFile(name) => world.hypervisor.remove_boot_file(name),
            Self::Seed(uuid, _) => world.hypervisor.remove_seed(*uuid),
            Self::OfService(left) => world.local.take_away(left),
            Self::Scaffolding(template) => {
                let lasting = lasting(&template.manifest);
                for volume in template.manifest.volumes.iter().filter(|volume| !lasting.contains(volume)) {
                    world.remove_volume(volume)?;
                }
                let manifest = Manifest { volumes: lasting, ..template.manifest.clone() };
                world.hypervisor.write_metadata(&template.domain.name, &Metadata::Template(Box::new(manifest)))
            }
        }
    }
}
