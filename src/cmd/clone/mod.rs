//! `tpl clone`: VMs from a template, all or nothing.

pub mod existing;
mod failure;
pub mod make;
mod offline;
pub mod ready;
pub mod report;
mod reserve;
pub mod vm;
mod wishes;
pub mod work;

use std::path::Path;

use anyhow::Result;
use uuid::Uuid;

use crate::{
    cli::{CloneArgs, Output, WorkArgs},
    cmd::{dns, remote, signature, timings, world::World},
    core::{
        clone_plan::{self, ClonePlan, Facts, VmRequest, holder_of},
        config::Config,
        error::Invalid,
        guest::Guest,
        inventory::Template,
        manifest::{IdentityMethod, Purpose},
        ready::Until,
        signing::PublicKey,
        vm_spec::VmSpec,
    },
    host::{guest_files, known_hosts},
    offline::unsupported,
    ui,
};
pub use reserve::roll_back;
pub use vm::Made;
pub use wishes::{has_login, with_own_keys};
use work::Work;

/// What a call asks for, read from its flags and the files that they name.
struct Call<'a> {
    args: &'a CloneArgs,
    config: &'a Config,
    spec: VmSpec,
    guest: Guest,
    /// The keys by one of which the template must be signed, where that is asked for.
    signers: Option<Vec<PublicKey>>,
}

/// Runs `tpl clone`.
///
/// # Errors
/// A refusal or a bad argument changes nothing; after a failure everything is undone.
pub fn run(world: World<'_>, config: &Config, args: &CloneArgs, output: Output) -> Result<()> {
    if let Some(file) = &args.known_hosts {
        known_hosts::check(file)?;
    }
    let mut call = Call::read(config, args)?;
    call.signers = signature::required_keys(world, config)?;
    if args.dry_run {
        let plan = call.plan(&world.facts(config.policy)?)?;
        dns::check_free(world, plan.purpose, &plan.clones)?;
        return match output {
            Output::Text => ui::data(&plan.describe()),
            Output::Json => ui::json(&report::of_plan(&plan)),
        };
    }
    let work = Work { keep_failed: args.keep_failed, start: !args.no_start, ..work(world, config, &args.work) };
    let mut times = Vec::new();
    let finished = work.run(&|facts| call.plan(facts), &mut times);
    let timed = timings::write(args.work.timings.as_deref(), &times);
    let finished = finished?;
    // What has become of the VMs goes before what could not be written about them.
    let printed = report::print(world, &finished, output, args.known_hosts.as_deref());
    finished.verdict()?;
    printed?;
    report::said(timed)
}

/// How the flags say that the work is done.
pub fn work<'a>(world: World<'a>, config: &Config, args: &WorkArgs) -> Work<'a> {
    Work {
        title: "clone",
        world,
        policy: config.policy,
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
pub fn check_guest(template: &Template, spec: &VmSpec, until: Until) -> Result<(), Invalid> {
    if template.manifest.identity == IdentityMethod::NoCloud {
        return Ok(());
    }
    let mut faults = unsupported(&spec.guest);
    if until == Until::CloudInit {
        faults.push("--wait cloud-init: the template has no cloud-init".to_owned());
    }
    if faults.is_empty() {
        return Ok(());
    }
    Err(Invalid::argument(faults.join("\n")))
}

impl<'a> Call<'a> {
    fn read(config: &'a Config, args: &'a CloneArgs) -> Result<Self> {
        let spec = wishes::spec(args, config)?;
        let guest = guest_files::resolve(&spec.guest, Path::new("."))?;
        let guest = wishes::with_keys(guest)?;
        Ok(Self { args, config, spec, guest, signers: None })
    }

    fn plan(&self, facts: &Facts) -> Result<ClonePlan> {
        let template = match &self.args.template {
            Some(reference) => facts.inventory.find(reference)?,
            None => facts.inventory.default_template(self.config.template.as_ref())?,
        };
        signature::ensure_cloneable(self.signers.as_deref(), &template.manifest)?;
        check_guest(template, &self.spec, self.args.work.wait)?;
        // VMs that are not started are not waited for.
        let until = if self.args.no_start { Until::None } else { self.args.work.wait };
        remote::check_clones(self.config, template, until)?;
        let naming = wishes::naming(self.args, &template.manifest.name)?;
        let names = naming.choose(&|name| holder_of(name, facts), &mut Uuid::new_v4)?;
        let specs = wishes::deal(&self.spec, names.len());
        let requests: Vec<VmRequest<'_>> =
            names.into_iter().zip(&specs).map(|(name, spec)| VmRequest { name, template, spec, guest: &self.guest }).collect();
        let forced = self.args.size.force.as_ref().map(|reason| reason.as_str());
        clone_plan::plan(&requests, Purpose::Clone, forced, facts, &mut Uuid::new_v4)
    }
}
