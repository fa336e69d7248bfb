//! The machine that a template was sealed on, as far as its system depends on it: what has to be the same where the template is
//! made anew from its manifest, on another hypervisor. Words out of short lists, so that nothing of it can be anything but a word.

use std::{fmt, str::FromStr};

use anyhow::{Context as _, Result, ensure};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use super::{
    quoted::quoted,
    sha256::Sha256Digest,
    vm_spec::Firmware,
    xml::{attribute, child, children, parse_domain, read},
};

/// More cards than any template has on purpose.
const MAX_CARDS: usize = 8;

/// QEMU's two PCs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Chipset {
    /// Q35, with PCI Express.
    Q35,
    /// i440FX.
    Pc,
}

impl Chipset {
    /// What libvirt calls the machine.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Q35 => "q35",
            Self::Pc => "pc",
        }
    }
}

/// What the system disk hangs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Bus {
    /// virtio-blk.
    Virtio,
    /// A SCSI controller.
    Scsi,
    /// SATA.
    Sata,
    /// IDE.
    Ide,
}

impl Bus {
    /// What libvirt calls it, and the target of the first disk on it.
    pub fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Virtio => ("virtio", "vda"),
            Self::Scsi => ("scsi", "sda"),
            Self::Sata => ("sata", "sda"),
            Self::Ide => ("ide", "hda"),
        }
    }
}

/// A device's model, as libvirt spells them: lower-case letters, digits and `-`, at most 24.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Model(String);

impl Model {
    /// The model as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for Model {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if (1..=24).contains(&text.len()) && text.bytes().all(plain) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("{} is no model of a device", quoted(text)))
    }
}

impl<'de> Deserialize<'de> for Model {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// The machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hardware {
    /// Its chipset.
    pub chipset: Chipset,
    /// What starts its boot loader.
    #[serde(serialize_with = "word")]
    pub firmware: Firmware,
    /// What its disk hangs on.
    pub bus: Bus,
    /// The model of the SCSI controller, where the disk is on one and the model is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scsi: Option<Model>,
    /// The models of its network cards.
    pub cards: Vec<Model>,
    /// The digest of the UEFI variables that its clones begin with, where it has some of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nvram: Option<Sha256Digest>,
}

fn word<S: serde::Serializer>(firmware: &Firmware, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(firmware.as_str())
}

impl Hardware {
    /// Reads it from a template's domain. `nvram` are its UEFI variables.
    ///
    /// # Errors
    /// The domain is no PC that can be said in these words: why.
    pub fn of(xml: &str, nvram: Option<Sha256Digest>) -> Result<Self> {
        let document = parse_domain(xml)?;
        let domain = document.root_element();
        let machine = child(domain, "os").and_then(|os| child(os, "type")).context("the domain has no <os><type>")?;
        let arch = attribute(machine, "arch").unwrap_or("x86_64");
        ensure!(arch == "x86_64", "its architecture is {arch}");
        let devices = child(domain, "devices").context("the domain has no devices")?;
        let disk = children(devices, "disk").find(|disk| attribute(*disk, "device").is_none_or(|device| device == "disk"));
        let target = disk.and_then(|disk| child(disk, "target")).context("the domain has no disk")?;
        let bus = match attribute(target, "bus").unwrap_or("virtio") {
            "virtio" => Bus::Virtio,
            "scsi" => Bus::Scsi,
            "sata" => Bus::Sata,
            "ide" => Bus::Ide,
            other => anyhow::bail!("its disk is on the bus {}", quoted(other)),
        };
        let model = |text: &str| text.parse::<Model>().map_err(anyhow::Error::msg);
        let scsi = children(devices, "controller").find(|controller| attribute(*controller, "type") == Some("scsi"));
        let scsi = scsi.filter(|_| bus == Bus::Scsi).and_then(|controller| attribute(controller, "model"));
        let cards = children(devices, "interface").map(|interface| {
            let found = child(interface, "model").and_then(|model| attribute(model, "type"));
            // What libvirt takes where nothing is said.
            model(found.unwrap_or("rtl8139"))
        });
        let cards: Vec<Model> = cards.collect::<Result<_>>()?;
        ensure!(cards.len() <= MAX_CARDS, "it has {} network cards", cards.len());
        Ok(Self {
            chipset: chipset(attribute(machine, "machine").unwrap_or("pc"))?,
            firmware: read::firmware(domain),
            bus,
            scsi: scsi.map(model).transpose()?,
            cards,
            nvram,
        })
    }

    /// Whether it can be one of a manifest from elsewhere.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self) -> Result<(), String> {
        if self.cards.len() > MAX_CARDS {
            return Err(format!("the machine has {} network cards", self.cards.len()));
        }
        if self.nvram.is_some() && self.firmware != Firmware::Uefi {
            return Err("the machine has UEFI variables, and no UEFI".to_owned());
        }
        Ok(())
    }
}

/// libvirt makes `pc-q35-9.2` of `q35`, and `pc-i440fx-9.2` of `pc`.
fn chipset(machine: &str) -> Result<Chipset> {
    match machine {
        "q35" => Ok(Chipset::Q35),
        "pc" => Ok(Chipset::Pc),
        // RHEL's are pc-q35-rhel9.4.0 and pc-i440fx-rhel7.6.0.
        other if other.starts_with("pc-q35-") => Ok(Chipset::Q35),
        other if other.starts_with("pc-i440fx-") => Ok(Chipset::Pc),
        other => anyhow::bail!("its machine is {}", quoted(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain(machine: &str, os: &str, devices: &str) -> String {
        format!(
            "<domain type='kvm'><name>a</name><uuid>11111111-2222-4333-8444-555555555555</uuid>\
             <os{os}><type arch='x86_64' machine='{machine}'>hvm</type></os><devices>{devices}</devices></domain>"
        )
    }

    #[test]
    fn machines() {
        let disk = |bus: &str| format!("<disk type='file' device='disk'><target dev='vda' bus='{bus}'/></disk>");
        let card = |model: &str| format!("<interface type='network'><model type='{model}'/></interface>");
        let scsi = "<controller type='scsi' model='virtio-scsi'/>";
        let table = [
            (
                domain("pc-q35-9.2", " firmware='efi'", &(disk("virtio") + &card("virtio"))),
                Ok(r#"{"chipset":"q35","firmware":"uefi","bus":"virtio","cards":["virtio"]}"#),
            ),
            (
                domain("pc-i440fx-rhel7.6.0", "", &(disk("scsi") + scsi + &card("e1000") + "<interface type='bridge'/>")),
                Ok(r#"{"chipset":"pc","firmware":"bios","bus":"scsi","scsi":"virtio-scsi","cards":["e1000","rtl8139"]}"#),
            ),
            (domain("q35", "", &(disk("sata") + scsi)), Ok(r#"{"chipset":"q35","firmware":"bios","bus":"sata","cards":[]}"#)),
            (domain("microvm", "", &disk("virtio")), Err("its machine is \"microvm\"")),
            (domain("q35", "", &disk("usb")), Err("its disk is on the bus \"usb\"")),
            (domain("q35", "", ""), Err("the domain has no disk")),
            (domain("q35", "", &(disk("ide") + &card("a'b"))), Err("\"a'b\" is no model of a device")),
            (domain("q35", "", &disk("ide")).replace("x86_64", "aarch64"), Err("its architecture is aarch64")),
        ];
        for (xml, expected) in table {
            let found = Hardware::of(&xml.replace("a'b", "a&apos;b"), None);
            match expected {
                Ok(json) => {
                    let found = found.unwrap();
                    assert_eq!(serde_json::to_string(&found).unwrap(), json);
                    assert_eq!(serde_json::from_str::<Hardware>(json).unwrap(), found);
                }
                Err(text) => assert_eq!(found.unwrap_err().to_string(), text),
            }
        }
    }

    #[test]
    fn what_comes_from_elsewhere_is_words() {
        let bad = [
            r#"{"chipset":"q35'/><x","firmware":"bios","bus":"ide","cards":[]}"#,
            r#"{"chipset":"q35","firmware":"bios","bus":"ide","cards":["a'/><x"]}"#,
            r#"{"chipset":"q35","firmware":"bios","bus":"ide","scsi":"A","cards":[]}"#,
            r#"{"chipset":"q35","firmware":"bios","bus":"ide","cards":[],"loader":"/etc/passwd"}"#,
        ];
        for json in bad {
            assert!(serde_json::from_str::<Hardware>(json).is_err(), "{json}");
        }
        let cards = ["\"virtio\""; 9].join(",");
        let many = format!(r#"{{"chipset":"q35","firmware":"bios","bus":"ide","cards":[{cards}]}}"#);
        let many: Hardware = serde_json::from_str(&many).unwrap();
        assert_eq!(many.check(), Err("the machine has 9 network cards".to_owned()));
    }
}
