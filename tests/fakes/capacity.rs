//! What is read of a hypervisor for admission, and in how many calls.

use tpl::core::{
    capacity::Policy,
    error::{Refusal, exit_code},
    facts::Beside,
    manifest::{Metadata, Phase, Run},
    reservation::{Verdict, verdict},
};

use super::{
    machine::{Machine, Pool},
    run::{FakeRun, Fault, Step},
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

/// Exit code and first line of a command that must fail and touch nothing.
fn refused(machine: &Machine, command: &str) -> (u8, String) {
    let before = machine.everything();
    let error = machine.tpl(&format!("{command} --no-start --ssh-key KEY")).unwrap_err();
    assert_eq!(machine.everything(), before, "{command}");
    (exit_code(&error), format!("{error:#}").lines().next().unwrap_or_default().to_owned())
}

#[test]
fn what_a_kind_of_pool_cannot_have_is_refused() {
    let name = "\"snapshot-1\" cannot be the name of a logical volume: lvm2 keeps names that begin with \"snapshot\" for itself";
    let snapshot = "snapshot: libvirt makes snapshots of qcow2 disks, and a logical pool has none: leave it out";
    let room =
        "snapshot size: that is the room of a linked clone in a volume group without a thin pool, and this is none: leave it out";
    for pool in Pool::ALL {
        let machine = Machine::template_in(pool);
        let logical = pool != Pool::Directory;
        if logical {
            assert_eq!(refused(&machine, "clone --names snapshot-1"), (2, name.to_owned()));
            let error = machine.tpl("clone --snapshot x --ssh-key KEY").unwrap_err();
            assert_eq!((exit_code(&error), format!("{error:#}")), (2, snapshot.to_owned()));
        }
        if pool != Pool::Thick {
            assert_eq!(refused(&machine, "clone --linked --snapshot-size 1G"), (2, room.to_owned()));
        }
    }
    let machine = Machine::template_in(Pool::Thick);
    let (code, text) = refused(&machine, "clone --linked --disk 100G");
    let size = machine.run().with(|world| world.storage.volume(TEMPLATE)).unwrap().unwrap().capacity;
    let expected = format!(
        "a linked clone of debian13@20261121-031100 is a classic LVM snapshot here, which is as large as the template, {size}, and cannot have 100 GiB"
    );
    assert_eq!((code, text), (3, expected));
    assert_eq!(refused(&machine, "clone --linked --snapshot-size 0").0, 2);
}

#[test]
fn a_clone_is_what_its_pool_makes_of_it() {
    // The kind of pool, the flags, whether the disk stands on the template, its room.
    let table = [
        (Pool::Directory, "", true, None),
        (Pool::Thick, "", false, None),
        (Pool::Thick, "--linked", true, Some(1 << 30)),
        (Pool::Thick, "--linked --snapshot-size 30721K", true, Some((30 << 20) + (64 << 10))),
        (Pool::Thin, "", true, None),
        (Pool::Thin, "--full", false, None),
    ];
    for (pool, flags, linked, room) in table {
        let machine = Machine::template_in(pool);
        machine.tpl(&format!("clone --name web {flags} --no-start --ssh-key KEY")).unwrap();
        let record = machine.inventory().clones[0].record.clone();
        let volume = machine.state().volumes["web"].clone();
        let template = machine.state().volumes[TEMPLATE].capacity;
        // Of a small disk all that it can come to need, which is more than it has: its own size, 1/256 of it, a header.
        let most = (template + (template >> 8) + (8 << 10)).next_multiple_of(64 << 10);
        let room = room.map(|room: u64| room.min(most));
        assert_eq!((record.linked, record.room.map(|room| room.0)), (linked, room), "{pool:?} {flags}");
        assert_eq!((volume.backing.is_some(), volume.room), (linked, room), "{pool:?} {flags}");
        assert_eq!(volume.capacity, if room.is_some() { template } else { 8 << 30 }, "{pool:?} {flags}");
    }
}

#[test]
fn a_snapshot_tells_how_full_it_is() {
    let machine = Machine::template_in(Pool::Thick);
    machine.tpl("clone --name web --linked --snapshot-size 100M --no-start --ssh-key KEY").unwrap();
    for (used, said) in [(0, "snapshot 0 % full"), (81 << 20, "snapshot 81 % full"), (100 << 20, "snapshot LOST")] {
        machine.state().volumes.get_mut("web").unwrap().used = used;
        let listed = machine.tpl("vms").unwrap().data;
        assert!(listed.contains(&format!("  shutoff, {said}  ")), "{listed}");
    }
}

#[test]
fn what_stands_beside_the_volumes_is_known_before_anything_is_touched() {
    let machine = Machine::template_in(Pool::Thin);
    let names = vec!["data1".to_owned(), "pool0".to_owned()];
    machine.state().beside = Beside { thin_pool: Some("pool0".to_owned()), shows_old_data: false, names };
    let (code, text) = refused(&machine, "clone --name data1");
    assert!(code == 3 && text.contains("there is a volume data1 in volume group vg0"), "{text}");
    machine.tpl("clone --name data{} --no-start --ssh-key KEY").unwrap();
    assert_eq!(machine.inventory().clones[0].record.name.as_str(), "data2");

    let elsewhere = machine.copy();
    let template = elsewhere.state().volumes.remove(TEMPLATE).unwrap();
    elsewhere.state().volumes.insert("moved".to_owned(), template);
    let stands = format!(
        "a linked clone of debian13@20261121-031100 stands on its volume {TEMPLATE}, and that is not in thin pool vg0/pool0"
    );
    assert_eq!(refused(&elsewhere, "clone"), (3, stands));

    machine.state().beside.shows_old_data = true;
    let shows = "thin pool vg0/pool0 does not zero what it gives away: old data of others would show in new volumes";
    assert_eq!(refused(&machine, "clone"), (3, shows.to_owned()));
}

#[test]
fn a_snapshot_of_which_nothing_is_told_is_no_reason_to_say_nothing() {
    let machine = Machine::template_in(Pool::Thick);
    machine.tpl("clone --name web --linked --snapshot-size 100M --no-start --ssh-key KEY").unwrap();
    let shown = |machine: &Machine| machine.tpl("vms").map(|told| (told.data.contains("  shutoff, snapshot ?  "), told.notes));
    let of = |pool: &str| format!("how full the snapshots in pool {pool} are cannot be told, of web: ");
    // A thin pool has come: the snapshot stands beside it.
    let lost = machine.copy();
    lost.state().volumes.get_mut("web").unwrap().room = None;
    let (unknown, told) = shown(&lost).unwrap();
    assert!(unknown && told.contains(&of("default")), "{told}");
    // Its pool is another.
    let elsewhere = machine.copy();
    let mut record = elsewhere.inventory().clones[0].record.clone();
    record.pool = "vg9".to_owned();
    elsewhere.run().with(|world| world.hypervisor.write_metadata("web", &Metadata::Clone(Box::new(record)))).unwrap();
    let (unknown, told) = shown(&elsewhere).unwrap();
    assert!(unknown && told.contains(&format!("{}`--pool vg9` reads them", of("vg9"))), "{told}");
    // And lvs fails.
    let told = machine.failing(Fault::At(Step::ReadPool, 0)).tpl("vms").unwrap();
    assert!(told.data.contains("snapshot ?") && told.notes.contains(&of("default")), "{}", told.notes);
}

#[test]
fn a_thin_pool_whose_metadata_are_full_takes_no_clone() {
    let machine = Machine::template_in(Pool::Thin);
    // Two volumes are noted down in 32 of 36 KiB.
    machine.state().pool_metadata = 36 << 10;
    let (code, text) = refused(&machine, "clone");
    assert_eq!(code, 3);
    assert!(text.starts_with("thin metadata: 1 × ") && text.contains(" are written; 0 would fit; `lvextend "), "{text}");
}
