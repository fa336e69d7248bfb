//! The stages of a call that makes VMs, over all of them at once:
//!
//! ```text
//! reserve ─→ disks ─→ identity ─→ start ─→ wait ─→ snapshot ─→ commit
//!    all      ── each VM by itself, at most `jobs` at a time ──
//! ```
//! All or nothing: one VM's failure undoes the call. With `keep_going` it undoes that VM alone.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Result, anyhow};

use super::{
    failure, make,
    ready::{self, Patience},
    reserve::{self, roll_back},
    vm::{Made, Stage, Vm, tell_dns},
};
use crate::{
    cmd::{parallel, world::World},
    core::{
        capacity::Policy,
        clone_plan::{ClonePlan, Facts},
        error::{Advised, UndoIncomplete},
        manifest::{Phase, Purpose},
        progress::Silent,
        ready::{Progress, Until},
        timings::{self, Timing},
    },
    ui::{Lines, Outcome},
};

/// How VMs are made.
#[derive(Clone, Copy)]
pub struct Work<'a> {
    /// The outside.
    pub world: World<'a>,
    /// How much of the hypervisor may be promised.
    pub policy: Policy,
    /// So many VMs at a time.
    pub jobs: usize,
    /// A VM that fails does not stop the others.
    pub keep_going: bool,
    /// What has failed is not undone.
    pub keep_failed: bool,
    /// Nothing is shown of single VMs: somebody else shows the whole.
    pub quiet: bool,
    /// Whether the VMs are started.
    pub start: bool,
    /// What they are waited for.
    pub until: Until,
    /// How long at most.
    pub timeout: Duration,
}

/// What has become of a call.
pub struct Finished {
    /// The VMs that are there.
    pub made: Vec<Made>,
    /// Those that failed, and are gone again or kept.
    pub failures: Vec<Failure>,
}

/// A VM that failed.
pub struct Failure {
    /// Its name.
    pub name: String,
    /// Why.
    pub error: anyhow::Error,
    /// How far it has come, where it was waited for.
    pub progress: Option<Progress>,
}

impl<'a> Work<'a> {
    /// Plans, reserves and makes.
    ///
    /// # Errors
    /// A refusal changes nothing. A failure is undone, unless `keep_failed`; with `keep_going` it is in the result instead.
    pub fn run(&self, plan: &dyn Fn(&Facts) -> Result<ClonePlan>, timings: &mut Vec<Timing>) -> Result<Finished> {
        let vms = self.prepare(plan, timings)?;
        Ok(self.keep(vms))
    }

    /// The same, and leaves it to the caller to keep or to undo what has been made.
    ///
    /// # Errors
    /// As for [`Work::run`].
    pub fn prepare(&self, plan: &dyn Fn(&Facts) -> Result<ClonePlan>, timings: &mut Vec<Timing>) -> Result<Vec<Vm<'a>>> {
        let began = (self.world.local.now(), Instant::now());
        let mut vms = reserve::reserve(self.world, self.policy, plan)?;
        let took = began.1.elapsed();
        vms.iter_mut().for_each(|vm| vm.stages.push(Stage { name: "reserve", started: began.0, took, good: true }));
        let names: Vec<String> = vms.iter().map(|vm| vm.made.name().to_owned()).collect();
        let lines = if self.quiet { Lines::hidden() } else { Lines::begin("clone", &names) };
        let outcome = self.stages(&mut vms, &lines);
        show(&vms, &lines);
        lines.finish();
        timings.extend(vms.iter().flat_map(timings_of));
        self.settle(vms, outcome)
    }

    fn stages(&self, vms: &mut [Vm<'a>], lines: &Lines) -> Result<()> {
        let world = self.world;
        self.each(vms, lines, "disks", |vm| {
            make::announce(world, vm)?;
            make::disks(world, vm)
        })?;
        self.identities(vms, lines)?;
        if self.start {
            self.each(vms, lines, "start", |vm| make::start(world, vm))?;
            self.wait(vms, lines)?;
            self.each(vms, lines, "finish", |vm| {
                // An address that came by DHCP is known only now.
                if vm.made.record.dns.is_empty() && vm.made.record.purpose == Purpose::Clone && !vm.made.addresses.is_empty() {
                    let addresses = vm.made.addresses.clone();
                    tell_dns(world, vm, &addresses)?;
                }
                make::snapshot(world, vm)
            })?;
        }
        if vms.iter().any(|vm| vm.made.record.purpose == Purpose::BootTest) {
            return Ok(());
        }
        // From here on `tpl prune` leaves them alone.
        self.each(vms, lines, "commit", |vm| vm.made.reach(world, Phase::Complete))
    }

    /// One stage over all VMs that are still on their way.
    fn each(
        &self,
        vms: &mut [Vm<'a>],
        lines: &Lines,
        stage: &'static str,
        work: impl Fn(&mut Vm<'a>) -> Result<()> + Sync,
    ) -> Result<()> {
        // What will be undone need not be done first.
        let over = AtomicBool::new(false);
        parallel::each(self.jobs, vms, |index, vm| {
            if vm.failed.is_some() || over.load(Ordering::Relaxed) || self.world.local.go_on().is_err() {
                return;
            }
            lines.set(index, stage);
            let (started, clock) = (self.world.local.now(), Instant::now());
            let result = work(vm);
            over.fetch_or(result.is_err() && !self.keep_going, Ordering::Relaxed);
            vm.stages.push(Stage { name: stage, started, took: clock.elapsed(), good: result.is_ok() });
            vm.failed = result.err();
        });
        self.after(vms)
    }

    /// Behind a stage: an interrupt ends everything, a failure all or its own VM.
    fn after(&self, vms: &mut [Vm<'a>]) -> Result<()> {
        self.world.local.go_on()?;
        let failed = vms.iter().any(|vm| vm.failed.is_some());
        let left = vms.iter().any(|vm| vm.failed.is_none());
        if failed && (!self.keep_going || !left) {
            return Err(anyhow!("a VM has failed"));
        }
        Ok(())
    }

    fn identities(&self, vms: &mut [Vm<'a>], lines: &Lines) -> Result<()> {
        let offline: Vec<usize> = (0..vms.len())
            .filter(|index| vms[*index].failed.is_none() && !vms[*index].made.planned.origin.has_cloud_init())
            .collect();
        if offline.is_empty() {
            return Ok(());
        }
        if self.keep_going {
            // An appliance for each: in a common one the first that fails takes the others along.
            return self.each(vms, lines, "identity", |vm| match vm.made.planned.origin.has_cloud_init() {
                true => Ok(()),
                false => make::write_identities(self.world, &[&vm.made], &Silent),
            });
        }
        offline.iter().for_each(|index| lines.set(*index, "identity"));
        let (started, clock) = (self.world.local.now(), Instant::now());
        let made: Vec<&Made> = offline.iter().map(|index| &vms[*index].made).collect();
        let result = make::write_identities(self.world, &made, &Silent);
        let (took, good) = (clock.elapsed(), result.is_ok());
        let message = result.err().map(|error| format!("{error:#}"));
        for index in offline {
            vms[index].stages.push(Stage { name: "identity", started, took, good });
            vms[index].failed = message.as_ref().map(|text| anyhow!("{text}"));
        }
        self.after(vms)
    }

    fn wait(&self, vms: &mut [Vm<'a>], lines: &Lines) -> Result<()> {
        if self.until == Until::None {
            return Ok(());
        }
        let patience = Patience { until: self.until, timeout: self.timeout, jobs: self.jobs.max(1), keep_going: self.keep_going };
        let index: Vec<usize> = (0..vms.len()).filter(|index| vms[*index].failed.is_none()).collect();
        let mut waiting: Vec<&mut Vm<'a>> = vms.iter_mut().filter(|vm| vm.failed.is_none()).collect();
        ready::wait(self.world, &mut waiting, &patience, lines, &index)?;
        self.after(vms)
    }

    /// Undoes what has been made, if the whole call has failed.
    fn settle(&self, mut vms: Vec<Vm<'a>>, outcome: Result<()>) -> Result<Vec<Vm<'a>>> {
        let Err(error) = outcome else { return Ok(vms) };
        let cause = failure::together(vms.iter_mut().filter_map(|vm| vm.failed.take()).collect(), error);
        if self.keep_failed {
            vms.into_iter().for_each(|vm| vm.undo.commit());
            // Not as a refusal, if it was one: something has been touched, and stays.
            let cause = anyhow!("{cause:#}");
            return Err(Advised::new(cause, "the VMs are kept; `tpl destroy` or `tpl prune` removes them").into());
        }
        Err(roll_back(vms, cause))
    }

    fn keep(&self, vms: Vec<Vm<'a>>) -> Finished {
        let mut finished = Finished { made: Vec::new(), failures: Vec::new() };
        for vm in vms {
            match vm.failed {
                None => {
                    vm.undo.commit();
                    finished.made.push(vm.made);
                }
                Some(error) => {
                    let name = vm.made.name().to_owned();
                    let error = if self.keep_failed {
                        vm.undo.commit();
                        error
                    } else {
                        vm.undo.roll_back(error)
                    };
                    finished.failures.push(Failure { name, error, progress: vm.progress });
                }
            }
        }
        finished
    }
}

fn timings_of(vm: &Vm<'_>) -> impl Iterator<Item = Timing> {
    vm.stages.iter().map(|stage| Timing {
        vm: vm.made.name().to_owned(),
        template: vm.made.planned.origin.id.to_string(),
        stage: stage.name.to_owned(),
        seconds: stage.took.as_secs_f64(),
        outcome: if stage.good { timings::Outcome::Ok } else { timings::Outcome::Failed },
        started: stage.started,
    })
}

fn show(vms: &[Vm<'_>], lines: &Lines) {
    for (index, vm) in vms.iter().enumerate() {
        let took = vm.stages.iter().map(|stage| stage.took).sum();
        let first = |error: &anyhow::Error| format!("{error:#}").lines().next().unwrap_or_default().to_owned();
        lines.done(index, vm.failed.as_ref().map_or(Outcome::Done(took), |error| Outcome::Failed(first(error))));
    }
}

impl Finished {
    /// The failures as one error; nothing where there are none.
    ///
    /// # Errors
    /// The failures.
    pub fn verdict(self) -> Result<()> {
        if self.failures.is_empty() {
            return Ok(());
        }
        let all = self.made.len() + self.failures.len();
        let lines: Vec<String> = self.failures.iter().map(|failure| format!("{}: {:#}", failure.name, failure.error)).collect();
        let cause = anyhow!("{} of {all} VMs failed; the others are made\n{}", lines.len(), lines.join("\n"));
        let left: Vec<anyhow::Error> = self
            .failures
            .into_iter()
            .filter(|failure| failure.error.downcast_ref::<UndoIncomplete>().is_some())
            .map(|failure| anyhow!("{} is not gone completely", failure.name))
            .collect();
        if left.is_empty() { Err(cause) } else { Err(UndoIncomplete { cause, left }.into()) }
    }
}
