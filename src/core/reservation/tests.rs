use super::*;
use crate::core::{
    capacity::Policy,
    facts::{Domain, DomainState, HostSize, PoolKind, PoolSize, Volume},
    manifest::{CloneRecord, Metadata, Purpose},
    metadata, toml_text,
    units::ByteSize,
};

fn run(number: u8, since: i64) -> Run {
    Run { id: Uuid::from_u128(u128::from(number)), host: "hv".to_owned(), since: jiff::Timestamp::from_second(since).unwrap() }
}

fn record(name: &str, run: Run, phase: Phase) -> CloneRecord {
    CloneRecord {
        purpose: Purpose::Clone,
        name: name.parse().unwrap(),
        template: "debian13".parse().unwrap(),
        version: "20261121-031000".parse().unwrap(),
        digest: String::new(),
        linked: true,
        phase,
        created_at: run.since,
        run,
        user: "debian".parse().unwrap(),
        ssh_host_keys: Vec::new(),
        volumes: vec![name.to_owned(), format!("{name}-seed")],
        pool: "default".to_owned(),
        pool_pledge: ByteSize(9 << 30),
        pool_written: ByteSize(0),
        room: None,
        addresses: Vec::new(),
        reservations: Vec::new(),
        dns: Vec::new(),
        forced: None,
        guest_digest: None,
        seed: Default::default(),
    }
}

/// A domain of 1 vCPU and 1 GiB, with this MAC.
fn domain(name: &str, mac: &str, record: Option<CloneRecord>) -> Domain {
    let metadata = record.map_or(String::new(), |record| metadata::element(&Metadata::Clone(Box::new(record))));
    let uuid = Uuid::from_u128(7);
    let xml = format!(
        "<domain type='kvm'><name>{name}</name><uuid>{uuid}</uuid><metadata>{metadata}</metadata><memory unit='GiB'>1</memory>\
         <vcpu>1</vcpu><devices><interface type='user'><mac address='52:54:00:00:00:{mac}'/></interface></devices></domain>"
    );
    Domain { name: name.to_owned(), uuid, state: DomainState::Shutoff, xml }
}

fn clone(name: &str, mac: &str, run: Run, phase: Phase) -> Domain {
    domain(name, mac, Some(record(name, run, phase)))
}

/// 100 CPUs, memory for so many VMs of 1 GiB, space for so many of 9 GiB; nothing in the pool but these.
fn view_of(domains: &[Domain], memory: u64, space: u64, volumes: &[&str]) -> View {
    let volumes: Vec<Volume> = volumes
        .iter()
        .map(|name| Volume {
            name: (*name).to_owned(),
            path: String::new(),
            capacity: ByteSize(8 << 30),
            allocation: ByteSize(0),
            room: None,
        })
        .collect();
    let capacity = ByteSize(space * (18 << 30));
    let read = Reread {
        domains,
        elsewhere: &[],
        host: HostSize { memory: ByteSize(memory << 31), cpus: 100 },
        pool_name: "default",
        pool: &PoolSize {
            capacity,
            available: capacity,
            path: String::new(),
            kind: PoolKind::Directory,
            extent: ByteSize(1),
            beside: Default::default(),
        },
        volumes: &volumes,
        // Half of everything: then no figure in the texts is rounded.
        policy: Policy::of(toml_text::parse("c", "cap = 50").unwrap()),
    };
    // Run 9 has been killed.
    View::of(&read, &BTreeSet::from([Uuid::from_u128(9)]))
}

/// What a verdict comes to: `go`, the runs waited for, or the reasons.
fn said(verdict: Verdict) -> String {
    match verdict {
        Verdict::Go => "go".to_owned(),
        Verdict::Wait(runs) => format!("wait {:?}", runs.iter().map(|run| run.id.as_u128()).collect::<Vec<_>>()),
        Verdict::GiveWay(refusal) => refusal.reasons.join("\n"),
    }
}

/// A call's number, when it began, and how far its one clone is.
type Other = (u8, i64, Phase);

#[test]
fn the_order_decides_who_gives_way_for_want_of_memory() {
    use Phase::{Complete, Creating, Reserved};
    let none = "memory: 1 × 1 GiB is 1 GiB and 1 GiB of 1 GiB (50 % of 2 GiB) are pledged; 0 would fit";
    // The runs' numbers, times and phases; what 1, which began at 5, is told. There is room for one.
    let table: [(&[Other], &str); 10] = [
        (&[], "go"),
        (&[(2, 6, Reserved)], "wait [2]"),
        (&[(2, 4, Reserved)], none),
        // At the same time: by the id.
        (&[(2, 5, Reserved)], "wait [2]"),
        (&[(0, 5, Reserved)], none),
        // Who has decided does not give way, however late.
        (&[(2, 6, Creating)], none),
        (&[(2, 6, Complete)], none),
        // Nobody waits for the dead.
        (&[(9, 6, Reserved)], none),
        (&[(2, 6, Reserved), (3, 7, Reserved)], "wait [2, 3]"),
        (&[(9, 6, Complete)], none),
    ];
    for (others, expected) in table {
        let mut domains = vec![clone("mine", "01", run(1, 5), Reserved)];
        let other = |(index, (number, since, phase)): (usize, &Other)| {
            clone(&format!("other{index}"), &format!("1{index}"), run(*number, *since), *phase)
        };
        domains.extend(others.iter().enumerate().map(other));
        let view = view_of(&domains, 1, 100, &[]);
        assert_eq!(said(verdict(&run(1, 5), &view)), expected, "{others:?}");
    }
}

#[test]
fn one_clone_that_is_being_made_tells_that_its_call_has_decided() {
    let (mine, other) = (run(1, 5), run(2, 6));
    let domains = [
        clone("a", "01", mine.clone(), Phase::Reserved),
        clone("b", "02", other.clone(), Phase::Creating),
        clone("c", "03", other.clone(), Phase::Reserved),
    ];
    let view = view_of(&domains, 2, 100, &[]);
    assert_eq!(verdict(&other, &view), Verdict::Go);
    let none = "memory: 1 × 1 GiB is 1 GiB and 2 GiB of 2 GiB (50 % of 4 GiB) are pledged; 0 would fit";
    assert_eq!(said(verdict(&mine, &view)), none);
}

#[test]
fn one_address_is_one_calls() {
    let address = |mut record: CloneRecord| {
        record.addresses = vec!["192.0.2.7".parse().unwrap()];
        Some(record)
    };
    let (early, late) = (run(1, 5), run(2, 6));
    let held = |what: &str| format!("b: {what} is a's, which was there before");
    let table = [
        // The same MAC, by a domain that is not tpl's, and by an earlier call.
        (domain("a", "01", None), "01", None, held("MAC 52:54:00:00:00:01")),
        (clone("a", "01", early.clone(), Phase::Reserved), "01", None, held("MAC 52:54:00:00:00:01")),
        // The same address, promised to a clone that is finished, and by an earlier call.
        (domain("a", "01", address(record("a", early.clone(), Phase::Complete))), "02", Some(()), held("address 192.0.2.7")),
        (domain("a", "01", address(record("a", early.clone(), Phase::Reserved))), "02", Some(()), held("address 192.0.2.7")),
        (domain("a", "01", address(record("a", early.clone(), Phase::Reserved))), "02", None, "go".to_owned()),
    ];
    for (other, mac, wanted, expected) in table {
        let mine = record("b", late.clone(), Phase::Reserved);
        let mine = if wanted.is_some() { address(mine) } else { Some(mine) };
        let domains = [domain("b", mac, mine), other];
        assert_eq!(said(verdict(&late, &view_of(&domains, 9, 100, &[]))), expected);
    }
    // The earlier one waits for the later one to give way.
    let domains = [clone("a", "01", early.clone(), Phase::Reserved), clone("b", "01", late, Phase::Reserved)];
    assert_eq!(said(verdict(&early, &view_of(&domains, 9, 100, &[]))), "wait [2]");
}

#[test]
fn a_forced_call_takes_its_room_from_all_others() {
    let (mine, forced) = (run(1, 5), run(2, 6));
    let by_force = CloneRecord { forced: Some("moving house".to_owned()), ..record("b", forced.clone(), Phase::Reserved) };
    let domains = [clone("a", "01", mine.clone(), Phase::Reserved), domain("b", "02", Some(by_force.clone()))];
    let view = view_of(&domains, 1, 100, &[]);
    assert_eq!(said(verdict(&forced, &view)), "go");
    let none = "memory: 1 × 1 GiB is 1 GiB and 1 GiB of 1 GiB (50 % of 2 GiB) are pledged; 0 would fit";
    assert_eq!(said(verdict(&mine, &view)), none);
    // Room is all that can be forced.
    let domains = [domain("a", "02", None), domain("b", "02", Some(by_force))];
    let held = "b: MAC 52:54:00:00:00:02 is a's, which was there before";
    assert_eq!(said(verdict(&forced, &view_of(&domains, 1, 100, &[]))), held);
}

#[test]
fn volumes_count_before_they_exist_and_once() {
    let (mine, other) = (run(1, 5), run(2, 4));
    let none =
        |pledged: &str| format!("pool: 1 × 9 GiB is 9 GiB and {pledged} of 9 GiB (50 % of 18 GiB) are pledged; 0 would fit");
    let table: [(Option<Phase>, &str, &[&str], String); 7] = [
        (None, "default", &[], "go".to_owned()),
        (Some(Phase::Reserved), "default", &[], none("9 GiB")),
        (Some(Phase::Creating), "default", &[], none("9 GiB")),
        // 8 of its 9 GiB are there.
        (Some(Phase::Creating), "default", &["other"], none("9 GiB")),
        (Some(Phase::Complete), "default", &["other"], none("8 GiB")),
        (Some(Phase::Complete), "default", &[], "go".to_owned()),
        (Some(Phase::Creating), "elsewhere", &[], "go".to_owned()),
    ];
    for (phase, pool, volumes, expected) in table {
        let other = phase.map(|phase| CloneRecord { pool: pool.to_owned(), ..record("other", other.clone(), phase) });
        let mut domains = vec![clone("mine", "01", mine.clone(), Phase::Reserved)];
        domains.extend(other.map(|record| domain("other", "02", Some(record))));
        assert_eq!(said(verdict(&mine, &view_of(&domains, 9, 1, volumes))), expected, "{phase:?} {volumes:?}");
    }
}

#[test]
fn metadata_of_another_domain_is_nobodys_stake() {
    let mine = run(1, 5);
    let copy = domain("copy", "02", Some(record("b", run(2, 6), Phase::Reserved)));
    let domains = [clone("a", "01", mine.clone(), Phase::Reserved), copy];
    let none = "memory: 1 × 1 GiB is 1 GiB and 1 GiB of 1 GiB (50 % of 2 GiB) are pledged; 0 would fit";
    assert_eq!(said(verdict(&mine, &view_of(&domains, 1, 100, &[]))), none);
}

#[test]
fn a_reservation_that_somebody_removed_is_none() {
    let gone = "the VMs that this call has defined are not there any more: somebody has removed them";
    assert_eq!(said(verdict(&run(1, 5), &view_of(&[], 1, 1, &[]))), gone);
}

#[test]
fn the_runs_to_ask_for_are_those_that_have_reserved() {
    let domains = [
        clone("a", "01", run(1, 5), Phase::Reserved),
        clone("b", "02", run(1, 5), Phase::Reserved),
        clone("c", "03", run(2, 5), Phase::Creating),
        clone("d", "04", run(3, 5), Phase::Complete),
        clone("e", "05", run(4, 7), Phase::Reserved),
        domain("f", "06", Some(record("a", run(5, 5), Phase::Reserved))),
        domain("g", "07", None),
    ];
    assert_eq!(reserved_by(&domains), [run(1, 5), run(4, 7)]);
}
