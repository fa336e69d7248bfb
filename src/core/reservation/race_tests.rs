//! Any number of calls over one hypervisor in memory, each a state machine that does one step at a time, in every order that
//! proptest thinks of. What a call has read may be old by the time it acts on it, as in life.

use std::collections::BTreeSet;

use proptest::prelude::{Strategy, any, prop, prop_assert, prop_assert_eq, proptest};

use super::*;
use crate::core::{
    capacity::Policy,
    facts::{HostSize, PoolKind, PoolSize},
    units::ByteSize,
};

const MEMORY: u64 = 100;
/// What [`Policy::default`] lets of it be promised.
const CAP: u64 = 90;

/// What a call wants: the memory of each VM, and one MAC for each.
#[derive(Debug, Clone)]
struct Wish {
    vms: Vec<(u64, u8)>,
    /// The MACs stand for promised addresses instead.
    addresses: bool,
    forced: bool,
    since: i64,
    /// After so many steps of its own it is killed.
    killed_after: Option<usize>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum At {
    Plan,
    /// So many are defined.
    Define(usize),
    Read,
    /// These have reserved: which of them have ended?
    Ask(BTreeSet<Uuid>),
    /// These had ended before what is read now.
    Reread(BTreeSet<Uuid>),
    Act(Verdict),
    /// So many say that they are being made.
    Admit(usize),
    Done,
    Undo,
    Gone,
    Refused,
    Dead,
}

struct Call {
    wish: Wish,
    run: Run,
    at: At,
    steps: usize,
    /// It was told to go ahead, and began to.
    admitted: bool,
}

impl Call {
    fn has_ended(&self) -> bool {
        matches!(self.at, At::Done | At::Gone | At::Refused | At::Dead)
    }
}

struct World {
    domains: Vec<Seen>,
    calls: Vec<Call>,
}

impl World {
    fn new(wishes: Vec<Wish>) -> Self {
        let call = |(index, wish): (usize, Wish)| Call {
            run: Run {
                id: Uuid::from_u128(index as u128),
                host: "hv".to_owned(),
                since: jiff::Timestamp::from_second(wish.since).unwrap(),
            },
            wish,
            at: At::Plan,
            steps: 0,
            admitted: false,
        };
        Self { domains: Vec::new(), calls: wishes.into_iter().enumerate().map(call).collect() }
    }

    fn view(&self, dead: &BTreeSet<Uuid>) -> View {
        let host = HostSize { memory: ByteSize(MEMORY), cpus: 1000 };
        let pool = PoolSize {
            capacity: ByteSize(0),
            available: ByteSize(0),
            path: String::new(),
            kind: PoolKind::Directory,
            extent: ByteSize(1),
            beside: Default::default(),
        };
        let empty = Capacity::of(host, &[], &BTreeSet::new(), &pool, &[], Policy::default());
        let mut domains = self.domains.clone();
        for domain in &mut domains {
            domain.stake.take_if(|stake| stake.phase == Phase::Reserved && dead.contains(&stake.run.id));
        }
        View::sort(empty, domains, Vec::new())
    }

    fn own(&mut self, index: usize) -> impl Iterator<Item = &mut Seen> {
        let prefix = format!("{index}-");
        self.domains.iter_mut().filter(move |domain| domain.name.starts_with(&prefix))
    }

    /// The memory of those that go ahead, and all that they hold.
    fn admitted(&self) -> (u64, Vec<Single>) {
        let admitted = |domain: &&Seen| self.calls.iter().any(|call| call.admitted && !call.wish.forced && domain.is_of(call));
        let all = |domain: &&Seen| self.calls.iter().any(|call| call.admitted && domain.is_of(call));
        let memory = self.domains.iter().filter(admitted).map(|domain| domain.demand.memory.0).sum();
        (memory, self.domains.iter().filter(all).flat_map(Seen::singles).collect())
    }

    /// One step of one call.
    fn step(&mut self, index: usize) {
        let call = &self.calls[index];
        let wanted: Vec<Seen> = (0..call.wish.vms.len()).map(|number| call.wish.domain(&call.run, index, number)).collect();
        let killed = call.wish.killed_after.is_some_and(|steps| call.steps >= steps);
        let at = match call.at.clone() {
            rest @ (At::Done | At::Gone | At::Refused | At::Dead) => rest,
            _ if killed => At::Dead,
            At::Plan => self.plan(wanted, index),
            At::Define(count) if count == wanted.len() => At::Read,
            At::Define(count) => {
                self.domains.push(wanted[count].clone());
                At::Define(count + 1)
            }
            At::Read => {
                let reserved = self.domains.iter().filter_map(|domain| domain.stake.as_ref());
                At::Ask(reserved.filter(|stake| stake.phase == Phase::Reserved).map(|stake| stake.run.id).collect())
            }
            At::Ask(runs) => {
                let ended = self.calls.iter().filter(|call| call.has_ended()).map(|call| call.run.id);
                At::Reread(ended.filter(|run| runs.contains(run)).collect())
            }
            At::Reread(dead) => At::Act(verdict(&call.run, &self.view(&dead))),
            At::Act(Verdict::Go) => {
                self.calls[index].admitted = true;
                At::Admit(0)
            }
            At::Act(Verdict::Wait(others)) => {
                assert!(!others.is_empty(), "waits for nobody");
                At::Read
            }
            At::Act(Verdict::GiveWay(refusal)) => {
                assert!(!refusal.reasons.is_empty(), "gives way for no reason");
                At::Undo
            }
            At::Admit(count) if count == wanted.len() => At::Done,
            At::Admit(count) => {
                self.own(index).nth(count).unwrap().stake.as_mut().unwrap().phase = Phase::Creating;
                At::Admit(count + 1)
            }
            At::Undo => {
                let prefix = format!("{index}-");
                match self.domains.iter().position(|domain| domain.name.starts_with(&prefix)) {
                    Some(last) => {
                        self.domains.remove(last);
                        At::Undo
                    }
                    None => At::Gone,
                }
            }
        };
        self.calls[index].at = at;
        self.calls[index].steps += 1;
    }

    /// What the plan refuses: everybody's domains count, reserved or not.
    fn plan(&self, wanted: Vec<Seen>, index: usize) -> At {
        let mut view = self.view(&BTreeSet::new());
        let (mut promised, mut held) = (view.settled.clone(), view.held.clone());
        view.contenders.drain(..).for_each(|contender| contender.take(&mut promised, &mut held));
        let Call { wish, run, .. } = &self.calls[index];
        let me = Contender { run: run.clone(), forced: wish.forced, domains: wanted };
        if me.faults(&promised, &held).is_empty() { At::Define(0) } else { At::Refused }
    }

    fn is_at_rest(&self) -> bool {
        self.calls.iter().all(Call::has_ended)
    }

    /// Steps in this order, then each in turn until nobody has anything left to do.
    fn run(&mut self, order: &[prop::sample::Index], mut after_each: impl FnMut(&Self)) {
        for pick in order {
            self.step(pick.index(self.calls.len()));
            after_each(self);
        }
        for _ in 0..1000 {
            if self.is_at_rest() {
                return;
            }
            for index in 0..self.calls.len() {
                self.step(index);
                after_each(self);
            }
        }
        panic!("no rest: {:?}", self.calls.iter().map(|call| &call.at).collect::<Vec<_>>());
    }

    fn count(&self, at: &At) -> usize {
        self.calls.iter().filter(|call| call.at == *at).count()
    }
}

impl Seen {
    fn is_of(&self, call: &Call) -> bool {
        self.stake.as_ref().is_some_and(|stake| stake.run.id == call.run.id)
    }
}

impl Wish {
    fn domain(&self, run: &Run, index: usize, number: usize) -> Seen {
        let (memory, single) = self.vms[number];
        let address = self.addresses.then(|| IpAddr::from([192, 0, 2, single]));
        Seen {
            name: format!("{index}-{number}"),
            demand: Demand { vcpus: 1, memory: ByteSize(memory), ..Demand::default() },
            macs: if self.addresses { Vec::new() } else { vec![Mac([0x52, 0x54, 0, 0, 0, single])] },
            addresses: address.into_iter().collect(),
            stake: Some(Stake { run: run.clone(), phase: Phase::Reserved, forced: self.forced }),
        }
    }
}

fn order() -> impl Strategy<Value = Vec<prop::sample::Index>> {
    prop::collection::vec(any::<prop::sample::Index>(), 0..120)
}

/// Calls of every kind. Singles are few, so that they collide; within a call they differ, as a plan sees to.
fn anything() -> impl Strategy<Value = Wish> {
    let vms = prop::collection::btree_map(0u8..12, 1u64..60, 1..4);
    let killed = prop::option::weighted(0.2, 0usize..12);
    (vms, any::<bool>(), prop::bool::weighted(0.2), 0i64..3, killed).prop_map(|(vms, addresses, forced, since, killed_after)| {
        let vms = vms.into_iter().map(|(single, memory)| (memory, single)).collect();
        Wish { vms, addresses, forced, since, killed_after }
    })
}

/// Calls that collide in nothing but room, by the memory of their VMs.
fn plain(calls: Vec<(Vec<u64>, i64)>) -> Vec<Wish> {
    let mut single = 0;
    let mut vm = |memory| {
        single += 1;
        (memory, single)
    };
    let wish = |(vms, since): (Vec<u64>, i64)| Wish {
        vms: vms.into_iter().map(&mut vm).collect(),
        addresses: false,
        forced: false,
        since,
        killed_after: None,
    };
    calls.into_iter().map(wish).collect()
}

proptest! {
    #[test]
    fn nobody_passes_the_cap_or_shares_an_address(wishes in prop::collection::vec(anything(), 1..6), order in order()) {
        let mut world = World::new(wishes);
        let (mut most, mut shared) = (0, false);
        world.run(&order, |world| {
            let (memory, singles) = world.admitted();
            most = most.max(memory);
            shared |= singles.iter().collect::<BTreeSet<_>>().len() < singles.len();
        });
        prop_assert!(most <= CAP, "{} of {}", most, CAP);
        prop_assert!(!shared);
        for (index, call) in world.calls.iter().enumerate() {
            let left = world.domains.iter().filter(|domain| domain.is_of(call)).count();
            match call.at {
                At::Gone | At::Refused => prop_assert_eq!(left, 0, "call {}", index),
                At::Done => prop_assert_eq!(left, call.wish.vms.len(), "call {}", index),
                _ => {}
            }
        }
    }

    #[test]
    fn of_equal_calls_as_many_go_ahead_as_fit(
        each in 1u64..50, vms in 1usize..4, times in prop::collection::vec(0i64..4, 1..7), order in order(),
    ) {
        let wishes = plain(times.iter().map(|since| (vec![each; vms], *since)).collect());
        let fit = usize::try_from(CAP / (each * vms as u64)).unwrap().min(wishes.len());
        let mut world = World::new(wishes);
        world.run(&order, |_| {});
        prop_assert_eq!(world.count(&At::Done), fit);
    }

    #[test]
    fn not_all_give_way(
        calls in prop::collection::vec((prop::collection::vec(1u64..30, 1..4), 0i64..4), 1..6), order in order(),
    ) {
        let mut world = World::new(plain(calls));
        world.run(&order, |_| {});
        prop_assert!(world.count(&At::Done) > 0);
    }
}

#[test]
fn of_two_that_fit_alone_the_earlier_one_goes_ahead() {
    let mut world = World::new(plain(vec![(vec![50], 1), (vec![50], 0)]));
    // Both plan and define before either reads.
    (0..3).for_each(|_| (0..2).for_each(|index| world.step(index)));
    world.run(&[], |_| {});
    assert_eq!((&world.calls[0].at, &world.calls[1].at), (&At::Gone, &At::Done));
}
