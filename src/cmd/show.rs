//! `tpl show`: a template's manifest.

use anyhow::Result;

use crate::{
    cli::{Output, TemplateArgs},
    cmd::{signature, world::World},
    core::{manifest::Manifest, signing::Standing},
    ui,
};

/// Runs `tpl show`.
///
/// # Errors
/// There is no such template.
pub fn run(world: World<'_>, args: &TemplateArgs, output: Output) -> Result<()> {
    let inventory = world.inventory()?;
    let manifest = &inventory.find(&args.template)?.manifest;
    match output {
        Output::Json => ui::json(manifest),
        Output::Text => ui::data(&describe(manifest, &signature::standing(world, manifest)?)),
    }
}

fn describe(manifest: &Manifest, standing: &Standing) -> String {
    let clone = &manifest.clone;
    let mut rows = vec![
        ("state", manifest.state.as_str().to_owned()),
        ("created", manifest.created_at.to_string()),
        ("promoted", manifest.promoted_at.map_or("never".to_owned(), |time| time.to_string())),
        ("digest", manifest.digest.clone().unwrap_or_else(|| "none yet".to_owned())),
        ("size", manifest.virtual_size.to_string()),
        ("system", manifest.os.as_ref().map_or("not known yet".to_owned(), |os| os.name.clone())),
        ("packages", manifest.packages.len().to_string()),
        ("identity", manifest.identity.as_str().to_owned()),
        ("clones get", format!("{} vCPUs, {} memory, {} disk, user {}", clone.vcpus, clone.memory, clone.disk, clone.user)),
        ("origin", manifest.trust.to_string()),
        ("signature", standing.to_string()),
    ];
    rows.extend(
        manifest
            .inputs
            .sources
            .iter()
            .map(|file| ("source", format!("{} {} {}", file.url, file.digest.algorithm().word(), file.digest))),
    );
    rows.push(("invariants", manifest.invariants.join(", ")));
    rows.extend(manifest.stages.iter().map(|stage| ("stage", format!("{} {:.1} s", stage.name, stage.seconds))));
    rows.extend(manifest.tools.iter().map(|(tool, version)| ("tool", format!("{tool} {version}"))));
    let mut text = format!("{}\n", manifest.id());
    for (key, value) in rows {
        text.push_str(&format!("  {key:11}{value}\n"));
    }
    text
}
