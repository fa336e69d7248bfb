//! UEFI variables: each machine has a file of its own, which libvirt makes from the firmware's template if it is absent.

use anyhow::{Context as _, Result, ensure};
use roxmltree::Node;

use super::{CloneIdentity, DiskLocation, disks::relocate, nvram_beside};
use crate::core::{
    vm_spec::Firmware,
    xml::{
        attribute, child,
        edit::{Edits, escape},
        read::{firmware, nvram},
    },
};

pub(super) fn change<'i>(edits: &mut Edits<'i>, domain: Node<'_, 'i>, identity: &CloneIdentity) -> Result<()> {
    let Some(os) = child(domain, "os") else { return Ok(()) };
    let loader = child(os, "loader");
    let says = |name: &str, value: &str| loader.is_some_and(|loader| attribute(loader, name) == Some(value));
    ensure!(
        !(says("type", "pflash") && says("readonly", "no")),
        "the template's firmware is one file with its variables, which two machines would write to"
    );
    match child(os, "nvram") {
        Some(node) => own(edits, node, nvram(domain).as_deref(), identity),
        None if firmware(domain) == Firmware::Bios || says("stateless", "yes") => Ok(()),
        None => make(edits, os, loader, identity),
    }
}

/// Points `<nvram>` to the clone's file. What it says about the firmware's template and the format stays.
fn own<'i>(edits: &mut Edits<'i>, node: Node<'_, 'i>, old: Option<&str>, identity: &CloneIdentity) -> Result<()> {
    let Some(source) = child(node, "source") else {
        let beside = || old.map(|old| nvram_beside(old, &identity.name));
        // Without a path libvirt chooses one with the domain's name in it.
        return identity.nvram.clone().or_else(beside).map_or(Ok(()), |path| edits.set_text(node, &path));
    };
    let beside = || attribute(source, "file").map(|old| nvram_beside(old, &identity.name));
    let new = identity.nvram.clone().or_else(beside);
    let new = new.context("the template's UEFI variables are in no file, and the clone has no file of its own for them")?;
    edits.set_attribute(node, "type", "file")?;
    relocate(edits, source, &DiskLocation::File(new))
}

/// libvirt writes the element only once it has chosen a firmware.
fn make<'i>(edits: &mut Edits<'i>, os: Node<'_, 'i>, loader: Option<Node<'_, 'i>>, identity: &CloneIdentity) -> Result<()> {
    let Some(path) = &identity.nvram else { return Ok(()) };
    let xml = format!("<nvram>{}</nvram>", escape(path)?);
    match loader {
        Some(loader) => edits.insert_after(loader, &xml),
        None => edits.append(os, &xml),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::core::xml::clone::{CloneIdentity, nvram_beside, tests::changed};

    /// A clone's `<os>`, from the template's.
    fn os(template: &str, given: bool) -> String {
        let change = |identity: &mut CloneIdentity| identity.nvram = given.then(|| "/m/x&.fd".to_owned());
        changed(template, change).replacen("making the XML of clone web01: ", "", 1)
    }

    #[test]
    fn names_of_variables() {
        let table = [
            ("/n/old_VARS.fd", "/n/web01_VARS.fd"),
            ("/n.d/old", "/n.d/web01_VARS.fd"),
            ("/n/old.qcow2", "/n/web01_VARS.qcow2"),
            ("/n/.old", "/n/web01_VARS.fd"),
            ("/n/debian13.20261121-031000", "/n/web01_VARS.fd"),
            ("/n/debian13.20261121-031000_VARS.raw", "/n/web01_VARS.raw"),
            ("old.fd", "web01_VARS.fd"),
        ];
        for (template, expected) in table {
            assert_eq!(nvram_beside(template, &"web01".parse().unwrap()), expected);
        }
    }

    #[test]
    fn a_clone_has_variables_of_its_own() {
        // The template's, the clone's with a file that the caller has chosen, and without one.
        let table = [
            (
                "<os><nvram>/n/old.fd</nvram></os>",
                "<os><nvram>/m/x&amp;.fd</nvram></os>",
                "<os><nvram>/n/web01_VARS.fd</nvram></os>",
            ),
            (
                "<os><nvram template='/t' templateFormat='raw' format='raw'>/n/o</nvram></os>",
                "<os><nvram template='/t' templateFormat='raw' format='raw'>/m/x&amp;.fd</nvram></os>",
                "<os><nvram template='/t' templateFormat='raw' format='raw'>/n/web01_VARS.fd</nvram></os>",
            ),
            (
                "<os><nvram template='/t' type='file'><source file='/n/o'><seclabel relabel='no'/></source></nvram></os>",
                "<os><nvram template='/t' type='file'><source file='/m/x&amp;.fd'><seclabel relabel='no'/></source></nvram></os>",
                "<os><nvram template='/t' type='file'><source file='/n/web01_VARS.fd'><seclabel relabel='no'/></source></nvram></os>",
            ),
            (
                "<os><nvram type='block'><source dev='/dev/vars'/></nvram></os>",
                "<os><nvram type='file'><source file='/m/x&amp;.fd'/></nvram></os>",
                "the template's UEFI variables are in no file, and the clone has no file of its own for them",
            ),
            (
                "<os><nvram type='network'><source protocol='nbd' name='v'><host name='h'/></source></nvram></os>",
                "<os><nvram type='file'><source file='/m/x&amp;.fd'></source></nvram></os>",
                "the template's UEFI variables are in no file, and the clone has no file of its own for them",
            ),
            (
                "<os><nvram template='/t'/></os>",
                "<os><nvram template='/t'>/m/x&amp;.fd</nvram></os>",
                "<os><nvram template='/t'/></os>",
            ),
            (
                "<os firmware='efi'><type>hvm</type></os>",
                "<os firmware='efi'><type>hvm</type><nvram>/m/x&amp;.fd</nvram></os>",
                "<os firmware='efi'><type>hvm</type></os>",
            ),
            (
                "<os><loader type='pflash'>/c</loader><boot dev='hd'/></os>",
                "<os><loader type='pflash'>/c</loader><nvram>/m/x&amp;.fd</nvram><boot dev='hd'/></os>",
                "<os><loader type='pflash'>/c</loader><boot dev='hd'/></os>",
            ),
            (
                "<os firmware='efi'><loader stateless='yes'/></os>",
                "<os firmware='efi'><loader stateless='yes'/></os>",
                "<os firmware='efi'><loader stateless='yes'/></os>",
            ),
            (
                "<os><loader type='rom'>/c</loader></os>",
                "<os><loader type='rom'>/c</loader></os>",
                "<os><loader type='rom'>/c</loader></os>",
            ),
            ("<os firmware='bios'/>", "<os firmware='bios'/>", "<os firmware='bios'/>"),
            ("", "", ""),
            (
                "<os><loader type='pflash' readonly='no'>/c</loader></os>",
                "the template's firmware is one file with its variables, which two machines would write to",
                "the template's firmware is one file with its variables, which two machines would write to",
            ),
        ];
        for (template, given, none) in table {
            assert_eq!(os(template, true), given, "{template}");
            assert_eq!(os(template, false), none, "{template}");
        }
    }
}
