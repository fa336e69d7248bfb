//! One call over several hypervisors, planned: who can have VMs at all, who gets which, and the plan of each.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use uuid::Uuid;

use super::{Strategy, place, shortages};
use crate::core::{
    capacity::{self, Demand},
    clone_plan::{self, ClonePlan, Facts, PlannedClone, VmRequest},
    error::Refusal,
    inventory::{Inventory, Template},
    mac::Mac,
    manifest::{Purpose, State},
    names::{TemplateId, TemplateName, TemplateRef},
    vm_spec::IpChoice,
};

/// A hypervisor that can have VMs of a call.
#[derive(Debug, Clone, Copy)]
pub struct Candidate<'a> {
    /// Its place among the hypervisors of the call.
    pub site: usize,
    /// What it is called.
    pub name: &'a str,
    /// What is read of it.
    pub facts: &'a Facts,
    /// The template there.
    pub template: &'a Template,
}

/// A call, planned for each of its hypervisors.
#[derive(Debug, Clone)]
pub struct Placed {
    /// What each hypervisor gets, in the order in which they were named; perhaps nothing.
    pub plans: Vec<ClonePlan>,
    /// The hypervisor of each VM, in the order of the call.
    pub sites: Vec<usize>,
    /// What is to be said besides.
    pub notes: Vec<String>,
}

impl From<ClonePlan> for Placed {
    /// All on the one hypervisor that there is.
    fn from(plan: ClonePlan) -> Self {
        Self { sites: vec![0; plan.clones.len()], plans: vec![plan], notes: Vec::new() }
    }
}

impl Placed {
    /// The VMs in the order of the call, each with its hypervisor and that one's plan.
    pub fn clones(&self) -> impl Iterator<Item = (usize, &ClonePlan, &PlannedClone)> {
        let mut next = vec![0; self.plans.len()];
        self.sites.iter().filter_map(move |site| {
            let plan = self.plans.get(*site)?;
            let clone = plan.clones.get(next[*site])?;
            next[*site] += 1;
            Some((*site, plan, clone))
        })
    }
}

/// The hypervisors that have the template which is meant, and why the others have not. What is current is decided over all of them:
/// the version that was promoted last.
///
/// # Errors
/// [`Refusal`]: none has it, or it is not the same everywhere.
pub fn candidates<'a>(
    wanted: Option<&TemplateRef>,
    configured: Option<&TemplateName>,
    hypervisors: &[(&'a str, &'a Facts)],
) -> Result<(Vec<Candidate<'a>>, Vec<String>), Refusal> {
    let id = meant(wanted, configured, hypervisors)?;
    let (mut found, mut lacking) = (Vec::new(), Vec::new());
    for (site, (name, facts)) in hypervisors.iter().enumerate() {
        let usable = |template: &&Template| template.manifest.state >= State::Published && template.manifest.digest.is_some();
        match facts.inventory.templates.iter().find(|template| template.manifest.id() == id) {
            Some(template) if usable(&template) => found.push(Candidate { site, name, facts, template }),
            Some(template) => {
                lacking
                    .push(format!("{name} gets no VM: {id} is not finished there: it is {}", template.manifest.state.as_str()));
            }
            None => lacking.push(format!("{name} gets no VM: it has no {id} (`tpl push {id} --to {name}` brings it)")),
        }
    }
    if found.is_empty() {
        return Err(Refusal { reasons: lacking, advice: Some("`tpl list --all` shows which templates are where".to_owned()) });
    }
    let digests: BTreeSet<&str> = found.iter().filter_map(|one| one.template.manifest.digest.as_deref()).collect();
    if digests.len() > 1 {
        let digest = |one: &Candidate<'_>| one.template.manifest.digest.clone().unwrap_or_default();
        let reasons = found.iter().map(|one| format!("{}: {id} has the digest {}", one.name, digest(one))).collect();
        let advice = "one version must be the same everywhere: remove the wrong one with `tpl rm`, or name one hypervisor";
        return Err(Refusal { reasons, advice: Some(advice.to_owned()) });
    }
    Ok((found, lacking))
}

/// The version that is meant, of all that there are on any of the hypervisors.
fn meant(
    wanted: Option<&TemplateRef>,
    configured: Option<&TemplateName>,
    hypervisors: &[(&str, &Facts)],
) -> Result<TemplateId, Refusal> {
    let mut newest: BTreeMap<String, &Template> = BTreeMap::new();
    let rank = |template: &Template| (template.manifest.state == State::Published, template.manifest.promoted_at);
    for template in hypervisors.iter().flat_map(|(_, facts)| &facts.inventory.templates) {
        let known = newest.entry(template.manifest.id().domain()).or_insert(template);
        if rank(template) > rank(known) {
            *known = template;
        }
    }
    let all = Inventory { templates: newest.into_values().cloned().collect(), ..Inventory::default() };
    let template = match wanted {
        Some(reference) => all.find(reference)?,
        None => all.default_template(configured)?,
    };
    Ok(template.manifest.id())
}

/// Plans a call. `requests` has for each candidate what is asked of it: the same VMs in the same order. `hypervisors` is how many the
/// call has, candidates or not; `notes` is what is to be said of the others.
///
/// # Errors
/// As for [`clone_plan::plan`]; a refusal names the hypervisor of each reason.
pub fn plan(
    strategy: Strategy,
    candidates: &[Candidate<'_>],
    requests: &[Vec<VmRequest<'_>>],
    forced: Option<&str>,
    hypervisors: usize,
    notes: Vec<String>,
    fresh: &mut dyn FnMut() -> Uuid,
) -> Result<Placed> {
    let demands = demands(candidates, requests)?;
    let rooms: Vec<&_> = candidates.iter().map(|candidate| &candidate.facts.capacity).collect();
    let places =
        place(strategy, &rooms, &demands, forced.is_some()).map_err(|partly| no_room(candidates, &demands, &partly, &notes))?;
    let empty = || ClonePlan { purpose: Purpose::Clone, forced: forced.map(str::to_owned), clones: Vec::new() };
    let mut placed = Placed {
        plans: (0..hypervisors).map(|_| empty()).collect(),
        sites: places.iter().map(|place| candidates[*place].site).collect(),
        notes,
    };
    let mut given = Given::default();
    let mut refusal = Refusal { reasons: Vec::new(), advice: None };
    for (index, candidate) in candidates.iter().enumerate() {
        let here = requests[index].iter().zip(&places).filter(|(_, place)| **place == index);
        let here: Vec<VmRequest<'_>> = here.map(|(request, _)| request.clone()).collect();
        if here.is_empty() {
            continue;
        }
        let facts = given.besides(candidate.facts, candidates, &here);
        match clone_plan::plan(&here, Purpose::Clone, forced, &facts, fresh).map_err(anyhow::Error::downcast::<Refusal>) {
            Ok(plan) => {
                given.take(&plan, candidate.name);
                placed.plans[candidate.site] = plan;
            }
            Err(Ok(refused)) => {
                refusal.reasons.extend(refused.reasons.iter().map(|reason| format!("{}: {reason}", candidate.name)));
                refusal.advice = refusal.advice.or(refused.advice);
            }
            Err(Err(error)) => return Err(error),
        }
    }
    if refusal.reasons.is_empty() { Ok(placed) } else { Err(refusal.into()) }
}

/// What each VM asks of each candidate.
fn demands(candidates: &[Candidate<'_>], requests: &[Vec<VmRequest<'_>>]) -> Result<Vec<Vec<Demand>>> {
    let of_each = candidates.iter().zip(requests).map(|(candidate, requests)| clone_plan::demands(requests, candidate.facts));
    let of_each: Vec<Vec<Demand>> = of_each.collect::<Result<_>>()?;
    let vms = of_each.first().map_or(0, Vec::len);
    Ok((0..vms).map(|vm| of_each.iter().map(|demands| demands[vm]).collect()).collect())
}

/// Every axis of every hypervisor on which there is too little, behind how many would find room in all.
fn no_room(candidates: &[Candidate<'_>], demands: &[Vec<Demand>], partly: &[usize], notes: &[String]) -> Refusal {
    let count = |index: usize| partly.iter().filter(|place| **place == index).count();
    let each: Vec<String> =
        candidates.iter().enumerate().map(|(index, one)| format!("{} on {}", count(index), one.name)).collect();
    let s = if demands.len() == 1 { " is" } else { "s are" };
    let mut reasons =
        vec![format!("{} VM{s} asked for, and there is room for {}: {}", demands.len(), partly.len(), each.join(", "))];
    for (index, candidate) in candidates.iter().enumerate() {
        let shortages = shortages(&candidate.facts.capacity, demands, index);
        reasons.extend(shortages.iter().map(|shortage| format!("{}: {shortage}", candidate.name)));
    }
    reasons.extend(notes.iter().cloned());
    capacity::refusal(reasons)
}

/// What VMs of the call that are planned already have on other hypervisors.
#[derive(Default)]
struct Given {
    macs: BTreeSet<Mac>,
    addresses: Vec<(std::net::IpAddr, String)>,
}

impl Given {
    fn take(&mut self, plan: &ClonePlan, hypervisor: &str) {
        for clone in &plan.clones {
            self.macs.extend(&clone.place.macs);
            self.addresses.extend(clone.place.address.map(|address| (address, format!("{} on {hypervisor}", clone.name))));
        }
    }

    /// A hypervisor's facts, with what is taken on the others: their MACs; and where the operator names the addresses, these too.
    /// Addresses that follow from a hypervisor's own networks are those networks' alone.
    fn besides(&self, facts: &Facts, all: &[Candidate<'_>], here: &[VmRequest<'_>]) -> Facts {
        let mut facts = facts.clone();
        facts.taken.macs.extend(all.iter().flat_map(|candidate| candidate.facts.inventory.macs.iter().copied()));
        facts.taken.macs.extend(&self.macs);
        if here.iter().any(|request| matches!(request.spec.ip, Some(IpChoice::Ranges(_)))) {
            let others = all.iter().flat_map(|candidate| candidate.facts.taken.promised.clone());
            for (address, holder) in others.chain(self.addresses.iter().cloned()) {
                facts.taken.promised.entry(address).or_insert(holder);
            }
        }
        facts
    }
}
