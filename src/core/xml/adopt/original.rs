//! A VM that is to be adopted, as far as its definition tells.

use anyhow::{Context as _, Result};
use uuid::Uuid;

use super::stripped;
use crate::core::{
    error::Refusal,
    facts::{Domain, DomainState, VolumeFormat},
    manifest::Metadata,
    metadata,
    names::UserName,
    network::Plug,
    source::Arch,
    units::ByteSize,
    vm_spec::Firmware,
    xml::{
        attribute, child, parse_domain,
        read::{DiskFacts, DiskSource, domain_facts},
        text,
    },
};

/// A VM that can be adopted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Original {
    /// Its name.
    pub domain: String,
    /// Its UUID.
    pub uuid: Uuid,
    /// Its definition, with what a template leaves out left out.
    pub xml: String,
    /// The disk that is copied: its `<target dev>`.
    pub target: String,
    /// Where that disk is.
    pub source: DiskSource,
    /// Its format.
    pub format: VolumeFormat,
    /// The file with its UEFI variables.
    pub nvram: Option<String>,
    /// What its first card is plugged into.
    pub plug: Option<Plug>,
    /// How many cards the template has.
    pub cards: usize,
    /// The guest's architecture.
    pub arch: Arch,
    /// What starts it.
    pub firmware: Firmware,
    /// vCPUs.
    pub vcpus: u32,
    /// Memory.
    pub memory: ByteSize,
    /// Who logs in, where tpl made it.
    pub user: Option<UserName>,
    /// What the template leaves out, for people.
    pub left_out: Vec<String>,
}

impl Original {
    /// Looks at a VM. `disk` is the one of its disks that an operator has named.
    ///
    /// # Errors
    /// [`Refusal`] with all reasons against it; else its definition cannot be read.
    pub fn of(domain: &Domain, disk: Option<&str>) -> Result<Self> {
        let name = &domain.name;
        let facts = domain_facts(&domain.xml)?;
        let mut reasons = Vec::new();
        let user = match metadata::read(&domain.xml) {
            Ok(None) => None,
            Ok(Some(Metadata::Clone(record))) if !record.is_unfinished() => Some(record.user),
            Ok(Some(Metadata::Clone(_))) => {
                return Err(Refusal::new(format!("{name} is a clone that is still being made")).into());
            }
            Ok(Some(Metadata::Template(manifest))) => {
                let id = manifest.id();
                return Err(Refusal::new(format!("{name} is a template already"))
                    .advise(format!("`tpl promote {id}` makes it the current one, `tpl clone {id}` makes VMs of it"))
                    .into());
            }
            Ok(Some(Metadata::Probe(_))) => return Err(Refusal::new(format!("{name} is a KVM probe of tpl's")).into()),
            Err(fault) => {
                return Err(Refusal::new(format!("{name} carries metadata of tpl's that cannot be read: {fault}")).into());
            }
        };
        reasons.extend(foreign(&domain.xml, name)?);
        let (target, source, format) = match system(&facts.disks, disk, name) {
            Ok(found) => found,
            Err(reason) => {
                reasons.push(reason);
                return Err(Refusal { reasons, advice: None }.into());
            }
        };
        if !reasons.is_empty() {
            return Err(Refusal { reasons, advice: None }.into());
        }
        let (xml, left_out) = stripped(&domain.xml, &target).with_context(|| format!("reading the XML of domain {name}"))?;
        let rest = domain_facts(&xml)?;
        Ok(Self {
            domain: name.clone(),
            uuid: facts.uuid,
            xml,
            target,
            source,
            format,
            nvram: facts.nvram,
            plug: rest.plug,
            cards: rest.interfaces,
            arch: arch(&domain.xml)?,
            firmware: facts.firmware,
            vcpus: facts.vcpus,
            memory: facts.memory,
            user,
            left_out,
        })
    }

    /// There is no VM of this name.
    pub fn missing(name: &str) -> Refusal {
        Refusal::new(format!("domain {name} does not exist")).advise("`virsh list --all` lists those there are")
    }

    /// Whether a VM in this state can be copied: only one that is off writes nothing.
    ///
    /// # Errors
    /// It is not off.
    pub fn ensure_off(name: &str, state: Option<DomainState>, saved: bool) -> Result<(), Refusal> {
        match state {
            None => Err(Self::missing(name)),
            Some(DomainState::Shutoff) if saved => {
                Err(Refusal::new(format!("{name} is off with its memory saved, and its disk is not as its guest has left it"))
                    .advise(format!("`virsh start {name}` brings it back, `virsh shutdown {name}` then ends it")))
            }
            Some(DomainState::Shutoff) => Ok(()),
            Some(DomainState::Crashed) => {
                Err(Refusal::new(format!("{name} has crashed")).advise(format!("`virsh destroy {name}` ends it")))
            }
            Some(state) => Err(Refusal::new(format!("{name} is {}, and what it writes meanwhile would be torn", state.as_str()))
                .advise(format!("`virsh shutdown {name}` ends it"))),
        }
    }
}

/// What no template can be made of.
fn foreign(xml: &str, name: &str) -> Result<Vec<String>> {
    let document = parse_domain(xml)?;
    let domain = document.root_element();
    let mut reasons = Vec::new();
    let os = child(domain, "os");
    let kind = os.and_then(|os| child(os, "type")).map(text).unwrap_or_default();
    if kind.trim() != "hvm" {
        reasons.push(format!("{name} is of type {:?}, and a template is a whole machine, hvm", kind.trim()));
    }
    if os.is_some_and(|os| child(os, "kernel").is_some()) {
        reasons.push(format!("{name} boots a kernel that is a file of this host, and not of its own disk"));
    }
    // What virt-install and virt-manager know of the guest.
    let windows = domain.descendants().any(|node| {
        node.tag_name().namespace().is_some_and(|space| space.contains("libosinfo"))
            && attribute(node, "id").is_some_and(|id| id.contains("microsoft.com"))
    });
    if windows {
        reasons.push(format!("{name} is a Windows, and tpl seals Linux guests"));
    }
    Ok(reasons)
}

/// The disk that is copied; or why there is none.
fn system(disks: &[DiskFacts], wanted: Option<&str>, name: &str) -> Result<(String, DiskSource, VolumeFormat), String> {
    let own: Vec<_> = disks.iter().filter(|disk| matches!(disk.device.as_str(), "disk" | "lun")).collect();
    let names = |disks: &[&DiskFacts]| disks.iter().map(|disk| disk.target.as_str()).collect::<Vec<_>>().join(", ");
    let writable: Vec<_> = own.iter().copied().filter(|disk| !disk.readonly && !disk.shareable).collect();
    let found = match wanted {
        Some(target) => own.iter().find(|disk| disk.target == target).copied().ok_or_else(|| {
            let there = if own.is_empty() { "none".to_owned() } else { names(&own) };
            format!("{name} has no disk {target}; there is {there}")
        })?,
        None => match writable.as_slice() {
            [only] => only,
            [] => return Err(format!("{name} has no disk of its own")),
            several => return Err(format!("{name} has several disks: --disk names the one with the system: {}", names(several))),
        },
    };
    let target = &found.target;
    if found.device == "lun" {
        return Err(format!("disk {target} of {name} is a LUN of the host, handed through"));
    }
    let source = found.source.clone().ok_or_else(|| format!("disk {target} of {name} has no file"))?;
    if let DiskSource::Other(kind) = &source {
        return Err(format!("disk {target} of {name} is of type {kind:?}, and files, block devices and volumes are copied"));
    }
    let format = match found.driver_type.as_deref() {
        // libvirt's own rule.
        None | Some("raw") => VolumeFormat::Raw,
        Some("qcow2") => VolumeFormat::Qcow2,
        Some(other) => return Err(format!("disk {target} of {name} is of the format {other:?}, and raw and qcow2 are copied")),
    };
    Ok((target.clone(), source, format))
}

fn arch(xml: &str) -> Result<Arch> {
    let document = parse_domain(xml)?;
    let kind = child(document.root_element(), "os").and_then(|os| child(os, "type"));
    match kind.and_then(|kind| attribute(kind, "arch")) {
        None => Ok(Arch::Amd64),
        Some(arch) => {
            arch.parse().map_err(|_| Refusal::new(format!("its guest is built for {arch}, and templates are for amd64")).into())
        }
    }
}
