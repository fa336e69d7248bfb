//! A guest that only a KVM that works carries to its end: it switches its CPU into 64-bit mode, runs an instruction as kernels
//! have them, and powers its machine off.
//!
//! A guest of real mode alone proves too little: there are hosts whose KVM emulates what it cannot run, that far and no farther.

use uuid::Uuid;

use super::{Accelerator, Machine, Network, disk, head};
use crate::core::{manifest::Metadata, units::ByteSize, vm_spec::Firmware, xml::clone::DiskLocation};

/// SeaBIOS starts nothing from a disk of one sector.
const DISK: usize = 1 << 20;

/// `kvm_probe.S`, assembled; a test does that again.
#[rustfmt::skip]
const PROGRAM: [u8; 156] = [
    0xfa, 0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0, 0x66, 0xbf, 0x00, 0x10, 0x00, 0x00, 0x0f,
    0x22, 0xdf, 0x66, 0x31, 0xc0, 0xb9, 0x00, 0x0c, 0x66, 0xf3, 0xab, 0xc7, 0x06, 0x00, 0x10, 0x03,
    0x20, 0xc7, 0x06, 0x00, 0x20, 0x03, 0x30, 0xc7, 0x06, 0x00, 0x30, 0x83, 0x00, 0x0f, 0x20, 0xe0,
    0x0c, 0x20, 0x0f, 0x22, 0xe0, 0x66, 0xb9, 0x80, 0x00, 0x00, 0xc0, 0x0f, 0x32, 0x80, 0xcc, 0x01,
    0x0f, 0x30, 0x0f, 0x01, 0x16, 0x98, 0x7c, 0x0f, 0x20, 0xc0, 0x66, 0x0d, 0x01, 0x00, 0x00, 0x80,
    0x0f, 0x22, 0xc0, 0xea, 0x58, 0x7c, 0x08, 0x00, 0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0, 0x8e, 0xd0,
    0xb8, 0x07, 0x00, 0x00, 0x00, 0x31, 0xc9, 0x0f, 0xa2, 0x0f, 0xba, 0xe3, 0x08, 0x73, 0x08, 0x45,
    0x31, 0xc0, 0xc4, 0x42, 0xe9, 0xf7, 0xc0, 0xba, 0x04, 0x06, 0x00, 0x00, 0xb8, 0x00, 0x20, 0x00,
    0x00, 0x66, 0xef, 0xf4, 0xeb, 0xfd, 0x66, 0x90, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x9a, 0x20, 0x00, 0x0f, 0x00, 0x88, 0x7c,
];

/// A disk from which a BIOS starts the program.
pub fn kvm_probe_disk() -> Vec<u8> {
    let mut disk = vec![0; DISK];
    disk[..PROGRAM.len()].copy_from_slice(&PROGRAM);
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    disk
}

/// A VM that boots [`kvm_probe_disk`] under KVM: where KVM works, it is off again within a second. A guest that fails resets its
/// machine, and begins anew for ever.
pub fn kvm_probe(name: &str, uuid: Uuid, metadata: &Metadata, volume: &DiskLocation) -> String {
    let (memory, firmware, network) = (ByteSize::mib(64), Firmware::Bios, Network::User);
    let machine = Machine { accelerator: Accelerator::Kvm, vcpus: 1, memory, firmware, network };
    format!(
        "{head}  <on_poweroff>destroy</on_poweroff>\n  <on_reboot>restart</on_reboot>\n  <on_crash>destroy</on_crash>\n  <devices>\n    \
         {disk}<target dev='vda' bus='virtio'/></disk>\n    \
         <controller type='usb' model='none'/>\n    <memballoon model='none'/>\n  </devices>\n</domain>\n",
        head = head(name, uuid, metadata, &machine, "<boot dev='hd'/>"),
        disk = disk(volume, "disk", "type='raw'"),
    )
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the test asks the assembler")]
mod tests {
    use std::{fs, process::Command};

    use super::*;

    #[test]
    fn the_program_is_what_its_source_says() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let run = |program: &str, args: &[&str]| {
            assert!(Command::new(program).args(args).status().unwrap().success(), "{program}");
        };
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/core/domain/kvm_probe.S");
        run("as", &[source, "-o", &path("o")]);
        run("ld", &["-Ttext", "0x7c00", "--oformat", "binary", &path("o"), "-o", &path("bin")]);
        assert_eq!(fs::read(path("bin")).unwrap(), kvm_probe_disk()[..512]);
    }
}
