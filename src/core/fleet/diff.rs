//! What a declared fleet asks for beside what there is. VMs that are missing are made, those that are off are started; a VM that
//! is there and otherwise than declared is reported and left as it is: what runs is never changed in place.
//!
//! Only what the file says is compared. A template's version is said only where the file names one: a VM of an older version
//! than the current one is no difference.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use serde::Serialize;

use super::Declared;
use crate::core::{
    facts::DomainState,
    lvm::most_room,
    mac::Mac,
    manifest::{CloneRecord, Purpose},
    names::{TemplateId, VmName},
    network::Plug,
    units::ByteSize,
    vm_spec::{GuestSpec, IpChoice, MacChoice, VmSpec},
};

/// A VM that is there and carries tpl's metadata.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Existing {
    /// What its metadata says.
    pub record: CloneRecord,
    /// Whether it runs.
    pub state: DomainState,
    /// vCPUs.
    pub vcpus: u32,
    /// Memory.
    pub memory: ByteSize,
    /// The virtual sizes of its disks, the system disk first. Its seed is none of them.
    pub disks: Vec<ByteSize>,
    /// What the sizes of its disks are rounded up to.
    pub extent: ByteSize,
    /// What its first network card is plugged into; none, if that is neither a network nor a bridge.
    pub plug: Option<Plug>,
    /// The MAC addresses of its cards, in their order.
    pub macs: Vec<Mac>,
    /// Whether it starts with the hypervisor.
    pub autostart: bool,
    /// The addresses that it has now, besides those that its metadata says are promised to it.
    pub addresses: Vec<IpAddr>,
}

/// What there is.
#[derive(Debug, Clone, Default)]
pub struct World {
    /// The VMs that carry tpl's metadata, by name.
    pub vms: BTreeMap<VmName, Existing>,
    /// The names of all domains, tpl's own among them.
    pub domains: BTreeSet<String>,
}

/// What is to be done about one VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "action", content = "why")]
pub enum Action {
    /// It is not there: make it.
    Create,
    /// It is there and off: start it.
    Start,
    /// It is there and on.
    Keep,
    /// Its name is taken by something that is not to be touched: why.
    Conflict(String),
}

/// A thing in which a VM is otherwise than declared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The key of the file.
    pub what: &'static str,
    /// What the file says.
    pub declared: String,
    /// What there is.
    pub actual: String,
}

/// One declared VM, compared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The VM.
    pub name: VmName,
    /// What is to be done.
    #[serde(flatten)]
    pub action: Action,
    /// In what it is otherwise; only for a VM that is there.
    pub differences: Vec<Difference>,
}

/// Compares a fleet with what there is: one step for each VM, in the fleet's order. `digest` is the `guest_digest` that a VM
/// made now would get; it is asked for those that the file tells something to their guest.
pub fn diff(fleet: &[Declared], world: &World, digest: &dyn Fn(&Declared) -> String) -> Vec<Step> {
    let step = |vm: &Declared| {
        let existing = world.vms.get(&vm.name);
        let action = action(vm, existing, world);
        let there = existing.filter(|_| matches!(action, Action::Start | Action::Keep));
        let differences = there.map_or_else(Vec::new, |existing| differences(vm, existing, digest));
        Step { name: vm.name.clone(), action, differences }
    };
    fleet.iter().map(step).collect()
}

fn action(vm: &Declared, existing: Option<&Existing>, world: &World) -> Action {
    let name = &vm.name;
    let Some(existing) = existing else {
        if world.domains.contains(name.as_str()) {
            return Action::Conflict(format!(
                "domain {name} does not carry tpl's metadata: tpl has not made it, and leaves it alone"
            ));
        }
        return Action::Create;
    };
    if existing.record.purpose != Purpose::Clone {
        return Action::Conflict(format!("{name} is a boot test of template {}", existing.record.template));
    }
    if existing.record.is_unfinished() {
        return Action::Conflict(format!(
            "{name} is being made, or was left unfinished: `tpl prune` removes it if its run is dead"
        ));
    }
    match existing.state {
        DomainState::Running | DomainState::Paused | DomainState::Halted => Action::Keep,
        DomainState::Shutoff | DomainState::Crashed => Action::Start,
    }
}

/// Collects differences.
#[derive(Default)]
struct Found(Vec<Difference>);

impl Found {
    fn compare(&mut self, what: &'static str, same: bool, declared: impl ToString, actual: impl ToString) {
        if !same {
            self.0.push(Difference { what, declared: declared.to_string(), actual: actual.to_string() });
        }
    }
}

fn differences(vm: &Declared, existing: &Existing, digest: &dyn Fn(&Declared) -> String) -> Vec<Difference> {
    let (spec, record) = (&vm.spec, &existing.record);
    let mut found = Found::default();
    let stands = matches!(existing.state, DomainState::Paused | DomainState::Halted);
    found.compare("state", !stands, "running", existing.state.as_str());
    if let Some(template) = &vm.template {
        let id = TemplateId { name: record.template.clone(), version: record.version.clone() };
        let same = template.name == id.name && template.version.as_ref().is_none_or(|version| *version == id.version);
        found.compare("template", same, template, id);
    }
    machine(spec, existing, &mut found);
    disks(spec, existing, &mut found);
    addresses(spec, existing, &mut found);
    if let Some(autostart) = spec.autostart {
        found.compare("autostart", autostart == existing.autostart, autostart, existing.autostart);
    }
    if let Some(seed) = spec.seed {
        found.compare("seed", seed == record.seed, seed.as_str(), record.seed.as_str());
    }
    if spec.guest != GuestSpec::default() {
        let (wanted, told) = (digest(vm), record.guest_digest.as_deref());
        found.compare("guest", told == Some(&wanted), short(&wanted), told.map_or("unknown", short));
    }
    found.0
}

/// As much of a digest as tells it from others by eye.
fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

fn machine(spec: &VmSpec, existing: &Existing, found: &mut Found) {
    if let Some(vcpus) = spec.vcpus {
        found.compare("vcpus", vcpus == existing.vcpus, vcpus, existing.vcpus);
    } else if let Some(topology) = spec.topology {
        found.compare("topology", topology.vcpus() == existing.vcpus, topology.vcpus(), existing.vcpus);
    }
    if let Some(memory) = spec.memory {
        // libvirt counts memory in KiB.
        found.compare("memory", memory.kib_ceil() == existing.memory.kib_ceil(), memory, existing.memory);
    }
    let plug = |plug: &Option<Plug>| match plug {
        Some(Plug::Network(name)) => format!("network {name}"),
        Some(Plug::Bridge(name)) => format!("bridge {name}"),
        None => "something else".to_owned(),
    };
    let network = spec.network.as_ref().map(|name| ("network", Plug::Network(name.to_string())));
    let bridge = spec.bridge.as_ref().map(|name| ("bridge", Plug::Bridge(name.to_string())));
    for (what, wanted) in network.into_iter().chain(bridge) {
        let wanted = Some(wanted);
        found.compare(what, wanted == existing.plug, plug(&wanted), plug(&existing.plug));
    }
}

fn disks(spec: &VmSpec, existing: &Existing, found: &mut Found) {
    let sizes = |disks: &[ByteSize]| match disks {
        [] => "none".to_owned(),
        _ => disks.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    };
    // Disks are made in whole MiB, and in whole extents.
    let made = |size: ByteSize| size.round_up(ByteSize::MIB).round_up(existing.extent.0.max(1));
    let (system, extra) = existing.disks.split_at(existing.disks.len().min(1));
    if let Some(disk) = spec.disk {
        let disk = made(disk);
        found.compare("disk", [disk] == *system, disk, sizes(system));
    }
    if let Some(full) = spec.full {
        let kind = |full: bool| if full { "a whole copy" } else { "linked" };
        found.compare("full", full != existing.record.linked, kind(full), kind(!existing.record.linked));
    }
    if let (Some(wanted), Some(room)) = (spec.snapshot_size, existing.record.room) {
        // As its plan reckons: whole extents, and no more than its disk can come to need.
        let extents = |size: ByteSize| size.round_up(existing.extent.0.max(1));
        let wanted = extents(wanted).min(system.first().map_or(ByteSize(u64::MAX), |disk| extents(most_room(*disk))));
        found.compare("snapshot_size", wanted == room, wanted, room);
    }
    if !spec.disks.is_empty() {
        let wanted: Vec<ByteSize> = spec.disks.iter().map(|disk| made(disk.size)).collect();
        found.compare("disks", wanted == *extra, sizes(&wanted), sizes(extra));
    }
}

fn addresses(spec: &VmSpec, existing: &Existing, found: &mut Found) {
    let mut actual: Vec<IpAddr> = existing.record.addresses.clone();
    actual.extend(existing.addresses.iter().filter(|ip| !existing.record.addresses.contains(ip)));
    for wanted in spec.ip.iter().flat_map(IpChoice::addresses).map(IpAddr::V4) {
        found.compare("ip", actual.contains(&wanted), wanted, listed(&actual));
    }
    let first = spec.ip.iter().flat_map(IpChoice::addresses).next();
    let wanted = match (&spec.mac, first) {
        (Some(MacChoice::Explicit(macs)), _) => macs.clone(),
        (Some(MacChoice::Ip), Some(ip)) => vec![Mac::of_address(ip)],
        _ => return,
    };
    // What is said about the first cards says nothing about the others.
    found.compare("mac", existing.macs.starts_with(&wanted), listed(&wanted), listed(&existing.macs));
}

fn listed<T: ToString>(items: &[T]) -> String {
    match items {
        [] => "none".to_owned(),
        _ => items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
mod tests;
