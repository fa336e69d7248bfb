//! Clones with all that they can have, whose making fails, is killed or interrupted at each call to the outside.

use tpl::core::{dns::Host, error::exit_code, network::Reservation};

use super::{
    faults::{Case, is_tolerated, worth},
    machine::{Machine, Pool},
    run::{Fault, INTERRUPTED, Step, fault_text},
};

/// How a machine is made in a kind of pool.
type Make = fn(Pool) -> Machine;

/// One VM after the other: the calls must come in the same order each time.
const CASES: [(Make, &str); 7] = [
    (Machine::template_in, "clone --count 2 --jobs 1 --ssh-key KEY"),
    (Machine::template_in, "clone --full --no-start --jobs 1 --ssh-key KEY"),
    (Machine::template_in, "clone --count 2 --jobs 1 --seed metadata --wait phone-home --ssh-key KEY"),
    // Its address is known, and DNS told, only once it runs.
    (Machine::template_in, "clone --count 2 --jobs 1 --addressing dhcp --wait agent --ssh-key KEY"),
    (
        Machine::template_in,
        "clone --count 2 --jobs 1 --add-disk size=1G,fs=ext4,label=data,mount=/srv --snapshot fresh --autostart \
                  --addressing static --ip 192.0.2.200-201 --ssh-key KEY",
    ),
    (
        Machine::offline_template_in,
        "clone --count 2 --jobs 1 --add-disk size=1G,fs=ext4,label=data,mount=/srv --snapshot fresh --autostart --ssh-key KEY",
    ),
    (
        Machine::offline_template_in,
        "clone --count 2 --jobs 1 --full --addressing static --ip 192.0.2.200-201 --wait tcp:80 --ssh-key KEY",
    ),
];

/// Each of them in each kind of pool.
fn cases() -> impl Iterator<Item = Case> {
    Pool::ALL.into_iter().flat_map(|pool| CASES.map(|(machine, command)| Case { machine, pool, command }))
}

/// Three VMs of which one may fail alone.
const KEEP_GOING: Case = Case {
    machine: Machine::template_in,
    pool: Pool::Directory,
    command: "clone --count 3 --jobs 1 --keep-going --add-disk size=1G --snapshot s --ssh-key KEY",
};

#[test]
fn clones_that_fail_at_any_step_leave_nothing_behind() {
    for case in cases() {
        let all = count(&case);
        // All or nothing, without prune too.
        case.fails_once(worth, &|bench, good, what| {
            let made = bench.machine.inventory().clones.len();
            assert_eq!(made, if good { all } else { 0 }, "{what}");
            assert_eq!(bench.machine.leftovers(), [""; 0], "{what}");
        });
    }
}

/// How many VMs a good run makes.
fn count(case: &Case) -> usize {
    let machine = case.machine();
    machine.tpl(&case.command()).unwrap();
    assert_eq!(machine.leftovers(), [""; 0], "{}", case.command());
    machine.inventory().clones.len()
}

#[test]
fn a_failed_undo_keeps_both_errors_and_leaves_what_prune_finds() {
    cases().for_each(|case| case.fails_and_undo_fails());
}

#[test]
fn prune_removes_what_a_killed_clone_left() {
    cases().for_each(|case| case.is_killed());
}

#[test]
fn an_interrupt_at_any_call_undoes_everything() {
    for case in cases() {
        let all = count(&case);
        for (index, call) in case.calls().iter().enumerate().filter(|(_, call)| worth(call)) {
            let what = format!("{}: interrupted at call {index}: {call:?}", case.command());
            let (bench, _, result) = case.fail(Fault::Interrupt(index));
            let made = bench.machine.inventory().clones.len();
            match result {
                Ok(()) => assert_eq!(made, all, "{what}"),
                Err(error) => assert_eq!((exit_code(&error), format!("{error:#}").as_str(), made), (1, INTERRUPTED, 0), "{what}"),
            }
            assert_eq!(bench.machine.leftovers(), [""; 0], "{what}");
            bench.assert_unchanged(&what);
        }
    }
}

/// Where the call has been admitted: behind the last VM's `creating`.
fn admitted(calls: &[(Step, String)]) -> usize {
    let writes = calls.iter().enumerate().filter(|(_, call)| call.0 == Step::WriteMetadata);
    writes.map(|(index, _)| index).nth(2).unwrap()
}

#[test]
fn of_three_clones_the_one_that_fails_goes_alone() {
    let calls = KEEP_GOING.calls();
    let admitted = admitted(&calls);
    let mut alone = 0;
    for (index, call) in calls.iter().enumerate() {
        let what = format!("call {index}: {call:?}");
        let (bench, _, result) = KEEP_GOING.fail(Fault::Once(index));
        assert_eq!(bench.machine.leftovers(), [""; 0], "{what}");
        let made = bench.machine.inventory().clones.len();
        let Err(error) = result else {
            assert!(is_tolerated(&calls, index) && made == 3, "{what}");
            continue;
        };
        let text = format!("{error:#}");
        assert_eq!(exit_code(&error), 1, "{what}: {text}");
        assert!(text.contains(&fault_text(call.0, &call.1)), "{what}: {text}");
        if index <= admitted {
            assert_eq!(made, 0, "{what}");
        } else {
            assert_eq!(made, 2, "{what}: {text}");
            assert!(text.starts_with("1 of 3 VMs failed; the others are made\ndebian13-"), "{what}: {text}");
            alone += 1;
        }
    }
    assert!(alone > 30, "{alone}");
}

#[test]
fn without_cloud_init_too_one_clone_fails_alone() {
    for step in [Step::OpenGuest, Step::CloseGuest] {
        let machine = Machine::with_offline_template();
        let run = machine.failing(Fault::At(step, 1));
        let error = run.tpl("clone --count 3 --name web{} --jobs 1 --keep-going --ssh-key KEY").unwrap_err();
        let text = format!("1 of 3 VMs failed; the others are made\nweb2: {}", fault_text(step, "web2"));
        assert_eq!((exit_code(&error), format!("{error:#}")), (1, text));
        assert_eq!(machine.leftovers(), [""; 0]);
        assert_eq!(machine.inventory().clones.len(), 2);
    }
}

#[test]
fn a_volume_that_may_be_there_all_the_same_is_removed_or_keeps_its_domain() {
    for pool in Pool::ALL {
        let line = "clone --name web --full --no-start --ssh-key KEY";
        let machine = Machine::template_in(pool);
        machine.state().cut = true;
        let error = machine.tpl(line).unwrap_err();
        assert_eq!((exit_code(&error), machine.leftovers()), (1, Vec::new()), "{error:#}");

        machine.state().cut = true;
        let error = machine.failing(Fault::At(Step::DeleteVolume, 0)).tpl(line).unwrap_err();
        assert_eq!(exit_code(&error), 4, "{error:#}");
        assert!(machine.state().volumes.contains_key("web") && machine.state().domains.contains_key("web"));
        assert_eq!(machine.tpl("prune").unwrap().data, "unfinished clone web removed\n");
        assert_eq!(machine.leftovers(), [""; 0]);
    }
}

#[test]
fn what_cannot_be_written_about_clones_hides_nothing() {
    let machine = Machine::with_template();
    let line = "clone --name web{} --count 2 --jobs 1 --timings /nowhere/t.csv --ssh-key KEY";
    let error = machine.failing(Fault::At(Step::Start, 1)).tpl(line).unwrap_err();
    assert_eq!(format!("{error:#}"), fault_text(Step::Start, "web2"));
    let error = machine.tpl(line).unwrap_err();
    let told = format!("{error:#}");
    assert_eq!(told.lines().last(), Some("the VMs are made all the same: `tpl vms` lists them"), "{told}");
    assert_eq!(machine.inventory().clones.len(), 2);
}

#[test]
fn what_a_vm_that_failed_alone_leaves_is_told_and_pruned() {
    let calls = KEEP_GOING.calls();
    let from = admitted(&calls) + 1;
    for (index, call) in calls.iter().enumerate().skip(from).filter(|(index, _)| !is_tolerated(&calls, *index)) {
        let what = format!("call {index}: {call:?}");
        let (bench, run, result) = KEEP_GOING.fail(Fault::AndUndo(index));
        let error = result.unwrap_err();
        let text = format!("{error:#}");
        assert_eq!(exit_code(&error), if run.refused() > 0 { 4 } else { 1 }, "{what}: {text}");
        let complete = bench.machine.inventory().clones.iter().filter(|clone| !clone.record.is_unfinished()).count();
        assert_eq!(complete, 2, "{what}: {text}");
        bench.assert_prune_cleans(&what);
        assert_eq!(bench.machine.inventory().clones.len(), 2, "{what}");
    }
}

#[test]
fn what_another_takes_in_the_same_moment_is_refused_and_undone() {
    let machine = Machine::with_template();
    let (run, elsewhere) = (machine.run(), machine.clone());
    let theirs =
        Reservation { network: "default".to_owned(), mac: None, ip: [192, 0, 2, 129].into(), name: Some("nas".to_owned()) };
    run.before(Step::ReserveAddress, move || elsewhere.state().networks.get_mut("default").unwrap().reservations.push(theirs));
    let error = run.tpl("clone --count 2 --jobs 1 --ssh-key KEY").unwrap_err();
    let text = "reserving 192.0.2.129 for debian13-2: network default reserves 192.0.2.129 already: 192.0.2.129, named nas";
    assert_eq!((exit_code(&error), format!("{error:#}").as_str()), (3, text));
    assert_eq!(machine.leftovers(), ["reservation default 192.0.2.129"]);
    // With those that fail kept, something has been touched.
    let error = machine.failing(Fault::At(Step::AddDns, 0)).tpl("clone --keep-failed --ssh-key KEY").unwrap_err();
    assert_eq!(exit_code(&error), 1);
}

#[test]
fn an_address_that_dns_gave_to_another_in_the_same_moment_is_left_to_it() {
    for in_the_facts in [true, false] {
        let machine = Machine::with_template();
        let (run, elsewhere) = (machine.run(), machine.clone());
        let address = [192, 0, 2, 128].into();
        run.before(Step::AskDns, move || {
            let mut state = elsewhere.state();
            state.records.push(Host {
                name: "nas".parse().unwrap(),
                domain: None,
                addresses: vec![address],
                host_keys: Vec::new(),
            });
            if in_the_facts {
                state.networks.get_mut("default").unwrap().hosts.push((address, vec!["nas".to_owned()]));
            }
        });
        let outcome = run.tpl("clone --name web --ssh-key KEY");
        if in_the_facts {
            assert!(outcome.unwrap().data.contains("192.0.2.129"), "the next address is taken");
        } else {
            let error = outcome.unwrap_err();
            let text = "nas is in the DNS of lab already\nchoose another name or address, or remove the record";
            assert_eq!((exit_code(&error), format!("{error:#}").as_str()), (3, text));
        }
    }
}

#[test]
fn vms_says_how_far_a_clone_is() {
    let case = cases().next().unwrap();
    let calls = case.calls();
    let writes: Vec<usize> =
        calls.iter().enumerate().filter(|(_, call)| call.0 == Step::WriteMetadata).map(|(at, _)| at).collect();
    let table =
        [(writes[0], ["reserved", "reserved"]), (writes[1], ["creating", "reserved"]), (writes[2], ["creating", "creating"])];
    for (index, expected) in table {
        let (bench, ..) = case.fail(Fault::Kill(index));
        let listed = bench.machine.tpl("vms").unwrap().data;
        let states: Vec<&str> = listed.lines().skip(1).map(|line| line.split_whitespace().nth(2).unwrap()).collect();
        assert_eq!(states, expected, "{listed}");
    }
}

#[test]
fn a_destroy_that_is_cut_short_leaves_no_vm_without_its_disks() {
    let made = || {
        let machine = Machine::with_template();
        machine.tpl("clone --name web --add-disk size=1G --ssh-key KEY").unwrap();
        machine
    };
    let run = made().run();
    run.tpl("destroy web").unwrap();
    let calls = run.calls();
    for (index, call) in calls.iter().enumerate() {
        let what = format!("killed before call {index}: {call:?}");
        let machine = made();
        let before = machine.everything();
        machine.failing(Fault::Kill(index)).tpl("destroy web").unwrap_err();
        machine.tpl("prune").unwrap();
        assert_eq!(machine.leftovers(), [""; 0], "{what}");
        let whole = machine.everything() == before;
        assert!(whole || machine.inventory().clones.is_empty(), "{what}");
        if whole {
            machine.tpl("destroy web").unwrap();
        }
        assert!(machine.inventory().clones.is_empty());
    }
}
