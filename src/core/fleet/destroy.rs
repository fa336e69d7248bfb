//! What `tpl destroy --fleet FILE` removes: the declared VMs that carry tpl's metadata, and, with `--disks`, their disks and those
//! that VMs of these names have left. Nothing else ever.

use std::collections::BTreeSet;

use roxmltree::Document;
use serde::Serialize;

use crate::core::{
    facts::{Domain, Volume},
    inventory::{Clone, Inventory},
    names::VmName,
};

/// A VM that goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Going {
    /// Its name.
    pub name: VmName,
    /// Its volumes that go with it.
    pub remove: Vec<String>,
    /// Its volumes that stay.
    pub keep: Vec<String>,
}

/// What goes and what stays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct DestroyPlan {
    /// The VMs, in the order of the fleet.
    pub vms: Vec<Going>,
    /// Volumes that go, of VMs that are no longer there.
    pub remove_volumes: Vec<String>,
    /// Volumes that stay, of VMs that are no longer there.
    pub keep_volumes: Vec<String>,
    /// What is declared and left alone: why.
    pub untouched: Vec<String>,
}

/// What there is.
#[derive(Debug, Clone, Copy)]
pub struct Stock<'a> {
    /// All domains.
    pub domains: &'a [Domain],
    /// The same, sorted.
    pub inventory: &'a Inventory,
    /// The pool that is worked on.
    pub pool: &'a str,
    /// Its volumes.
    pub volumes: &'a [Volume],
}

/// Plans the removal of these VMs, declared with so many further disks each. Without `disks` their disks stay, and only their seeds go: a seed holds secrets, and is worth
/// nothing without its VM.
pub fn plan(declared: &[(VmName, usize)], stock: Stock<'_>, disks: bool) -> DestroyPlan {
    let mut plan = DestroyPlan::default();
    let uses: Vec<Uses> = stock.domains.iter().map(Uses::of).collect();
    for (name, further) in declared {
        match stock.inventory.clones.iter().find(|clone| clone.record.name == *name) {
            Some(clone) => vm(clone, stock, &uses, disks, &mut plan),
            None if stock.inventory.names.contains(name.as_str()) => {
                plan.untouched.push(format!("{name} does not carry tpl's metadata: tpl has not made it, and leaves it alone"))
            }
            None => stale(name, *further, stock, &uses, disks, &mut plan),
        }
    }
    plan
}

fn vm(clone: &Clone, stock: Stock<'_>, uses: &[Uses], disks: bool, plan: &mut DestroyPlan) {
    let record = &clone.record;
    let name = &record.name;
    if !clone.is_vm() {
        plan.untouched.push(format!("{name} is a boot test of template {}", record.template));
        return;
    }
    if record.pool != stock.pool {
        plan.untouched.push(format!("{name} has its volumes in pool {0}: name it with --pool {0}", record.pool));
        return;
    }
    let mut going = Going { name: name.clone(), remove: Vec::new(), keep: Vec::new() };
    for volume in &record.volumes {
        if let Some(user) = user(volume, Some(name), stock, uses) {
            plan.untouched.push(format!("volume {volume} of {name} stays: {user}"));
        } else if disks || *volume == seed(name) {
            going.remove.push(volume.clone());
        } else {
            going.keep.push(volume.clone());
        }
    }
    plan.vms.push(going);
}

/// The volumes that a VM without a domain has left.
fn stale(name: &VmName, further: usize, stock: Stock<'_>, uses: &[Uses], disks: bool, plan: &mut DestroyPlan) {
    for volume in stock.volumes.iter().filter(|volume| is_of(&volume.name, name, further)) {
        match user(&volume.name, None, stock, uses) {
            Some(user) => plan.untouched.push(format!("volume {} stays: {user}", volume.name)),
            None if disks || volume.name == seed(name) => plan.remove_volumes.push(volume.name.clone()),
            None => plan.keep_volumes.push(volume.name.clone()),
        }
    }
}

fn seed(name: &VmName) -> String {
    format!("{name}-seed")
}

/// Whether a volume's name is one of those that tpl gives to the volumes of this VM with so many further disks: `NAME`,
/// `NAME-seed`, `NAME-nvram`, `NAME-disk1` and so on. One more could be the disk of a VM that is called so.
fn is_of(volume: &str, name: &VmName, further: usize) -> bool {
    let Some(rest) = volume.strip_prefix(name.as_str()) else { return false };
    matches!(rest, "" | "-seed" | "-nvram") || (1..=further).any(|number| *rest == format!("-disk{number}"))
}

/// What speaks against the removal of a volume of the pool, besides its own VM.
fn user(volume: &str, own: Option<&VmName>, stock: Stock<'_>, uses: &[Uses]) -> Option<String> {
    let is_own = |domain: &str| own.is_some_and(|own| own.as_str() == domain);
    let path = stock.volumes.iter().find(|known| known.name == volume).map(|known| known.path.as_str());
    let using = uses.iter().filter(|uses| !is_own(uses.domain)).find_map(|uses| uses.objection(stock.pool, volume, path));
    using.or_else(|| {
        let inventory = stock.inventory;
        let lists = |pool: &str, volumes: &[String]| pool == stock.pool && volumes.iter().any(|listed| listed == volume);
        let clones = inventory.clones.iter().filter(|clone| lists(&clone.record.pool, &clone.record.volumes));
        let clones = clones.map(|clone| clone.record.name.to_string());
        let templates = inventory.templates.iter().filter(|template| lists(&template.manifest.pool, &template.manifest.volumes));
        let templates = templates.map(|template| template.domain.name.clone());
        let probes = inventory.probes.iter().filter(|probe| lists(&probe.pool, &probe.volumes)).map(|probe| probe.name.clone());
        let mut owners = clones.chain(templates).chain(probes).filter(|owner| !is_own(owner));
        owners.next().map(|owner| format!("it is listed in the metadata of {owner}"))
    })
}

/// All that a domain's XML names: attributes and texts, whatever they mean. Nothing that stands there is removed, be it a disk, a
/// backing image, a kernel or a log.
struct Uses<'a> {
    domain: &'a str,
    /// None where the XML cannot be read: then nothing is known to be free.
    named: Option<BTreeSet<String>>,
    /// Pools and volumes of disks that name these.
    volumes: BTreeSet<(String, String)>,
}

impl<'a> Uses<'a> {
    fn of(domain: &'a Domain) -> Self {
        let mut uses = Self { domain: &domain.name, named: None, volumes: BTreeSet::new() };
        let Ok(document) = Document::parse(&domain.xml) else { return uses };
        let mut named = BTreeSet::new();
        for node in document.descendants() {
            named.extend(node.attributes().map(|attribute| attribute.value().to_owned()));
            named.extend(node.text().map(|text| text.trim().to_owned()));
            if let Some((pool, volume)) = node.attribute("pool").zip(node.attribute("volume")) {
                uses.volumes.insert((pool.to_owned(), volume.to_owned()));
            }
        }
        uses.named = Some(named);
        uses
    }

    fn objection(&self, pool: &str, volume: &str, path: Option<&str>) -> Option<String> {
        let Some(named) = &self.named else {
            return Some(format!("what domain {} uses cannot be read", self.domain));
        };
        let by_path = path.is_some_and(|path| named.contains(path));
        let by_name = self.volumes.contains(&(pool.to_owned(), volume.to_owned()));
        (by_path || by_name).then(|| format!("domain {} uses it", self.domain))
    }
}

#[cfg(test)]
mod tests;
