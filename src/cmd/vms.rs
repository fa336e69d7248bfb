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
        facts::Room,
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
    /// How full the room of a disk is that is a classic LVM snapshot.
    room: Option<Room>,
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
    let rows = rows(world.seen(), &inventory)?;
    match output {
        Output::Json => ui::json(&rows),
        Output::Text => ui::data(&if rows.is_empty() { NOTHING.to_owned() } else { ui::table(&HEADING, rows.iter().map(cells)) }),
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
        Ok(Vms { vms: Some(rows(seen, &inventory)?) })
    };
    all::run(hypervisors, timeout, output, ask, |found: &[(&str, &Vms)]| {
        let rows = found.iter().flat_map(|(hypervisor, found)| found.vms.iter().flatten().map(|row| (*hypervisor, row)));
        all::table(&HEADING, rows, cells, NOTHING)
    })
}

fn rows(seen: Seen<'_>, inventory: &Inventory) -> Result<Vec<Row>> {
    let vms: Vec<&Clone> = inventory.clones.iter().filter(|clone| clone.is_vm()).collect();
    // What DHCP has given to a VM only its hypervisor knows.
    let asked = |clone: &&&Clone| clone.record.addresses.is_empty() && clone.domain.state.is_active();
    let names: Vec<&str> = vms.iter().filter(asked).map(|clone| clone.domain.name.as_str()).collect();
    let leased: BTreeMap<&str, Vec<IpAddr>> = names.iter().copied().zip(seen.addresses(&names)).collect();
    let rooms = rooms(seen, &vms)?;
    let row = |clone: &&Clone| {
        let addresses = leased.get(clone.domain.name.as_str()).unwrap_or(&clone.record.addresses);
        Row {
            name: clone.record.name.to_string(),
            uuid: clone.domain.uuid.to_string(),
            template: clone.record.template.to_string(),
            version: clone.record.version.to_string(),
            state: clone.state(),
            addresses: addresses.iter().map(ToString::to_string).collect(),
            room: rooms.get(clone.domain.name.as_str()).copied(),
        }
    };
    Ok(vms.iter().map(row).collect())
}

/// The rooms of classic snapshots, by the names of their VMs, which are those of their disks. The pool is asked only where there is one.
fn rooms(seen: Seen<'_>, vms: &[&Clone]) -> Result<BTreeMap<String, Room>> {
    let has_room = |clone: &&Clone| clone.record.room.is_some() && clone.record.pool == seen.storage.pool();
    if !vms.iter().any(has_room) {
        return Ok(BTreeMap::new());
    }
    let volumes = seen.storage.volumes()?;
    Ok(volumes.into_iter().filter_map(|volume| volume.room.map(|room| (volume.name, room))).collect())
}

const NOTHING: &str = "there are no VMs of tpl's: `tpl clone` makes some\n";
const HEADING: [&str; 4] = ["NAME", "TEMPLATE", "STATE", "ADDRESS"];

fn cells(row: &Row) -> Vec<String> {
    let address = if row.addresses.is_empty() { "-".to_owned() } else { row.addresses.join(" ") };
    let room = row.room.map_or(String::new(), |room| format!(", {}", room.describe()));
    vec![row.name.clone(), format!("{}@{}", row.template, row.version), format!("{}{room}", row.state), address]
}
