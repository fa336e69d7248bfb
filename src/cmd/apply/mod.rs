//! `tpl apply`: a declared fleet, made so.
//!
//! ```text
//! read the file → compare → refuse what cannot be → make what is missing, start what is off → wait → report
//!                                       all at once, before anything is touched
//! ```

mod declared;
mod existing;
mod report;

use anyhow::Result;

pub use self::declared::read;
use self::{
    declared::{Fleet, Missing},
    report::{Done, Report},
};
use crate::{
    cli::{ApplyArgs, Output, Stage},
    cmd::{
        clone::{
            self,
            existing::{Existing, has_cloud_init},
            handed,
            sites::Sites,
            work::{Work, only},
        },
        dns, list, remote, signature, timings,
        world::World,
    },
    core::{
        clone_plan::{ClonePlan, Facts},
        config::Config,
        error::{Invalid, Refusal},
        fleet::diff::{self, Action, Difference, Step, diff},
        manifest::CloneRecord,
        network::Plug,
        placement::Placed,
        ready::Until,
        signing::PublicKey,
        timings::Timing,
        vm_spec::SeedWay,
    },
    host::known_hosts,
};

/// What a call has decided: the fleet compared with what there is.
struct Compared<'w, 'a> {
    world: World<'w>,
    config: &'a Config,
    args: &'a ApplyArgs,
    fleet: Fleet,
    existing: diff::World,
    steps: Vec<Step>,
    /// The keys by one of which a template must be signed, where that is asked for.
    signers: Option<Vec<PublicKey>>,
}

/// Runs `tpl apply`.
///
/// # Errors
/// A refusal or a fault of the file changes nothing. After a failure what the call has made is undone; with `--keep-going` only
/// that of the VM that failed.
pub fn run(world: World<'_>, config: &Config, args: &ApplyArgs, output: Output) -> Result<()> {
    if let Some(file) = &args.known_hosts {
        known_hosts::check(file)?;
    }
    let fleet = Fleet::read(&args.file)?;
    let facts = world.facts(config.policy)?;
    list::warn_unreadable(&facts.inventory);
    let compared = Compared::of(world, config, args, fleet, &facts)?;
    compared.refuse_conflicts()?;
    compared.check_waiting()?;
    if args.dry_run || args.stage == Stage::Preflight {
        let plan = compared.preflight(&facts)?;
        return Report::planned(&compared, plan.as_ref()).print(output);
    }
    let mut times = Vec::new();
    let done = compared.act(&mut times);
    let written = timings::write(args.work.timings.as_deref(), &times);
    let done = done?;
    let report = Report::done(&compared, &done, &times);
    let said = clone::report::said(report.print(output).and_then(|()| compared.append_known_hosts(&done)).and(written));
    // Why VMs have failed goes before why it could not be told.
    done.finished.map_or(Ok(()), clone::work::Finished::verdict).and(said)
}

impl<'w, 'a> Compared<'w, 'a> {
    fn of(world: World<'w>, config: &'a Config, args: &'a ApplyArgs, fleet: Fleet, facts: &Facts) -> Result<Self> {
        let existing = existing::of(world, facts, &fleet.vms)?;
        let steps = diff(&fleet.vms, &existing, &|vm| {
            let record = existing.vms.get(&vm.name).map(|there| &there.record);
            let mut guest = fleet.guest(&vm.name).cloned().unwrap_or_default();
            // A user that the file does not name is the template's: no difference.
            guest.user = guest.user.or_else(|| record.map(|record| record.user.clone()));
            guest.digest()
        });
        let signers = signature::required_keys(world, config)?;
        let mut compared = Self { world, config, args, fleet, existing, steps, signers };
        compared.see_pools();
        Ok(compared)
    }

    /// A VM with its disks in another pool is otherwise than declared, and the sizes of its disks are not known here.
    fn see_pools(&mut self) {
        let pool = self.world.storage.pool();
        for step in &mut self.steps {
            let Some(there) = self.existing.vms.get(&step.name).filter(|there| there.record.pool != pool) else { continue };
            step.differences.retain(|difference| !matches!(difference.what, "disk" | "disks"));
            let (declared, actual) = (pool.to_owned(), there.record.pool.clone());
            step.differences.push(Difference { what: "pool", declared, actual });
        }
    }

    fn refuse_conflicts(&self) -> Result<(), Refusal> {
        let conflict = |step: &Step| match &step.action {
            Action::Conflict(why) => Some(why.clone()),
            _ => None,
        };
        let reasons: Vec<String> = self.steps.iter().filter_map(conflict).collect();
        if reasons.is_empty() {
            return Ok(());
        }
        Err(Refusal { reasons, advice: Some("nothing has been touched; declare other names, or clear these".to_owned()) })
    }

    /// That those which are started can be waited for in the way that is asked for.
    fn check_waiting(&self) -> Result<()> {
        let until = self.until();
        let (can, lacks): (fn(&CloneRecord) -> bool, &str) = match until {
            Until::CloudInit => (has_cloud_init, "there is no cloud-init in"),
            Until::PhoneHome => (|record| record.seed == SeedWay::Metadata, "nobody is told by"),
            Until::Ssh | Until::Agent | Until::Tcp(_) | Until::None => return Ok(()),
        };
        remote::check_waiting(self.config, until)?;
        let without: Vec<&str> = self.off().filter(|there| !can(&there.record)).map(|there| there.record.name.as_str()).collect();
        if without.is_empty() {
            return Ok(());
        }
        Err(Invalid::argument(format!("--wait {until}: {lacks} {}", without.join(", "))).into())
    }

    /// What is waited for, as far as the call goes.
    fn until(&self) -> Until {
        if self.args.stage == Stage::Wait { self.args.work.wait } else { Until::None }
    }

    /// Whether the call makes this step.
    fn is_due(&self, step: &Step) -> bool {
        match step.action {
            Action::Create => true,
            // A preflight tells of all that a whole call would do.
            Action::Start => self.args.stage != Stage::Create,
            Action::Keep | Action::Conflict(_) => false,
        }
    }

    /// The VMs that are there and off, and are started.
    fn off(&self) -> impl Iterator<Item = &diff::Existing> {
        let due = self.steps.iter().filter(|step| step.action == Action::Start && self.is_due(step));
        due.filter_map(|step| self.existing.vms.get(&step.name))
    }

    fn missing(&self) -> Option<Missing<'_>> {
        let vms = self.fleet.vms.iter().zip(&self.steps).filter(|(_, step)| step.action == Action::Create);
        let vms: Vec<_> = vms.map(|(vm, _)| vm).collect();
        let forced = self.args.force.as_ref().map(|reason| reason.as_str());
        let until = if self.args.stage == Stage::Preflight { self.args.work.wait } else { self.until() };
        (!vms.is_empty()).then_some(Missing {
            fleet: &self.fleet,
            vms,
            config: self.config,
            until,
            forced,
            signers: self.signers.as_deref(),
        })
    }

    /// Everything that can be refused, and the plan of what is missing.
    fn preflight(&self, facts: &Facts) -> Result<Option<ClonePlan>> {
        let Some(missing) = self.missing() else { return Ok(None) };
        let plan = missing.plan(facts)?;
        handed::check(self.world, &plan.clones)?;
        dns::check_free(self.world, plan.purpose, &plan.clones)?;
        Ok(Some(plan))
    }

    fn act(&self, times: &mut Vec<Timing>) -> Result<Done> {
        let mut started: Vec<Existing> = self.off().map(off).collect();
        let missing = self.missing();
        if self.args.stage == Stage::Create {
            missing.iter().for_each(Missing::warn_of_snapshots);
        }
        if missing.is_none() && started.is_empty() {
            return Ok(Done { finished: None, started });
        }
        let work = Work {
            title: "apply",
            start: self.args.stage >= Stage::Start,
            until: self.until(),
            ..clone::work(Sites::one(self.world, self.config.policy), &self.args.work)
        };
        let planner = missing.as_ref().map(|missing| move |facts: &[Facts]| missing.plan(only(facts)?).map(Placed::from));
        let planner = planner.as_ref().map(|planner| planner as &dyn Fn(&[Facts]) -> Result<Placed>);
        let finished = work.run_with(planner, &mut started, times)?;
        Ok(Done { finished: Some(finished), started })
    }

    /// Host keys of the whole fleet: a VM that is there already may not be in the file yet.
    fn append_known_hosts(&self, done: &Done) -> Result<()> {
        let new = done.made().map(|made| (&made.record, made.addresses.as_slice()));
        let addresses: Vec<_> = self.existing.vms.values().map(|there| (&there.record, done.addresses(there))).collect();
        let old = addresses.iter().map(|(record, addresses)| (*record, addresses.as_slice()));
        clone::report::append_known_hosts(self.args.known_hosts.as_deref(), new.chain(old))
    }
}

fn off(there: &diff::Existing) -> Existing {
    let network = match &there.plug {
        Some(Plug::Network(name)) => Some(name.as_str()),
        _ => None,
    };
    Existing::of(&there.record, network)
}
