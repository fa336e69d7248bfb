//! Two calls that want the same room: which one goes ahead, without a lock server.
//!
//! A call reserves by defining its domains, with [`Phase::Reserved`] in their metadata: from then on everybody sees what they
//! pledge. Then it reads the hypervisor again and asks for a [`verdict`]:
//!
//! ```text
//! define all ──→ read again ──→ Go       write Phase::Creating into each: settled
//!                  ↑     ├────→ GiveWay  undefine all, and plan again: the plan says what is left
//!                  └─────┴────→ Wait     until those that stand in the way have given way or are settled
//! ```
//!
//! *Contenders* are the living calls (by the id of their run) with reserved clones and none that is being made yet; everything
//! else that is defined is *settled*: finished clones, domains that are not tpl's, what a killed call has left. Contenders are
//! taken in one order that everybody sees alike: forced ones first, since they give way to nobody for want of room, then by
//! the time at which their run began, then by its id. Each is *accepted* if it fits on top of what is settled and of those
//! accepted before it, and holds no MAC and no promised address of theirs. Who is not accepted gives way. Who is accepted goes
//! ahead as soon as *everything visible*, accepted or not, leaves it its room, its MACs and its addresses; until then it waits.
//!
//! **No two calls go ahead past the cap, or with one MAC or address.** Of any calls that have gone ahead, let X be the one that
//! defined its last domain after all others had. When X read again, all domains of all of them were defined, and a call that goes
//! ahead does not take its domains away. X was told to go, so all of it was within the cap, and nothing of X's was another's.
//! The order has no part in this, so clocks that differ harm nobody. (A forced call passes the cap, which is what it is for.)
//!
//! **Not all give way where one fits.** The first of the order gives way only to what is settled. It fitted when it was planned;
//! if it no longer does, somebody has gone ahead since. All others give way to somebody accepted before them, or to
//! what is settled.
//!
//! **Nobody waits for ever.** If all contenders waited, all would be accepted; but what is accepted fits together, so one of them
//! would not be waiting. So somebody goes ahead, gives way, or dies, and there are fewer contenders. A call on another machine
//! that has been killed looks alive for long: whoever waits does so with an end, and then gives way.
//!
//! **Who is dead must be known before the domains are read.** A call that gives way undoes its reservation and ends; asked
//! for behind the reading, it is dead, and what was read of it looks like the leftover of a killed one, which would be settled:
//! everybody else would give way to what is not there any more. So: read, ask for the runs of [`reserved_by`], and read again if
//! one has ended.
//!
//! **Over several hypervisors** a call defines all of its domains on all of them, then reads all of them, and goes ahead only if it
//! may on each; [`crossing`] sees to what no single one of them sees. Room is judged on each hypervisor by what is there, so that
//! everybody judges alike, whichever hypervisors they use: who does not fit on one of them gives way when it reads it, however long
//! it would wait on another.

mod crossing;
mod read;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::IpAddr,
};

use uuid::Uuid;

use super::{
    capacity::{Capacity, Demand},
    error::Refusal,
    mac::Mac,
    manifest::{Phase, Run},
};
pub use read::{Reread, reserved_by};

/// What a call does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// There is room whatever the others do: write [`Phase::Creating`] and go ahead.
    Go,
    /// There will be room once these calls, which come later, have given way: read again in a moment.
    Wait(Vec<Run>),
    /// There is no room: undo the reservation and plan again, or refuse with this.
    GiveWay(Refusal),
}

/// What everybody holds on a hypervisor, read again after a call has defined its own domains. Made by [`View::of`].
#[derive(Debug, Clone)]
pub struct View {
    /// What is promised to all but the contenders.
    settled: Capacity,
    held: Held,
    /// In their order.
    contenders: Vec<Contender>,
    /// Calls that are making their clones.
    gone_ahead: BTreeSet<Uuid>,
    /// The domains of the other hypervisors that the call looks at: they take nothing here.
    elsewhere: Vec<Seen>,
}

/// A domain, as far as it matters here.
#[derive(Debug, Clone)]
struct Seen {
    name: String,
    /// What it is promised, without those of its volumes that exist: the pool counts them.
    demand: Demand,
    macs: Vec<Mac>,
    addresses: Vec<IpAddr>,
    /// Whose reservation it is; none for what is settled whatever becomes of its run.
    stake: Option<Stake>,
}

/// An unfinished clone's place in its call.
#[derive(Debug, Clone)]
struct Stake {
    run: Run,
    phase: Phase,
    forced: bool,
}

/// A call that has reserved and not gone ahead.
#[derive(Debug, Clone)]
struct Contender {
    run: Run,
    forced: bool,
    domains: Vec<Seen>,
}

/// What only one domain may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Single {
    Mac(Mac),
    Address(IpAddr),
}

/// Who holds what.
type Held = BTreeMap<Single, String>;

impl fmt::Display for Single {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mac(mac) => write!(f, "MAC {mac}"),
            Self::Address(address) => write!(f, "address {address}"),
        }
    }
}

impl Seen {
    fn singles(&self) -> impl Iterator<Item = Single> {
        let macs = self.macs.iter().map(|mac| Single::Mac(*mac));
        macs.chain(self.addresses.iter().map(|address| Single::Address(*address)))
    }
}

impl Contender {
    fn demands(&self) -> Vec<Demand> {
        self.domains.iter().map(|domain| domain.demand).collect()
    }

    /// What stands against it, if this much is promised and held already.
    fn faults(&self, promised: &Capacity, held: &Held) -> Vec<String> {
        let shortages = if self.forced { Vec::new() } else { promised.shortages(&self.demands()) };
        let mut faults: Vec<String> = shortages.iter().map(ToString::to_string).collect();
        for domain in &self.domains {
            let taken = domain.singles().filter_map(|single| held.get(&single).map(|holder| (single, holder)));
            faults
                .extend(taken.map(|(single, holder)| format!("{}: {single} is {holder}'s, which was there before", domain.name)));
        }
        faults
    }

    fn take(&self, promised: &mut Capacity, held: &mut Held) {
        self.domains.iter().for_each(|domain| take(domain, promised, held));
    }
}

/// The order of all calls, the same on every hypervisor.
fn rank(forced: bool, run: &Run) -> (bool, jiff::Timestamp, Uuid) {
    (!forced, run.since, run.id)
}

fn take(domain: &Seen, promised: &mut Capacity, held: &mut Held) {
    promised.pledge(&domain.demand);
    for single in domain.singles() {
        held.entry(single).or_insert_with(|| domain.name.clone());
    }
}

impl View {
    /// Sorts the domains. `volumes` is what the pool holds and the host's size, without any domain.
    fn sort(volumes: Capacity, domains: Vec<Seen>, elsewhere: Vec<Seen>) -> Self {
        let stakes = domains.iter().chain(&elsewhere).filter_map(|domain| domain.stake.as_ref());
        // One clone that is being made tells that its call has decided, though the others do not say so yet.
        let gone_ahead: BTreeSet<Uuid> =
            stakes.filter(|stake| stake.phase == Phase::Creating).map(|stake| stake.run.id).collect();
        let mut view = Self { settled: volumes, held: Held::new(), contenders: Vec::new(), gone_ahead, elsewhere };
        for domain in domains {
            match &domain.stake {
                Some(stake) if stake.phase == Phase::Reserved && !view.gone_ahead.contains(&stake.run.id) => view.contend(domain),
                _ => take(&domain, &mut view.settled, &mut view.held),
            }
        }
        view.contenders.sort_by_key(|contender| rank(contender.forced, &contender.run));
        view
    }

    fn contend(&mut self, domain: Seen) {
        let Some(Stake { run, forced, .. }) = domain.stake.clone() else { return };
        match self.contenders.iter_mut().find(|contender| contender.run.id == run.id) {
            Some(contender) => {
                contender.forced |= forced;
                contender.run.since = contender.run.since.min(run.since);
                contender.domains.push(domain);
            }
            None => self.contenders.push(Contender { run, forced, domains: vec![domain] }),
        }
    }

    /// What stands against each contender, in their order; nothing against those that are accepted.
    fn faults(&self) -> Vec<Vec<String>> {
        let (mut promised, mut held) = (self.settled.clone(), self.held.clone());
        let judge = |contender: &Contender| {
            let faults = contender.faults(&promised, &held);
            if faults.is_empty() {
                contender.take(&mut promised, &mut held);
            }
            faults
        };
        self.contenders.iter().map(judge).collect()
    }

    /// Whether a contender could go ahead although everybody else did so too.
    fn is_clear(&self, mine: &Contender) -> bool {
        let (mut promised, mut held) = (self.settled.clone(), self.held.clone());
        let others = self.contenders.iter().filter(|contender| contender.run.id != mine.run.id);
        others.for_each(|contender| contender.take(&mut promised, &mut held));
        mine.faults(&promised, &held).is_empty()
    }
}

/// What the call `mine` does next. Its domains must all have been defined before the view was read.
pub fn verdict(mine: &Run, view: &View) -> Verdict {
    let Some(index) = view.contenders.iter().position(|contender| contender.run.id == mine.id) else {
        if view.gone_ahead.contains(&mine.id) {
            return Verdict::Go;
        }
        let refusal = Refusal::new("the VMs that this call has defined are not there any more: somebody has removed them");
        return Verdict::GiveWay(refusal.advise("try again"));
    };
    let contender = &view.contenders[index];
    let mut faults = view.faults();
    let crossing = view.crossing(contender);
    faults[index].extend(crossing.before);
    if !faults[index].is_empty() {
        let advice = "others have taken it in the meantime: ask for fewer or smaller clones, or try again";
        return Verdict::GiveWay(Refusal { reasons: faults.swap_remove(index), advice: Some(advice.to_owned()) });
    }
    let mut behind = crossing.behind;
    let is_clear = view.is_clear(contender);
    if !is_clear {
        let refused = view.contenders.iter().zip(&faults).filter(|(_, faults)| !faults.is_empty());
        behind.extend(refused.map(|(contender, _)| contender.run.clone()));
    }
    if is_clear && behind.is_empty() { Verdict::Go } else { Verdict::Wait(behind) }
}

impl Verdict {
    /// What a call does next that has one verdict of each of its hypervisors: it gives way where it does on one of them, with the
    /// reasons of all, and goes ahead where it may on all.
    pub fn of_all(verdicts: impl IntoIterator<Item = Self>) -> Self {
        let (mut waits, mut refusal): (Option<Vec<Run>>, Option<Refusal>) = (None, None);
        for verdict in verdicts {
            match verdict {
                Self::Go => {}
                Self::Wait(runs) => waits.get_or_insert_default().extend(runs),
                Self::GiveWay(new) => match &mut refusal {
                    Some(refusal) => refusal.reasons.extend(new.reasons),
                    None => refusal = Some(new),
                },
            }
        }
        match (refusal, waits) {
            (Some(refusal), _) => Self::GiveWay(refusal),
            (None, Some(runs)) => Self::Wait(runs),
            (None, None) => Self::Go,
        }
    }
}

#[cfg(test)]
mod crossing_tests;
#[cfg(test)]
mod race_tests;
#[cfg(test)]
mod tests;
