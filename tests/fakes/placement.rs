//! Calls over two hypervisors: where VMs go, what is refused, what a failure on either of them leaves on both, and calls that race.

use std::{collections::BTreeSet, thread};

use tpl::core::{error::exit_code, manifest::Phase};

use super::{
    commands::tpl_on,
    faults::{is_tolerated, worth},
    machine::Machine,
    run::{FakeRun, Fault, Step, fault_text},
};

/// Two hypervisors that have the same template.
fn pair() -> [Machine; 2] {
    let machines = [Machine::with_template(), Machine::with_template()];
    for (machine, name) in machines.iter().zip(["hv1", "hv2"]) {
        machine.state().uri = name;
    }
    machines
}

/// A call in which nothing goes wrong; what it printed.
fn tpl(machines: &[Machine; 2], line: &str) -> Result<(String, String), (u8, String)> {
    let runs = machines.each_ref().map(Machine::run);
    let (result, printed) = tpl_on(&runs.each_ref(), line);
    result.map(|()| (printed.data, printed.notes)).map_err(|error| (exit_code(&error), format!("{error:#}")))
}

/// The VMs of each.
fn names(machines: &[Machine; 2]) -> [Vec<String>; 2] {
    let of = |machine: &Machine| machine.inventory().clones.iter().map(|clone| clone.record.name.to_string()).collect();
    machines.each_ref().map(of)
}

fn nothing_is_left(machines: &[Machine; 2], what: &str) {
    for machine in machines {
        assert_eq!(machine.leftovers(), [""; 0], "{what}: {}", machine.state().uri);
    }
}

/// The words of the first column.
fn column(text: &str, index: usize) -> Vec<String> {
    text.lines().map(|line| line.split_whitespace().nth(index).unwrap_or_default().to_owned()).collect()
}

#[test]
fn vms_are_placed_and_found_again() {
    let machines = pair();
    let (report, _) = tpl(&machines, "clone --name web{} --count 4 --ssh-key KEY").unwrap();
    assert_eq!(names(&machines), [vec!["web1", "web3"], vec!["web2", "web4"]]);
    assert_eq!(column(&report, 0), ["HYPERVISOR", "hv1", "hv2", "hv1", "hv2"]);
    assert_eq!(column(&report, 1), ["NAME", "web1", "web2", "web3", "web4"]);
    // The fullest first: on both half of it is taken, and the first one wins.
    let (report, _) = tpl(&machines, "clone --pack --name db{} --count 2 --ssh-key KEY --output json").unwrap();
    let json: serde_json::Value = serde_json::from_str(&report).unwrap();
    let places: Vec<_> = (0..2).map(|index| json["clones"][index]["hypervisor"].as_str().unwrap().to_owned()).collect();
    assert_eq!(places, ["hv1", "hv1"]);
    let gone = tpl(&machines, "destroy web4 db1 web4 --dry-run").unwrap().0;
    assert_eq!(gone, "web4 would be destroyed on hv2\ndb1 would be destroyed on hv1\n");
    tpl(&machines, "destroy web4 db1").unwrap();
    assert_eq!(names(&machines), [vec!["db2", "web1", "web3"], vec!["web2"]]);
    nothing_is_left(&machines, "destroyed");
}

#[test]
fn a_dry_run_says_what_goes_where() {
    let machines = pair();
    let before = machines.each_ref().map(Machine::everything);
    let (text, _) = tpl(&machines, "clone --name web{} --count 3 --ssh-key KEY --dry-run").unwrap();
    let heads: Vec<&str> = text.lines().filter(|line| !line.starts_with(' ')).collect();
    assert_eq!(heads, ["hv1: 2 VMs", "hv2: 1 VM"]);
    let (text, _) = tpl(&machines, "clone --name web{} --count 2 --ssh-key KEY --dry-run --output json").unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let one = |index: usize| (json["clones"][index]["name"].clone(), json["clones"][index]["hypervisor"].clone());
    assert_eq!((one(0), one(1)), (("web1".into(), "hv1".into()), ("web2".into(), "hv2".into())));
    assert_eq!(machines.each_ref().map(Machine::everything), before);
}

#[test]
fn a_name_and_a_mac_are_free_on_all_or_taken() {
    let machines = pair();
    machines[1].tpl("clone --name web2 --ssh-key KEY").unwrap();
    tpl(&machines, "clone --name web{} --count 2 --ssh-key KEY").unwrap();
    assert_eq!(names(&machines), [vec!["web1", "web3"], vec!["web2"]], "hv2 is the fuller one");
    let taken = "'web2' is taken: there is a domain of this name on hv2\nchoose another name, or a pattern as in web{:02}";
    let named = "clone --names web2,db --ssh-key KEY";
    assert_eq!(tpl(&machines, named), Err((3, taken.to_owned())));
    let mac = "52:54:00:00:00:77";
    machines[1].tpl(&format!("clone --name fixed --mac {mac} --ssh-key KEY")).unwrap();
    machines[1].state().memory = 1;
    let refused = tpl(&machines, &format!("clone --name other --mac {mac} --ssh-key KEY"));
    assert_eq!(refused, Err((3, format!("hv1: the MAC address {mac} is taken: a domain of this hypervisor has it"))));
    // A list is dealt out, whichever hypervisor a VM comes to.
    machines[1].state().memory = 16 << 30;
    tpl(&machines, "clone --names a,b --mac 52:54:00:00:00:01,52:54:00:00:00:02 --ssh-key KEY").unwrap();
    for (machine, mac) in machines.iter().zip(["52:54:00:00:00:01", "52:54:00:00:00:02"]) {
        assert!(machine.inventory().macs.contains(&mac.parse().unwrap()), "{mac}");
    }
}

#[test]
fn who_lacks_the_template_gets_no_vm() {
    let machines = pair();
    let id = machines[0].manifests()[0].id();
    let template = id.domain();
    let domain = machines[1].state().domains.remove(&template).unwrap();
    let (_, notes) = tpl(&machines, "clone --name web{} --count 2 --ssh-key KEY").unwrap();
    assert_eq!(names(&machines), [vec!["web1", "web2"], vec![]]);
    let note = format!("hv2 gets no VM: it has no {id} (`tpl push {id} --to hv2` brings it)");
    assert_eq!(notes.lines().next(), Some(note.as_str()));
    // With another digest it is not the same template.
    let other = domain.xml.replace(machines[0].manifests()[0].digest.as_deref().unwrap(), &"0".repeat(64));
    machines[1].state().domains.insert(template, super::machine::FakeDomain { xml: other, ..domain });
    let (code, text) = tpl(&machines, "clone --name db --ssh-key KEY").unwrap_err();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((code, lines.len(), lines[1]), (3, 3, format!("hv2: {id} has the digest {}", "0".repeat(64)).as_str()), "{text}");
    let (code, text) = tpl(&machines, "clone nope --ssh-key KEY").unwrap_err();
    assert_eq!((code, text.lines().next()), (3, Some("there is no template nope")));
}

#[test]
fn want_of_room_names_every_hypervisor_and_touches_none() {
    let machines = pair();
    let each = machines[0].manifests()[0].clone.memory.0;
    machines[0].state().memory = each * 10 / 9 * 2 + 1024;
    machines[1].state().memory = each * 10 / 9 + 1024;
    let before = machines.each_ref().map(Machine::everything);
    let (code, text) = tpl(&machines, "clone --name web{} --count 4 --ssh-key KEY").unwrap_err();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!((code, lines[0]), (3, "4 VMs are asked for, and there is room for 3: 2 on hv1, 1 on hv2"), "{text}");
    assert!(lines[1].starts_with("hv1: memory: 4 × 512 MiB is 2 GiB and 0 B of "), "{text}");
    assert!(lines[2].starts_with("hv2: memory: 4 × 512 MiB is 2 GiB and 0 B of "), "{text}");
    assert_eq!(machines.each_ref().map(Machine::everything), before);
    tpl(&machines, "clone --name web{} --count 3 --ssh-key KEY").unwrap();
    assert_eq!(names(&machines).map(|names| names.len()), [2, 1]);
    tpl(&machines, "clone --name more --force testing --ssh-key KEY").unwrap();
}

#[test]
fn what_cannot_be_destroyed_is_said_before_anything_is() {
    let machines = pair();
    tpl(&machines, "clone --names one,two --ssh-key KEY").unwrap();
    machines.iter().for_each(|machine| drop(machine.tpl("clone --name both --ssh-key KEY").unwrap()));
    let expected = "both is on hv1 and on hv2: name the one that is meant with --on\n\
                    there is no VM nope on hv1, hv2\nnothing has been destroyed; `tpl vms` lists what could be";
    assert_eq!(tpl(&machines, "destroy one both two nope"), Err((3, expected.to_owned())));
    assert_eq!(names(&machines), [["both", "one"], ["both", "two"]]);
}

const COMMAND: &str = "clone --name web{} --count 4 --jobs 1 --add-disk size=1G --ssh-key KEY";

/// The command with this fault on one of two hypervisors.
fn failing(index: usize, fault: Fault) -> ([Machine; 2], [FakeRun; 2], anyhow::Result<()>) {
    let machines = pair();
    let mut runs = machines.each_ref().map(Machine::run);
    runs[index] = machines[index].failing(fault);
    let result = tpl_on(&runs.each_ref(), COMMAND).0;
    (machines, runs, result)
}

/// The calls of a good run to each.
fn calls() -> [Vec<(Step, String)>; 2] {
    let machines = pair();
    let runs = machines.each_ref().map(Machine::run);
    tpl_on(&runs.each_ref(), COMMAND).0.unwrap();
    assert_eq!(names(&machines).map(|names| names.len()), [2, 2]);
    runs.map(|run| run.calls())
}

#[test]
fn a_failure_on_either_leaves_nothing_on_both() {
    for (side, calls) in calls().iter().enumerate() {
        assert!(calls.len() > 40, "{}", calls.len());
        for (index, call) in calls.iter().enumerate().filter(|(_, call)| worth(call)) {
            let what = format!("hv{}: call {index}: {call:?}", side + 1);
            let (machines, runs, result) = failing(side, Fault::Once(index));
            let seen = &runs[side].calls()[index];
            let made = names(&machines).map(|names| names.len());
            match result {
                Ok(()) => assert!(is_tolerated(calls, index) && made == [2, 2], "{what}: the failure was swallowed"),
                Err(error) => {
                    assert_eq!((exit_code(&error), made), (1, [0, 0]), "{what}: {error:#}");
                    assert!(format!("{error:#}").contains(&fault_text(seen.0, &seen.1)), "{what}: {error:#}");
                }
            }
            nothing_is_left(&machines, &what);
        }
    }
}

#[test]
fn prune_on_each_removes_what_a_killed_call_left() {
    for (side, calls) in calls().iter().enumerate() {
        for (index, call) in calls.iter().enumerate().filter(|(_, call)| worth(call)) {
            let what = format!("hv{}: killed before call {index}: {call:?}", side + 1);
            // The process ends for both: from the first call on that is not answered, nobody is asked anything.
            let machines = pair();
            let mut runs = machines.each_ref().map(Machine::run);
            runs[side] = machines[side].failing(Fault::Kill(index));
            runs[1 - side] = runs[1 - side].clone().dying_with(&runs[side]);
            let result = tpl_on(&runs.each_ref(), COMMAND).0;
            assert!(result.is_err() || is_tolerated(calls, index), "{what}");
            machines.iter().for_each(|machine| drop(machine.tpl("prune").unwrap()));
            nothing_is_left(&machines, &what);
        }
    }
}

#[test]
fn an_undo_that_fails_on_one_is_told_and_completed_on_the_other() {
    let all = calls();
    let start = all[1].iter().position(|call| call.0 == Step::Start).unwrap();
    let (machines, runs, result) = failing(1, Fault::AndUndo(start));
    let error = result.unwrap_err();
    assert_eq!(exit_code(&error), 4, "{error:#}");
    assert!(runs[1].refused() > 0);
    assert_eq!(machines[0].leftovers(), [""; 0]);
    assert_ne!(machines[1].leftovers(), [""; 0]);
    machines[1].tpl("prune").unwrap();
    nothing_is_left(&machines, "pruned");
}

/// Eight calls as from eight machines, each over both hypervisors in one or the other order.
fn race(machines: &[Machine; 2], vms: usize, name: &'static str) -> Vec<anyhow::Result<()>> {
    thread::scope(|scope| {
        let call = |number: usize| {
            move || {
                let mut runs = machines.each_ref().map(|machine| machine.run().elsewhere());
                if number % 2 == 1 {
                    runs.reverse();
                }
                let pack = if [0, 3, 6].contains(&number) { "--pack" } else { "--spread" };
                let name = name.replace("CALL", &number.to_string());
                let line = format!("clone --name {name} --count {vms} --no-start {pack} --jobs 2 --ssh-key KEY");
                tpl_on(&runs.each_ref(), &line).0
            }
        };
        let threads: Vec<_> = (0..8).map(|number| scope.spawn(call(number))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// Two hypervisors with room for five of the template's VMs on one of them, and for four on the other.
fn small() -> [Machine; 2] {
    let machines = pair();
    let each = machines[0].manifests()[0].clone.memory.0;
    machines[0].state().memory = each * 10 / 9 * 5 + 1024;
    machines[1].state().memory = each * 10 / 9 * 4 + 1024;
    machines
}

/// What is there behind a race: how many on each, and no name on both.
fn made(machines: &[Machine; 2]) -> [usize; 2] {
    let made = names(machines);
    let all: BTreeSet<&String> = made.iter().flatten().collect();
    assert_eq!(all.len(), made[0].len() + made[1].len(), "a name is on both: {made:?}");
    nothing_is_left(machines, "raced");
    let clones = machines.iter().flat_map(|machine| machine.inventory().clones);
    assert!(clones.into_iter().all(|clone| clone.record.phase == Phase::Complete));
    made.map(|names| names.len())
}

#[test]
fn eight_calls_fill_two_hypervisors_and_never_pass_the_cap() {
    let machines = small();
    let outcomes = race(&machines, 2, "vmCALL-{}");
    let errors: Vec<_> = outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).collect();
    assert!(errors.len() == 4 && errors.iter().all(|error| exit_code(error) == 3), "{errors:#?}");
    let made = made(&machines);
    // Four calls, and room for one VM that nobody wants alone.
    assert!(made[0] + made[1] == 8 && made[0] <= 5 && made[1] <= 4, "{made:?}");
}

#[test]
fn eight_calls_that_want_the_same_names_share_none() {
    let machines = small();
    let outcomes = race(&machines, 2, "vm{}");
    for error in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
        // Who has taken a name may have given way again before it can be seen who it was.
        assert!(exit_code(error) == 3 || format!("{error:#}").contains("exists already"), "{error:#}");
    }
    let made = made(&machines);
    assert!(made[0] > 0 && made[0] <= 5 && made[1] <= 4, "{made:?}");
}
