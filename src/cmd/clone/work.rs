//! The stages of a call that makes VMs, over all of them at once:
//!
//! ```text
//! reserve ─→ disks ─→ identity ─→ start ─→ wait ─→ snapshot ─→ commit
//!    all      ── each VM by itself, at most `jobs` at a time ──
//! ```
//! All or nothing: one VM's failure undoes the call. With `keep_going` it undoes that VM alone.
//!
//! VMs that were there and off can be started along with them. Those are never undone: they stay on, whatever fails.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};

use super::{
    existing::{self, Existing},
    failure, make,
    ready::{self, Awaited, Patience},
    reserve::{self, roll_back},
    sites::Sites,
    vm::{Made, Stage, Vm, tell_dns},
};
use crate::{
    cmd::{parallel, world::World},
    core::{
        clone_plan::Facts,
        error::{Advised, Refusal, UndoIncomplete},
        manifest::{Phase, Purpose},
        placement::Placed,
        ready::{Progress, Until},
        timings::Timing,
    },
    ui::{Lines, Outcome},
};

/// Decides what is made where, by the facts of each hypervisor.
pub type Planner<'p> = &'p dyn Fn(&[Facts]) -> Result<Placed>;

/// The facts of the hypervisor of a call that has one.
///
/// # Errors
/// There is none.
pub fn only(facts: &[Facts]) -> Result<&Facts> {
    facts.first().context("there is no hypervisor")
}

/// How VMs are made.
#[derive(Clone)]
pub struct Work<'a> {
    /// What it is called where it is shown.
    pub title: &'static str,
    /// The hypervisors, with all that is outside.
    pub sites: Sites<'a>,
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
    /// How many VMs that were there already have been started, and waited for.
    pub started: usize,
    /// Those that failed: new ones are gone again or kept, those that were there stay as they are.
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
    pub fn run(&self, plan: Planner<'_>, timings: &mut Vec<Timing>) -> Result<Finished> {
        self.run_with(Some(plan), &mut [], timings)
    }

    /// The same, and starts VMs that are there and off. None is started before all of the new ones are admitted.
    ///
    /// # Errors
    /// As for [`Work::run`].
    pub fn run_with(&self, plan: Option<Planner<'_>>, others: &mut [Existing], timings: &mut Vec<Timing>) -> Result<Finished> {
        let vms = self.all(plan, others, timings)?;
        let mut finished = self.keep(vms);
        for other in others {
            match other.awaited.failed.take() {
                None => finished.started += 1,
                Some(error) => {
                    let (name, progress) = (other.awaited.name.clone(), other.awaited.progress.take());
                    finished.failures.push(Failure { name, error, progress });
                }
            }
        }
        Ok(finished)
    }

    /// The same, and leaves it to the caller to keep or to undo what has been made.
    ///
    /// # Errors
    /// As for [`Work::run`].
    pub fn prepare(&self, plan: Planner<'_>, timings: &mut Vec<Timing>) -> Result<Vec<Vm<'a>>> {
        self.all(Some(plan), &mut [], timings)
    }

    fn all(&self, plan: Option<Planner<'_>>, others: &mut [Existing], timings: &mut Vec<Timing>) -> Result<Vec<Vm<'a>>> {
        let began = (self.sites.local().now(), Instant::now());
        let mut vms = plan.map_or_else(|| Ok(Vec::new()), |plan| reserve::reserve(&self.sites, plan))?;
        let took = began.1.elapsed();
        vms.iter_mut().for_each(|vm| vm.stages.push(Stage { name: "reserve", started: began.0, took, good: true }));
        let names = vms.iter().map(|vm| vm.made.name().to_owned());
        let names: Vec<String> = names.chain(others.iter().map(|other| other.awaited.name.clone())).collect();
        let lines = if self.quiet { Lines::hidden() } else { Lines::begin(self.title, &names) };
        let outcome = self.stages(&mut vms, others, &lines).and_then(|()| something_left(&vms, others));
        show(&vms, others, &lines);
        lines.finish();
        timings.extend(vms.iter().flat_map(|vm| {
            let template = vm.made.planned.origin.id.to_string();
            let hypervisor = self.sites.label(vm.made.site);
            let stages = vm.stages.iter();
            stages.map(move |stage| stage.timing(vm.made.name(), &template, hypervisor.clone())).collect::<Vec<_>>()
        }));
        timings.extend(others.iter().flat_map(Existing::timings));
        self.settle(vms, others, outcome)
    }

    fn stages(&self, vms: &mut [Vm<'a>], others: &mut [Existing], lines: &Lines) -> Result<()> {
        if self.start {
            // They boot while the disks of the new ones are made.
            existing::start(self, others, lines, vms.len());
            self.after(vms, others)?;
        }
        self.each(vms, lines, "disks", |vm| {
            let world = self.world(vm);
            make::announce(world, vm)?;
            make::disks(world, vm)
        })?;
        self.identities(vms, lines)?;
        if self.start {
            self.each(vms, lines, "start", |vm| make::start(self.world(vm), vm))?;
            self.wait(vms, others, lines)?;
            existing::tell_dns(self.sites.first(), others);
            self.after(vms, others)?;
            self.each(vms, lines, "finish", |vm| {
                let world = self.world(vm);
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
        self.each(vms, lines, "commit", |vm| vm.made.reach(self.world(vm), Phase::Complete))
    }

    /// The outside of a VM's hypervisor.
    fn world(&self, vm: &Vm<'_>) -> World<'a> {
        self.sites.world(vm.made.site)
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
            if vm.failed.is_some() || over.load(Ordering::Relaxed) || self.sites.local().go_on().is_err() {
                return;
            }
            lines.set(index, stage);
            let (started, clock) = (self.sites.local().now(), Instant::now());
            let result = work(vm);
            over.fetch_or(result.is_err() && !self.keep_going, Ordering::Relaxed);
            vm.stages.push(Stage { name: stage, started, took: clock.elapsed(), good: result.is_ok() });
            vm.failed = result.err();
        });
        self.after(vms, &[])
    }

    /// Behind a stage: an interrupt ends everything, a failure all or its own VM.
    fn after(&self, vms: &[Vm<'a>], others: &[Existing]) -> Result<()> {
        self.sites.local().go_on()?;
        let failed = vms.iter().any(|vm| vm.failed.is_some()) || others.iter().any(|other| other.awaited.failed.is_some());
        if failed && !self.keep_going {
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
                false => make::write_identities(self.world(vm), &[&vm.made]),
            });
        }
        offline.iter().for_each(|index| lines.set(*index, "identity"));
        let (started, clock) = (self.sites.local().now(), Instant::now());
        let made: Vec<&Made> = offline.iter().map(|index| &vms[*index].made).collect();
        let result = make::write_identities(self.sites.first(), &made);
        let (took, good) = (clock.elapsed(), result.is_ok());
        let message = result.err().map(|error| format!("{error:#}"));
        for index in offline {
            vms[index].stages.push(Stage { name: "identity", started, took, good });
            vms[index].failed = message.as_ref().map(|text| anyhow!("{text}"));
        }
        self.after(vms, &[])
    }

    fn wait(&self, vms: &mut [Vm<'a>], others: &mut [Existing], lines: &Lines) -> Result<()> {
        if self.until == Until::None {
            return Ok(());
        }
        let patience = Patience { until: self.until, timeout: self.timeout, jobs: self.jobs.max(1), keep_going: self.keep_going };
        let new: Vec<usize> = (0..vms.len()).filter(|index| vms[*index].failed.is_none()).collect();
        let old: Vec<usize> = (0..others.len()).filter(|index| others[*index].awaited.failed.is_none()).collect();
        let index: Vec<usize> = new.iter().copied().chain(old.into_iter().map(|index| vms.len() + index)).collect();
        let mut awaited: Vec<Awaited> = new.iter().map(|index| vms[*index].awaited()).collect();
        let started = others.iter_mut().map(|other| &mut other.awaited).filter(|vm| vm.failed.is_none());
        let mut all: Vec<&mut Awaited> = awaited.iter_mut().chain(started).collect();
        ready::wait(&self.sites, &mut all, &patience, lines, &index)?;
        new.into_iter().zip(awaited).for_each(|(index, awaited)| vms[index].waited(awaited));
        self.after(vms, others)
    }

    /// Undoes what has been made, if the whole call has failed.
    fn settle(&self, mut vms: Vec<Vm<'a>>, others: &mut [Existing], outcome: Result<()>) -> Result<Vec<Vm<'a>>> {
        let Err(error) = outcome else { return Ok(vms) };
        let new = vms.iter_mut().filter_map(|vm| vm.failed.take());
        let failed = new.chain(others.iter_mut().filter_map(|other| other.awaited.failed.take()));
        let mut cause = failure::together(failed.collect(), error);
        if cause.is::<Refusal>() && !others.is_empty() {
            // It has started something.
            cause = anyhow!("{cause:#}");
        }
        if self.keep_failed {
            vms.into_iter().for_each(|vm| vm.undo.commit());
            // Not as a refusal, if it was one: something has been touched, and stays.
            let cause = anyhow!("{cause:#}");
            return Err(Advised::new(cause, "the VMs are kept; `tpl destroy` or `tpl prune` removes them").into());
        }
        let error = roll_back(vms, cause);
        if others.iter().any(|other| other.awaited.stages.iter().any(|stage| stage.good)) {
            return Err(Advised::new(error, "VMs that were there and have been started stay on").into());
        }
        Err(error)
    }

    fn keep(&self, vms: Vec<Vm<'a>>) -> Finished {
        let mut finished = Finished { made: Vec::new(), started: 0, failures: Vec::new() };
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

fn show(vms: &[Vm<'_>], others: &[Existing], lines: &Lines) {
    let new = vms.iter().map(|vm| (&vm.stages, &vm.failed));
    let old = others.iter().map(|other| (&other.awaited.stages, &other.awaited.failed));
    for (index, (stages, failed)) in new.chain(old).enumerate() {
        let took = stages.iter().map(|stage| stage.took).sum();
        let first = |error: &anyhow::Error| format!("{error:#}").lines().next().unwrap_or_default().to_owned();
        lines.done(index, failed.as_ref().map_or(Outcome::Done(took), |error| Outcome::Failed(first(error))));
    }
}

/// A call of which nothing is left has failed as a whole.
fn something_left(vms: &[Vm<'_>], others: &[Existing]) -> Result<()> {
    let nothing = others.is_empty() && !vms.is_empty() && vms.iter().all(|vm| vm.failed.is_some());
    if nothing { Err(anyhow!("all VMs have failed")) } else { Ok(()) }
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
        let all = self.made.len() + self.started + self.failures.len();
        let lines: Vec<String> = self.failures.iter().map(|failure| format!("{}: {:#}", failure.name, failure.error)).collect();
        let cause = anyhow!("{} of {all} VMs failed; the others are made\n{}", lines.len(), lines.join("\n"));
        let left: Vec<anyhow::Error> = self
            .failures
            .into_iter()
            .filter(|failure| failure.error.downcast_ref::<UndoIncomplete>().is_some())
            .map(|failure| anyhow!("{} is not gone completely", failure.name))
            .collect();
        if left.is_empty() { Err(cause) } else { Err(UndoIncomplete::new(cause, left).into()) }
    }
}
