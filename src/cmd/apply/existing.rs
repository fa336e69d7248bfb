//! What there is of a fleet.

use std::{collections::BTreeMap, net::IpAddr};

use anyhow::Result;

use crate::{
    cmd::world::World,
    core::{
        clone_plan::Facts,
        fleet::{Declared, diff},
        inventory::Clone,
        manifest::CloneRecord,
        network::Plug,
        units::ByteSize,
        xml::read::domain_facts,
    },
};

/// Reads what there is of these VMs.
///
/// # Errors
/// The connection fails, or a VM's definition cannot be read.
pub fn of(world: World<'_>, facts: &Facts, fleet: &[Declared]) -> Result<diff::World> {
    let clones: BTreeMap<_, _> = facts.inventory.clones.iter().map(|clone| (&clone.record.name, clone)).collect();
    let mut found = diff::World { vms: BTreeMap::new(), domains: facts.inventory.names.clone() };
    for vm in fleet {
        let Some(clone) = clones.get(&vm.name) else { continue };
        found.vms.insert(vm.name.clone(), existing(world, facts, clone)?);
    }
    Ok(found)
}

fn existing(world: World<'_>, facts: &Facts, clone: &Clone) -> Result<diff::Existing> {
    let name = clone.domain.name.as_str();
    let domain = domain_facts(&clone.domain.xml)?;
    let leases = facts.taken.leases.values().flatten().filter(|lease| lease.mac.is_some_and(|mac| domain.macs.contains(&mac)));
    let mut addresses: Vec<IpAddr> = match clone.domain.state.is_active() {
        true => leases.map(|lease| lease.ip).collect(),
        false => Vec::new(),
    };
    let on_a_bridge = matches!(domain.plug, Some(Plug::Bridge(_)));
    if on_a_bridge && clone.domain.state.is_active() && addresses.is_empty() && clone.record.addresses.is_empty() {
        // No DHCP server of libvirt's knows of it.
        addresses = world.hypervisor.neighbours(name)?;
    }
    Ok(diff::Existing {
        state: clone.domain.state,
        vcpus: domain.vcpus,
        memory: domain.memory,
        disks: disks(facts, &clone.record),
        extent: facts.pool.extent,
        plug: domain.plug,
        macs: domain.macs,
        autostart: world.hypervisor.autostart(name)?,
        addresses,
        record: clone.record.clone(),
    })
}

/// The virtual sizes of a VM's disks: the system disk is called as the VM, and stands first among its volumes.
fn disks(facts: &Facts, record: &CloneRecord) -> Vec<ByteSize> {
    let other = ["-seed", "-nvram"].map(|suffix| format!("{}{suffix}", record.name));
    let disks = record.volumes.iter().filter(|volume| !other.contains(volume));
    disks.filter_map(|disk| facts.volumes.iter().find(|volume| volume.name == *disk)).map(|volume| volume.capacity).collect()
}
