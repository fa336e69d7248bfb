//! What tpl reads from domain XML.

use anyhow::{Context as _, Result, anyhow, bail};
use roxmltree::Node;
use uuid::Uuid;

use super::{child, children, parse_domain, text};
use crate::core::{mac::Mac, units::ByteSize};

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
    /// How many interfaces it has.
    pub interfaces: usize,
    /// The file that holds its UEFI variables.
    pub nvram: Option<String>,
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
    let macs = interfaces.iter().filter_map(|interface| child(*interface, "mac")?.attribute("address"));
    let vcpus = required(domain, "vcpu")?;
    Ok(DomainFacts {
        name: name.to_owned(),
        uuid: required(domain, "uuid")?.parse().context("reading <uuid>")?,
        domain_type: domain.attribute("type").context("<domain> has no type")?.to_owned(),
        vcpus: vcpus.parse().map_err(|_| anyhow!("<vcpu> is {vcpus:?}, no number"))?,
        memory: memory(domain)?,
        disks: devices.iter().flat_map(|devices| children(*devices, "disk")).map(disk).collect::<Result<_>>()?,
        macs: macs.map(|mac| mac.parse().map_err(anyhow::Error::msg)).collect::<Result<_>>()?,
        interfaces: interfaces.len(),
        nvram: nvram(domain),
    })
}

fn required(domain: Node<'_, '_>, name: &str) -> Result<String> {
    let value = child(domain, name).map(|node| text(node).trim().to_owned()).unwrap_or_default();
    if value.is_empty() {
        bail!("reading domain XML: <{name}> is missing or empty");
    }
    Ok(value)
}

fn memory(domain: Node<'_, '_>) -> Result<ByteSize> {
    let value = required(domain, "memory")?;
    let unit = child(domain, "memory").and_then(|node| node.attribute("unit")).unwrap_or("KiB");
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

/// The path of the UEFI variables, in the short form and in the one with `<source>`.
pub(super) fn nvram(domain: Node<'_, '_>) -> Option<String> {
    let nvram = child(child(domain, "os")?, "nvram")?;
    let path = match child(nvram, "source") {
        Some(source) => source.attribute("file").or_else(|| source.attribute("dev"))?.to_owned(),
        None => text(nvram).trim().to_owned(),
    };
    (!path.is_empty()).then_some(path)
}

fn disk(disk: Node<'_, '_>) -> Result<DiskFacts> {
    let target = child(disk, "target").and_then(|node| node.attribute("dev")).context("a <disk> has no target")?;
    let backing = child(disk, "backingStore");
    Ok(DiskFacts {
        target: target.to_owned(),
        device: disk.attribute("device").unwrap_or("disk").to_owned(),
        source: source(disk),
        readonly: child(disk, "readonly").is_some(),
        shareable: child(disk, "shareable").is_some(),
        driver_type: child(disk, "driver").and_then(|node| node.attribute("type")).map(str::to_owned),
        backing: backing.and_then(source),
    })
}

/// The source that a `<disk>` or a `<backingStore>` names.
pub(super) fn source(of: Node<'_, '_>) -> Option<DiskSource> {
    let source = child(of, "source")?;
    let attribute = |name: &str| source.attribute(name).filter(|value| !value.is_empty()).map(str::to_owned);
    match of.attribute("type").unwrap_or("file") {
        "file" => attribute("file").map(DiskSource::File),
        "block" => attribute("dev").map(DiskSource::Block),
        "volume" => Some(DiskSource::Volume { pool: attribute("pool")?, volume: attribute("volume")? }),
        other => Some(DiskSource::Other(other.to_owned())),
    }
}
