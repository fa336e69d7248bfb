//! What the machine says of itself to its guest: who it is and, in its serial number, where its cloud-init finds its seed.

use anyhow::{Context as _, Result};
use roxmltree::Node;

use super::CloneIdentity;
use crate::core::{
    seed::handed::serial,
    xml::{attribute, child, children, edit::Edits, edit::escape, text},
};

const SERIAL: &str = "serial";

/// `old` is the template's UUID, in small letters; empty if it has none.
pub(super) fn change<'i>(edits: &mut Edits<'i>, domain: Node<'_, 'i>, old: &str, identity: &CloneIdentity) -> Result<()> {
    let new = identity.uuid.to_string();
    let systems = || children(domain, "sysinfo").flat_map(|sysinfo| children(sysinfo, "system"));
    for entry in systems().flat_map(|system| children(system, "entry")) {
        let (name, value) = (attribute(entry, "name"), text(entry).trim().to_ascii_lowercase());
        if name == Some(SERIAL) && identity.asks_service {
            edits.set_text(entry, &serial())?;
        // libvirt refuses a domain whose SMBIOS UUID is another than its own. Some set the serial number to it, too. And what sent
        // the template's VM to the metadata service would send a clone there that has a seed of its own.
        } else if name == Some("uuid") || !old.is_empty() && value == old || name == Some(SERIAL) && value == serial() {
            edits.set_text(entry, &new)?;
        }
    }
    if identity.asks_service { ask(edits, domain) } else { Ok(()) }
}

/// Lets the guest see the serial number.
fn ask<'i>(edits: &mut Edits<'i>, domain: Node<'_, 'i>) -> Result<()> {
    let os = child(domain, "os").context("the template has no <os>")?;
    match child(os, "smbios") {
        Some(node) => edits.set_attribute(node, "mode", "sysinfo")?,
        None => edits.append(os, "<smbios mode='sysinfo'/>"),
    }
    let entry = format!("<entry name='{SERIAL}'>{}</entry>", escape(&serial())?);
    let Some(sysinfo) = children(domain, "sysinfo").find(|node| attribute(*node, "type") == Some("smbios")) else {
        edits.insert_after(os, &format!("<sysinfo type='smbios'><system>{entry}</system></sysinfo>"));
        return Ok(());
    };
    let is_there = |system: Node<'_, '_>| children(system, "entry").any(|entry| attribute(entry, "name") == Some(SERIAL));
    match child(sysinfo, "system") {
        Some(system) if is_there(system) => {}
        Some(system) => edits.append(system, &entry),
        None => edits.append(sysinfo, &format!("<system>{entry}</system>")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::core::xml::clone::tests::{changed, identity};

    const ENTRY: &str = "<entry name='serial'>ds=nocloud;dsmode=net;s=http://169.254.169.254/nocloud/</entry>";

    #[test]
    fn a_serial_number_that_asks_the_service() {
        let ask = |template: &str| changed(template, |identity| identity.asks_service = true);
        let uuid = identity().uuid;
        let whole = |os: &str, inside: &str| format!("<os><type>hvm</type>{os}</os><sysinfo type='smbios'>{inside}</sysinfo>");
        let system = |entries: &str| format!("<system>{entries}</system>");
        let (vendor, mode) = ("<entry name='manufacturer'>x</entry>", "<smbios mode='sysinfo'/>");
        let table = [
            ("<os><type>hvm</type></os>".to_owned(), whole(mode, &system(ENTRY))),
            (whole("<smbios mode='host'/>", &system(vendor)), whole(mode, &system(&[vendor, ENTRY].concat()))),
            (whole(mode, "<bios/>"), whole(mode, &["<bios/>", &system(ENTRY)].concat())),
            // Whatever number it had, its UUID's among them.
            (
                whole(mode, &system("<entry name='serial'>U</entry><entry name='uuid'>u</entry>")),
                whole(mode, &system(&format!("{ENTRY}<entry name='uuid'>{uuid}</entry>"))),
            ),
            (
                "<os><type>hvm</type></os><sysinfo type='fwcfg'><entry name='opt/x'>y</entry></sysinfo>".to_owned(),
                whole(mode, &system(ENTRY)) + "<sysinfo type='fwcfg'><entry name='opt/x'>y</entry></sysinfo>",
            ),
            (String::new(), "making the XML of clone web01: the template has no <os>".to_owned()),
        ];
        for (template, expected) in table {
            assert_eq!(ask(&template), expected, "{template}");
        }
    }

    #[test]
    fn a_clone_with_a_volume_does_not_ask_the_service() {
        let uuid = identity().uuid;
        let of = |serial: &str| format!("<sysinfo type='smbios'><system>{serial}</system></sysinfo>");
        let own = format!("<entry name='serial'>{uuid}</entry>");
        let other = "<entry name='serial'>ds=nocloud-net;s=http://seeds.example/</entry>";
        let table = [(ENTRY, own.as_str()), (other, other), ("<entry name='serial'>u</entry>", &own)];
        for (template, expected) in table {
            assert_eq!(changed(&of(template), |_| {}), of(expected));
        }
    }
}
