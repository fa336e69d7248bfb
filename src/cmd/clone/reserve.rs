//! Reserving by defining: from a plan to domains that everybody sees, and the decision whether they may stay.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use uuid::Uuid;

use super::{
    sites::Sites,
    vm::{self, Made, Vm},
    work::Planner,
};
use crate::{
    cmd::{undo::Undo, world::World},
    core::{
        clone_plan::{ClonePlan, PlannedClone},
        domain::logs,
        error::{Refusal, UndoIncomplete},
        manifest::{CloneRecord, Metadata, Phase, Run},
        metadata,
        placement::Placed,
        reservation::Verdict,
        xml::clone::{CloneIdentity, DiskChange, ExtraDiskXml, clone_domain},
    },
    host::identity::HostKey,
    ui,
};

/// How long to wait for those that must give way. One on another machine that was killed looks alive for long.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a call is planned again and again: on a slow hypervisor one attempt may take most of what one waits for others.
const PERSISTENCE: Duration = Duration::from_secs(300);
/// How long between two looks.
const PAUSE: Duration = Duration::from_millis(100);
/// How often a call that had to give way, or whose names somebody on another machine took in the same moment, is planned again.
/// Each time at least one of those that stood in each other's way has gone ahead.
const ATTEMPTS: usize = 16;

/// Plans a call and reserves what it needs: when this returns, the domains are defined and admitted.
///
/// # Errors
/// [`Refusal`] for want of room or because others have what is asked for: then nothing is left. Anything else is undone, too.
pub fn reserve<'a>(sites: &Sites<'a>, plan: Planner<'_>) -> Result<Vec<Vm<'a>>> {
    let local = sites.local();
    // Between reading the facts and defining the clones nobody else on this machine may do the same.
    let _locks = sites.lock()?;
    let last = local.now() + PERSISTENCE;
    let mut in_the_way = String::new();
    for attempt in 1.. {
        let end = local.now() + PATIENCE;
        let placed = plan_at_rest(sites, plan, end)?;
        sites.check_seeds(&placed)?;
        if let Err(error) = sites.check_dns(&placed) {
            // What somebody has told the network's DNS since the facts were read is in the next facts, and another address may be
            // free. Whatever is in the way of a second plan, too, stays there.
            let told = format!("{error:#}");
            if error.downcast_ref::<Refusal>().is_none() || told == in_the_way || attempt == ATTEMPTS {
                return Err(error);
            }
            in_the_way = told;
            continue;
        }
        let mut vms = Vec::with_capacity(placed.sites.len());
        let defined = placed.clones().try_for_each(|(site, planned, clone)| {
            let defined = define(sites.world(site), site, planned, clone, &mut vms);
            sites.of_one(site, defined)
        });
        // On all of them before any is read again.
        let (error, gives_way) = match defined.and_then(|()| hold(sites, &mut vms, end)) {
            Ok(Ok(())) => {
                placed.notes.iter().for_each(|note| ui::note(note));
                return Ok(vms);
            }
            Ok(Err(refusal)) => (refusal.into(), true),
            // Whether somebody else was quicker is only asked to try again: that it cannot be answered must not hide what has failed.
            Err(error) => match taken_by_another(sites, &placed).unwrap_or(false) {
                true => (Refusal::new(format!("{error:#}")).advise("others make VMs of these names: try again").into(), true),
                false => (error, false),
            },
        };
        // Another name or address may be free, and where it is not, the next plan says what is.
        let again = gives_way && attempt < ATTEMPTS && local.now() < last;
        let error = roll_back(vms, error);
        if !again || error.downcast_ref::<UndoIncomplete>().is_some() {
            return Err(error);
        }
        local.sleep(apart(attempt));
    }
    unreachable!("the last attempt returns")
}

/// Plans. A refusal counts only when nobody else is in the middle of reserving: some of those will give way, and what they hold
/// now is free in a moment.
fn plan_at_rest(sites: &Sites<'_>, plan: Planner<'_>, end: Timestamp) -> Result<Placed> {
    let local = sites.local();
    // As in `core::reservation`: only of a run that had ended before the domains were read is it sure that what it has reserved
    // stays.
    let mut dead = BTreeSet::new();
    for attempt in 1.. {
        local.go_on()?;
        let facts = sites.facts()?;
        let refused = match plan(&facts) {
            Err(error) if error.downcast_ref::<Refusal>().is_some() && local.now() < end => error,
            outcome => return outcome,
        };
        let clones = facts.iter().flat_map(|facts| &facts.inventory.clones);
        let reserved = clones.map(|clone| &clone.record).filter(|record| record.phase == Phase::Reserved);
        let others: Vec<&Run> = reserved.map(|record| &record.run).filter(|run| !dead.contains(&run.id)).collect();
        if others.is_empty() {
            return Err(refused);
        }
        for run in others {
            if !local.is_alive(run)? {
                dead.insert(run.id);
            }
        }
        local.sleep(apart(attempt));
    }
    unreachable!("the time ends")
}

/// A pause that differs from call to call, so that those who stood in each other's way do not meet again.
fn apart(attempt: usize) -> Duration {
    let [random, ..] = Uuid::new_v4().into_bytes();
    let factor = u32::try_from(attempt.min(4)).unwrap_or(4) * (1 + u32::from(random));
    PAUSE * factor / 256
}

/// Undoes all VMs of a call, the last first.
pub fn roll_back(vms: Vec<Vm<'_>>, cause: anyhow::Error) -> anyhow::Error {
    let mut all = Undo::default();
    vms.into_iter().for_each(|vm| all.append(vm.undo));
    all.roll_back(cause)
}

/// Whether one of the names has become a domain of somebody else's since the facts were read.
fn taken_by_another(sites: &Sites<'_>, placed: &Placed) -> Result<bool> {
    for (site, _, clone) in placed.clones() {
        if sites.world(site).hypervisor.domain(clone.name.as_str())?.is_some_and(|domain| domain.uuid != clone.uuid) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Defines one clone.
fn define<'a>(world: World<'a>, site: usize, plan: &ClonePlan, planned: &PlannedClone, vms: &mut Vec<Vm<'a>>) -> Result<()> {
    world.local.go_on()?;
    let host_key = HostKey::generate(&planned.name)?;
    let record = vm::record(world, plan, planned, &host_key);
    let path = |volume: &String| world.storage.path_of(volume);
    let disks = record.volumes.iter().map(path).collect::<Result<Vec<_>>>()?;
    let xml = clone_domain(&planned.origin.xml, &identity(planned, &record, &disks)?)?;
    let name = planned.name.to_string();
    let (logs, removed) = (logs(&name), name.clone());
    world.hypervisor.define(&xml).with_context(|| format!("defining domain {name}"))?;
    let mut undo = Undo::default();
    undo.push_domain(&name, move || world.hypervisor.undefine(&removed));
    // Before its domain: nothing else tells whose log it is.
    undo.push(&name, format!("removing the logs of {name}"), move || {
        logs.iter().try_for_each(|log| world.hypervisor.remove_log(log))
    });
    let addresses = record.addresses.clone();
    let made = Made { site, planned: planned.clone(), record, host_key, disks, addresses };
    vms.push(Vm { made, undo, failed: None, progress: None, stages: Vec::new() });
    Ok(())
}

fn identity(planned: &PlannedClone, record: &CloneRecord, paths: &[String]) -> Result<CloneIdentity> {
    let path = |volume: &str| vm::path_of(record, paths, volume).map(str::to_owned);
    let file = |volume: &str| path(volume).map(|path| planned.keeping.location(path));
    let extra_disks = planned.extra_volumes().enumerate().map(|(index, (volume, _))| {
        let serial = crate::core::extra_disks::disk_serial(planned.uuid, index);
        Ok(ExtraDiskXml { location: file(&volume)?, format: planned.keeping.format(), serial })
    });
    Ok(CloneIdentity {
        name: planned.name.clone(),
        uuid: planned.uuid,
        macs: planned.place.macs.clone(),
        vcpus: Some(planned.vcpus),
        topology: planned.topology,
        memory: Some(planned.memory),
        plug: planned.place.plug.clone(),
        disks: vec![DiskChange {
            target: planned.origin.target.clone(),
            location: file(&planned.disk_volume())?,
            format: planned.keeping.format(),
        }],
        seed: planned.seed_volume().map(|volume| file(&volume)).transpose()?,
        asks_service: planned.is_handed(),
        extra_disks: extra_disks.collect::<Result<_>>()?,
        description: Some(planned.description.clone().unwrap_or_else(|| format!("clone of {}", planned.origin.id))),
        metadata: metadata::element(&Metadata::Clone(Box::new(record.clone()))),
        nvram: planned.nvram_volume().map(|volume| path(&volume)).transpose()?,
    })
}

/// Decides whether the defined domains may stay, by what everybody holds; if so, says it to everybody. Inside: why they give way.
fn hold(sites: &Sites<'_>, vms: &mut [Vm<'_>], end: Timestamp) -> Result<Result<(), Refusal>> {
    let local = sites.local();
    loop {
        local.go_on()?;
        match sites.verdict(&|site| vms.iter().any(|vm| vm.made.site == site))? {
            Verdict::Go => break,
            Verdict::GiveWay(refusal) => return Ok(Err(refusal)),
            Verdict::Wait(others) if local.now() >= end => {
                let reason = format!("{} others are reserving on this hypervisor, and come to no end", others.len());
                return Err(Refusal::new(reason).advise("try again; `tpl prune` removes what killed runs have left").into());
            }
            Verdict::Wait(_) => local.sleep(PAUSE),
        }
    }
    vms.iter_mut().try_for_each(|vm| vm.made.reach(sites.world(vm.made.site), Phase::Creating)).map(Ok)
}
