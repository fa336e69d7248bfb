//! `tpl vms`: the VMs that were made from templates.

use std::{collections::BTreeMap, net::IpAddr};

use anyhow::Result;
use jiff::Timestamp;
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
    /// When its guest has said to the metadata service that its first boot has ended.
    phoned_home: Option<Timestamp>,
    /// How full the room of a disk is that is a classic LVM snapshot.
    room: Option<Room>,
    /// There is such a room, and how full it is cannot be told.
    #[serde(skip)]
    unread: bool,
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
    let mut notes = Vec::new();
    let rows = rows(world.seen(), &inventory, &mut notes);
    notes.iter().for_each(|note| ui::note(note));
    match output {
        Output::Json => ui::json(&rows),
        Output::Text => ui::data(&ui::table_or(NOTHING, &HEADING, rows.iter().map(cells))),
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
        Ok(Vms { vms: Some(rows(seen, &inventory, notes)) })
    };
    all::run(hypervisors, timeout, output, ask, |found: &[(&str, &Vms)]| {
        let rows = found.iter().flat_map(|(hypervisor, found)| found.vms.iter().flatten().map(|row| (*hypervisor, row)));
        all::table(&HEADING, rows, cells, NOTHING)
    })
}

fn rows(seen: Seen<'_>, inventory: &Inventory, notes: &mut Vec<String>) -> Vec<Row> {
    let vms: Vec<&Clone> = inventory.clones.iter().filter(|clone| clone.is_vm()).collect();
    // What DHCP has given to a VM only its hypervisor knows.
    let asked = |clone: &&&Clone| clone.record.addresses.is_empty() && clone.domain.state.is_active();
    let names: Vec<&str> = vms.iter().filter(asked).map(|clone| clone.domain.name.as_str()).collect();
    let leased: BTreeMap<&str, Vec<IpAddr>> = names.iter().copied().zip(seen.addresses(&names)).collect();
    let rooms = rooms(seen, &vms);
    notes.extend(rooms.unread);
    let row = |clone: &&Clone| {
        let addresses = leased.get(clone.domain.name.as_str()).unwrap_or(&clone.record.addresses);
        let room = rooms.found.get(clone.domain.name.as_str()).copied();
        Row {
            name: clone.record.name.to_string(),
            uuid: clone.domain.uuid.to_string(),
            template: clone.record.template.to_string(),
            version: clone.record.version.to_string(),
            state: clone.state(),
            addresses: addresses.iter().map(ToString::to_string).collect(),
            phoned_home: clone.phoned_home().map(|mark| mark.at),
            room,
            unread: room.is_none() && has_room(clone),
        }
    };
    vms.iter().map(row).collect()
}

/// The rooms of classic snapshots.
pub(super) struct Rooms {
    /// By the names of their VMs, which are those of their disks.
    found: BTreeMap<String, Room>,
    /// Of which VMs it cannot be told how full theirs are, and why: one line for each pool.
    pub(super) unread: Vec<String>,
}

/// Reads the rooms of these clones' snapshots. The pool is asked only where it has one; that it does not answer is no reason to say
/// nothing of the VMs.
pub(super) fn rooms(seen: Seen<'_>, clones: &[&Clone]) -> Rooms {
    let mut by_pool: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for clone in clones.iter().filter(|clone| has_room(clone)) {
        by_pool.entry(&clone.record.pool).or_default().push(&clone.domain.name);
    }
    let own = seen.storage.pool();
    let read = if by_pool.contains_key(own) { seen.storage.volumes() } else { Ok(Vec::new()) };
    let (volumes, failed) = match read {
        Ok(volumes) => (volumes, None),
        Err(error) => (Vec::new(), Some(format!("{error:#}").replace('\n', "; "))),
    };
    let found: BTreeMap<String, Room> =
        volumes.into_iter().filter_map(|volume| volume.room.map(|room| (volume.name, room))).collect();
    let unread = |(pool, names): (&str, Vec<&str>)| {
        let names: Vec<&str> = names.into_iter().filter(|name| pool != own || !found.contains_key(*name)).collect();
        let why = match &failed {
            _ if pool != own => format!("`--pool {pool}` reads them"),
            Some(error) => error.clone(),
            None => "it has no such snapshots where `thin_pool` in the configuration says that its volumes are".to_owned(),
        };
        let names = Some(names.join(", ")).filter(|names| !names.is_empty())?;
        Some(format!("how full the snapshots in pool {pool} are cannot be told, of {names}: {why}"))
    };
    let unread = by_pool.into_iter().filter_map(unread).collect();
    Rooms { found, unread }
}

/// Whether the disk of a clone that is made has such a room.
fn has_room(clone: &Clone) -> bool {
    clone.record.room.is_some() && !clone.record.is_unfinished()
}

const NOTHING: &str = "there are no VMs of tpl's: `tpl clone` makes some\n";
const HEADING: [&str; 4] = ["NAME", "TEMPLATE", "STATE", "ADDRESS"];

fn cells(row: &Row) -> Vec<String> {
    let address = if row.addresses.is_empty() { "-".to_owned() } else { row.addresses.join(" ") };
    let room = match row.room {
        Some(room) => format!(", {}", room.describe()),
        None => if row.unread { ", snapshot ?" } else { "" }.to_owned(),
    };
    vec![row.name.clone(), format!("{}@{}", row.template, row.version), format!("{}{room}", row.state), address]
}
