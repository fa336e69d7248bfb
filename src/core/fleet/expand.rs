//! From groups and single VMs to VMs: names, templates, and each VM's share of its group's addresses.

use std::collections::BTreeMap;

use super::{
    Declared,
    table::{Faults, Placed, Table},
};
use crate::core::{
    names::{NamePattern, TemplateRef, VmName},
    numbers::Numbers,
    vm_spec::{Addressing, IpChoice, Label, MacChoice, VmSpec},
};

/// So many VMs at most: as many as one call of `tpl clone` makes.
const MOST: usize = 1000;

/// The keys with which a group says how many VMs it makes.
const WAYS: [&str; 3] = ["count", "names", "numbers"];

/// A group, read.
pub(super) struct Group {
    pub(super) at: usize,
    pub(super) name: Label,
    pub(super) template: Option<TemplateRef>,
    /// The VMs that it makes by itself; none where it does not say.
    pub(super) names: Option<Vec<Placed<VmName>>>,
    pub(super) ip_at: usize,
    pub(super) mac_at: usize,
    pub(super) spec: VmSpec,
}

/// A single VM, read.
pub(super) struct Single {
    pub(super) name: Placed<VmName>,
    pub(super) template: Option<TemplateRef>,
    pub(super) group: Option<Placed<Label>>,
    pub(super) ip_at: usize,
    pub(super) mac_at: usize,
    pub(super) spec: VmSpec,
}

/// A VM on its way: with its own words only, and where they stand.
struct Member<'g> {
    name: Placed<VmName>,
    template: Option<TemplateRef>,
    group: Option<&'g Group>,
    ip_at: usize,
    mac_at: usize,
    spec: VmSpec,
}

/// The names that a group makes by itself: `count`, `names` or `numbers`. None where it says none of them.
pub(super) fn names(group: &Placed<String>, table: &mut Table<'_>, faults: &mut Faults) -> Option<Vec<Placed<VmName>>> {
    let said: Vec<usize> = WAYS.iter().filter(|way| !table.is_without(way)).map(|way| table.place(way)).collect();
    let count = table.take::<i64>("count", faults);
    let list = table.take::<Vec<VmName>>("names", faults);
    let numbers = table.read::<Numbers>("numbers", faults);
    let pattern = table.take::<String>("name", faults);
    if let Some(second) = said.get(1) {
        faults.add(*second, "`count`, `names` and `numbers` are three ways to say one thing: keep one");
        return Some(Vec::new());
    }
    if let Some(pattern) = pattern.as_ref().filter(|_| list.is_some() || said.is_empty()) {
        faults.add(pattern.at, "`name` is a pattern for `count` or `numbers`, and neither stands here");
    }
    said.first()?;
    if let Some(list) = list {
        if list.value.is_empty() {
            faults.add(list.at, "`names` is empty");
        }
        return Some(list.value.into_iter().map(|value| Placed { at: list.at, value }).collect());
    }
    if let Some(numbers) = numbers {
        return Some(numbered(group, pattern, numbers.value.as_slice(), true, faults));
    }
    match count.as_ref().map(|count| usize::try_from(count.value).ok().filter(|count| (1..=MOST).contains(count))) {
        Some(Some(count)) => Some(numbered(group, pattern, &(1..=count).collect::<Vec<_>>(), false, faults)),
        Some(None) => {
            faults.add(said[0], format!("`count` must be 1 to {MOST}"));
            Some(Vec::new())
        }
        None => Some(Vec::new()),
    }
}

/// Names after a pattern; a prefix where numbers are `listed`. Without a pattern it is the group's name with the number behind.
fn numbered(
    group: &Placed<String>,
    pattern: Option<Placed<String>>,
    numbers: &[usize],
    listed: bool,
    faults: &mut Faults,
) -> Vec<Placed<VmName>> {
    let pattern = pattern.unwrap_or_else(|| Placed { at: group.at, value: format!("{}{{}}", group.value) });
    let at = pattern.at;
    let literal = !pattern.value.contains('{');
    if literal && !listed && numbers.len() > 1 {
        faults
            .add(at, format!("{} VMs cannot all have one name: write {{}} where the number goes, as in web{{}}", numbers.len()));
        return Vec::new();
    }
    let text = if literal && listed { format!("{}{{}}", pattern.value) } else { pattern.value };
    let named = |pattern: NamePattern| numbers.iter().map(|number| pattern.name(*number)).collect::<Result<Vec<_>, _>>();
    match text.parse().and_then(named) {
        Ok(names) => names.into_iter().map(|value| Placed { at, value }).collect(),
        Err(reason) => {
            faults.add(at, reason);
            Vec::new()
        }
    }
}

/// All VMs of a file.
pub(super) fn expand(
    template: Option<TemplateRef>,
    defaults: &VmSpec,
    groups: &[Group],
    singles: Vec<Single>,
    faults: &mut Faults,
) -> Vec<Declared> {
    let mut members = members(groups, singles, faults);
    counted(&members, groups, faults);
    for group in groups {
        give_addresses(group, &mut members, faults);
        give_macs(group, &mut members, faults);
    }
    unique(&members, faults);
    let declared = members.into_iter().map(|member| {
        let base = member.group.map(|group| {
            // What a group says of addresses has been given out.
            let ip = group.spec.ip.clone().filter(|ip| *ip == IpChoice::Next);
            let mac = group.spec.mac.clone().filter(|mac| !matches!(mac, MacChoice::Explicit(_)));
            VmSpec { ip, mac, ..group.spec.clone() }
        });
        Declared {
            name: member.name.value,
            template: member.template.or_else(|| member.group?.template.clone()).or_else(|| template.clone()),
            group: member.group.map(|group| group.name.clone()),
            spec: member.spec.over(base.unwrap_or_default()).over(defaults.clone()),
        }
    });
    declared.collect()
}

fn members<'g>(groups: &'g [Group], singles: Vec<Single>, faults: &mut Faults) -> Vec<Member<'g>> {
    let mut members = Vec::new();
    for group in groups {
        members.extend(group.names.iter().flatten().map(|name| Member {
            name: name.clone(),
            template: None,
            group: Some(group),
            ip_at: group.ip_at,
            mac_at: group.mac_at,
            spec: VmSpec::default(),
        }));
    }
    for single in singles {
        let Single { name, template, group, ip_at, mac_at, spec } = single;
        let found = group.as_ref().and_then(|wanted| groups.iter().find(|group| group.name == wanted.value));
        if let Some(wanted) = group.filter(|_| found.is_none()) {
            let known: Vec<_> = groups.iter().map(|group| group.name.as_str()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            faults.add(wanted.at, format!("there is no group {}; there are: {known}", wanted.value));
        }
        if spec.ip.as_ref().is_some_and(|ip| ip.addresses().nth(1).is_some()) {
            faults.add(ip_at, "a single VM has one address");
        }
        members.push(Member { name, template, group: found, ip_at, mac_at, spec });
    }
    members
}

/// How many there are, and whether each name stands there once.
fn counted(members: &[Member<'_>], groups: &[Group], faults: &mut Faults) {
    for group in groups.iter().filter(|group| group.names.is_none() && !members.iter().any(|member| is_in(member, group))) {
        let name = &group.name;
        faults.add(
            group.at,
            format!("group {name} has no VMs: give it `count`, `names` or `numbers`, or a VM with group = \"{name}\""),
        );
    }
    if members.is_empty() && faults.are_none() {
        faults.add(0, "a fleet needs VMs: [groups.NAME] with `count`, or [[vms]] with `name`");
    }
    if let Some(over) = members.get(MOST) {
        faults.add(over.name.at, format!("{} VMs are too many for one fleet: at most {MOST}", members.len()));
    }
    let mut seen = BTreeMap::new();
    for member in members {
        if seen.insert(&member.name.value, ()).is_some() {
            faults.add(member.name.at, format!("the name {} stands here twice", member.name.value));
        }
    }
}

fn is_in(member: &Member<'_>, group: &Group) -> bool {
    member.group.is_some_and(|own| own.name == group.name)
}

/// Gives each VM of a group that says nothing of its own the next address of the group's.
fn give_addresses(group: &Group, members: &mut [Member<'_>], faults: &mut Faults) {
    let Some(choice @ IpChoice::Ranges(_)) = &group.spec.ip else { return };
    let wants = |member: &&mut Member<'_>| {
        is_in(member, group) && member.spec.ip.is_none() && member.spec.addressing != Some(Addressing::Dhcp)
    };
    let mut addresses = choice.addresses();
    let (mut wanted, mut given) = (0, 0);
    for member in members.iter_mut().filter(wants) {
        wanted += 1;
        if let Some(ip) = addresses.next() {
            given += 1;
            member.spec.ip = Some(IpChoice::Ranges(vec![(ip, ip)]));
            member.ip_at = group.ip_at;
        }
    }
    if given < wanted {
        faults.add(group.ip_at, format!("group {} has {wanted} VMs and only {given} addresses for them", group.name));
    }
}

/// Gives each VM of a group that says nothing of its own its share of the group's MAC addresses: one for each network card.
fn give_macs(group: &Group, members: &mut [Member<'_>], faults: &mut Faults) {
    let Some(MacChoice::Explicit(macs)) = &group.spec.mac else { return };
    let wants = |member: &Member<'_>| is_in(member, group) && member.spec.mac.is_none();
    let wanted = members.iter().filter(|member| wants(member)).count();
    if wanted == 0 {
        return;
    }
    if !macs.len().is_multiple_of(wanted) {
        let reason = "write one for each network card of each";
        faults.add(group.mac_at, format!("group {} has {wanted} VMs and {} MAC addresses: {reason}", group.name, macs.len()));
        return;
    }
    for (member, own) in members.iter_mut().filter(|member| wants(member)).zip(macs.chunks(macs.len() / wanted)) {
        member.spec.mac = Some(MacChoice::Explicit(own.to_vec()));
        member.mac_at = group.mac_at;
    }
}

/// No address may stand with two VMs.
fn unique(members: &[Member<'_>], faults: &mut Faults) {
    let mut seen = BTreeMap::new();
    for member in members {
        let name = &member.name.value;
        let ips = member.spec.ip.iter().flat_map(IpChoice::addresses).map(|ip| (ip.to_string(), member.ip_at));
        let macs = match &member.spec.mac {
            Some(MacChoice::Explicit(macs)) => macs.as_slice(),
            _ => &[],
        };
        let macs = macs.iter().map(|mac| (mac.to_string(), member.mac_at));
        // A single VM's range has been refused; it need not be walked to its end.
        for (address, at) in ips.take(2).chain(macs) {
            if let Some(other) = seen.insert(address.clone(), name) {
                faults.add(at, format!("{address} is given to both {other} and {name}"));
            }
        }
    }
}
