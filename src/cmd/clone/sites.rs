//! The hypervisors that a call may put VMs on: mostly one. What is done on all of them is done here, on all at once.

use anyhow::{Context as _, Result};

use super::handed;
use crate::{
    cmd::{
        dns, parallel,
        world::{self, World},
    },
    core::{
        capacity::Policy,
        clone_plan::Facts,
        inventory::Inventory,
        placement::Placed,
        reservation::{Verdict, View, verdict},
    },
    host::local::{Local, Lock},
};

/// A hypervisor, and how much of it may be promised.
#[derive(Clone, Copy)]
pub struct Site<'a> {
    /// The outside. This machine's part of it is the same in all sites of a call.
    pub world: World<'a>,
    /// How much of it may be promised.
    pub policy: Policy,
}

/// The hypervisors of a call, in the order in which they were named.
#[derive(Clone)]
pub struct Sites<'a> {
    first: World<'a>,
    all: Vec<Site<'a>>,
}

impl<'a> Sites<'a> {
    /// One.
    pub fn one(world: World<'a>, policy: Policy) -> Self {
        Self::of(Site { world, policy }, [])
    }

    /// One and others.
    pub fn of(first: Site<'a>, others: impl IntoIterator<Item = Site<'a>>) -> Self {
        Self { first: first.world, all: std::iter::once(first).chain(others).collect() }
    }

    /// Whether VMs must say where they are.
    pub fn are_several(&self) -> bool {
        self.all.len() > 1
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.all.len()
    }

    /// The outside of the first: what is asked of this machine can be asked of any.
    pub fn first(&self) -> World<'a> {
        self.first
    }

    /// This machine.
    pub fn local(&self) -> &'a dyn Local {
        self.first.local
    }

    /// The outside of one, by its number.
    pub fn world(&self, site: usize) -> World<'a> {
        self.all.get(site).map_or(self.first, |site| site.world)
    }

    /// What one is called.
    pub fn name(&self, site: usize) -> &'a str {
        self.world(site).hypervisor.name()
    }

    /// What all are called.
    pub fn names(&self, joint: &str) -> String {
        let names: Vec<&str> = (0..self.count()).map(|site| self.name(site)).collect();
        names.join(joint)
    }

    /// What one is called, where that must be said.
    pub fn label(&self, site: usize) -> Option<String> {
        self.are_several().then(|| self.name(site).to_owned())
    }

    /// An outcome of one of several: an error says of which.
    ///
    /// # Errors
    /// The outcome's.
    pub fn of_one<T>(&self, site: usize, outcome: Result<T>) -> Result<T> {
        match self.label(site) {
            Some(name) => outcome.with_context(|| format!("hypervisor {name}")),
            None => outcome,
        }
    }

    /// What a plan needs to know of each, in one read of each.
    ///
    /// # Errors
    /// A connection fails; the hypervisor is named.
    pub fn facts(&self) -> Result<Vec<Facts>> {
        let mut sites = self.all.clone();
        let facts = parallel::each(sites.len(), &mut sites, |index, site| self.of_one(index, site.world.facts(site.policy)));
        facts.into_iter().collect()
    }

    /// The domains of each.
    ///
    /// # Errors
    /// A connection fails; the hypervisor is named.
    pub fn inventories(&self) -> Result<Vec<Inventory>> {
        let mut sites = self.all.clone();
        let all = parallel::each(sites.len(), &mut sites, |index, site| self.of_one(index, site.world.inventory()));
        all.into_iter().collect()
    }

    /// The locks of all. They are taken in one order whatever the order of the names, so that of two calls none waits for a lock
    /// behind the other's.
    ///
    /// # Errors
    /// [`Refusal`](crate::core::error::Refusal) when another run does not let go of one.
    pub fn lock(&self) -> Result<Vec<Lock>> {
        let mut order: Vec<&Site<'_>> = self.all.iter().collect();
        order.sort_by_key(|site| site.world.hypervisor.uri());
        order.into_iter().map(|site| site.world.reserve()).collect()
    }

    /// What this run does next, by what everybody holds on all of them. `used` tells which of them have VMs of the call.
    ///
    /// # Errors
    /// A connection fails, or the locks of other runs cannot be read.
    pub fn verdict(&self, used: &dyn Fn(usize) -> bool) -> Result<Verdict> {
        let views: Vec<View> = world::views(self)?;
        let verdicts = views.iter().enumerate().filter(|(site, _)| used(*site));
        Ok(Verdict::of_all(verdicts.map(|(site, view)| self.told(site, verdict(self.local().run(), view)))))
    }

    /// A verdict, with the hypervisor's name in front of its reasons where there are several.
    fn told(&self, site: usize, verdict: Verdict) -> Verdict {
        match (verdict, self.label(site)) {
            (Verdict::GiveWay(mut refusal), Some(name)) => {
                refusal.reasons.iter_mut().for_each(|reason| *reason = format!("{name}: {reason}"));
                Verdict::GiveWay(refusal)
            }
            (verdict, _) => verdict,
        }
    }

    /// Each, with its number.
    pub fn iter(&self) -> impl Iterator<Item = (usize, Site<'a>)> {
        self.all.iter().copied().enumerate()
    }

    /// That each can keep the seeds of its VMs of a call.
    ///
    /// # Errors
    /// [`Refusal`](crate::core::error::Refusal); the hypervisor is named.
    pub fn check_seeds(&self, placed: &Placed) -> Result<()> {
        let mut plans = placed.plans.iter().enumerate();
        plans.try_for_each(|(site, plan)| self.of_one(site, handed::check(self.world(site), &plan.clones)))
    }

    /// That no DNS has another's record in the way of a call.
    ///
    /// # Errors
    /// [`Refusal`](crate::core::error::Refusal) with all of them.
    pub fn check_dns(&self, placed: &Placed) -> Result<()> {
        let mut plans = placed.plans.iter().enumerate();
        plans.try_for_each(|(site, plan)| self.of_one(site, dns::check_free(self.world(site), plan.purpose, &plan.clones)))
    }
}
