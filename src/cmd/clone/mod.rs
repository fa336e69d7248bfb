//! `tpl clone`: VMs from a template, all or nothing.

pub mod existing;
mod failure;
pub mod handed;
pub mod make;
mod offline;
mod place;
pub mod ready;
pub mod report;
mod reserve;
pub mod sites;
pub mod vm;
mod wishes;
pub mod work;

use anyhow::Result;

use crate::{
    cli::{CloneArgs, Output, WorkArgs},
    cmd::{timings, world::World},
    core::{
        config::Config,
        error::Invalid,
        guest::{Guest, UserData},
        inventory::Template,
        manifest::IdentityMethod,
        ready::Until,
        vm_spec::{SeedWay, VmSpec},
    },
    host::known_hosts,
    offline::unsupported,
    ui,
};
use place::Call;
pub use reserve::roll_back;
use sites::Sites;
pub use vm::Made;
pub use wishes::{has_login, with_own_keys};
use work::Work;

/// Runs `tpl clone`.
///
/// # Errors
/// A refusal or a bad argument changes nothing; after a failure everything is undone.
pub fn run(world: World<'_>, config: &Config, args: &CloneArgs, output: Output) -> Result<()> {
    run_on(&Sites::one(world, config.policy), &[config], args, output)
}

/// The same over several hypervisors, each with its configuration.
///
/// # Errors
/// As for [`run`]; what one of them has fails the call on all.
pub fn run_on(sites: &Sites<'_>, configs: &[&Config], args: &CloneArgs, output: Output) -> Result<()> {
    if let Some(file) = &args.known_hosts {
        known_hosts::check(file)?;
    }
    let mut call = Call::read(configs, args)?;
    call.ask_for_signatures(sites)?;
    if args.dry_run {
        let placed = call.plan(&sites.facts()?)?;
        sites.check_seeds(&placed)?;
        sites.check_dns(&placed)?;
        placed.notes.iter().for_each(|note| ui::note(note));
        return match (output, placed.plans.as_slice()) {
            (Output::Text, [plan]) => ui::data(&plan.describe()),
            (Output::Json, [plan]) => ui::json(&report::of_plan(plan)),
            (Output::Text, _) => ui::data(&report::describe_placed(sites, &placed)),
            (Output::Json, _) => ui::json(&report::of_placed(sites, &placed)),
        };
    }
    let work = Work { keep_failed: args.keep_failed, start: !args.no_start, ..work(sites.clone(), &args.work) };
    let mut times = Vec::new();
    let finished = work.run(&|facts| call.plan(facts), &mut times);
    let timed = timings::write(args.work.timings.as_deref(), &times);
    let finished = finished?;
    // What has become of the VMs goes before what could not be written about them.
    let printed = report::print(sites, &finished, output, args.known_hosts.as_deref());
    finished.verdict()?;
    printed?;
    report::said(timed)
}

/// The same on one hypervisor, told as a document that is printed by somebody else: what `--output json` has of it.
///
/// # Errors
/// As for [`run`].
pub fn document(world: World<'_>, config: &Config, args: &CloneArgs) -> Result<serde_json::Value> {
    let sites = Sites::one(world, config.policy);
    let configs = [config];
    let mut call = Call::read(&configs, args)?;
    call.ask_for_signatures(&sites)?;
    if args.dry_run {
        let placed = call.plan(&sites.facts()?)?;
        sites.check_seeds(&placed)?;
        sites.check_dns(&placed)?;
        return Ok(serde_json::to_value(report::of_placed(&sites, &placed))?);
    }
    let work = Work { keep_failed: args.keep_failed, start: !args.no_start, ..work(sites.clone(), &args.work) };
    let finished = work.run(&|facts| call.plan(facts), &mut Vec::new())?;
    let document = serde_json::to_value(report::Report::of(&sites, &finished))?;
    finished.verdict()?;
    Ok(document)
}

/// How the flags say that the work is done.
pub fn work<'a>(sites: Sites<'a>, args: &WorkArgs) -> Work<'a> {
    Work {
        title: "clone",
        sites,
        jobs: usize::from(args.jobs),
        keep_going: args.keep_going,
        keep_failed: false,
        quiet: false,
        start: true,
        until: args.wait,
        timeout: args.timeout.0,
    }
}

/// That a template can do what is asked of its clones' guests.
///
/// # Errors
/// [`Invalid`] with all that it cannot.
pub fn check_guest(template: &Template, spec: &VmSpec, guest: &Guest, until: Until) -> Result<(), Invalid> {
    let way = spec.seed.unwrap_or_default();
    if template.manifest.identity == IdentityMethod::NoCloud {
        return check_phone_home(way, guest, until);
    }
    let mut faults = unsupported(&spec.guest);
    if way == SeedWay::Metadata {
        faults.push("--seed metadata: the template has no cloud-init, which would ask for a seed".to_owned());
    }
    if spec.disks.iter().any(|disk| disk.moved) {
        faults.push("move: files are moved to a disk by cloud-init, which the template has not".to_owned());
    }
    if matches!(until, Until::CloudInit | Until::PhoneHome) {
        faults.push(format!("--wait {until}: the template has no cloud-init"));
    }
    if faults.is_empty() {
        return Ok(());
    }
    Err(Invalid::argument(faults.join("\n")))
}

/// That somebody is told where one waits for a guest to tell.
fn check_phone_home(way: SeedWay, guest: &Guest, until: Until) -> Result<(), Invalid> {
    let theirs = guest.user_data.as_ref().is_some_and(UserData::phones_home);
    let fault = match (until, way) {
        (Until::PhoneHome, SeedWay::Volume) => {
            "--wait phone-home: only a VM that has its seed from the metadata service tells it when it is ready: ask for --seed metadata, \
             or wait for ssh"
        }
        (Until::PhoneHome, SeedWay::Metadata) if theirs => {
            "--wait phone-home: the user-data has a phone_home of its own, and a guest tells one alone: leave it out, or wait for ssh"
        }
        _ => return Ok(()),
    };
    Err(Invalid::argument(fault))
}
