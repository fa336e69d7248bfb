//! `tpl clone`: VMs from a template, all or nothing.

pub mod make;

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use serde::Serialize;
use uuid::Uuid;

use crate::{
    cli::{CloneArgs, Output, Wait},
    cmd::{undo::Undo, world::World},
    core::{
        clone_plan::{self, ClonePlan, CloneRequest},
        config::Config,
        error::{Advised, Invalid, Refusal},
        known_hosts::known_hosts_line,
        manifest::Purpose,
        progress::Progress as _,
        seed::machine_id,
        ssh_key::PublicKey,
    },
    host::{known_hosts, ssh_keys},
    ui,
};
use make::Made;

/// What `--output json` prints.
#[derive(Debug, Serialize)]
struct Report {
    template: String,
    version: String,
    clones: Vec<CloneReport>,
}

#[derive(Debug, Serialize)]
struct CloneReport {
    name: String,
    uuid: String,
    macs: Vec<String>,
    addresses: Vec<String>,
    machine_id: String,
    ssh_host_keys: Vec<String>,
    ssh_fingerprints: Vec<String>,
    disks: Vec<String>,
    state: &'static str,
}

/// Runs `tpl clone`.
///
/// # Errors
/// A refusal or a bad argument changes nothing; after a failure everything is undone.
pub fn run(world: World<'_>, config: &Config, args: &CloneArgs, output: Output) -> Result<()> {
    if let Some(file) = &args.known_hosts {
        known_hosts::check(file)?;
    }
    let keys = if args.dry_run && args.ssh_keys.is_empty() { Vec::new() } else { public_keys(args)? };
    if args.dry_run {
        let plan = planned(world, config, args)?;
        return match output {
            Output::Text => ui::data(&plan.describe()),
            Output::Json => ui::json(&dry_report(&plan)),
        };
    }
    let mut undo = Undo::default();
    match make_all(world, config, args, &keys, &mut undo) {
        Ok((plan, made)) => {
            undo.commit();
            report(world, args, output, &plan, &made)
        }
        Err(error) if args.keep_failed && !is_refusal(&error) => {
            undo.commit();
            Err(Advised::new(error, "the VMs are kept; `tpl destroy` or `tpl prune` removes them").into())
        }
        Err(error) => Err(undo.roll_back(error)),
    }
}

fn is_refusal(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Refusal>().is_some() || error.downcast_ref::<Invalid>().is_some()
}

fn planned(world: World<'_>, config: &Config, args: &CloneArgs) -> Result<ClonePlan> {
    if let Some(network) = &config.named_network {
        let there = world.hypervisor.network(network)?;
        if !there.as_ref().is_some_and(|network| network.active) {
            let fault = if there.is_some() { "is not running" } else { "does not exist" };
            return Err(Refusal::new(format!("network {network} {fault}"))
                .advise("`virsh net-list --all` lists the networks")
                .into());
        }
    }
    let facts = world.facts()?;
    let template = match &args.template {
        Some(reference) => facts.inventory.find(reference)?,
        None => facts.inventory.default_template(config.template.as_ref())?,
    };
    let request = CloneRequest {
        count: usize::from(args.count),
        names: args.name.clone(),
        linked: !args.full,
        vcpus: args.vcpus,
        memory: args.memory,
        disk: args.disk,
        user: args.user.clone(),
        network: config.named_network.clone(),
        purpose: Purpose::Clone,
    };
    clone_plan::plan(&request, template, &facts, &mut Uuid::new_v4)
}

fn make_all<'a>(
    world: World<'a>,
    config: &Config,
    args: &CloneArgs,
    keys: &[PublicKey],
    undo: &mut Undo<'a>,
) -> Result<(ClonePlan, Vec<Made>)> {
    let stage = ui::StageLine::begin("clone");
    // Between reading the facts and defining the clones nobody else on this machine may do the same.
    let lock = world.reserve()?;
    let plan = planned(world, config, args)?;
    let mut made = make::define(world, &plan, undo)?;
    drop(lock);
    stage.update("making disks and seeds", None);
    make::disks(world, &plan, &made, keys, undo)?;
    if !args.no_start {
        stage.update("starting", None);
        make::start(world, &made, undo)?;
        if args.wait == Wait::Ssh {
            make::wait_ready(world, &mut made, args.timeout.0, &stage)?;
        }
    }
    make::commit(world, &mut made)?;
    stage.done();
    Ok((plan, made))
}

fn public_keys(args: &CloneArgs) -> Result<Vec<PublicKey>> {
    let mut keys = Vec::new();
    for file in &args.ssh_keys {
        keys.extend(ssh_keys::read_file(file)?);
    }
    if args.ssh_keys.is_empty() {
        let folder = ssh_keys::own_folder().context("looking for your SSH keys: no home folder")?;
        let found = ssh_keys::read_folder(&folder)?;
        for (file, error) in &found.skipped {
            ui::note(&format!("{}: passed over: {error:#}", file.display()));
        }
        keys = found.keys;
    }
    if keys.is_empty() {
        return Err(Invalid::argument("nobody could log in: there is no public key in ~/.ssh, and none is named\nname one with --ssh-key FILE, or make one with ssh-keygen").into());
    }
    let mut seen = BTreeSet::new();
    keys.retain(|key| seen.insert(key.key()));
    Ok(keys)
}

fn report(world: World<'_>, args: &CloneArgs, output: Output, plan: &ClonePlan, made: &[Made]) -> Result<()> {
    let clones: Vec<_> = made.iter().map(|clone| describe(world, clone)).collect();
    let printed = match output {
        Output::Json => {
            let (template, version) = (plan.template.name.to_string(), plan.template.version.to_string());
            ui::json(&Report { template, version, clones })
        }
        Output::Text => ui::data(&table(&clones)),
    };
    printed.and_then(|()| append_known_hosts(args, made)).map_err(|error| {
        // Whoever reads only the exit code must not make them again.
        Advised::new(error, "the VMs are made all the same: `tpl vms` lists them").into()
    })
}

fn append_known_hosts(args: &CloneArgs, made: &[Made]) -> Result<()> {
    let Some(file) = &args.known_hosts else { return Ok(()) };
    let lines: Result<Vec<String>, String> = made.iter().map(known_hosts_of).collect();
    known_hosts::append(file, &lines.map_err(anyhow::Error::msg)?).map(drop)
}

fn known_hosts_of(clone: &Made) -> Result<String, String> {
    let addresses: Vec<String> = clone.addresses.iter().map(ToString::to_string).collect();
    let hosts: Vec<&str> = std::iter::once(clone.planned.name.as_str()).chain(addresses.iter().map(String::as_str)).collect();
    known_hosts_line(&hosts, &clone.host_key.public)
}

fn describe(world: World<'_>, clone: &Made) -> CloneReport {
    // The clone is made: that its state cannot be read must not look like a failure to make it.
    let state = world.hypervisor.state(clone.planned.name.as_str());
    CloneReport {
        name: clone.planned.name.to_string(),
        uuid: clone.planned.uuid.to_string(),
        macs: clone.planned.macs.iter().map(ToString::to_string).collect(),
        addresses: clone.addresses.iter().map(ToString::to_string).collect(),
        machine_id: machine_id(clone.planned.uuid),
        ssh_host_keys: vec![clone.host_key.public.clone()],
        ssh_fingerprints: vec![clone.host_key.fingerprint.clone()],
        disks: clone.disks.clone(),
        state: state.map_or("unknown", |state| state.map_or("gone", crate::core::facts::DomainState::as_str)),
    }
}

/// A dry run has made no keys, so it reports no more than what is decided.
fn dry_report(plan: &ClonePlan) -> serde_json::Value {
    serde_json::json!({
        "dry_run": true,
        "template": plan.template.name,
        "version": plan.template.version,
        "clones": plan.clones.iter().map(|clone| serde_json::json!({
            "name": clone.name,
            "macs": clone.macs.iter().map(ToString::to_string).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
    })
}

fn table(clones: &[CloneReport]) -> String {
    let heading = ["NAME", "ADDRESS", "STATE", "MACHINE-ID", "SSH HOST KEY"].map(str::to_owned).to_vec();
    let rows = clones.iter().map(|clone| {
        let address = if clone.addresses.is_empty() { "-".to_owned() } else { clone.addresses.join(" ") };
        vec![clone.name.clone(), address, clone.state.to_owned(), clone.machine_id.clone(), clone.ssh_fingerprints.join(" ")]
    });
    ui::table(&std::iter::once(heading).chain(rows).collect::<Vec<_>>())
}
