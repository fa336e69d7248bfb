//! `tpl vms`: the VMs that were made from templates.

use anyhow::Result;
use serde::Serialize;

use crate::{cli::Output, cmd::world::World, ui};

/// One VM, as `--output json` prints it.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    uuid: String,
    template: String,
    version: String,
    state: &'static str,
    addresses: Vec<String>,
}

/// Runs `tpl vms`.
///
/// # Errors
/// The connection fails.
pub fn run(world: World<'_>, output: Output) -> Result<()> {
    let inventory = world.inventory()?;
    super::list::warn_unreadable(&inventory);
    let mut rows = Vec::new();
    for clone in inventory.clones.iter().filter(|clone| clone.is_vm()) {
        let mut addresses = clone.record.addresses.clone();
        if addresses.is_empty() && clone.domain.state.is_active() {
            // A VM may stop between the two calls: then it has no addresses.
            addresses = world.hypervisor.addresses(&clone.domain.name).unwrap_or_default();
        }
        rows.push(Row {
            name: clone.record.name.to_string(),
            uuid: clone.domain.uuid.to_string(),
            template: clone.record.template.to_string(),
            version: clone.record.version.to_string(),
            state: clone.state(),
            addresses: addresses.iter().map(ToString::to_string).collect(),
        });
    }
    match output {
        Output::Json => ui::json(&rows),
        Output::Text => ui::data(&table(&rows)),
    }
}

fn table(rows: &[Row]) -> String {
    if rows.is_empty() {
        return "there are no VMs of tpl's: `tpl clone` makes some\n".to_owned();
    }
    let heading = ["NAME", "TEMPLATE", "STATE", "ADDRESS"].map(str::to_owned).to_vec();
    let cells = rows.iter().map(|row| {
        let address = if row.addresses.is_empty() { "-".to_owned() } else { row.addresses.join(" ") };
        vec![row.name.clone(), format!("{}@{}", row.template, row.version), row.state.to_owned(), address]
    });
    ui::table(&std::iter::once(heading).chain(cells).collect::<Vec<_>>())
}
