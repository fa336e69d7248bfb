//! Removing what carries tpl's metadata: the volumes that it names, then the domain. In this order, so that a removal that is
//! cut short can be taken up again: while the domain is there, its metadata says what belongs to it.

use anyhow::{Context as _, Result, bail};

use crate::{
    cmd::{dns, world::World},
    core::{
        domain::logs,
        inventory::{Clone, Template},
        manifest::{CloneRecord, Manifest, Metadata, Phase, Probe, State, elsewhere},
        vm_spec::SeedWay,
    },
};

/// Removes a template's version, whatever its state.
///
/// # Errors
/// Something cannot be removed; what has been removed stays removed.
pub fn template(world: World<'_>, template: &Template) -> Result<()> {
    let manifest = &template.manifest;
    if manifest.state >= State::Published {
        // Before its bytes go it must be no version any more that is current or could be cloned or promoted: cut short from here
        // on, it is a leftover of this run, which `tpl prune` removes.
        let going = Manifest { state: State::Building, promoted_at: None, run: world.local.run().clone(), ..manifest.clone() };
        world.hypervisor.write_metadata(&template.domain.name, &Metadata::Template(Box::new(going)))?;
    }
    whole(world, &template.domain.name, &manifest.volumes, &manifest.pool, &|| Ok(()))
}

/// Removes a clone, running or not, with what DNS and DHCP servers know of it, and what the metadata service would hand out to it.
///
/// # Errors
/// As for [`template`].
pub fn clone(world: World<'_>, clone: &Clone) -> Result<()> {
    clone_keeping(world, clone, &[])
}

/// The same, and leaves these of its volumes.
///
/// # Errors
/// As for [`template`].
pub fn clone_keeping(world: World<'_>, clone: &Clone, keep: &[String]) -> Result<()> {
    let volumes: Vec<String> = clone.record.volumes.iter().filter(|volume| !keep.contains(volume)).cloned().collect();
    if !clone.record.is_unfinished() && clone.record.pool == world.storage.pool() {
        // Cut short from here on, it is no VM any more but a leftover of this run, which `tpl prune` removes: without what is kept.
        let (phase, run) = (Phase::Removing, world.local.run().clone());
        let going = CloneRecord { phase, run, volumes: volumes.clone(), ..clone.record.clone() };
        let marked = world.hypervisor.write_metadata(&clone.domain.name, &Metadata::Clone(Box::new(going)));
        marked.with_context(|| format!("removing {}", clone.domain.name))?;
    }
    let forget = || {
        dns::forget(world, &clone.record)?;
        match clone.record.seed {
            SeedWay::Metadata => world.hypervisor.remove_seed(clone.domain.uuid),
            SeedWay::Volume => Ok(()),
        }
    };
    whole(world, &clone.domain.name, &volumes, &clone.record.pool, &forget)
}

/// Removes a KVM probe.
///
/// # Errors
/// As for [`template`].
pub fn probe(world: World<'_>, probe: &Probe) -> Result<()> {
    whole(world, &probe.name, &probe.volumes, &probe.pool, &|| Ok(()))
}

/// `forget` takes back what others were told of it.
fn whole(world: World<'_>, domain: &str, volumes: &[String], pool: &str, forget: &dyn Fn() -> Result<()>) -> Result<()> {
    if let Some(reason) = elsewhere(&format!("domain {domain}"), pool, world.storage.pool()) {
        bail!("{reason}\nname it with --pool {pool}");
    }
    let remove = || {
        // Off first: names and addresses of a machine that still runs must not become somebody else's.
        world.hypervisor.power_off(domain)?;
        forget()?;
        for volume in volumes {
            world.remove_volume(volume)?;
        }
        for log in logs(domain) {
            world.hypervisor.remove_log(&log)?;
        }
        world.hypervisor.undefine(domain)
    };
    remove().with_context(|| format!("removing {domain}"))
}
