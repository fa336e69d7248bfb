//! Every call to the outside fails once, or is the last before the process is killed. Which calls there are is found out by
//! counting those of a good run.

use tpl::core::{
    error::exit_code,
    manifest::{Manifest, State as Stage},
};

use super::{
    machine::{Machine, Pool, Published},
    run::{FakeRun, Fault, Step, fault_text},
};

/// A machine with a published version, which no failure may change.
pub struct Bench {
    pub machine: Machine,
    before: Published,
    current: String,
}

impl Bench {
    pub fn on(machine: Machine) -> Self {
        Self { before: machine.published(), current: machine.current().unwrap(), machine }
    }

    /// What was published before is as it was, and current unless a newer version is.
    pub fn assert_unchanged(&self, what: &str) {
        let after = self.machine.published();
        for (name, xml) in &self.before.domains {
            assert_eq!(after.domains.get(name), Some(xml), "{what}");
        }
        for (name, volume) in &self.before.volumes {
            assert_eq!(after.volumes.get(name), Some(volume), "{what}");
        }
        let newest: Option<Manifest> = self.machine.manifests().into_iter().rfind(|m| m.state == Stage::Published);
        let newest = newest.unwrap().id().to_string();
        assert_eq!(self.machine.current(), Some(newest.clone()), "{what}");
        assert!(newest == self.current || self.machine.manifests().len() == 2, "{what}");
    }

    pub fn assert_prune_cleans(&self, what: &str) {
        let pruned = self.machine.tpl("prune");
        assert!(pruned.is_ok(), "{what}: {:#}", pruned.unwrap_err());
        assert_eq!(self.machine.leftovers(), [""; 0], "{what}");
    }
}

/// A command on a machine that is made anew for each fault.
#[derive(Clone, Copy)]
pub struct Case {
    pub machine: fn(Pool) -> Machine,
    pub pool: Pool,
    pub command: &'static str,
}

/// In each kind of pool.
fn builds() -> [Case; 3] {
    Pool::ALL.map(|pool| Case { machine: Machine::template_in, pool, command: "build debian13" })
}

impl Case {
    fn bench(&self) -> Bench {
        Bench::on(self.machine())
    }

    /// The machine, anew.
    pub fn machine(&self) -> Machine {
        (self.machine)(self.pool)
    }

    /// The command for its kind of pool: libvirt's snapshots are for qcow2, and a clone in a volume group is linked only where one
    /// asks for it.
    pub fn command(&self) -> String {
        let command = if self.pool == Pool::Directory {
            self.command.to_owned()
        } else {
            self.command.replace("--snapshot", "--description")
        };
        if self.pool == Pool::Thick && command.starts_with("clone") && !command.contains("--full") {
            return format!("{command} --linked");
        }
        command
    }

    /// The calls of a good run of the command.
    pub fn calls(&self) -> Vec<(Step, String)> {
        let run = self.machine().run();
        run.tpl(&self.command()).unwrap();
        let calls = run.calls();
        assert!(calls.len() > 10);
        calls
    }

    /// Runs the command with this fault in it: on what, and what came out.
    pub fn fail(&self, fault: Fault) -> (Bench, FakeRun, anyhow::Result<()>) {
        let bench = self.bench();
        let run = bench.machine.failing(fault);
        let result = run.tpl(&self.command()).map(|_| ());
        (bench, run, result)
    }

    fn name(&self, index: usize, call: &(Step, String)) -> String {
        format!("{:?}: {}: call {index}: {call:?}", self.pool, self.command())
    }

    /// Each call of the command that is chosen fails, once. `check` sees what is left before it is pruned.
    pub fn fails_once(&self, chosen: fn(&(Step, String)) -> bool, check: &dyn Fn(&Bench, bool, &str)) {
        let calls = self.calls();
        for (index, call) in calls.iter().enumerate().filter(|(_, call)| chosen(call)) {
            let what = self.name(index, call);
            let (bench, run, result) = self.fail(Fault::Once(index));
            let seen = run.calls();
            assert_eq!(seen[index].0, call.0, "{what}");
            bench.assert_unchanged(&what);
            check(&bench, result.is_ok(), &what);
            match result {
                Ok(()) => assert!(is_tolerated(&calls, index), "{what}: the failure was swallowed"),
                Err(error) => {
                    let text = format!("{error:#}");
                    assert!(text.contains(&fault_text(seen[index].0, &seen[index].1)), "{what}: {text}");
                    // A removal that fails while something is being undone, or is removed after a good test, stays behind.
                    let undoing = text.contains("while undoing");
                    assert_eq!(exit_code(&error), if undoing { 4 } else { 1 }, "{what}: {text}");
                }
            }
            bench.assert_prune_cleans(&what);
        }
    }

    /// Each call of the command fails, and so does everything that would undo what was done before.
    pub fn fails_and_undo_fails(&self) {
        let calls = self.calls();
        let chosen = calls.iter().enumerate().filter(|(index, call)| worth(call) && !is_tolerated(&calls, *index));
        for (index, call) in chosen {
            let what = self.name(index, call);
            let (bench, run, result) = self.fail(Fault::AndUndo(index));
            bench.assert_unchanged(&what);
            let error = result.unwrap_err();
            let text = format!("{error:#}");
            let seen = &run.calls()[index];
            assert!(text.contains(&fault_text(seen.0, &seen.1)), "{what}: {text}");
            if !seen.0.removes() {
                assert_eq!(run.refused() > 0, text.contains("while undoing: "), "{what}: {text}");
            }
            // Both errors: the cause, and each thing that could not be undone.
            assert_eq!(text.matches("the removal is refused").count(), run.refused(), "{what}: {text}");
            assert_eq!(exit_code(&error), if text.contains("while undoing: ") { 4 } else { 1 }, "{what}: {text}");
            bench.assert_prune_cleans(&what);
        }
    }

    /// The process is killed before each call of the command.
    pub fn is_killed(&self) {
        let calls = self.calls();
        for (index, call) in calls.iter().enumerate().filter(|(_, call)| worth(call)) {
            let what = format!("killed: {}", self.name(index, call));
            let (bench, _, result) = self.fail(Fault::Kill(index));
            assert!(result.is_err() || is_tolerated(&calls, index), "{what}");
            bench.assert_unchanged(&what);
            bench.assert_prune_cleans(&what);
        }
    }
}

/// Whether a command may go on when this call fails.
pub fn is_tolerated(calls: &[(Step, String)], index: usize) -> bool {
    let call = &calls[index];
    // A hypervisor that refuses the probe, or cannot start it, has no KVM: the build goes on with emulation.
    let no_kvm = matches!(call.0, Step::Define | Step::Start) && call.1.starts_with("tpl-kvm-");
    // Behind its last write a clone is made, and looked at for the report alone.
    let made = calls.iter().rposition(|call| call.0 == Step::WriteMetadata);
    no_kvm || call.0 == Step::ReadState && made.is_some_and(|made| index > made)
}

/// One access to the guest's files is like another: a kill there is a kill in the stage.
pub fn worth(call: &(Step, String)) -> bool {
    !matches!(call.0, Step::ReadGuest | Step::WriteGuest) || call.1 == "/etc/fstab"
}

#[test]
fn a_build_that_fails_at_any_step_leaves_nothing_but_what_is_published() {
    builds().iter().for_each(|build| build.fails_once(|_| true, &|_, _, _| {}));
}

#[test]
fn a_failed_undo_keeps_both_errors_and_leaves_what_prune_finds() {
    builds().iter().for_each(Case::fails_and_undo_fails);
}

#[test]
fn prune_removes_what_a_killed_build_left() {
    builds().iter().for_each(Case::is_killed);
}

#[test]
fn resume_goes_on_behind_a_kill_or_says_why_not() {
    builds().iter().for_each(resumes);
}

fn resumes(build: &Case) {
    let mut published = 0;
    for (index, call) in build.calls().iter().enumerate().filter(|(_, call)| worth(call)) {
        for settled in [false, true] {
            let what = format!("killed before call {index}: {call:?}, settled: {settled}");
            let (bench, ..) = build.fail(Fault::Kill(index));
            if settled {
                bench.machine.settle();
            }
            let reached = bench.machine.manifests().last().unwrap().state;
            let unfinished = reached < Stage::Published;
            match bench.machine.tpl("build debian13 --resume") {
                Ok(_) => {
                    assert!(bench.machine.leftovers().iter().all(|thing| thing.contains("tpl-test-")), "{what}");
                    assert_eq!(bench.machine.published().domains.len(), 2, "{what}");
                    published += 1;
                }
                Err(error) => {
                    let begun = reached >= Stage::Installed && unfinished;
                    assert!(!begun, "{what}: nothing but an installation that had not begun is lost: {error:#}");
                    assert_eq!(exit_code(&error), if unfinished { 1 } else { 3 }, "{what}: {error:#}");
                }
            }
            bench.assert_unchanged(&what);
            bench.assert_prune_cleans(&what);
        }
    }
    assert!(published > 100, "{published}");
}
