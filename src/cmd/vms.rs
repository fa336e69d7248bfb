//! `tpl vms`: the VMs that were made from templates.

use std::{collections::BTreeMap, net::IpAddr};

use anyhow::Result;
use serde::Serialize;

use crate::{
    cli::Output,
    cmd::{
        all,
        list::{unreadable, warn_unreadable},
        seen::Seen,
        world::World,
    },
    core::{
        config::Config,
        inventory::{Clone, Inventory},
        units::Span,
    },
    ui,
};

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

/// What one hypervisor has; none where it does not answer.
#[derive(Debug, Default, Serialize)]
struct Vms {
    vms: Option<Vec<Row>>,
}

/// Runs `tpl vms`.
///
/// # Errors
/// The connection fails.
pub fn run(world: World<'_>, output: Output) -> Result<()> {
    let inventory = world.inventory()?;
    warn_unreadable(&inventory);
    let rows = rows(world.seen(), &inventory);
    match output {
        Output::Json => ui::json(&rows),
        Output::Text => ui::data(&table(&rows)),
    }
}

/// Runs `tpl vms --all`.
///
/// # Errors
/// One of the hypervisors does not answer; the rest has been shown.
pub fn run_all(hypervisors: Vec<Config>, timeout: Span, output: Output) -> Result<()> {
    let ask = |seen: Seen<'_>, _: &Config, notes: &mut Vec<String>| {
        let inventory = seen.inventory()?;
        notes.extend(unreadable(&inventory));
        Ok(Vms { vms: Some(rows(seen, &inventory)) })
    };
    all::run(hypervisors, timeout, output, ask, |found: &[(&str, &Vms)]| {
        let rows = found.iter().flat_map(|(hypervisor, found)| found.vms.iter().flatten().map(|row| (*hypervisor, row)));
        all::table(&HEADING, rows, cells, NOTHING)
    })
}

fn rows(seen: Seen<'_>, inventory: &Inventory) -> Vec<Row> {
    let vms: Vec<&Clone> = inventory.clones.iter().filter(|clone| clone.is_vm()).collect();
    // What DHCP has given to a VM only its hypervisor knows.
    let asked = |clone: &&&Clone| clone.record.addresses.is_empty() && clone.domain.state.is_active();
    let names: Vec<&str> = vms.iter().filter(asked).map(|clone| clone.domain.name.as_str()).collect();
    let leased: BTreeMap<&str, Vec<IpAddr>> = names.iter().copied().zip(seen.addresses(&names)).collect();
    let row = |clone: &&Clone| {
        let addresses = leased.get(clone.domain.name.as_str()).unwrap_or(&clone.record.addresses);
        Row {
            name: clone.record.name.to_string(),
            uuid: clone.domain.uuid.to_string(),
            template: clone.record.template.to_string(),
            version: clone.record.version.to_string(),
            state: clone.state(),
            addresses: addresses.iter().map(ToString::to_string).collect(),
        }
    };
    vms.iter().map(row).collect()
}

const NOTHING: &str = "there are no VMs of tpl's: `tpl clone` makes some\n";
const HEADING: [&str; 4] = ["NAME", "TEMPLATE", "STATE", "ADDRESS"];

fn table(rows: &[Row]) -> String {
    if rows.is_empty() {
        return NOTHING.to_owned();
    }
    let heading = HEADING.map(str::to_owned).to_vec();
    ui::table(&std::iter::once(heading).chain(rows.iter().map(cells)).collect::<Vec<_>>())
}

fn cells(row: &Row) -> Vec<String> {
    let address = if row.addresses.is_empty() { "-".to_owned() } else { row.addresses.join(" ") };
    vec![row.name.clone(), format!("{}@{}", row.template, row.version), row.state.to_owned(), address]
}
