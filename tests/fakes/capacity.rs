//! What is read of a hypervisor for admission, and in how many calls.

use tpl::core::{
    capacity::Policy,
    error::Refusal,
    manifest::{Metadata, Phase, Run},
    reservation::{Verdict, verdict},
};

use super::{
    machine::Machine,
    run::{FakeRun, Step},
};

const TEMPLATE: &str = "debian13.20261121-031100";

/// Templates, and what is pledged of vCPUs and memory.
fn pledged(run: &FakeRun) -> (usize, u64, u64) {
    let capacity = run.with(|world| world.capacity(Policy::default())).unwrap();
    let [cpu, memory, ..] = *capacity.loads() else { panic!("there are three axes at least") };
    (capacity.templates(), cpu.pledged, memory.pledged)
}

/// Turns a finished clone into one that this run has reserved.
fn reserve(machine: &Machine, name: &str, by: &Run) {
    let mut record = machine.inventory().clones.iter().find(|clone| clone.record.name.as_str() == name).unwrap().record.clone();
    (record.phase, record.run) = (Phase::Reserved, by.clone());
    machine.run().with(|world| world.hypervisor.write_metadata(name, &Metadata::Clone(Box::new(record)))).unwrap();
}

#[test]
fn pledges_take_a_few_calls_however_many_domains_there_are() {
    let machine = Machine::with_template();
    machine.tpl("clone --count 3 --name web{} --no-start --ssh-key KEY").unwrap();
    let run = machine.run();
    let clone = machine.manifests()[0].clone.clone();
    assert_eq!(pledged(&run), (1, 3 * u64::from(clone.vcpus), 3 * clone.memory.0));
    let calls = run.calls();
    let calls: Vec<_> = calls.iter().map(|(step, what)| (*step, what.as_str())).collect();
    let expected = [
        (Step::ReadPledges, ""),
        (Step::ReadState, TEMPLATE),
        (Step::ReadPool, "volumes"),
        (Step::ReadHost, "size"),
        (Step::ReadPool, "size"),
    ];
    assert_eq!(calls, expected);
}

#[test]
fn only_a_template_that_does_not_run_pledges_disk_only() {
    let machine = Machine::with_template();
    assert_eq!(pledged(&machine.run()), (1, 0, 0));
    // Somebody else's domain that is only named like one; its metadata, copied along, is not its own.
    let copy = "debian13.20261121-031101";
    let original = machine.state().domains[TEMPLATE].clone();
    machine.state().domains.insert(copy.to_owned(), original);
    let (templates, vcpus, memory) = pledged(&machine.run());
    assert!(templates == 1 && vcpus > 0 && memory > 0, "{templates} {vcpus} {memory}");
    machine.state().domains.remove(copy);
    // It is being installed.
    machine.state().domains.get_mut(TEMPLATE).unwrap().state = tpl::core::facts::DomainState::Running;
    assert_eq!(pledged(&machine.run()), (0, vcpus, memory));
}

#[test]
fn of_two_reservations_the_later_gives_way_and_a_dead_one_is_not_waited_for() {
    let machine = Machine::with_template();
    machine.tpl("clone --count 2 --name web{} --no-start --ssh-key KEY").unwrap();
    let each = machine.manifests()[0].clone.memory.0;
    // Room for one, and for nine tenths of another.
    machine.state().memory = each * 2;
    let (early, late) = (machine.run(), machine.run());
    let run_of = |run: &FakeRun| run.with(|world| world.local.run().clone());
    let (first, second) = (run_of(&early), run_of(&late));
    reserve(&machine, "web1", &first);
    reserve(&machine, "web2", &second);
    let told = |run: &FakeRun, mine: &Run| {
        machine.state().alive.extend([first.id, second.id]);
        verdict(mine, &run.with(|world| world.view(Policy::default())).unwrap())
    };
    assert_eq!(told(&early, &first), Verdict::Wait(vec![second.clone()]));
    let Verdict::GiveWay(Refusal { reasons, .. }) = told(&late, &second) else { panic!("the later one does not give way") };
    assert_eq!(reasons.len(), 1);
    assert!(reasons[0].starts_with("memory: 1 × "), "{reasons:?}");
    // The later one is killed: its reservation stays, and takes the room.
    machine.state().alive.clear();
    machine.state().alive.insert(first.id);
    let view = machine.run().with(|world| world.view(Policy::default())).unwrap();
    assert!(matches!(verdict(&first, &view), Verdict::GiveWay(_)));
}

#[test]
fn nobody_gives_way_to_a_call_that_gives_way_meanwhile() {
    let machine = Machine::with_template();
    machine.tpl("clone --count 2 --name web{} --no-start --ssh-key KEY").unwrap();
    machine.state().memory = machine.manifests()[0].clone.memory.0 * 2;
    let (early, late) = (machine.run(), machine.run());
    let mine = early.with(|world| world.local.run().clone());
    let other = late.with(|world| world.local.run().clone());
    reserve(&machine, "web1", &mine);
    reserve(&machine, "web2", &other);
    machine.state().alive.extend([mine.id, other.id]);
    // Its domain has been read; then it is undone, and its process ends.
    let elsewhere = machine.clone();
    early.before(Step::IsAlive, move || {
        let mut state = elsewhere.state();
        state.domains.remove("web2");
        state.alive.remove(&other.id);
    });
    let view = early.with(|world| world.view(Policy::default())).unwrap();
    assert_eq!(verdict(&mine, &view), Verdict::Go);
}

#[test]
fn want_of_room_counts_only_when_nobody_is_in_the_middle_of_reserving() {
    // Whether the other one gives way, or was killed and its reservation stays.
    for gives_way in [true, false] {
        let machine = Machine::with_template();
        machine.tpl("clone --name web1 --no-start --ssh-key KEY").unwrap();
        machine.state().memory = machine.manifests()[0].clone.memory.0 * 2;
        let other = machine.run().with(|world| world.local.run().clone());
        reserve(&machine, "web1", &other);
        machine.state().alive.insert(other.id);
        let (late, elsewhere) = (machine.run(), machine.clone());
        late.before(Step::IsAlive, move || {
            let mut state = elsewhere.state();
            state.alive.remove(&other.id);
            if gives_way {
                state.domains.remove("web1");
            }
        });
        let outcome = late.tpl("clone --name web2 --no-start --ssh-key KEY").map_err(|error| error.is::<Refusal>());
        assert_eq!(outcome.is_ok(), gives_way);
        assert!(outcome.err().unwrap_or(true), "refused");
        assert_eq!(machine.state().domains.contains_key("web2"), gives_way);
    }
}
