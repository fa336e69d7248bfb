use std::collections::BTreeSet;

use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};

use super::*;
use crate::core::{
    capacity::Policy,
    facts::{HostSize, Pledge, PoolKind, PoolSize},
    toml_text,
    units::ByteSize,
};

/// So many CPUs, so much memory and space, all of which may be promised; so many CPUs and so much memory are.
fn room(total: [u64; 3], pledged: [u64; 2]) -> Capacity {
    let [cpus, memory, space] = total;
    let (size, all) = (ByteSize(space), toml_text::parse("c", "cap = 100").unwrap());
    let pool = PoolSize {
        capacity: size,
        available: size,
        path: String::new(),
        kind: PoolKind::Directory,
        extent: ByteSize(1),
        beside: Default::default(),
    };
    let host = HostSize { cpus: u32::try_from(cpus).unwrap(), memory: ByteSize(memory) };
    let vcpus = u32::try_from(pledged[0]).unwrap();
    let pledge = Pledge { name: "x".to_owned(), active: true, vcpus, memory: ByteSize(pledged[1]) };
    Capacity::of(host, &[pledge], &BTreeSet::new(), &pool, &[], Policy::of(all))
}

fn demand(vcpus: u64, memory: u64, pool: u64) -> Demand {
    Demand { vcpus, memory: ByteSize(memory), pool: ByteSize(pool), ..Demand::default() }
}

/// The places of so many VMs that ask the same of all; in words where they do not all find room.
fn placed(strategy: Strategy, rooms: &[Capacity], count: usize, each: Demand, forced: bool) -> String {
    let demands = vec![vec![each; rooms.len()]; count];
    let said = |places: Vec<usize>| places.iter().map(ToString::to_string).collect::<String>();
    match place(strategy, &rooms.iter().collect::<Vec<_>>(), &demands, forced) {
        Ok(places) => said(places),
        Err(partly) => format!("{} and no more", said(partly)),
    }
}

/// What it shows; the strategy, the hypervisors, how many VMs, what each asks, whether it is forced; the places.
type Row = (&'static str, Strategy, Vec<Capacity>, usize, Demand, bool, &'static str);

#[test]
fn vms_go_where_their_strategy_says() {
    let even = || vec![room([10, 100, 100], [0, 0]), room([10, 100, 100], [0, 0])];
    let halves = || vec![room([10, 100, 100], [0, 0]), room([10, 100, 100], [5, 50])];
    // Much memory and few CPUs, and the other way round.
    let crossed = || vec![room([4, 1000, 1000], [0, 0]), room([100, 40, 1000], [0, 0])];
    let (spread, pack) = (Strategy::Spread, Strategy::Pack);
    let table: [Row; 14] = [
        ("none", spread, even(), 0, demand(1, 1, 1), false, ""),
        ("in turn, the first first", spread, even(), 5, demand(1, 10, 1), false, "01010"),
        ("until both are alike", spread, halves(), 7, demand(1, 10, 1), false, "0000001"),
        ("one after the other", pack, even(), 6, demand(3, 10, 1), false, "000111"),
        ("the fuller one first", pack, halves(), 7, demand(1, 10, 1), false, "1111100"),
        ("the tightest axis decides", spread, crossed(), 4, demand(1, 10, 1), false, "0101"),
        ("no more than fits, spread", spread, even(), 8, demand(3, 10, 1), false, "010101 and no more"),
        ("no more than fits, packed", pack, even(), 8, demand(3, 10, 1), false, "000111 and no more"),
        ("nobody has room", spread, even(), 1, demand(11, 1, 1), false, " and no more"),
        (
            "an axis that is full takes nobody",
            pack,
            vec![room([10, 100, 100], [10, 0]), room([10, 100, 100], [0, 0])],
            2,
            demand(1, 1, 1),
            false,
            "11",
        ),
        ("forced: where least is lacking", spread, halves(), 2, demand(11, 1, 1), true, "01"),
        ("forced, and there is room", pack, halves(), 6, demand(1, 10, 1), true, "111110"),
        (
            "figures of any size",
            spread,
            vec![room([1, u64::MAX, u64::MAX], [0, u64::MAX]), room([1, 1, 1], [0, 0])],
            1,
            demand(1, 1, 1),
            false,
            "1",
        ),
        (
            "a hypervisor of nothing",
            spread,
            vec![room([0, 0, 0], [0, 0]), room([2, 2, 2], [0, 0])],
            2,
            demand(1, 1, 1),
            false,
            "11",
        ),
    ];
    for (what, strategy, rooms, count, each, forced, expected) in table {
        assert_eq!(placed(strategy, &rooms, count, each, forced), expected, "{what}");
    }
}

#[test]
fn what_a_hypervisor_asks_counts_there_alone() {
    // A snapshot needs less of one pool than a whole copy does of the other.
    let rooms = [room([10, 100, 10], [0, 0]), room([10, 100, 10], [0, 0])];
    let demands = vec![vec![demand(1, 1, 6), demand(1, 1, 2)]; 4];
    assert_eq!(place(Strategy::Spread, &[&rooms[0], &rooms[1]], &demands, false), Ok(vec![1, 1, 0, 1]));
}

proptest! {
    #[test]
    fn no_cap_is_passed_and_nobody_is_refused_while_there_is_room(
        rooms in prop::collection::vec(([0u64..40, 0u64..400, 0u64..400], [0u64..20, 0u64..200]), 1..5),
        each in (0u64..8, 0u64..80, 0u64..80), count in 0usize..30, pack in any::<bool>(),
    ) {
        let rooms: Vec<Capacity> = rooms.into_iter().map(|(total, pledged)| room(total, pledged)).collect();
        let each = demand(each.0, each.1, each.2);
        let strategy = if pack { Strategy::Pack } else { Strategy::Spread };
        let demands = vec![vec![each; rooms.len()]; count];
        let all: Vec<&Capacity> = rooms.iter().collect();
        let outcome = place(strategy, &all, &demands, false);
        prop_assert_eq!(&outcome, &place(strategy, &all, &demands, false));
        let complete = outcome.is_ok();
        let places = outcome.unwrap_or_else(|partly| partly);
        let mut fit = 0;
        for (index, room) in rooms.iter().enumerate() {
            let here = places.iter().filter(|place| **place == index).count();
            prop_assert!(room.shortages(&vec![each; here]).is_empty());
            fit += (1..=count).take_while(|many| room.shortages(&vec![each; *many]).is_empty()).count();
        }
        prop_assert_eq!(places.len(), fit.min(count));
        prop_assert_eq!(complete, fit >= count);
    }
}
