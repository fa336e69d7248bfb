//! Makes the definition of somebody's VM that of a template. The VM's own machine stays, its buses and models too: what it
//! boots with today its clones boot with. Left out is what cannot be shared by clones: other disks, media in drives, devices of
//! the host, and serial lines, of which tpl's own console takes the place.

mod original;

use anyhow::{Context as _, Result, ensure};
use roxmltree::Node;
use uuid::Uuid;

use super::{
    attribute, child, children,
    clone::{CloneIdentity, DiskChange, DiskLocation, clone_domain},
    edit::Edits,
    is, parse_domain, text,
};
use crate::core::{
    domain::console_log,
    facts::VolumeFormat,
    mac::Mac,
    manifest::{Manifest, Metadata},
    metadata,
    network::Plug,
    units::ByteSize,
};

pub use original::Original;

/// What the template has of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateIdentity<'a> {
    /// The domain's UUID.
    pub uuid: Uuid,
    /// The `<target dev>` of its disk.
    pub target: &'a str,
    /// Its volume.
    pub volume: DiskLocation,
    /// The path of its UEFI variables, if the VM has some.
    pub nvram: Option<&'a str>,
    /// What its first card is plugged into, if that is not what the VM's is.
    pub plug: Option<&'a Plug>,
    /// vCPUs of its clones.
    pub vcpus: u32,
    /// Memory of its clones.
    pub memory: ByteSize,
}

/// The definition without what a template cannot have, and what that was, for people.
///
/// # Errors
/// The XML cannot be read, or has no such disk.
fn stripped(xml: &str, target: &str) -> Result<(String, Vec<String>)> {
    let document = parse_domain(xml)?;
    let domain = document.root_element();
    let devices = child(domain, "devices").context("the VM has no devices")?;
    let mut edits = Edits::of(domain);
    let mut gone = Vec::new();
    for disk in children(devices, "disk") {
        let name = super::read::target(disk).context("a <disk> has no target")?;
        let device = attribute(disk, "device").unwrap_or("disk");
        if matches!(device, "cdrom" | "floppy") {
            if let Some(source) = child(disk, "source") {
                gone.push(format!("the medium in drive {name}"));
                edits.remove(source);
                edits.set_attribute(disk, "type", "file")?;
            }
        } else if name != target {
            gone.push(format!("disk {name}"));
            edits.remove(disk);
        }
    }
    for device in devices.children().filter(Node::is_element) {
        let of_host = is(device, "interface") && matches!(attribute(device, "type"), Some("hostdev" | "vdpa" | "vhostuser"));
        if is(device, "hostdev") || is(device, "lease") || of_host {
            let kind = attribute(device, "type").unwrap_or_default();
            gone.push(format!("a {} of type {kind:?}, which the host has once", device.tag_name().name()));
            edits.remove(device);
        }
    }
    consoles(&mut edits, domain, devices)?;
    Ok((edits.apply()?, gone))
}

/// The one serial line that every clone of tpl's has, logged into a file: a boot that fails is told from it.
fn consoles<'i>(edits: &mut Edits<'i>, domain: Node<'_, 'i>, devices: Node<'_, 'i>) -> Result<()> {
    let name = child(domain, "name").map(text).context("the VM has no name")?;
    let serial = |node: &Node<'_, '_>| {
        let to_serial = child(*node, "target").is_none_or(|target| attribute(target, "type").is_none_or(|kind| kind == "serial"));
        is(*node, "serial") || is(*node, "console") && to_serial
    };
    devices.children().filter(serial).for_each(|node| edits.remove(node));
    let log = super::edit::escape(&console_log(name.trim()))?;
    edits.append(
        devices,
        &format!(
            "<serial type='pty'><log file='{log}' append='off'/><target port='0'/></serial>\
             <console type='pty'><target type='serial' port='0'/></console>"
        ),
    );
    Ok(())
}

/// The template's definition, out of the stripped one of a VM.
///
/// # Errors
/// What [`clone_domain`] refuses: two machines cannot have it.
pub fn template(stripped: &str, manifest: &Manifest, identity: &TemplateIdentity<'_>) -> Result<String> {
    let facts = super::read::domain_facts(stripped)?;
    // A VM's name, for the time being: a template's own has a dot. Nothing else in the document holds it.
    let placeholder = format!("tpl-adopted-{}", identity.uuid.simple());
    let location = identity.volume.clone();
    let copy = DiskChange { target: identity.target.to_owned(), location, format: VolumeFormat::Raw };
    let clone = CloneIdentity {
        name: placeholder.parse().map_err(anyhow::Error::msg)?,
        uuid: identity.uuid,
        macs: vec![Mac([0x52, 0x54, 0, 0, 0, 0]); facts.interfaces],
        vcpus: Some(identity.vcpus).filter(|count| *count != facts.vcpus),
        topology: None,
        memory: Some(identity.memory).filter(|size| *size != facts.memory),
        plug: identity.plug.cloned(),
        disks: vec![copy],
        seed: None,
        asks_service: false,
        extra_disks: Vec::new(),
        description: None,
        metadata: metadata::element(&Metadata::Template(Box::new(manifest.clone()))),
        nvram: identity.nvram.map(str::to_owned),
    };
    ensure!(!stripped.contains(&placeholder), "the VM's definition holds {placeholder}");
    let xml = clone_domain(stripped, &clone)?.replace(&placeholder, &manifest.id().domain());
    finished(&xml, identity.target)
}

/// The last touches: the disk is read-only, and libvirt chooses the addresses of cards that never run.
fn finished(xml: &str, target: &str) -> Result<String> {
    let document = parse_domain(xml)?;
    let domain = document.root_element();
    let devices = child(domain, "devices").context("the template has no devices")?;
    let mut edits = Edits::of(domain);
    for disk in children(devices, "disk").filter(|disk| super::read::target(*disk) == Some(target)) {
        if let Some(driver) = child(disk, "driver") {
            edits.set_attribute(driver, "discard", "unmap")?;
        }
        children(disk, "transient").for_each(|node| edits.remove(node));
        // IDE and SATA know no read-only disks. There what somebody would write goes away again.
        let bus = child(disk, "target").and_then(|target| attribute(target, "bus"));
        let guard = if matches!(bus, Some("ide" | "sata")) { "<transient/>" } else { "<readonly/>" };
        edits.append(disk, guard);
    }
    for mac in children(devices, "interface").filter_map(|interface| child(interface, "mac")) {
        edits.remove(mac);
    }
    edits.apply()
}

#[cfg(test)]
mod tests;
