//! Making an admitted VM: its address, its names in DNS, its disks, its identity, its start. Each step leaves its undo.

use std::path::Path;

use anyhow::{Context as _, Result};

use super::{
    handed, offline,
    vm::{Made, Vm, tell_dns},
};
use crate::{
    cmd::world::World,
    core::{
        error::LeftBehind,
        extra_disks::seed_disks,
        facts::{NewVolume, VolumeFormat, is_local},
        manifest::Purpose,
        progress::Silent,
        secret::Secret,
    },
    host::seed_image::seed_image,
    offline::write_all,
};

/// Lets DHCP and DNS know of the VM, as far as its address is known by now.
///
/// # Errors
/// A server refuses. What has been done stands in the VM's undo.
pub fn announce<'a>(world: World<'a>, vm: &mut Vm<'a>) -> Result<()> {
    if vm.made.record.purpose == Purpose::BootTest {
        return Ok(());
    }
    let name = vm.made.name().to_owned();
    for reservation in vm.made.record.reservations.clone() {
        let released = reservation.clone();
        vm.undo.push(&name, format!("releasing {}", reservation.ip), move || world.hypervisor.release_address(&released));
        world.hypervisor.reserve_address(&reservation).with_context(|| format!("reserving {} for {name}", reservation.ip))?;
    }
    let addresses = vm.made.record.addresses.clone();
    if addresses.is_empty() {
        return Ok(());
    }
    tell_dns(world, vm, &addresses)
}

/// Makes the volumes.
///
/// # Errors
/// A volume that cannot be made. What has been done stands in the VM's undo.
pub fn disks<'a>(world: World<'a>, vm: &mut Vm<'a>) -> Result<()> {
    world.local.go_on()?;
    let planned = vm.made.planned.clone();
    let name = planned.disk_volume();
    let (keeping, format) = (&planned.keeping, planned.keeping.format());
    let backing = keeping.linked.then_some((planned.origin.path.as_str(), VolumeFormat::Raw));
    let volume = NewVolume { name: &name, capacity: keeping.disk, format, backing, room: keeping.room, protected: false };
    let result = if keeping.linked { world.storage.create(&volume) } else { world.storage.copy(&planned.origin.volume, &volume) };
    made(world, vm, name, result)?;
    for (name, capacity) in planned.extra_volumes() {
        let new = NewVolume { name: &name, capacity, format, backing: None, room: None, protected: false };
        let result = world.storage.create(&new);
        made(world, vm, name, result)?;
    }
    if let Some(name) = planned.seed_volume() {
        let image = seed(&vm.made)?;
        store(world, vm, name, image.expose())?;
    }
    handed::keep(world, vm)?;
    if let (Some(name), Some(template)) = (planned.nvram_volume(), &planned.origin.nvram) {
        // A template that never ran has none yet: libvirt then makes the clone's from the firmware's own. One that keeps some is not
        // cloned from another machine (`cmd::remote`), where this path would be somebody else's file.
        let here = is_local(world.hypervisor.uri());
        let bytes = if here { world.images.read_small(Path::new(template))? } else { None };
        if let Some(bytes) = bytes {
            store(world, vm, name, &bytes)?;
        }
    }
    if planned.autostart {
        world.hypervisor.set_autostart(vm.made.name(), true)?;
    }
    Ok(())
}

fn store<'a>(world: World<'a>, vm: &mut Vm<'a>, volume: String, mut bytes: &[u8]) -> Result<()> {
    let result = world.storage.store(&volume, bytes.len() as u64, &mut bytes);
    made(world, vm, volume, result)
}

/// Notes down how to remove a volume that has been made, or that may have been although its making has failed: then the domain stays
/// until it is known to be gone. After any other failure a volume of this name is somebody else's.
fn made<'a>(world: World<'a>, vm: &mut Vm<'a>, volume: String, result: Result<String>) -> Result<()> {
    if result.as_ref().err().is_none_or(|error| error.is::<LeftBehind>()) {
        let domain = vm.made.name().to_owned();
        vm.undo.push(&domain, format!("removing volume {volume}"), move || world.storage.delete(&volume));
    }
    result.map(drop)
}

fn seed(made: &Made) -> Result<Secret<Vec<u8>>> {
    let planned = &made.planned;
    let (cards, disks) = (planned.cards(), seed_disks(planned.uuid, &planned.extra_disks));
    let seed = planned.seed_with((&made.host_key.private, &made.host_key.public), &cards, &disks);
    let make = || seed_image(&seed.meta_data()?, &seed.network_config()?, &seed.user_data()?);
    make().with_context(|| format!("making the seed of {}", planned.name))
}

/// Writes the identity of those VMs into their disks that have nothing to read a seed with: all in one appliance.
///
/// # Errors
/// The appliance's; the clone is named.
pub fn write_identities(world: World<'_>, vms: &[&Made]) -> Result<()> {
    let Some(first) = vms.first() else { return Ok(()) };
    let appliance = (world.appliance)(first.planned.origin.accelerator);
    let targets = vms.iter().map(|made| offline::target(made)).collect::<Result<Vec<_>>>()?;
    write_all(appliance, &targets, &Silent)
}

/// Starts a VM.
///
/// # Errors
/// An emulator that does not start.
pub fn start<'a>(world: World<'a>, vm: &mut Vm<'a>) -> Result<()> {
    world.local.go_on()?;
    let name = vm.made.name().to_owned();
    let stopped = name.clone();
    vm.undo.push_stop(&name, move || world.hypervisor.power_off(&stopped));
    world.hypervisor.start(&name)
}

/// Takes the snapshot that was asked for.
///
/// # Errors
/// libvirt refuses.
pub fn snapshot(world: World<'_>, vm: &Vm<'_>) -> Result<()> {
    let Some(snapshot) = &vm.made.planned.snapshot else { return Ok(()) };
    let description = format!("{} as tpl made it", vm.made.name());
    world.hypervisor.snapshot(vm.made.name(), snapshot, &description)
}
