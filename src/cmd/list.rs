//! `tpl list`: the templates.

use anyhow::Result;
use serde::Serialize;

use crate::{
    cli::Output,
    cmd::{all, seen::Seen, world::World},
    core::{
        config::Config,
        inventory::{Inventory, Template},
        units::{ByteSize, Span},
    },
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
    /// None where its volume is in another pool than the one that is looked at, or not there.
    allocation: Option<ByteSize>,
    created_at: jiff::Timestamp,
    clones: usize,
}

/// What one hypervisor has; none where it does not answer.
#[derive(Debug, Default, Serialize)]
struct Templates {
    templates: Option<Vec<Row>>,
}

/// Runs `tpl list`.
///
/// # Errors
/// The connection fails.
pub fn run(world: World<'_>, output: Output) -> Result<()> {
    let inventory = world.inventory()?;
    warn_unreadable(&inventory);
    let rows = rows(world.seen(), &inventory)?;
    match output {
        Output::Json => ui::json(&rows),
        Output::Text => ui::data(&ui::table_or(NOTHING, &HEADING, rows.iter().map(cells))),
    }
}

/// Runs `tpl list --all`.
///
/// # Errors
/// One of the hypervisors does not answer; the rest has been shown.
pub fn run_all(hypervisors: Vec<Config>, timeout: Span, output: Output) -> Result<()> {
    let ask = |seen: Seen<'_>, _: &Config, notes: &mut Vec<String>| {
        let inventory = seen.inventory()?;
        notes.extend(unreadable(&inventory));
        Ok(Templates { templates: Some(rows(seen, &inventory)?) })
    };
    all::run(hypervisors, timeout, output, ask, |found: &[(&str, &Templates)]| {
        let rows = found.iter().flat_map(|(hypervisor, found)| found.templates.iter().flatten().map(|row| (*hypervisor, row)));
        all::table(&HEADING, rows, cells, NOTHING)
    })
}

fn rows(seen: Seen<'_>, inventory: &Inventory) -> Result<Vec<Row>> {
    // Without a template there is nothing in the pool to look for, and the pool may not be there yet.
    let volumes = if inventory.templates.is_empty() { Vec::new() } else { seen.storage.volumes()? };
    let allocation = |name: &str| volumes.iter().find(|volume| volume.name == name).map(|volume| volume.allocation);
    let row = |template: &Template| {
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
    };
    Ok(inventory.templates.iter().map(row).collect())
}

/// Says which domains carry metadata of tpl's that cannot be read.
pub fn warn_unreadable(inventory: &Inventory) {
    unreadable(inventory).for_each(|line| ui::note(&line));
}

/// The same as lines.
pub(super) fn unreadable(inventory: &Inventory) -> impl Iterator<Item = String> {
    inventory.unreadable.iter().map(|reason| format!("left alone: {reason}"))
}

const NOTHING: &str = "there are no templates yet: `tpl build debian13` makes one\n";
const HEADING: [&str; 8] = ["NAME", "VERSION", "STATE", "CURRENT", "SIZE", "ALLOCATED", "CLONES", "DIGEST"];

fn cells(row: &Row) -> Vec<String> {
    vec![
        row.name.clone(),
        row.version.clone(),
        row.state.to_owned(),
        if row.current { "yes" } else { "" }.to_owned(),
        row.virtual_size.to_string(),
        row.allocation.map_or("-".to_owned(), |allocation| allocation.to_string()),
        row.clones.to_string(),
        row.digest.as_deref().map_or("-", |digest| digest.get(..12).unwrap_or(digest)).to_owned(),
    ]
}
