//! `tpl rm`: removes a version of a template.

use anyhow::Result;

use crate::{
    cli::{Output, VersionArgs},
    cmd::{remove, world::World},
    core::error::Refusal,
    ui,
};

/// Runs `tpl rm`.
///
/// # Errors
/// There is no such version, linked clones stand on it, or a build, a transfer or a removal is at work on it.
pub fn run(world: World<'_>, args: &VersionArgs, output: Output) -> Result<()> {
    // No clone may begin to stand on it between the look and the removal.
    let _lock = world.reserve()?;
    let inventory = world.inventory()?;
    let template = inventory.find(&args.template)?;
    let manifest = &template.manifest;
    let id = manifest.id();
    let clones = inventory.linked_clones(&id);
    if !clones.is_empty() {
        return Err(Refusal::new(format!("linked clones stand on {id}: {}", clones.join(", ")))
            .advise(format!("`tpl destroy {}` removes them first", clones.join(" ")))
            .into());
    }
    if manifest.state < crate::core::manifest::State::Published && world.local.is_alive(&manifest.run)? {
        let what = if manifest.is_on_its_way() { "is arriving or being removed" } else { "is being built" };
        return Err(Refusal::new(format!("{id} {what}, since {} on {}", manifest.run.since, manifest.run.host)).into());
    }
    if !args.dry_run {
        remove::template(world, template)?;
    }
    match output {
        Output::Json => {
            ui::json(&serde_json::json!({"name": id.name, "version": id.version, "changed": true, "dry_run": args.dry_run}))
        }
        Output::Text if args.dry_run => ui::data(&format!("{id} would be removed\n")),
        Output::Text => ui::data(&format!("{id} is removed\n")),
    }
}
