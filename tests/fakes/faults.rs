//! Every call to the outside fails once, or is the last before the process is killed. Which calls there are is found out by
//! counting those of a good run.

use tpl::core::{
    error::exit_code,
    manifest::{Manifest, State as Stage},
};

use super::{
    machine::{Machine, Published},
    run::{FakeRun, Fault, Step, fault_text},
};

const BUILD: &str = "build debian13";
// One VM after the other: the calls must come in the same order each time.
const CLONE: &str = "clone --count 2 --jobs 1 --ssh-key KEY";

/// A machine with a published version, which no failure may change.
struct Bench {
    machine: Machine,
    before: Published,
    current: String,
}

impl Bench {
    fn new() -> Self {
        let machine = Machine::with_template();
        Self { before: machine.published(), current: machine.current().unwrap(), machine }
    }

    /// Runs the command with a fault in it.
    fn fail(&self, fault: Fault, command: &str) -> (FakeRun, anyhow::Result<()>) {
        let run = self.machine.failing(fault);
        let result = run.tpl(command).map(|_| ());
        (run, result)
    }

    /// What was published before is as it was, and current unless a newer version is.
    fn assert_unchanged(&self, what: &str) {
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

    fn assert_prune_cleans(&self, what: &str) {
        let pruned = self.machine.tpl("prune");
        assert!(pruned.is_ok(), "{what}: {:#}", pruned.unwrap_err());
        assert_eq!(self.machine.leftovers(), [""; 0], "{what}");
    }
}

/// The calls of a good run of this command.
fn calls(command: &str) -> Vec<(Step, String)> {
    let run = Bench::new().machine.run();
    run.tpl(command).unwrap();
    let calls = run.calls();
    assert!(calls.len() > 10);
    calls
}

/// Whether a command may go on when this call fails.
fn is_tolerated(calls: &[(Step, String)], index: usize) -> bool {
    let call = &calls[index];
    // A hypervisor that refuses the probe, or cannot start it, has no KVM: the build goes on with emulation.
    let no_kvm = matches!(call.0, Step::Define | Step::Start) && call.1.starts_with("tpl-kvm-");
    // Behind its last write a clone is made, and looked at for the report alone.
    let made = calls.iter().rposition(|call| call.0 == Step::WriteMetadata);
    no_kvm || call.0 == Step::ReadState && made.is_some_and(|made| index > made)
}

fn fails_once(command: &str) {
    let calls = calls(command);
    for (index, call) in calls.iter().enumerate() {
        let what = format!("{command}: call {index}: {call:?}");
        let bench = Bench::new();
        let (run, result) = bench.fail(Fault::Once(index), command);
        let seen = run.calls();
        assert_eq!(seen[index].0, call.0, "{what}");
        bench.assert_unchanged(&what);
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

#[test]
fn a_build_that_fails_at_any_step_leaves_nothing_but_what_is_published() {
    fails_once(BUILD);
}

#[test]
fn clones_that_fail_at_any_step_leave_nothing_behind() {
    fails_once(CLONE);
    fails_once(&format!("{CLONE} --full"));
    for (index, call) in calls(CLONE).iter().enumerate() {
        let bench = Bench::new();
        let (_, result) = bench.fail(Fault::Once(index), CLONE);
        // All or nothing, without prune too.
        let made = bench.machine.inventory().clones.len();
        assert_eq!(made, if result.is_ok() { 2 } else { 0 }, "call {index}: {call:?}");
        assert_eq!(bench.machine.leftovers(), [""; 0], "call {index}: {call:?}");
    }
}

fn fails_and_undo_fails(command: &str) {
    let calls = calls(command);
    let chosen = calls.iter().enumerate().filter(|(index, call)| worth(call) && !is_tolerated(&calls, *index));
    for (index, call) in chosen {
        let what = format!("{command}: call {index}: {call:?}");
        let bench = Bench::new();
        let (run, result) = bench.fail(Fault::AndUndo(index), command);
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

/// One access to the guest's files is like another: a kill there is a kill in the stage.
fn worth(call: &(Step, String)) -> bool {
    !matches!(call.0, Step::ReadGuest | Step::WriteGuest) || call.1 == "/etc/fstab"
}

#[test]
fn a_failed_undo_keeps_both_errors_and_leaves_what_prune_finds() {
    fails_and_undo_fails(BUILD);
    fails_and_undo_fails(CLONE);
}

#[test]
fn prune_removes_what_a_killed_command_left() {
    for command in [BUILD, CLONE, "clone --full --no-start --jobs 1 --ssh-key KEY"] {
        let calls = calls(command);
        for (index, call) in calls.iter().enumerate().filter(|(_, call)| worth(call)) {
            let what = format!("{command}: killed before call {index}: {call:?}");
            let bench = Bench::new();
            let (_, result) = bench.fail(Fault::Kill(index), command);
            assert!(result.is_err() || is_tolerated(&calls, index), "{what}");
            bench.assert_unchanged(&what);
            bench.assert_prune_cleans(&what);
        }
    }
}

#[test]
fn resume_goes_on_behind_a_kill_or_says_why_not() {
    let mut published = 0;
    for (index, call) in calls(BUILD).iter().enumerate().filter(|(_, call)| worth(call)) {
        for settled in [false, true] {
            let what = format!("killed before call {index}: {call:?}, settled: {settled}");
            let bench = Bench::new();
            let _ = bench.fail(Fault::Kill(index), BUILD);
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
