//! The stages `publish` and `retention`.

use anyhow::Result;

use super::Build;
use crate::{
    cmd::{remove, signature, world::World},
    core::{
        build_plan::beyond_retention,
        inventory::{Inventory, Template},
        manifest::{Manifest, Metadata, State},
        names::Version,
    },
    ui,
};

impl Build<'_> {
    /// Makes this version the current one: one metadata write, before which nothing of it is visible to clones.
    pub(super) fn publish(&mut self) -> Result<()> {
        // A build that was killed right after its state was written may have left them.
        self.discard_scaffolding()?;
        self.manifest.volumes = self.plan.lasting_volumes();
        self.manifest.hardware = signature::hardware(self.world, &self.manifest)?;
        signature::sign(self.world, &mut self.manifest)?;
        self.manifest.promoted_at = Some(self.world.local.now());
        self.advance(State::Published)
    }

    /// Removes what is beyond retention; retires what linked clones still stand on.
    pub(super) fn retain(&self) -> Result<()> {
        // No clone may begin to stand on one of them between the look and the removal.
        let _lock = self.world.reserve()?;
        let inventory = self.world.inventory()?;
        for template in expired(&inventory, &self.manifest, self.plan.keep) {
            let id = template.manifest.id();
            let clones = inventory.linked_clones(&id);
            if clones.is_empty() {
                remove::template(self.world, template)?;
                ui::note(&format!("retention: {id} removed"));
            } else if template.manifest.state != State::Retired {
                retire(self.world, &template.manifest)?;
                ui::note(&format!("retention: {id} retired; it stays while {} stand on it", clones.join(", ")));
            }
        }
        Ok(())
    }
}

fn retire(world: World<'_>, manifest: &Manifest) -> Result<()> {
    let retired = Manifest { state: State::Retired, ..manifest.clone() };
    world.hypervisor.write_metadata(&manifest.id().domain(), &Metadata::Template(Box::new(retired)))
}

/// The versions of this template that are to go: those beyond its `keep`, and those that were retired.
fn expired<'a>(inventory: &'a Inventory, own: &Manifest, keep: usize) -> Vec<&'a Template> {
    let of_name: Vec<&Template> = inventory.templates.iter().filter(|template| template.manifest.name == own.name).collect();
    let published: Vec<&Version> =
        of_name.iter().filter(|t| t.manifest.state == State::Published).map(|t| &t.manifest.version).collect();
    let current = inventory.current(&own.name).map(|template| &template.manifest.version);
    let gone = beyond_retention(&published, current, keep);
    of_name
        .into_iter()
        .filter(|template| template.manifest.state == State::Retired || gone.contains(&&template.manifest.version))
        .collect()
}
