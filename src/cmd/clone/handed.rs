//! Seeds that the metadata service hands out: where they can be kept, and keeping them.

use anyhow::Result;

use super::vm::Vm;
use crate::{
    cmd::world::World,
    core::{clone_plan::PlannedClone, error::Refusal},
};

/// That the hypervisor can keep the seeds of those clones that are to have them from the metadata service.
///
/// # Errors
/// [`Refusal`]: it keeps no secrets. Else the connection's own.
pub fn check(world: World<'_>, clones: &[PlannedClone]) -> Result<()> {
    if !clones.iter().any(PlannedClone::is_handed) || world.hypervisor.keeps_seeds()? {
        return Ok(());
    }
    let reason = format!(
        "{} keeps no secrets, and with --seed metadata a VM's seed is kept as one: it holds a private key",
        world.hypervisor.name()
    );
    Err(Refusal::new(reason).advise("ask for --seed volume").into())
}

/// Keeps a VM's seed, if it is one for the metadata service.
///
/// # Errors
/// It cannot be kept. What has been done stands in the VM's undo.
pub(super) fn keep<'a>(world: World<'a>, vm: &mut Vm<'a>) -> Result<()> {
    let planned = &vm.made.planned;
    if !planned.is_handed() {
        return Ok(());
    }
    let seed = planned.handed_seed((&vm.made.host_key.private, &vm.made.host_key.public))?.to_bytes()?;
    let (name, uuid) = (vm.made.name().to_owned(), planned.uuid);
    // Before it is done: it may come to be there although keeping it has failed.
    vm.undo.push(&name, format!("removing the seed of {name}"), move || world.hypervisor.remove_seed(uuid));
    world.hypervisor.store_seed(uuid, &name, &seed)
}
