//! Makes a template's domain XML that of a clone: virt-clone's semantics, and what it forgets. All that tpl does not know
//! stays byte for byte.
//!
//! Left as they are on purpose: host devices (a clone that shares one can be defined, but not run beside its sibling), fixed
//! TCP ports of serial lines, `qemu:commandline`, file systems and shared memory. The state of an emulated TPM needs nothing:
//! libvirt keeps it under the domain's UUID.

mod additions;
mod devices;
mod disks;
mod firmware;
mod interfaces;
mod shape;
mod smbios;

use anyhow::{Context as _, Result, ensure};
use roxmltree::Node;
use uuid::Uuid;

use super::{attribute, child, children, edit::Edits, edit::escape, parse, parse_domain, text};
use crate::core::{
    facts::{PoolKind, VolumeFormat},
    mac::Mac,
    metadata::ready,
    names::VmName,
    network::Plug,
    units::ByteSize,
    vm_spec::Topology,
};

/// What a clone has of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloneIdentity {
    /// The name of the domain.
    pub name: VmName,
    /// Its UUID.
    pub uuid: Uuid,
    /// One address for each interface, in the order of the document.
    pub macs: Vec<Mac>,
    /// Another number of vCPUs than the template's.
    pub vcpus: Option<u32>,
    /// How its vCPUs are shown to the guest. The product must be their number.
    pub topology: Option<Topology>,
    /// Another size of memory than the template's; rounded up to KiB.
    pub memory: Option<ByteSize>,
    /// What its first interface is plugged into, if not what the template's is. The others stay where they are.
    pub plug: Option<Plug>,
    /// The clone's own disks in place of the template's. Shared, read-only and empty ones need none.
    pub disks: Vec<DiskChange>,
    /// The volume with the NoCloud documents: a further, read-only disk.
    pub seed: Option<DiskLocation>,
    /// Whether its serial number sends its cloud-init to the metadata service.
    pub asks_service: bool,
    /// Disks that the template does not have, behind all others.
    pub extra_disks: Vec<ExtraDiskXml>,
    /// What `<description>` says; none removes it.
    pub description: Option<String>,
    /// An XML element that takes the place of the one of the same namespace in `<metadata>`.
    pub metadata: String,
    /// The clone's file of UEFI variables. None: as [`nvram_beside`] names it, or libvirt's own choice where the template
    /// names none. Not used where the template's firmware keeps no variables.
    pub nvram: Option<String>,
}

/// A disk of the template that becomes the clone's own: writable, and not shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskChange {
    /// Which disk: its `<target dev>`.
    pub target: String,
    /// Where the clone's bytes are.
    pub location: DiskLocation,
    /// Their format.
    pub format: VolumeFormat,
}

/// A disk that the template does not have: virtio, writable, and given back what the guest discards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtraDiskXml {
    /// Where its bytes are.
    pub location: DiskLocation,
    /// Their format.
    pub format: VolumeFormat,
    /// How the guest knows it, as `/dev/disk/by-id/virtio-SERIAL`: 1 to 20 letters, digits, `-`, `_` and `.`.
    pub serial: String,
}

/// A path on the hypervisor. Never a `volume`: AppArmor denies those.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskLocation {
    /// A file.
    File(String),
    /// A block device.
    Block(String),
}

impl DiskLocation {
    /// A volume of a pool of this kind.
    pub fn in_pool(kind: PoolKind, path: String) -> Self {
        if kind.is_logical() { Self::Block(path) } else { Self::File(path) }
    }

    /// The `type` of the disk, and the attribute of `<source>` that holds the path.
    pub fn kind(&self) -> (&'static str, &'static str) {
        match self {
            Self::File(_) => ("file", "file"),
            Self::Block(_) => ("block", "dev"),
        }
    }

    /// The path itself.
    pub fn path(&self) -> &str {
        match self {
            Self::File(path) | Self::Block(path) => path,
        }
    }

    fn source_xml(&self) -> Result<String> {
        let (_, attribute) = self.kind();
        Ok(format!("<source {attribute}='{}'/>", escape(self.path())?))
    }
}

/// The path of a clone's UEFI variables, beside the template's: `NAME_VARS.fd`, as libvirt and virt-clone name it, with the
/// template's own extension where it has one: `.qcow2` tells the format.
pub fn nvram_beside(template: &str, name: &VmName) -> String {
    let (folder, file) = template.split_at(template.rfind('/').map_or(0, |slash| slash + 1));
    // A template's version stands behind a dot too, and begins with a digit.
    let plain =
        |word: &str| word.starts_with(|c: char| c.is_ascii_alphabetic()) && word.bytes().all(|b| b.is_ascii_alphanumeric());
    let extension = file.rsplit_once('.').filter(|(stem, word)| !stem.is_empty() && plain(word)).map_or("fd", |(_, word)| word);
    format!("{folder}{name}_VARS.{extension}")
}

/// The domain XML of a clone, ready to be defined.
///
/// # Errors
/// The template's XML is no domain XML within the limits; the number of MACs is not that of the interfaces; a writable disk
/// has no copy, or a copy no disk; vCPUs or memory change where NUMA cells fix them; a topology that makes another number of
/// vCPUs; an interface that cannot be plugged in elsewhere; UEFI variables that would be shared; a value that XML cannot hold.
pub fn clone_domain(template_xml: &str, identity: &CloneIdentity) -> Result<String> {
    edited(template_xml, identity).with_context(|| format!("making the XML of clone {}", identity.name))
}

fn edited(template_xml: &str, identity: &CloneIdentity) -> Result<String> {
    let document = parse_domain(template_xml)?;
    let domain = document.root_element();
    let name = child(domain, "name").context("the template has no <name>")?;
    let mut edits = Edits::of(domain);
    // Only a running domain has one.
    edits.remove_attribute(domain, "id");
    edits.set_text(name, identity.name.as_str())?;
    let old = uuid(&mut edits, domain, name, identity.uuid)?;
    smbios::change(&mut edits, domain, &old, identity)?;
    describe(&mut edits, domain, name, identity)?;
    firmware::change(&mut edits, domain, identity)?;
    labels(&mut edits, domain);
    shape::change(&mut edits, domain, identity)?;
    if let Some(devices) = child(domain, "devices") {
        disks::change(&mut edits, devices, identity)?;
        additions::insert(&mut edits, devices, identity)?;
        interfaces::change(&mut edits, devices, &text(name), identity)?;
        devices::change(&mut edits, devices, &text(name), identity)?;
    }
    edits.apply()
}

/// Sets the UUID; what it was, in small letters.
fn uuid<'i>(edits: &mut Edits<'i>, domain: Node<'_, 'i>, name: Node<'_, 'i>, new: Uuid) -> Result<String> {
    let new = new.to_string();
    let mut old = String::new();
    match child(domain, "uuid") {
        Some(node) => {
            old = text(node).trim().to_ascii_lowercase();
            edits.set_text(node, &new)?;
        }
        None => edits.insert_after(name, &format!("<uuid>{new}</uuid>")),
    }
    // Empty: libvirt makes a new one when the domain is defined. A clone must not tell its guest that it is the template.
    if let Some(genid) = child(domain, "genid") {
        edits.set_text(genid, "")?;
    }
    Ok(old)
}

fn describe<'i>(edits: &mut Edits<'i>, domain: Node<'_, 'i>, name: Node<'_, 'i>, identity: &CloneIdentity) -> Result<()> {
    if let Some(title) = child(domain, "title") {
        edits.remove(title);
    }
    let place = child(domain, "uuid").unwrap_or(name);
    match (child(domain, "description"), &identity.description) {
        (Some(node), Some(new)) => edits.set_text(node, new)?,
        (Some(node), None) => edits.remove(node),
        (None, Some(new)) => edits.insert_after(place, &format!("<description>{}</description>", escape(new)?)),
        (None, None) => {}
    }
    let element = parse(&identity.metadata).context("reading the clone's metadata")?;
    let namespace = element.root_element().tag_name().namespace();
    ensure!(namespace.is_some(), "the clone's metadata has no namespace");
    let Some(metadata) = child(domain, "metadata") else {
        edits.insert_after(place, &format!("<metadata>{}</metadata>", identity.metadata));
        return Ok(());
    };
    // What the template's VM has said of itself, if it was one, the clone has not.
    let marked = |node: &Node<'_, '_>| node.is_element() && node.tag_name().namespace() == Some(ready::NAMESPACE);
    metadata.children().filter(marked).for_each(|node| edits.remove(node));
    // libvirt keeps one element a namespace; those of other applications stay.
    let own: Vec<_> = metadata.children().filter(|n| n.is_element() && n.tag_name().namespace() == namespace).collect();
    match own.split_first() {
        Some((first, others)) => {
            edits.replace(*first, &*identity.metadata);
            others.iter().for_each(|node| edits.remove(*node));
        }
        None => edits.append(metadata, &identity.metadata),
    }
    Ok(())
}

/// A generated security label holds the domain's UUID; libvirt generates the clone's.
fn labels<'i>(edits: &mut Edits<'i>, domain: Node<'_, 'i>) {
    for label in children(domain, "seclabel").filter(|label| attribute(*label, "type") == Some("dynamic")) {
        label.children().filter(|n| super::is(*n, "label") || super::is(*n, "imagelabel")).for_each(|n| edits.remove(n));
    }
}

#[cfg(test)]
mod property_tests;
#[cfg(test)]
mod tests;
