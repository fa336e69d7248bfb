//! `tpl list`: the templates.

use anyhow::Result;
use serde::Serialize;

use crate::{
    cli::Output,
    cmd::world::World,
    core::{inventory::Inventory, units::ByteSize},
    ui,
};

/// One template, as `--output json` prints it.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    version: String,
    state: &'static str,
    current: bool,
    digest: Option<String>,
    virtual_size: ByteSize,
    allocation: ByteSize,
    created_at: jiff::Timestamp,
    clones: usize,
}

/// Runs `tpl list`.
///
/// # Errors
/// The connection fails.
pub fn run(world: World<'_>, output: Output) -> Result<()> {
    let inventory = world.inventory()?;
    warn_unreadable(&inventory);
    // Without a template there is nothing in the pool to look for, and the pool may not be there yet.
    let volumes = if inventory.templates.is_empty() { Vec::new() } else { world.storage.volumes()? };
    let allocation =
        |name: &str| volumes.iter().find(|volume| volume.name == name).map_or(ByteSize(0), |volume| volume.allocation);
    let rows: Vec<Row> = inventory
        .templates
        .iter()
        .map(|template| {
            let manifest = &template.manifest;
            Row {
                name: manifest.name.to_string(),
                version: manifest.version.to_string(),
                state: manifest.state.as_str(),
                current: inventory.is_current(template),
                digest: manifest.digest.clone(),
                virtual_size: manifest.virtual_size,
                allocation: allocation(&template.domain.name),
                created_at: manifest.created_at,
                clones: inventory.clones_of(&manifest.id()).count(),
            }
        })
        .collect();
    match output {
        Output::Json => ui::json(&rows),
        Output::Text => ui::data(&table(&rows)),
    }
}

/// Says which domains carry metadata of tpl's that cannot be read.
pub fn warn_unreadable(inventory: &Inventory) {
    for reason in &inventory.unreadable {
        ui::note(&format!("left alone: {reason}"));
    }
}

fn table(rows: &[Row]) -> String {
    if rows.is_empty() {
        return "there are no templates yet: `tpl build debian13` makes one\n".to_owned();
    }
    let heading = ["NAME", "VERSION", "STATE", "CURRENT", "SIZE", "ALLOCATED", "CLONES", "DIGEST"].map(str::to_owned).to_vec();
    let cells = rows.iter().map(|row| {
        vec![
            row.name.clone(),
            row.version.clone(),
            row.state.to_owned(),
            if row.current { "yes" } else { "" }.to_owned(),
            row.virtual_size.to_string(),
            row.allocation.to_string(),
            row.clones.to_string(),
            row.digest.as_deref().map_or("-", |digest| digest.get(..12).unwrap_or(digest)).to_owned(),
        ]
    });
    ui::table(&std::iter::once(heading).chain(cells).collect::<Vec<_>>())
}
