//! `tpl promote`: makes a version the current one, also an older one. One atomic write.

use anyhow::Result;

use crate::{
    cli::{Output, VersionArgs},
    cmd::world::World,
    core::manifest::{Manifest, Metadata, State},
    ui,
};

/// Runs `tpl promote`.
///
/// # Errors
/// There is no such version, or it has not passed its boot test.
pub fn run(world: World<'_>, args: &VersionArgs, output: Output) -> Result<()> {
    let inventory = world.inventory()?;
    let template = inventory.find(&args.template)?;
    let id = template.manifest.id();
    template.manifest.ensure_published().map_err(|refusal| refusal.advise(how_it_goes_on(&template.manifest)))?;
    let changed = !inventory.is_current(template);
    if changed && !args.dry_run {
        let promoted = Manifest { state: State::Published, promoted_at: Some(world.local.now()), ..template.manifest.clone() };
        world.hypervisor.write_metadata(&id.domain(), &Metadata::Template(Box::new(promoted)))?;
    }
    match (output, changed) {
        (Output::Json, _) => {
            ui::json(&serde_json::json!({"name": id.name, "version": id.version, "changed": changed, "dry_run": args.dry_run}))
        }
        (Output::Text, false) => ui::data(&format!("unchanged: {id} is the current version\n")),
        (Output::Text, true) if args.dry_run => ui::data(&format!("{id} would become the current version\n")),
        (Output::Text, true) => ui::data(&format!("{id} is the current version now\n")),
    }
}

/// How a version that is not published comes to it.
fn how_it_goes_on(manifest: &Manifest) -> String {
    if manifest.is_on_its_way() {
        return "`tpl push` or `tpl pull` brings it, or goes on with it; `tpl prune` removes what is left of it".to_owned();
    }
    format!("`tpl build {} --resume` goes on with it", manifest.name)
}
