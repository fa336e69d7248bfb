//! What only one VM of several hypervisors may have, its name and its MACs, and no libvirt sees more than its own.
//!
//! A call that stands before this one in the order of all calls, or has gone ahead, keeps it: this one gives way. For one behind it
//! this one waits, which gives way if it looks at this hypervisor too, and else goes ahead or does not. Whoever waits here does so
//! for calls behind it in that order, so nobody waits in a circle. Two calls that look at both cannot both go ahead: the one that
//! defined its last domain after the other has read them all behind that, and was told to give way or to wait.

use std::collections::BTreeSet;

use super::{Contender, Seen, View, rank};
use crate::core::{
    mac::Mac,
    manifest::{Phase, Run},
};

/// What stands against a call on other hypervisors.
#[derive(Debug, Default)]
pub(super) struct Crossing {
    /// What is another's for good, or of one before it: it gives way.
    pub before: Vec<String>,
    /// The calls behind it that hold the same: it waits for them.
    pub behind: Vec<Run>,
}

impl View {
    /// What of `mine` is held on the other hypervisors.
    pub(super) fn crossing(&self, mine: &Contender) -> Crossing {
        let names: BTreeSet<&str> = mine.domains.iter().map(|domain| domain.name.as_str()).collect();
        let macs: BTreeSet<Mac> = mine.domains.iter().flat_map(|domain| domain.macs.iter().copied()).collect();
        let mut crossing = Crossing::default();
        for other in self.elsewhere.iter().filter(|other| other.run().is_none_or(|run| run.id != mine.run.id)) {
            let name = names.contains(other.name.as_str()).then(|| format!("'{}' is taken", other.name));
            let mac = || {
                other.macs.iter().find(|mac| macs.contains(mac)).map(|mac| format!("the MAC address {mac} is {}'s", other.name))
            };
            let Some(what) = name.or_else(mac) else { continue };
            match self.contends(other) {
                Some(run) if rank(other.is_forced(), run) > rank(mine.forced, &mine.run) => crossing.behind.push(run.clone()),
                _ => crossing.before.push(format!("{what}: another of the hypervisors has a VM that has it")),
            }
        }
        crossing
    }

    /// The run of a domain elsewhere that has reserved it and not gone ahead.
    fn contends<'s>(&self, other: &'s Seen) -> Option<&'s Run> {
        let stake = other.stake.as_ref().filter(|stake| stake.phase == Phase::Reserved)?;
        (!self.gone_ahead.contains(&stake.run.id)).then_some(&stake.run)
    }
}

impl Seen {
    fn run(&self) -> Option<&Run> {
        self.stake.as_ref().map(|stake| &stake.run)
    }

    fn is_forced(&self) -> bool {
        self.stake.as_ref().is_some_and(|stake| stake.forced)
    }
}
