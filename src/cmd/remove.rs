//! Removing what carries tpl's metadata: the volumes that it names, then the domain. In this order, so that a removal that is
//! cut short can be taken up again: while the domain is there, its metadata says what belongs to it.

use anyhow::{Context as _, Result, ensure};

use crate::{
    cmd::world::World,
    core::{
        domain::logs,
        inventory::{Clone, Template},
        manifest::{Manifest, Metadata, Probe, State},
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
    whole(world, &template.domain.name, &manifest.volumes, &manifest.pool)
}

/// Removes a clone, running or not.
///
/// # Errors
/// As for [`template`].
pub fn clone(world: World<'_>, clone: &Clone) -> Result<()> {
    whole(world, &clone.domain.name, &clone.record.volumes, &clone.record.pool)
}

/// Removes a KVM probe.
///
/// # Errors
/// As for [`template`].
pub fn probe(world: World<'_>, probe: &Probe) -> Result<()> {
    whole(world, &probe.name, &probe.volumes, &probe.pool)
}

fn whole(world: World<'_>, domain: &str, volumes: &[String], pool: &str) -> Result<()> {
    ensure!(
        pool == world.storage.pool(),
        "domain {domain} has its volumes in pool {pool}, and this command works on pool {}\nname it with --pool {pool}",
        world.storage.pool()
    );
    let remove = || {
        world.hypervisor.power_off(domain)?;
        for volume in volumes {
            world.storage.delete(volume)?;
        }
        for log in logs(domain) {
            world.hypervisor.remove_log(&log)?;
        }
        world.hypervisor.undefine(domain)
    };
    remove().with_context(|| format!("removing {domain}"))
}
