//! The clone's own disks in place of the template's.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use roxmltree::{Attribute, Node};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{CloneIdentity, DiskChange, DiskLocation};
use crate::core::xml::{attribute, child, children, edit::Edits, is, read::source, text};

pub(super) fn change<'i>(edits: &mut Edits<'i>, devices: Node<'_, 'i>, identity: &CloneIdentity) -> Result<()> {
    let mut unused: BTreeSet<&str> = identity.disks.iter().map(|disk| disk.target.as_str()).collect();
    ensure!(unused.len() == identity.disks.len(), "a disk of the template has two copies");
    for disk in children(devices, "disk") {
        let target = target(disk)?;
        match identity.disks.iter().find(|change| change.target == target) {
            Some(change) => {
                unused.remove(target);
                own(edits, disk, change, identity.uuid).with_context(|| format!("changing disk {target}"))?;
            }
            None => ensure!(
                child(disk, "readonly").is_some() || child(disk, "shareable").is_some() || is_empty(disk),
                "disk {target} is writable and has no copy: two machines would write to it"
            ),
        }
    }
    ensure!(unused.is_empty(), "the template has no disk {}", unused.into_iter().collect::<Vec<_>>().join(", "));
    Ok(())
}

pub(super) fn target<'a>(disk: Node<'a, '_>) -> Result<&'a str> {
    child(disk, "target").and_then(|target| attribute(target, "dev")).context("a <disk> of the template has no target")
}

fn is_empty(disk: Node<'_, '_>) -> bool {
    // CD-ROMs are read-only without saying so.
    source(disk).is_none() || attribute(disk, "device") == Some("cdrom")
}

/// A disk of the template becomes the clone's own.
fn own<'i>(edits: &mut Edits<'i>, disk: Node<'_, 'i>, change: &DiskChange, uuid: Uuid) -> Result<()> {
    let encrypted = [Some(disk), child(disk, "source")].into_iter().flatten().any(|node| child(node, "encryption").is_some());
    ensure!(!encrypted, "it is encrypted by QEMU, and tpl makes no encrypted copies");
    let (kind, _) = change.location.kind();
    edits.set_attribute(disk, "type", kind)?;
    let format = change.format.as_str();
    let target = child(disk, "target").context("it has no target")?;
    match child(disk, "driver") {
        Some(driver) => edits.set_attribute(driver, "type", format)?,
        None => edits.prepend(disk, &format!("<driver name='qemu' type='{format}'/>")),
    }
    match child(disk, "source") {
        Some(node) => relocate(edits, node, &change.location)?,
        None => edits.insert_after(target, &change.location.source_xml()?),
    }
    // The backing chain is read from the image's own header; the rest speaks of the template's volume.
    for name in ["backingStore", "mirror", "auth", "readonly", "shareable", "transient"] {
        children(disk, name).for_each(|node| edits.remove(node));
    }
    let hash = hex(uuid, &change.target);
    if let Some(serial) = child(disk, "serial") {
        // virtio has room for 20 characters.
        edits.set_text(serial, &hash[..20])?;
    }
    if let Some(wwn) = child(disk, "wwn") {
        // Kind and vendor in 7 digits, then the vendor's own 9.
        let old = text(wwn).trim().to_owned();
        let vendor = old.get(..7).filter(|_| old.len() == 16).unwrap_or("5000c50");
        edits.set_text(wwn, &format!("{vendor}{}", &hash[20..29]))?;
    }
    Ok(())
}

/// Points `<source>` elsewhere. What the operator says about labels and a missing file stays; all else, slices and
/// reservations say, is about the template's volume.
pub(super) fn relocate<'i>(edits: &mut Edits<'i>, source: Node<'_, 'i>, location: &DiskLocation) -> Result<()> {
    let (_, wanted) = location.kind();
    let other = |a: &Attribute<'_, '_>| a.namespace().is_none() && a.name() != wanted && a.name() != "startupPolicy";
    for attribute in source.attributes().filter(other) {
        edits.remove_attribute(source, attribute.name());
    }
    edits.set_attribute(source, wanted, location.path())?;
    source.children().filter(|node| node.is_element() && !is(*node, "seclabel")).for_each(|node| edits.remove(node));
    Ok(())
}

/// 64 hexadecimal digits that only this disk of this clone has.
fn hex(uuid: Uuid, target: &str) -> String {
    let digest = Sha256::new().chain_update(uuid.as_bytes()).chain_update(target).finalize();
    crate::core::digest::hex(&digest)
}
