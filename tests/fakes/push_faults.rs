//! Every call of a transfer at its target fails once, or is the last before the process is killed; and so at its source.

use tpl::core::{error::exit_code, manifest::State as Stage};

use super::{
    machine::{Machine, Published},
    push::{ends, ends_with_base, send, send_by},
    run::{Fault, INTERRUPTED, Step, fault_text},
};

type Ends = fn() -> (Machine, Machine);

const BOTH: [Ends; 2] = [ends, ends_with_base];

/// The calls at the target of a good transfer.
fn calls(make: Ends) -> Vec<(Step, String)> {
    let (source, target) = make();
    let run = target.run();
    send_by(&source.run(), &run, "debian13").unwrap();
    run.calls()
}

/// Nothing at the target but what was there before.
fn assert_as_before(before: &Published, target: &Machine, what: &str) {
    assert_eq!(target.published(), *before, "{what}");
    assert_eq!(target.leftovers(), [""; 0], "{what}");
}

/// What may fail without harm: the look for KVM says that there is none.
fn is_tolerated(call: &(Step, String)) -> bool {
    matches!(call.0, Step::Define | Step::Start) && call.1.starts_with("tpl-kvm-")
}

#[test]
fn a_failure_at_the_target_is_undone() {
    for make in BOTH {
        for (index, call) in calls(make).iter().enumerate() {
            let what = format!("call {index}: {call:?}");
            let (source, target) = make();
            let before = target.published();
            let run = target.failing(Fault::Once(index));
            let result = send_by(&source.run(), &run, "debian13");
            // Names of what is tried out are made anew each time.
            let seen = run.calls()[index].clone();
            assert_eq!(seen.0, call.0, "{what}");
            match result {
                Ok(_) => assert!(is_tolerated(call), "{what}: the failure was swallowed"),
                Err(error) => {
                    let text = format!("{error:#}");
                    assert!(text.contains(&fault_text(seen.0, &seen.1)), "{what}: {text}");
                    let left = text.contains("while undoing");
                    assert_eq!(exit_code(&error), if left { 4 } else { 1 }, "{what}: {text}");
                    if left {
                        target.tpl("prune").unwrap();
                    }
                    assert_as_before(&before, &target, &what);
                }
            }
        }
    }
}

#[test]
fn what_cannot_be_undone_is_pruned() {
    for (index, call) in calls(ends).iter().enumerate().filter(|(_, call)| !is_tolerated(call)) {
        let what = format!("call {index}: {call:?}");
        let (source, target) = ends();
        let before = target.published();
        let run = target.failing(Fault::AndUndo(index));
        let error = send_by(&source.run(), &run, "debian13").unwrap_err();
        let text = format!("{error:#}");
        assert_eq!(text.matches("the removal is refused").count(), run.refused(), "{what}: {text}");
        assert_eq!(exit_code(&error), if text.contains("while undoing: ") { 4 } else { 1 }, "{what}: {text}");
        target.tpl("prune").unwrap();
        assert_as_before(&before, &target, &what);
    }
}

#[test]
fn a_kill_is_gone_on_with_or_pruned() {
    let mut resumed = 0;
    for make in BOTH {
        for (index, call) in calls(make).iter().enumerate() {
            let what = format!("killed before call {index}: {call:?}");
            for prune in [false, true] {
                let (source, target) = make();
                let before = target.published();
                send_by(&source.run(), &target.failing(Fault::Kill(index)), "debian13").unwrap_err();
                if prune {
                    target.tpl("prune").unwrap();
                    assert_as_before(&before, &target, &what);
                }
                let sent = send(&source, &target, "debian13").unwrap();
                let name = sent.id.domain();
                assert_eq!(target.state().volumes[&name].tree, source.state().volumes[&name].tree, "{what}");
                assert_eq!(target.manifests().pop().unwrap().state, Stage::Published, "{what}");
                // What the look for KVM has left is nobody's but prune's.
                target.tpl("prune").unwrap();
                assert_eq!(target.leftovers(), [""; 0], "{what}");
                resumed += usize::from(sent.resumed);
            }
        }
    }
    assert!(resumed > 40, "{resumed}");
}

#[test]
fn an_interrupt_keeps_what_has_arrived() {
    let all = calls(ends);
    let writes: Vec<usize> = (0..all.len()).filter(|index| all[*index].0 == Step::WriteBytes).collect();
    let (source, target) = ends();
    let error = send_by(&source.run(), &target.failing(Fault::Interrupt(writes[5])), "debian13").unwrap_err();
    let text = format!("{error:#}");
    assert!(exit_code(&error) == 1 && text.contains(INTERRUPTED), "{text}");
    assert!(text.ends_with("is kept: the same command goes on with it; `tpl prune` there removes it"), "{text}");
    assert!(send(&source, &target, "debian13").unwrap().resumed);
    assert_eq!(target.leftovers(), [""; 0]);
}

#[test]
fn a_failure_at_the_source_leaves_nothing_at_the_target() {
    let source_calls = {
        let (source, target) = ends();
        let run = source.run();
        send_by(&run, &target.run(), "debian13").unwrap();
        run.calls()
    };
    for (index, call) in source_calls.iter().enumerate() {
        let what = format!("call {index}: {call:?}");
        let (source, target) = ends();
        let (before, published) = (target.published(), source.published());
        let error = send_by(&source.failing(Fault::Once(index)), &target.run(), "debian13").unwrap_err();
        assert_eq!(exit_code(&error), 1, "{what}: {error:#}");
        assert!(format!("{error:#}").contains(&fault_text(call.0, &call.1)), "{what}: {error:#}");
        assert_as_before(&before, &target, &what);
        assert_eq!(source.published(), published, "{what}");
    }
}
