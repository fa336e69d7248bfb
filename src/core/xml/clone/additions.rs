//! Disks that the template does not have: the seed, and those that the operator asked for.

use std::collections::BTreeSet;

use anyhow::{Result, ensure};
use roxmltree::Node;

use super::{CloneIdentity, DiskLocation, ExtraDiskXml, disks::target};
use crate::core::{
    facts::VolumeFormat,
    xml::{children, edit::Edits},
};

/// virtio has room for so many characters of a serial number, and leaves out the rest.
const LONGEST_SERIAL: usize = 20;

/// All of them are virtio disks: a CD-ROM would need a controller that not every machine type has.
pub(super) fn insert<'i>(edits: &mut Edits<'i>, devices: Node<'_, 'i>, identity: &CloneIdentity) -> Result<()> {
    check(&identity.extra_disks)?;
    let taken = children(devices, "disk").map(target).collect::<Result<BTreeSet<_>>>()?;
    let mut free = (0..).map(device_name).filter(|name| !taken.contains(name.as_str()));
    let mut disks = Vec::new();
    if let Some(seed) = &identity.seed {
        disks.push(disk(seed, VolumeFormat::Raw, None, &free.next().unwrap_or_default())?);
    }
    for extra in &identity.extra_disks {
        disks.push(disk(&extra.location, extra.format, Some(&extra.serial), &free.next().unwrap_or_default())?);
    }
    if disks.is_empty() {
        return Ok(());
    }
    // Behind the last one: libvirt boots from the first disk.
    let last = children(devices, "disk").last();
    let indent = last.and_then(|disk| edits.indentation(disk)).unwrap_or("    ");
    let xml = disks.concat().join(&format!("\n{indent}"));
    match last {
        Some(last) => edits.insert_after(last, &xml),
        None => edits.append(devices, &xml),
    }
    Ok(())
}

/// The guest finds a disk by its serial number alone.
fn check(disks: &[ExtraDiskXml]) -> Result<()> {
    let mut known = BTreeSet::new();
    for ExtraDiskXml { serial, .. } in disks {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        ensure!(
            (1..=LONGEST_SERIAL).contains(&serial.len()) && serial.bytes().all(plain),
            "{serial:?} is no serial number of a disk: 1 to {LONGEST_SERIAL} letters, digits, '-', '_' and '.'"
        );
        ensure!(known.insert(serial), "two further disks have the serial number {serial}");
    }
    Ok(())
}

/// The lines of a `<disk>`; with a serial number it is writable.
fn disk(location: &DiskLocation, format: VolumeFormat, serial: Option<&str>, target: &str) -> Result<Vec<String>> {
    let (kind, _) = location.kind();
    let discard = if serial.is_some() { " discard='unmap'" } else { "" };
    Ok(vec![
        format!("<disk type='{kind}' device='disk'>"),
        format!("  <driver name='qemu' type='{}'{discard}/>", format.as_str()),
        format!("  {}", location.source_xml()?),
        format!("  <target dev='{target}' bus='virtio'/>"),
        serial.map_or_else(|| "  <readonly/>".to_owned(), |serial| format!("  <serial>{serial}</serial>")),
        "</disk>".to_owned(),
    ])
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
    use crate::core::xml::clone::tests::changed;

    #[test]
    fn device_names() {
        for (index, name) in [(0, "vda"), (25, "vdz"), (26, "vdaa"), (701, "vdzz"), (702, "vdaaa")] {
            assert_eq!(device_name(index), name);
        }
    }

    fn extra(serial: &str, location: DiskLocation, format: VolumeFormat) -> ExtraDiskXml {
        ExtraDiskXml { location, format, serial: serial.to_owned() }
    }

    #[test]
    fn further_disks_stand_behind_all_others() {
        let cdrom = |dev: &str| format!("\n    <disk device='cdrom'>\n      <target dev='{dev}'/>\n    </disk>");
        let devices = |inside: &str| format!("<devices>{inside}\n  </devices>");
        let added = "
    <disk type='file' device='disk'>
      <driver name='qemu' type='raw'/>
      <source file='/p/web01-seed'/>
      <target dev='vdb' bus='virtio'/>
      <readonly/>
    </disk>
    <disk type='file' device='disk'>
      <driver name='qemu' type='qcow2' discard='unmap'/>
      <source file='/p/web01-disk1'/>
      <target dev='vdd' bus='virtio'/>
      <serial>tpl-disk1</serial>
    </disk>
    <disk type='block' device='disk'>
      <driver name='qemu' type='raw' discard='unmap'/>
      <source dev='/dev/vg0/web01&amp;2'/>
      <target dev='vde' bus='virtio'/>
      <serial>12345678901234567890</serial>
    </disk>";
        let result = changed(&devices(&[cdrom("vda"), cdrom("vdc")].concat()), |identity| {
            identity.seed = Some(DiskLocation::File("/p/web01-seed".to_owned()));
            identity.extra_disks = vec![
                extra("tpl-disk1", DiskLocation::File("/p/web01-disk1".to_owned()), VolumeFormat::Qcow2),
                extra("12345678901234567890", DiskLocation::Block("/dev/vg0/web01&2".to_owned()), VolumeFormat::Raw),
            ];
        });
        assert_eq!(result, devices(&[&cdrom("vda"), &cdrom("vdc"), added].concat()));
        let alone = changed("<devices/>", |identity| {
            identity.extra_disks = vec![extra("a", DiskLocation::File("/a".to_owned()), VolumeFormat::Raw)];
        });
        let driver = "<driver name='qemu' type='raw' discard='unmap'/>";
        let lines =
            ["<devices><disk type='file' device='disk'>", driver, "<source file='/a'/>", "<target dev='vda' bus='virtio'/>"];
        assert_eq!(alone.replace("\n    ", "").replace("  <", "<"), lines.concat() + "<serial>a</serial></disk></devices>");
    }

    #[test]
    fn serial_numbers_of_further_disks() {
        let table = [
            ("", "\"\" is no serial number of a disk: 1 to 20 letters, digits, '-', '_' and '.'"),
            ("a,b", "\"a,b\" is no serial number of a disk: 1 to 20 letters, digits, '-', '_' and '.'"),
            (
                "123456789012345678901",
                "\"123456789012345678901\" is no serial number of a disk: 1 to 20 letters, digits, '-', '_' and '.'",
            ),
            ("b", "two further disks have the serial number b"),
        ];
        for (serial, expected) in table {
            let disks = ["b", serial].map(|serial| extra(serial, DiskLocation::File("/a".to_owned()), VolumeFormat::Raw));
            assert_eq!(check(&disks).unwrap_err().to_string(), expected);
        }
    }
}
