//! What tpl reads from domain XML.

use anyhow::{Context as _, Result, anyhow, bail};
use roxmltree::Node;
use uuid::Uuid;

use super::{attribute, child, children, parse_domain, text};
use crate::core::{mac::Mac, network::Plug, units::ByteSize, vm_spec::Firmware};

/// The facts about a defined domain that tpl decides by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainFacts {
    /// The domain's name: any that libvirt allows, tpl's own or not.
    pub name: String,
    /// Its UUID.
    pub uuid: Uuid,
    /// `kvm`, `qemu`, …
    pub domain_type: String,
    /// The most vCPUs that it can have: what it is pledged.
    pub vcpus: u32,
    /// The most memory that it can have without hotplug: what it is pledged.
    pub memory: ByteSize,
    /// Its disks, CD-ROMs and floppies included, in the order of the document.
    pub disks: Vec<DiskFacts>,
    /// The addresses of those interfaces that have one; libvirt gives one to all.
    pub macs: Vec<Mac>,
    /// What the first interface is plugged into; none, if that is neither a network nor a bridge.
    pub plug: Option<Plug>,
    /// How many interfaces it has.
    pub interfaces: usize,
    /// What starts its boot loader.
    pub firmware: Firmware,
    /// The file, or the block device, that holds its UEFI variables. None also where libvirt has not chosen one yet.
    pub nvram: Option<String>,
    /// The file of the firmware's package that libvirt makes absent UEFI variables from.
    pub nvram_template: Option<String>,
}

/// One disk of a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskFacts {
    /// Its name in the domain: `vda`.
    pub target: String,
    /// `disk`, `cdrom`, `floppy`, `lun`.
    pub device: String,
    /// Where its bytes are; none for an empty drive.
    pub source: Option<DiskSource>,
    /// Whether the guest cannot write to it.
    pub readonly: bool,
    /// Whether several domains may write to it.
    pub shareable: bool,
    /// The format that the driver is told: `raw`, `qcow2`.
    pub driver_type: Option<String>,
    /// The first backing image, where the XML names one. It need not: then only the image's header knows.
    pub backing: Option<DiskSource>,
}

/// Where a disk's bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskSource {
    /// A file on the hypervisor.
    File(String),
    /// A block device on the hypervisor.
    Block(String),
    /// A volume of a pool.
    Volume {
        /// The pool's name.
        pool: String,
        /// The volume's name.
        volume: String,
    },
    /// Something that tpl does not manage: `network`, `nvme`, `vhostuser`, `dir`, …
    Other(String),
}

impl DiskSource {
    /// The path on the hypervisor, if it is a file or a block device.
    pub fn path(&self) -> Option<&str> {
        match self {
            Self::File(path) | Self::Block(path) => Some(path),
            Self::Volume { .. } | Self::Other(_) => None,
        }
    }
}

/// Reads the facts from domain XML.
///
/// # Errors
/// It is no domain XML within the limits, or a fact that libvirt always states is missing or unreadable.
pub fn domain_facts(xml: &str) -> Result<DomainFacts> {
    let document = parse_domain(xml)?;
    let domain = document.root_element();
    let name = required(domain, "name")?;
    facts(domain, &name).with_context(|| format!("reading the XML of domain {name}"))
}

fn facts(domain: Node<'_, '_>, name: &str) -> Result<DomainFacts> {
    let devices = child(domain, "devices");
    let interfaces: Vec<_> = devices.iter().flat_map(|devices| children(*devices, "interface")).collect();
    let macs = interfaces.iter().filter_map(|interface| attribute(child(*interface, "mac")?, "address"));
    let template = child(domain, "os").and_then(|os| child(os, "nvram")).and_then(|nvram| attribute(nvram, "template"));
    Ok(DomainFacts {
        name: name.to_owned(),
        uuid: required(domain, "uuid")?.parse().context("reading <uuid>")?,
        domain_type: attribute(domain, "type").context("<domain> has no type")?.to_owned(),
        vcpus: vcpus(domain)?,
        memory: memory(domain)?,
        disks: devices.iter().flat_map(|devices| children(*devices, "disk")).map(disk).collect::<Result<_>>()?,
        macs: macs.map(|mac| mac.parse().map_err(anyhow::Error::msg)).collect::<Result<_>>()?,
        plug: interfaces.first().and_then(|interface| plug(*interface)),
        interfaces: interfaces.len(),
        firmware: firmware(domain),
        nvram: nvram(domain),
        nvram_template: template.map(str::to_owned),
    })
}

fn plug(interface: Node<'_, '_>) -> Option<Plug> {
    let source = child(interface, "source")?;
    match attribute(interface, "type")? {
        "network" => Some(Plug::Network(attribute(source, "network")?.to_owned())),
        "bridge" => Some(Plug::Bridge(attribute(source, "bridge")?.to_owned())),
        _ => None,
    }
}

fn required(domain: Node<'_, '_>, name: &str) -> Result<String> {
    let value = child(domain, name).map(|node| text(node).trim().to_owned()).unwrap_or_default();
    if value.is_empty() {
        bail!("reading domain XML: <{name}> is missing or empty");
    }
    Ok(value)
}

/// The most vCPUs that a domain can have.
pub(super) fn vcpus(domain: Node<'_, '_>) -> Result<u32> {
    let vcpus = required(domain, "vcpu")?;
    vcpus.parse().map_err(|_| anyhow!("<vcpu> is {vcpus:?}, no number"))
}

/// The most memory that a domain can have without hotplug.
pub(super) fn memory(domain: Node<'_, '_>) -> Result<ByteSize> {
    let value = required(domain, "memory")?;
    let unit = child(domain, "memory").and_then(|node| attribute(node, "unit")).unwrap_or("KiB");
    // The units of libvirt's virScaleInteger: a letter alone is binary.
    let factor: u64 = match unit {
        "b" | "bytes" => 1,
        "KB" => 1_000,
        "k" | "K" | "KiB" => 1 << 10,
        "MB" => 1_000_000,
        "M" | "MiB" => 1 << 20,
        "GB" => 1_000_000_000,
        "G" | "GiB" => 1 << 30,
        "TB" => 1_000_000_000_000,
        "T" | "TiB" => 1 << 40,
        _ => bail!("<memory> has the unknown unit {unit:?}"),
    };
    let bytes = value.parse::<u64>().ok().and_then(|count| count.checked_mul(factor));
    bytes.map(ByteSize).with_context(|| format!("<memory> is {value:?}, no size"))
}

/// UEFI where libvirt is told to find one, and where the firmware is in flash: a PC's BIOS never is.
pub(in crate::core) fn firmware(domain: Node<'_, '_>) -> Firmware {
    let os = child(domain, "os");
    let found = os.and_then(|os| attribute(os, "firmware")) == Some("efi");
    let flash = os.and_then(|os| child(os, "loader")).and_then(|loader| attribute(loader, "type")) == Some("pflash");
    if found || flash { Firmware::Uefi } else { Firmware::Bios }
}

/// The path of the UEFI variables, in the short form and in the one with `<source>`.
pub fn nvram(domain: Node<'_, '_>) -> Option<String> {
    let nvram = child(child(domain, "os")?, "nvram")?;
    let path = match child(nvram, "source") {
        Some(source) => attribute(source, "file").or_else(|| attribute(source, "dev"))?.to_owned(),
        None => text(nvram).trim().to_owned(),
    };
    (!path.is_empty()).then_some(path)
}

/// The `<target dev>` of a disk.
pub(super) fn target<'a>(disk: Node<'a, '_>) -> Option<&'a str> {
    child(disk, "target").and_then(|target| attribute(target, "dev"))
}

fn disk(disk: Node<'_, '_>) -> Result<DiskFacts> {
    let target = target(disk).context("a <disk> has no target")?;
    let backing = child(disk, "backingStore");
    Ok(DiskFacts {
        target: target.to_owned(),
        device: attribute(disk, "device").unwrap_or("disk").to_owned(),
        source: source(disk),
        readonly: child(disk, "readonly").is_some(),
        shareable: child(disk, "shareable").is_some(),
        driver_type: child(disk, "driver").and_then(|node| attribute(node, "type")).map(str::to_owned),
        backing: backing.and_then(source),
    })
}

/// The source that a `<disk>` or a `<backingStore>` names.
pub(super) fn source(of: Node<'_, '_>) -> Option<DiskSource> {
    let source = child(of, "source")?;
    let value = |name: &str| attribute(source, name).filter(|value| !value.is_empty()).map(str::to_owned);
    match attribute(of, "type").unwrap_or("file") {
        "file" => value("file").map(DiskSource::File),
        "block" => value("dev").map(DiskSource::Block),
        "volume" => Some(DiskSource::Volume { pool: value("pool")?, volume: value("volume")? }),
        other => Some(DiskSource::Other(other.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_facts_of_a_rich_domain() {
        let facts = domain_facts(include_str!("../../../tests/fixtures/xml/rich.xml")).unwrap();
        let disk = |target: &str, device: &str, source, driver: Option<&str>| DiskFacts {
            target: target.to_owned(),
            device: device.to_owned(),
            source,
            readonly: true,
            shareable: false,
            driver_type: driver.map(str::to_owned),
            backing: None,
        };
        let file = |path: &str| Some(DiskSource::File(path.to_owned()));
        let expected = DomainFacts {
            name: "debian13.20261121-031000".to_owned(),
            uuid: "11111111-2222-4333-8444-555555555555".parse().unwrap(),
            domain_type: "qemu".to_owned(),
            vcpus: 4,
            memory: ByteSize(2 << 30),
            disks: vec![
                disk("vda", "disk", Some(DiskSource::Block("/dev/vg0/debian13.20261121-031000".to_owned())), Some("raw")),
                DiskFacts {
                    readonly: false,
                    backing: file("/images/base.raw"),
                    ..disk("sda", "disk", file("/images/data.qcow2"), Some("qcow2"))
                },
                DiskFacts {
                    readonly: false,
                    shareable: true,
                    ..disk("vdb", "disk", file("/images/shared&all.raw"), Some("raw"))
                },
                disk("sdb", "cdrom", file("/iso/tools.iso"), None),
                disk("sdc", "cdrom", None, None),
            ],
            macs: vec![Mac([0x52, 0x54, 0, 0x11, 0x11, 0x11]), Mac([0x52, 0x54, 0, 0x22, 0x22, 0x22])],
            plug: Some(Plug::Network("default".to_owned())),
            interfaces: 2,
            firmware: Firmware::Uefi,
            nvram: Some("/var/lib/libvirt/qemu/nvram/debian13.20261121-031000_VARS.fd".to_owned()),
            nvram_template: Some("/usr/share/OVMF/OVMF_VARS_4M.fd".to_owned()),
        };
        assert_eq!(facts, expected);
    }

    fn domain(memory: &str, devices: &str) -> String {
        format!(
            "<domain type='kvm'><name>a</name><uuid>11111111-2222-4333-8444-555555555555</uuid><vcpu>1</vcpu>{memory}\
             <devices>{devices}</devices></domain>"
        )
    }

    #[test]
    fn kinds_of_firmware() {
        let table = [
            ("", Firmware::Bios, None, None),
            ("<os firmware='bios'><loader type='rom'>/c</loader></os>", Firmware::Bios, None, None),
            ("<os firmware='efi'/>", Firmware::Uefi, None, None),
            ("<os><loader type='pflash'>/c</loader><nvram template='/t'/></os>", Firmware::Uefi, None, Some("/t")),
            ("<os firmware='efi'><nvram type='file'><source file='/v'/></nvram></os>", Firmware::Uefi, Some("/v"), None),
        ];
        for (os, firmware, nvram, template) in table {
            let facts = domain_facts(&domain(&format!("<memory>1</memory>{os}"), "")).unwrap();
            let found = (facts.firmware, facts.nvram.as_deref(), facts.nvram_template.as_deref());
            assert_eq!(found, (firmware, nvram, template), "{os}");
        }
    }

    #[test]
    fn units_of_memory() {
        let table = [
            ("<memory>1024</memory>", Ok(1 << 20)),
            ("<memory unit='b'> 512 </memory>", Ok(512)),
            ("<memory unit='MB'>3</memory>", Ok(3_000_000)),
            ("<memory unit='T'>1</memory>", Ok(1 << 40)),
            ("<memory unit='EiB'>1</memory>", Err("<memory> has the unknown unit \"EiB\"")),
            ("<memory unit='T'>99999999999</memory>", Err("<memory> is \"99999999999\", no size")),
            ("<memory>-1</memory>", Err("<memory> is \"-1\", no size")),
            ("", Err("reading domain XML: <memory> is missing or empty")),
        ];
        for (memory, expected) in table {
            let facts = domain_facts(&domain(memory, "")).map(|facts| facts.memory.0).map_err(|error| format!("{error:#}"));
            assert_eq!(facts, expected.map_err(|error| format!("reading the XML of domain a: {error}")), "{memory}");
        }
    }

    #[test]
    fn sources_of_disks() {
        let table = [
            (
                "type='volume'><source pool='p' volume='v'/>",
                Some(DiskSource::Volume { pool: "p".to_owned(), volume: "v".to_owned() }),
            ),
            ("type='network'><source protocol='rbd' name='a/b'/>", Some(DiskSource::Other("network".to_owned()))),
            ("><source file='/a' x:file='/b' xmlns:x='y'/>", Some(DiskSource::File("/a".to_owned()))),
            ("type='file'><source startupPolicy='optional'/>", None),
            (">", None),
        ];
        for (disk, source) in table {
            let xml = domain("<memory>1</memory>", &format!("<disk {disk}<target dev='vda'/></disk>"));
            assert_eq!(domain_facts(&xml).unwrap().disks[0].source, source, "{disk}");
        }
    }
}
