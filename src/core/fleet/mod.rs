//! A declared fleet, `fleets/NAME.toml`: the VMs that there shall be, by name. Names, numbers and addresses follow from the file
//! alone, so that reading it again gives the same VMs.
//!
//! ```text
//! defaults ← group ← VM        the nearer word wins; see core/vm_spec/merge.rs
//! ```

pub mod destroy;
pub mod diff;
mod expand;
mod schema;
mod table;

use super::{
    error::Invalid,
    names::{TemplateRef, VmName},
    pipeline::PlainText,
    vm_spec::{Label, VmSpec},
};
pub use schema::schema;

use expand::{Group, Single, expand};
use table::{Faults, Placed, Table};

/// What a file declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fleet {
    /// One line for people.
    pub description: Option<PlainText>,
    /// The VMs: those of groups first, in the order of the file, then the single ones. At least one, at most 1000.
    pub vms: Vec<Declared>,
}

/// One VM that there shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// Its name.
    pub name: VmName,
    /// Its template: a version only where the file names one; none where the file names no template at all.
    pub template: Option<TemplateRef>,
    /// The group that it belongs to.
    pub group: Option<Label>,
    /// All that is asked of it. Addresses of a group are given out: `ip` is one address, or `next`. Files are named as in the
    /// file: relative ones are relative to its folder.
    pub spec: VmSpec,
}

/// The keys of a file, of a group, and of a single VM, besides those of [`VmSpec`].
const ROOT: [&str; 5] = ["description", "template", "defaults", "groups", "vms"];
const GROUP: [&str; 5] = ["template", "count", "names", "numbers", "name"];
const SINGLE: [&str; 3] = ["name", "template", "group"];

impl Fleet {
    /// The names of its VMs, in its order.
    pub fn names(&self) -> impl Iterator<Item = &VmName> {
        self.vms.iter().map(|vm| &vm.name)
    }
}

/// Whether a text looks like a fleet's, whatever is wrong in it.
pub fn is_one(text: &str) -> bool {
    let Ok(root) = toml::from_str::<toml::Table>(text) else { return false };
    !root.contains_key("source") && ["groups", "vms"].iter().any(|key| root.contains_key(*key))
}

/// Reads a fleet. `file` names it in errors.
///
/// # Errors
/// [`Invalid`]: every fault at once, each with line and column.
pub fn parse(file: &str, text: &str) -> Result<Fleet, Invalid> {
    let mut root = Table::parse(file, text)?;
    let mut faults = Faults::default();
    let description = root.take("description", &mut faults);
    let template = root.read("template", &mut faults);
    let defaults = root.inner("defaults", &mut faults).map(|table| defaults(table, &mut faults));
    let groups = root.named("groups", &mut faults).into_iter().filter_map(|(name, table)| group(name, table, &mut faults));
    let groups: Vec<Group> = groups.collect();
    let singles = root.list("vms", &mut faults).into_iter().filter_map(|table| single(table, &mut faults)).collect();
    root.end(&ROOT, &mut faults);
    let vms = expand(template.map(|placed| placed.value), &defaults.unwrap_or_default(), &groups, singles, &mut faults);
    faults.end(file, text)?;
    Ok(Fleet { description: description.map(|placed| placed.value), vms })
}

fn defaults(table: Table<'_>, faults: &mut Faults) -> VmSpec {
    let (ip, mac) = (table.place("ip"), table.place("mac"));
    let spec = table.spec(&[], faults);
    if spec.ip.as_ref().is_some_and(|ip| ip.addresses().next().is_some()) {
        faults.add(ip, "addresses belong to a group or to a VM: here is only \"next\"");
    }
    if matches!(spec.mac, Some(super::vm_spec::MacChoice::Explicit(_))) {
        faults.add(mac, "MAC addresses belong to a group or to a VM: here are only \"name\", \"ip\" and \"random\"");
    }
    spec
}

fn group(name: Placed<String>, mut table: Table<'_>, faults: &mut Faults) -> Option<Group> {
    let label = name.value.parse::<Label>().map_err(|reason| faults.add(name.at, reason)).ok();
    let template = table.read("template", faults).map(|placed| placed.value);
    let names = expand::names(&name, &mut table, faults);
    let (ip_at, mac_at) = (table.place("ip"), table.place("mac"));
    let spec = table.spec(&GROUP, faults);
    Some(Group { at: name.at, name: label?, template, names, ip_at, mac_at, spec })
}

fn single(mut table: Table<'_>, faults: &mut Faults) -> Option<Single> {
    let at = table.at;
    if table.is_without("name") {
        faults.add(at, "this VM has no `name`");
    }
    let name = table.take("name", faults);
    let template = table.read("template", faults).map(|placed| placed.value);
    let group = table.read("group", faults);
    let (ip_at, mac_at) = (table.place("ip"), table.place("mac"));
    let spec = table.spec(&SINGLE, faults);
    Some(Single { name: name?, template, group, ip_at, mac_at, spec })
}

#[cfg(test)]
mod tests;
