//! Whether KVM works. `/dev/kvm` that opens, and libvirt's capabilities, both claim it on hosts where guests only spin: so a
//! guest that powers its machine off is run, and the machine must be off soon.

use std::time::Duration;

use anyhow::Result;
use uuid::Uuid;

use crate::{
    cmd::{undo::Undo, world::World},
    core::{
        domain::{Accelerator, kvm_probe, kvm_probe_disk, logs},
        facts::DomainState,
        manifest::{Metadata, Probe},
    },
};

/// A machine under KVM is off within a second.
const PATIENCE: Duration = Duration::from_secs(6);
const PAUSE: Duration = Duration::from_millis(100);

/// What guests run on here.
///
/// # Errors
/// The probe's volume cannot be made, or the probe cannot be removed.
pub fn accelerator(world: World<'_>) -> Result<Accelerator> {
    let uuid = Uuid::new_v4();
    let name = format!("tpl-kvm-{}", &uuid.simple().to_string()[..8]);
    let probe = Probe {
        name: name.clone(),
        run: world.local.run().clone(),
        volumes: vec![name.clone()],
        pool: world.storage.pool().to_owned(),
    };
    let xml = kvm_probe(&name, uuid, &Metadata::Probe(probe), &world.location(&name)?);
    // A host without KVM at all refuses the definition.
    if world.hypervisor.define(&xml).is_err() {
        return Ok(Accelerator::Tcg);
    }
    let mut undo = Undo::default();
    let removed = name.clone();
    undo.push_domain(&name, move || world.hypervisor.undefine(&removed));
    let own_logs = logs(&name);
    undo.push(&name, format!("removing the logs of {name}"), move || {
        own_logs.iter().try_for_each(|log| world.hypervisor.remove_log(log))
    });
    let outcome = run(world, &name, &mut undo);
    // Both outcomes end in the same removal; an answer that came with a removal that failed is a failure.
    let accelerator = match outcome {
        Ok(accelerator) => accelerator,
        Err(error) => return Err(undo.roll_back(error)),
    };
    match undo.roll_back(anyhow::anyhow!("removing the KVM probe")).downcast::<crate::core::error::UndoIncomplete>() {
        Ok(incomplete) => Err(incomplete.into()),
        Err(_) => Ok(accelerator),
    }
}

fn run<'a>(world: World<'a>, name: &str, undo: &mut Undo<'a>) -> Result<Accelerator> {
    let disk = kvm_probe_disk();
    // Nobody else has a volume of this name.
    let volume = name.to_owned();
    undo.push(name, format!("removing volume {name}"), move || world.storage.delete(&volume));
    world.storage.store(name, disk.len() as u64, &mut disk.as_slice())?;
    if world.hypervisor.start(name).is_err() {
        return Ok(Accelerator::Tcg);
    }
    let stopped = name.to_owned();
    undo.push(name, format!("stopping domain {name}"), move || world.hypervisor.power_off(&stopped));
    let mut waited = Duration::ZERO;
    while waited < PATIENCE {
        match world.hypervisor.state(name)? {
            Some(DomainState::Shutoff) => return Ok(Accelerator::Kvm),
            Some(DomainState::Running) => {}
            _ => return Ok(Accelerator::Tcg),
        }
        world.local.sleep(PAUSE);
        world.local.go_on()?;
        waited += PAUSE;
    }
    Ok(Accelerator::Tcg)
}

/// The accelerator that a template was built with: its clones have the same.
pub fn accelerator_of(domain_xml: &str) -> Result<Accelerator> {
    let kvm = crate::core::xml::read::domain_facts(domain_xml)?.domain_type == "kvm";
    Ok(if kvm { Accelerator::Kvm } else { Accelerator::Tcg })
}
