//! Reserving by defining: from a plan to domains that everybody sees, and the decision whether they may stay.

use std::time::Duration;

use anyhow::{Context as _, Result};

use super::vm::{self, Made, Vm};
use crate::{
    cmd::{dns, undo::Undo, world::World},
    core::{
        capacity::Policy,
        clone_plan::{ClonePlan, Facts, PlannedClone},
        domain::logs,
        error::{Refusal, UndoIncomplete},
        facts::VolumeFormat,
        manifest::{CloneRecord, Metadata, Phase},
        metadata,
        reservation::{Verdict, verdict},
        xml::clone::{CloneIdentity, DiskChange, DiskLocation, ExtraDiskXml, clone_domain},
    },
    host::identity::HostKey,
};

/// How long to wait for those that must give way. One on another machine that was killed looks alive for long.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long between two looks.
const PAUSE: Duration = Duration::from_millis(100);
/// How often a call is planned again when somebody on another machine takes a name in the same moment.
const ATTEMPTS: usize = 5;

/// Plans a call and reserves what it needs: when this returns, the domains are defined and admitted.
///
/// # Errors
/// [`Refusal`] for want of room or because others have what is asked for: then nothing is left. Anything else is undone, too.
pub fn reserve<'a>(world: World<'a>, policy: Policy, plan: &dyn Fn(&Facts) -> Result<ClonePlan>) -> Result<Vec<Vm<'a>>> {
    // Between reading the facts and defining the clones nobody else on this machine may do the same.
    let _lock = world.reserve()?;
    for attempt in 1.. {
        let planned = plan(&world.facts(policy)?)?;
        dns::check_free(world, planned.purpose, &planned.clones)?;
        let mut vms = Vec::with_capacity(planned.clones.len());
        let defined = planned.clones.iter().try_for_each(|clone| define(world, &planned, clone, &mut vms));
        let outcome = defined.and_then(|()| hold(world, policy, &mut vms));
        let Err(error) = outcome else { return Ok(vms) };
        // Whether somebody else was quicker is only asked to try again: that it cannot be answered must not hide what has failed.
        let clash = attempt < ATTEMPTS && taken_by_another(world, &planned).unwrap_or(false);
        let error = roll_back(vms, error);
        if !clash || error.is::<UndoIncomplete>() {
            return Err(error);
        }
    }
    unreachable!("the last attempt returns")
}

/// Undoes all VMs of a call, the last first.
pub fn roll_back(vms: Vec<Vm<'_>>, cause: anyhow::Error) -> anyhow::Error {
    let mut all = Undo::default();
    vms.into_iter().for_each(|vm| all.append(vm.undo));
    all.roll_back(cause)
}

/// Whether one of the names has become a domain of somebody else's since the facts were read.
fn taken_by_another(world: World<'_>, plan: &ClonePlan) -> Result<bool> {
    for clone in &plan.clones {
        if world.hypervisor.domain(clone.name.as_str())?.is_some_and(|domain| domain.uuid != clone.uuid) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Defines one clone.
fn define<'a>(world: World<'a>, plan: &ClonePlan, planned: &PlannedClone, vms: &mut Vec<Vm<'a>>) -> Result<()> {
    world.local.go_on()?;
    let host_key = HostKey::generate(&planned.name)?;
    let record = vm::record(world, plan, planned, &host_key);
    let path = |volume: &String| world.storage.path_of(volume);
    let disks = record.volumes.iter().map(path).collect::<Result<Vec<_>>>()?;
    let xml = clone_domain(&planned.origin.xml, &identity(world, planned, &record)?)?;
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
    let made = Made { planned: planned.clone(), record, host_key, disks, addresses };
    vms.push(Vm { made, undo, failed: None, progress: None, stages: Vec::new() });
    Ok(())
}

fn identity(world: World<'_>, planned: &PlannedClone, record: &CloneRecord) -> Result<CloneIdentity> {
    let file = |volume: &str| world.storage.path_of(volume).map(DiskLocation::File);
    let extra_disks = planned.extra_volumes().enumerate().map(|(index, (volume, _))| {
        let serial = crate::core::extra_disks::disk_serial(planned.uuid, index);
        Ok(ExtraDiskXml { location: file(&volume)?, format: VolumeFormat::Qcow2, serial })
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
            format: VolumeFormat::Qcow2,
        }],
        seed: planned.seed_volume().map(|volume| file(&volume)).transpose()?,
        extra_disks: extra_disks.collect::<Result<_>>()?,
        description: Some(planned.description.clone().unwrap_or_else(|| format!("clone of {}", planned.origin.id))),
        metadata: metadata::element(&Metadata::Clone(Box::new(record.clone()))),
        nvram: planned.nvram_volume().map(|volume| world.storage.path_of(&volume)).transpose()?,
    })
}

/// Decides whether the defined domains may stay, by what everybody holds; if so, says it to everybody.
fn hold(world: World<'_>, policy: Policy, vms: &mut [Vm<'_>]) -> Result<()> {
    let mine = world.local.run();
    let end = world.local.now() + PATIENCE;
    loop {
        world.local.go_on()?;
        match verdict(mine, &world.view(policy)?) {
            Verdict::Go => break,
            Verdict::GiveWay(refusal) => return Err(refusal.into()),
            Verdict::Wait(others) if world.local.now() >= end => {
                let reason = format!("{} others are reserving on this hypervisor, and come to no end", others.len());
                return Err(Refusal::new(reason).advise("try again; `tpl prune` removes what killed runs have left").into());
            }
            Verdict::Wait(_) => world.local.sleep(PAUSE),
        }
    }
    vms.iter_mut().try_for_each(|vm| vm.made.reach(world, Phase::Creating))
}
