use proptest::prelude::{Strategy, any, prop, prop_assert, prop_assert_eq, proptest};

use super::*;
use crate::core::{
    facts::{Beside, PoolKind, Room},
    toml_text,
};

const GIB: u64 = 1 << 30;

fn policy(text: &str) -> Policy {
    Policy::of(toml_text::parse("c", text).unwrap())
}

fn pledge(name: &str, vcpus: u32, memory: u64) -> Pledge {
    Pledge { name: name.to_owned(), active: false, vcpus, memory: ByteSize(memory) }
}

fn volume(capacity: u64, allocation: u64) -> Volume {
    Volume {
        name: String::new(),
        path: String::new(),
        capacity: ByteSize(capacity),
        allocation: ByteSize(allocation),
        room: None,
    }
}

fn pool(capacity: u64, available: u64) -> PoolSize {
    PoolSize {
        capacity: ByteSize(capacity),
        available: ByteSize(available),
        path: String::new(),
        kind: PoolKind::Directory,
        extent: ByteSize(1),
        beside: Default::default(),
    }
}

fn demand(vcpus: u64, memory: u64, pool: u64) -> Demand {
    Demand { vcpus, memory: ByteSize(memory), pool: ByteSize(pool), ..Demand::default() }
}

/// 8 logical CPUs, 100 GiB of memory, a pool of 1000 GiB; a template, a VM that is off, one that runs.
fn example(policy: Policy) -> Capacity {
    let pledges = [pledge("debian13.20261121-031000", 2, 4 * GIB), pledge("web1", 2, 20 * GIB), pledge("mail", 1, 10 * GIB)];
    let templates = BTreeSet::from(["debian13.20261121-031000".to_owned()]);
    // 40 of the 60 GiB that are taken are the volumes'.
    let volumes = [volume(GIB, GIB), volume(100 * GIB, 9 * GIB), volume(30 * GIB, 30 * GIB)];
    let host = HostSize { memory: ByteSize(100 * GIB), cpus: 8 };
    Capacity::of(host, &pledges, &templates, &pool(1000 * GIB, 940 * GIB), &volumes, policy)
}

#[test]
fn pledges_are_summed_up() {
    let capacity = example(policy("cpu_overcommit = 1.5"));
    let figures: Vec<_> =
        capacity.loads().iter().map(|load| (load.axis, load.total, load.pledged, load.cap(), load.free())).collect();
    let expected = [
        (Axis::Cpu, 12, 3, 10, 7),
        (Axis::Memory, 100 * GIB, 30 * GIB, 90 * GIB, 60 * GIB),
        (Axis::Pool, 1000 * GIB, 151 * GIB, 900 * GIB, 749 * GIB),
    ];
    assert_eq!(figures, expected);
    assert_eq!((capacity.domains(), capacity.templates()), (3, 1));
}

#[test]
fn what_the_file_system_holds_besides_is_never_negative() {
    let host = HostSize { memory: ByteSize(0), cpus: 0 };
    let table = [
        // capacity, available, volumes, pledged
        (100, 100, vec![], 0),
        (100, 60, vec![], 40),
        (100, 60, vec![(50, 10)], 80),
        // Figures that were read one after the other need not agree.
        (100, 90, vec![(50, 30)], 50),
        (100, 120, vec![(50, 30)], 50),
    ];
    for (total, available, volumes, pledged) in table {
        let volumes: Vec<_> = volumes.into_iter().map(|(capacity, allocation)| volume(capacity, allocation)).collect();
        let capacity = Capacity::of(host, &[], &BTreeSet::new(), &pool(total, available), &volumes, Policy::default());
        assert_eq!(capacity.loads()[2].pledged, pledged, "{total} {available} {volumes:?}");
    }
}

#[test]
fn what_does_not_fit_is_said_for_every_axis() {
    let small = demand(1, GIB, 10 * GIB);
    let table = [
        ("", vec![], ""),
        ("", vec![small; 4], ""),
        ("", vec![small; 5], "vCPUs: 5 × 1 is 5 and 3 of 7 (90 % of 8) are pledged; 4 would fit"),
        (
            "cpu_overcommit = 2.5",
            vec![demand(8, 0, 0); 3],
            "vCPUs: 3 × 8 is 24 and 3 of 18 (90 % of 20, 2.5 for each logical CPU) are pledged; 1 would fit",
        ),
        (
            "cap = 35",
            vec![demand(0, 6 * GIB, 250 * GIB); 2],
            "memory: 2 × 6 GiB is 12 GiB and 30 GiB of 35 GiB (35 % of 100 GiB) are pledged; 0 would fit\n\
             pool: 2 × 250 GiB is 500 GiB and 151 GiB of 350 GiB (35 % of 1000 GiB) are pledged; 0 would fit",
        ),
        (
            "",
            vec![demand(1, 40 * GIB, 0), demand(1, 20 * GIB, 0), demand(1, GIB, 0), demand(1, 0, 0)],
            "memory: 4 VMs ask for 61 GiB and 30 GiB of 90 GiB (90 % of 100 GiB) are pledged; 2 would fit",
        ),
        // More is pledged than may be: nothing fits, but what asks for nothing.
        ("cap = 1", vec![demand(0, 0, 0)], ""),
        ("cap = 1", vec![demand(1, 0, 0)], "vCPUs: 1 × 1 is 1 and 3 of 0 (1 % of 8) are pledged; 0 would fit"),
    ];
    for (text, demands, expected) in table {
        let refused = example(policy(text)).admit(&demands).err();
        assert_eq!(refused.map_or(String::new(), |refusal| refusal.reasons.join("\n")), expected);
    }
    let refusal = example(policy("")).admit(&[small; 5]).unwrap_err();
    assert_eq!(refusal.advice.unwrap(), "ask for fewer or smaller clones, or remove some with `tpl destroy`");
}

#[test]
fn a_pledge_takes_room() {
    let mut capacity = example(policy(""));
    capacity.pledge(&demand(3, GIB, GIB));
    assert_eq!(capacity.loads().iter().map(|load| load.pledged).collect::<Vec<_>>(), [6, 31 * GIB, 152 * GIB]);
    assert_eq!(capacity.shortages(&[demand(1, 0, 0); 2])[0].fit, 1);
}

/// A pool of 100 GiB, 40 of them taken, with a volume of 20 GiB that has 5, and a snapshot of it with room for 3.
fn logical(kind: PoolKind) -> Capacity {
    let beside = Beside { thin_pool: Some("pool0".to_owned()), ..Beside::default() };
    let pool = PoolSize { kind, extent: ByteSize::mib(4), path: "/dev/vg0".to_owned(), beside, ..pool(100 * GIB, 60 * GIB) };
    let room = Some(Room { size: ByteSize(3 * GIB), used: ByteSize(GIB), lost: false, own: true });
    let snapshot = Volume { room, ..volume(20 * GIB, 3 * GIB) };
    let taken = if kind.is_thin() { 5 * GIB } else { 20 * GIB };
    let host = HostSize { memory: ByteSize(100 * GIB), cpus: 8 };
    Capacity::of(host, &[], &BTreeSet::new(), &pool, &[volume(20 * GIB, taken), snapshot], Policy::default())
}

#[test]
fn a_volume_group_pledges_what_it_has_given_and_a_thin_pool_what_may_be_written() {
    let thin = PoolKind::Thin { metadata: ByteSize(GIB), metadata_used: ByteSize(GIB / 4) };
    let pledged = |kind| logical(kind).loads()[2..].iter().map(|load| (load.axis, load.pledged)).collect::<Vec<_>>();
    assert_eq!(pledged(PoolKind::Thick), [(Axis::Pool, 40 * GIB)]);
    // Both volumes' capacities, and 32 GiB of the 40 that are nobody's.
    assert_eq!(pledged(thin), [(Axis::Pool, 72 * GIB), (Axis::Data, 40 * GIB), (Axis::Metadata, GIB / 4)]);
}

#[test]
fn a_thin_pool_that_fills_up_takes_no_clone() {
    let thin = |used| PoolKind::Thin { metadata: ByteSize(GIB), metadata_used: ByteSize(used) };
    let writes = |written| Demand { written: ByteSize(written), volumes: 2, ..Demand::default() };
    let data = "are written; 1 would fit; `lvextend --size +SIZE vg0/pool0` makes it larger";
    let metadata = "are written; 0 would fit; `lvextend --poolmetadatasize +SIZE vg0/pool0` makes it larger";
    let table = [
        (thin(0), vec![writes(50 * GIB)], String::new()),
        (
            thin(0),
            vec![writes(30 * GIB); 2],
            format!("thin data: 2 × 30 GiB is 60 GiB and 40 GiB of 90 GiB (90 % of 100 GiB) {data}"),
        ),
        (
            thin(GIB),
            vec![writes(32 << 20)],
            format!("thin metadata: 1 × 64 KiB is 64 KiB and 1 GiB of 921.6 MiB (90 % of 1 GiB) {metadata}"),
        ),
        // Who writes nothing and has no volumes asks for nothing.
        (thin(GIB), vec![Demand::default()], String::new()),
        (PoolKind::Thick, vec![writes(90 * GIB)], String::new()),
    ];
    for (kind, demands, expected) in table {
        let refused = logical(kind).admit(&demands).err();
        assert_eq!(refused.map_or(String::new(), |refusal| refusal.reasons.join("\n")), expected);
    }
}

#[test]
fn names_of_templates_have_a_shape() {
    let table = [
        ("debian13.20261121-031000", true),
        ("debian13", false),
        ("debian13.x", false),
        (".20261121-031000", false),
        ("a.b.20261121-031000", false),
        ("", false),
    ];
    for (name, shaped) in table {
        assert_eq!(has_a_templates_name(name), shaped, "{name}");
    }
}

/// Amounts at the edges, and some between.
fn amount() -> impl Strategy<Value = u64> {
    prop::sample::select(vec![0, 1, 99, 1 << 40, u64::MAX / 90, u64::MAX - 1, u64::MAX])
}

proptest! {
    #[test]
    fn no_figures_are_too_large(
        (memory, cpus) in (amount(), any::<u32>()),
        (total, available) in (amount(), amount()),
        volumes in prop::collection::vec((amount(), amount()), 0..4),
        pledges in prop::collection::vec((any::<u32>(), amount()), 0..4),
        demands in prop::collection::vec((amount(), amount(), amount()), 0..5),
        cap in 1..=100,
    ) {
        let pledges: Vec<_> = pledges.into_iter().map(|(vcpus, memory)| pledge("x", vcpus, memory)).collect();
        let volumes: Vec<_> = volumes.into_iter().map(|(capacity, allocation)| volume(capacity, allocation)).collect();
        let demands: Vec<_> = demands.into_iter().map(|(vcpus, memory, pool)| demand(vcpus, memory, pool)).collect();
        let host = HostSize { memory: ByteSize(memory), cpus };
        let policy = policy(&format!("cap = {cap}\ncpu_overcommit = 100"));
        let capacity = Capacity::of(host, &pledges, &BTreeSet::new(), &pool(total, available), &volumes, policy);
        let shortages = capacity.shortages(&demands);
        for shortage in &shortages {
            prop_assert!(shortage.fit < demands.len(), "{}", shortage);
            let axis = shortage.load.axis;
            let fitting = &demands[..shortage.fit];
            prop_assert!(!capacity.shortages(fitting).iter().any(|other| other.load.axis == axis));
        }
        let mut full = capacity.clone();
        demands.iter().for_each(|demand| full.pledge(demand));
        // What is admitted stays within the cap; what is not would not.
        for (before, after) in capacity.loads().iter().zip(full.loads()) {
            let refused = shortages.iter().any(|shortage| shortage.load.axis == before.axis);
            prop_assert!(refused || after.pledged <= after.cap() || after.pledged == before.pledged);
            prop_assert!(!refused || after.pledged > after.cap() || after.pledged == u64::MAX);
        }
        prop_assert_eq!(capacity.admit(&demands).is_ok(), shortages.is_empty());
    }
}
