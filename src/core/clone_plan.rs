//! What a call of `tpl clone` will do, and whether the hypervisor has room for it: decided from one read of its facts.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use uuid::Uuid;

use super::{
    error::{Invalid, Refusal},
    facts::{HostSize, PoolSize, Volume},
    inventory::{Inventory, Template},
    mac::Mac,
    manifest::{Purpose, State},
    names::{NamePattern, TemplateId, UserName, VmName},
    units::ByteSize,
    xml::read::domain_facts,
};

/// How much of the host's memory may be promised to VMs, in percent.
const MEMORY_CAP: u64 = 90;
/// No Linux boots with less.
const LEAST_MEMORY: ByteSize = ByteSize::mib(128);
/// Larger than any pool of one machine; a qcow2 could have more.
const LARGEST_DISK: ByteSize = ByteSize(64 << 40);
/// What a linked clone takes of the pool before it has written anything: the overlay's own structures and the seed.
const LINKED_ALLOCATION: ByteSize = ByteSize::mib(4);

/// What the operator asks for.
#[derive(Debug, Clone)]
pub struct CloneRequest {
    /// How many.
    pub count: usize,
    /// Their names; none: after the template.
    pub names: Option<NamePattern>,
    /// Disks that stand on the template's volume, or whole copies.
    pub linked: bool,
    /// vCPUs of each; none: the template's.
    pub vcpus: Option<u32>,
    /// Memory of each; none: the template's.
    pub memory: Option<ByteSize>,
    /// The system disk of each; none: the template's default.
    pub disk: Option<ByteSize>,
    /// Who logs in; none: the template's default user.
    pub user: Option<UserName>,
    /// The libvirt network; none: the template's.
    pub network: Option<String>,
    /// Why.
    pub purpose: Purpose,
}

/// What is read of the hypervisor, once.
#[derive(Debug)]
pub struct Facts {
    /// Its domains.
    pub inventory: Inventory,
    /// The volumes of the pool.
    pub volumes: Vec<Volume>,
    /// The pool.
    pub pool: PoolSize,
    /// The host.
    pub host: HostSize,
}

/// A call, planned.
#[derive(Debug, Clone)]
pub struct ClonePlan {
    /// The template.
    pub template: TemplateId,
    /// Its content digest.
    pub digest: String,
    /// Its domain XML.
    pub template_xml: String,
    /// Its volume, by name.
    pub template_volume: String,
    /// Its volume's path.
    pub template_path: String,
    /// The `<target dev>` of its system disk.
    pub target: String,
    /// Disks that stand on the template's volume, or whole copies.
    pub linked: bool,
    /// vCPUs of each.
    pub vcpus: u32,
    /// Memory of each.
    pub memory: ByteSize,
    /// The system disk of each.
    pub disk: ByteSize,
    /// Who logs in.
    pub user: UserName,
    /// The libvirt network; none: the template's.
    pub network: Option<String>,
    /// Why.
    pub purpose: Purpose,
    /// The clones.
    pub clones: Vec<PlannedClone>,
}

/// One clone, planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedClone {
    /// Its name.
    pub name: VmName,
    /// Its UUID.
    pub uuid: Uuid,
    /// A MAC for each interface.
    pub macs: Vec<Mac>,
}

impl PlannedClone {
    /// The volume of its system disk.
    pub fn disk_volume(&self) -> String {
        self.name.to_string()
    }

    /// The volume with its identity.
    pub fn seed_volume(&self) -> String {
        format!("{}-seed", self.name)
    }
}

/// Plans a call. `fresh` makes UUIDs.
///
/// # Errors
/// [`Invalid`] for what could never be, [`Refusal`] for what this hypervisor has no room for: all reasons at once.
pub fn plan(request: &CloneRequest, template: &Template, facts: &Facts, fresh: &mut dyn FnMut() -> Uuid) -> Result<ClonePlan> {
    let manifest = &template.manifest;
    let id = manifest.id();
    let digest = usable(template, request.purpose)?;
    let domain = domain_facts(&template.domain.xml).with_context(|| format!("reading template {id}"))?;
    let system = domain.disks.iter().find(|disk| disk.device == "disk");
    let system = system.with_context(|| format!("template {id} has no disk"))?;
    let path = system.source.as_ref().and_then(|source| source.path());
    let path = path.with_context(|| format!("the disk of template {id} has no file"))?;
    let disk = sizes(request, template)?;
    let plan = ClonePlan {
        digest: digest.to_owned(),
        template_xml: template.domain.xml.clone(),
        template_volume: id.domain(),
        template_path: path.to_owned(),
        target: system.target.clone(),
        linked: request.linked,
        vcpus: request.vcpus.unwrap_or(domain.vcpus),
        memory: request.memory.unwrap_or(domain.memory),
        disk,
        user: request.user.clone().unwrap_or_else(|| manifest.clone.user.clone()),
        network: request.network.clone(),
        purpose: request.purpose,
        clones: identities(request, template, facts, domain.interfaces, fresh)?,
        template: id,
    };
    admit(&plan, facts)?;
    Ok(plan)
}

/// The digest of a template that can be cloned.
fn usable(template: &Template, purpose: Purpose) -> Result<&str, Refusal> {
    let manifest = &template.manifest;
    let needed = if purpose == Purpose::BootTest { State::Sealed } else { State::Published };
    let usable = manifest.state >= needed;
    manifest.digest.as_deref().filter(|_| usable).ok_or_else(|| {
        Refusal::new(format!("template {} is not finished: it is {}", manifest.id(), manifest.state.as_str()))
            .advise(format!("`tpl build {} --resume` goes on with it", manifest.name))
    })
}

/// The size of each system disk, if the sizes asked for can be.
fn sizes(request: &CloneRequest, template: &Template) -> Result<ByteSize, Invalid> {
    let manifest = &template.manifest;
    if let Some(memory) = request.memory.filter(|memory| *memory < LEAST_MEMORY) {
        return Err(Invalid::argument(format!("{memory} of memory are too little: a VM needs at least {LEAST_MEMORY}")));
    }
    if let Some(disk) = request.disk.filter(|disk| *disk > LARGEST_DISK) {
        return Err(Invalid::argument(format!("a disk of {disk} is too large: {LARGEST_DISK} are possible")));
    }
    // Whole MiB: a qcow2's size must be whole sectors, and a logical volume's whole extents.
    let wanted = request.disk.unwrap_or_else(|| manifest.clone.disk.max(manifest.virtual_size)).round_up(ByteSize::MIB);
    if wanted < manifest.virtual_size {
        return Err(Invalid::argument(format!(
            "a disk of {wanted} cannot hold template {}, which has {}: a clone's disk grows, never shrinks",
            manifest.id(),
            manifest.virtual_size
        )));
    }
    Ok(wanted)
}

fn identities(
    request: &CloneRequest,
    template: &Template,
    facts: &Facts,
    interfaces: usize,
    fresh: &mut dyn FnMut() -> Uuid,
) -> Result<Vec<PlannedClone>> {
    let volumes: BTreeSet<&str> = facts.volumes.iter().map(|volume| volume.name.as_str()).collect();
    let taken = |name: &str| {
        facts.inventory.names.contains(name) || volumes.contains(name) || volumes.contains(format!("{name}-seed").as_str())
    };
    let default = NamePattern::of_template(&template.manifest.name);
    let pattern = request.names.as_ref().unwrap_or(&default);
    let names = pattern.free(request.count, &taken).map_err(|reason| {
        // A name that exists is a refusal; one that cannot be is a fault of the call.
        if reason.ends_with("exists already") {
            anyhow::Error::new(Refusal::new(reason).advise("choose another name, or a pattern as in web{:02}"))
        } else {
            anyhow::Error::new(Invalid::argument(reason))
        }
    })?;
    let mut macs = facts.inventory.macs.clone();
    let mut clones = Vec::with_capacity(names.len());
    for name in names {
        let mut own = Vec::with_capacity(interfaces);
        for index in 0..interfaces {
            let mac = Mac::free_of_name(name.as_str(), index, &|mac| macs.contains(&mac)).map_err(Refusal::new)?;
            macs.insert(mac);
            own.push(mac);
        }
        clones.push(PlannedClone { name, uuid: fresh(), macs: own });
    }
    Ok(clones)
}

/// Whether there is room: memory that is promised, and space in the pool. All that does not fit is said at once.
fn admit(plan: &ClonePlan, facts: &Facts) -> Result<(), Refusal> {
    let count = plan.clones.len() as u64;
    let mut reasons = Vec::new();
    let mut axis = |name: &str, each: ByteSize, free: ByteSize, rest: String| {
        let wanted = each.0.saturating_mul(count);
        if wanted > free.0 {
            let fit = free.0.checked_div(each.0).unwrap_or(count).min(count);
            reasons.push(format!("{name}: {count} × {each} is {} and {rest}; {fit} would fit", ByteSize(wanted)));
        }
    };
    let cap = ByteSize(facts.host.memory.0 / 100 * MEMORY_CAP);
    let pledged = facts.inventory.memory_pledged;
    axis(
        "memory",
        plan.memory,
        ByteSize(cap.0.saturating_sub(pledged.0)),
        format!("{pledged} of {cap} ({MEMORY_CAP} % of {}) are pledged", facts.host.memory),
    );
    let template = facts.volumes.iter().find(|volume| volume.name == plan.template_volume);
    let copy = template.map_or(plan.disk, |volume| volume.allocation);
    let each = if plan.linked { LINKED_ALLOCATION } else { copy };
    axis("pool space", each, facts.pool.available, format!("{} are free", facts.pool.available));
    if reasons.is_empty() {
        return Ok(());
    }
    Err(Refusal { reasons, advice: Some("ask for fewer or smaller clones, or remove some with `tpl destroy`".to_owned()) })
}

impl ClonePlan {
    /// The plan for people.
    pub fn describe(&self) -> String {
        let kind = if self.linked { "linked clone" } else { "full clone" };
        let s = if self.clones.len() == 1 { "" } else { "s" };
        let mut text = format!(
            "{} {kind}{s} of {}: {} vCPUs, {} memory, {} disk, user {}\n",
            self.clones.len(),
            self.template,
            self.vcpus,
            self.memory,
            self.disk,
            self.user
        );
        for clone in &self.clones {
            let macs: Vec<_> = clone.macs.iter().map(ToString::to_string).collect();
            text.push_str(&format!("  {}  {}\n", clone.name, macs.join(" ")));
        }
        text
    }
}
