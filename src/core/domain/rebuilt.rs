//! A template's domain, made anew from its manifest: elsewhere than where it was sealed, nobody's XML is believed.

use uuid::Uuid;

use super::{COMMON_DEVICES, Machine, console_log, disk, escape, head_on, interface_of};
use crate::core::{
    hardware::{Bus, Hardware},
    manifest::{Manifest, Metadata},
    xml::clone::DiskLocation,
};

/// The domain of a template that has been sealed on such hardware. `nvram` is the path of the UEFI variables of its own.
pub fn template(
    manifest: &Manifest,
    uuid: Uuid,
    machine: &Machine,
    hardware: &Hardware,
    volume: &DiskLocation,
    nvram: Option<&str>,
) -> String {
    let name = manifest.id().domain();
    let (bus, target) = hardware.bus.words();
    // IDE and SATA know no read-only disks. There what somebody would write goes away again.
    let guard = if matches!(hardware.bus, Bus::Ide | Bus::Sata) { "<transient/>" } else { "<readonly/>" };
    let scsi = hardware.scsi.as_ref().map(|model| format!("<controller type='scsi' index='0' model='{model}'/>\n    "));
    let nvram = nvram.map(|path| format!("<nvram>{}</nvram>", escape(path))).unwrap_or_default();
    let cards: String = hardware.cards.iter().map(|model| interface_of(&machine.network, model.as_str()) + "\n    ").collect();
    let metadata = Metadata::Template(Box::new(manifest.clone()));
    format!(
        "{head}  <on_poweroff>destroy</on_poweroff>\n  <on_reboot>restart</on_reboot>\n  <on_crash>destroy</on_crash>\n  <devices>\n    \
         {disk}<target dev='{target}' bus='{bus}'/>{guard}</disk>\n    {scsi}{cards}\
         <serial type='pty'><log file='{console}' append='off'/><target port='0'/></serial>\n    \
         <console type='pty'><target type='serial' port='0'/></console>\n{COMMON_DEVICES}  </devices>\n</domain>\n",
        head = head_on(hardware.chipset, &name, uuid, &metadata, machine, &format!("{nvram}<boot dev='hd'/>")),
        disk = disk(volume, "disk", "type='raw' discard='unmap'"),
        scsi = scsi.unwrap_or_default(),
        console = escape(&console_log(&name)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{
        domain::{Accelerator, Network},
        hardware::Chipset,
        units::ByteSize,
        vm_spec::Firmware,
        xml::read::domain_facts,
    };

    fn manifest() -> Manifest {
        serde_json::from_str(include_str!("../../../tests/fixtures/manifest.json")).unwrap()
    }

    fn machine(firmware: Firmware) -> Machine {
        let network = Network::Named("default".to_owned());
        Machine { accelerator: Accelerator::Tcg, vcpus: 2, memory: ByteSize::mib(512), firmware, network }
    }

    #[test]
    fn what_tpl_seals_itself_comes_out_as_it_was() {
        let (manifest, uuid) = (manifest(), Uuid::nil());
        let (file, block) = (DiskLocation::File("/pool/a&b".to_owned()), DiskLocation::Block("/dev/vg0/a&b".to_owned()));
        for (firmware, volume) in [(Firmware::Bios, file), (Firmware::Uefi, block)] {
            let original = crate::core::domain::template(&manifest, uuid, &machine(firmware), &volume);
            let hardware = Hardware::of(&original, None).unwrap();
            assert_eq!(template(&manifest, uuid, &machine(firmware), &hardware, &volume, None), original);
        }
    }

    #[test]
    fn other_machines_are_as_their_hardware_says() {
        for bus in [Bus::Scsi, Bus::Sata, Bus::Ide, Bus::Virtio] {
            let scsi = (bus == Bus::Scsi).then(|| "virtio-scsi".parse().unwrap());
            let cards = ["e1000", "rtl8139"].map(|model| model.parse().unwrap()).to_vec();
            let hardware = Hardware { chipset: Chipset::Pc, firmware: Firmware::Uefi, bus, scsi, cards, nvram: None };
            let volume = DiskLocation::File("/pool/v".to_owned());
            let xml = template(&manifest(), Uuid::nil(), &machine(Firmware::Uefi), &hardware, &volume, Some("/pool/v-nvram"));
            assert_eq!(Hardware::of(&xml, None).unwrap(), hardware);
            let facts = domain_facts(&xml).unwrap();
            assert_eq!((facts.nvram.as_deref(), facts.interfaces), (Some("/pool/v-nvram"), 2));
            assert_eq!(xml.contains("<transient/>"), matches!(bus, Bus::Ide | Bus::Sata));
        }
    }
}
