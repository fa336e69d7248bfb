//! The clone's own disks, and the seed.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, ensure};
use roxmltree::Node;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::{CloneIdentity, DiskChange, DiskLocation};
use crate::core::xml::{child, children, edit::Edits, read::source, text};

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
    match &identity.seed {
        Some(seed) => insert_seed(edits, devices, seed),
        None => Ok(()),
    }
}

fn target<'a>(disk: Node<'a, '_>) -> Result<&'a str> {
    child(disk, "target").and_then(|target| target.attribute("dev")).context("a <disk> of the template has no target")
}

fn is_empty(disk: Node<'_, '_>) -> bool {
    // CD-ROMs are read-only without saying so.
    source(disk).is_none() || disk.attribute("device") == Some("cdrom")
}

/// A disk of the template becomes the clone's own.
fn own<'i>(edits: &mut Edits<'i>, disk: Node<'_, 'i>, change: &DiskChange, uuid: Uuid) -> Result<()> {
    let (kind, _) = change.location.kind();
    edits.set_attribute(disk, "type", kind)?;
    let format = change.format.as_str();
    let target = child(disk, "target").context("it has no target")?;
    match child(disk, "driver") {
        Some(driver) => edits.set_attribute(driver, "type", format)?,
        None => edits.prepend(disk, &format!("<driver name='qemu' type='{format}'/>")),
    }
    let source = change.location.source_xml()?;
    match child(disk, "source") {
        Some(node) => edits.replace(node, source),
        None => edits.insert_after(target, &source),
    }
    // The backing chain is read from the image's own header; the rest speaks of the template's volume.
    for name in ["backingStore", "mirror", "auth", "readonly", "shareable"] {
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

/// 64 hexadecimal digits that only this disk of this clone has.
fn hex(uuid: Uuid, target: &str) -> String {
    let digest = Sha256::new().chain_update(uuid.as_bytes()).chain_update(target).finalize();
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The seed is a virtio disk: a CD-ROM would need a controller that not every machine type has.
fn insert_seed<'i>(edits: &mut Edits<'i>, devices: Node<'_, 'i>, seed: &DiskLocation) -> Result<()> {
    let taken = children(devices, "disk").map(target).collect::<Result<BTreeSet<_>>>()?;
    let free = (0..).map(device_name).find(|name| !taken.contains(name.as_str())).unwrap_or_default();
    let (kind, _) = seed.kind();
    let xml = format!(
        "<disk type='{kind}' device='disk'>\n  <driver name='qemu' type='raw'/>\n  {}\n  <target dev='{free}' bus='virtio'/>\n  \
         <readonly/>\n</disk>",
        seed.source_xml()?
    );
    // Behind the last one: libvirt boots from the first disk.
    match children(devices, "disk").last() {
        Some(last) => edits.insert_after(last, &xml),
        None => edits.append(devices, &xml),
    }
    Ok(())
}

/// `vda` … `vdz`, `vdaa` …
fn device_name(mut index: usize) -> String {
    let mut letters = Vec::new();
    loop {
        letters.push(b'a' + (index % 26) as u8);
        match (index / 26).checked_sub(1) {
            Some(next) => index = next,
            None => break,
        }
    }
    "vd".chars().chain(letters.into_iter().rev().map(char::from)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_names() {
        for (index, name) in [(0, "vda"), (25, "vdz"), (26, "vdaa"), (701, "vdzz"), (702, "vdaaa")] {
            assert_eq!(device_name(index), name);
        }
    }
}
