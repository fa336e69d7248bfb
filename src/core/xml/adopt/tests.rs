use super::*;
use crate::core::{
    error::Refusal,
    facts::{Domain, DomainState},
};

const UUID: &str = "11111111-2222-4333-8444-555555555555";

fn domain(os: &str, rest: &str, devices: &str) -> Domain {
    let xml = format!(
        "<domain type='kvm'>\n  <name>web</name>\n  <uuid>{UUID}</uuid>\n  <memory>1048576</memory>\n  <vcpu>2</vcpu>\n  \
         <os>{os}</os>{rest}\n  <devices>\n{devices}  </devices>\n</domain>\n"
    );
    Domain { name: "web".to_owned(), uuid: UUID.parse().unwrap(), state: DomainState::Shutoff, xml }
}

const HVM: &str = "<type arch='x86_64' machine='pc-i440fx-9.2'>hvm</type>";
const DISK: &str = "    <disk type='file' device='disk'>\n      <driver name='qemu' type='qcow2' cache='none'/>\n      \
                    <source file='/images/web.qcow2'/>\n      <target dev='sda' bus='sata'/>\n    </disk>\n";
const CARD: &str = "    <interface type='bridge'>\n      <mac address='52:54:00:11:22:33'/>\n      <source bridge='br0'/>\n      \
                    <model type='e1000'/>\n    </interface>\n";

fn manifest() -> Manifest {
    let json = r#"{"name":"gold","version":"20261121-031000","state":"building","run":{"id":"00000000-0000-4000-8000-000000000001","host":"h","since":"2026-11-21T03:10:00Z"},"created_at":"2026-11-21T03:10:00Z","pipeline_digest":"","answers_digest":"","sources":[],"trust":{"kind":"unsigned","reason":"x"},"virtual_size":1,"volumes":[],"pool":"default","identity":"nocloud","clone":{"user":"ops","vcpus":1,"memory":1,"disk":1},"tools":{}}"#;
    serde_json::from_str(json).unwrap()
}

#[test]
fn the_vm_becomes_a_template_and_keeps_its_machine() {
    let extra = "    <disk type='file' device='disk'>\n      <source file='/seed'/>\n      <target dev='vdb'/>\n      <readonly/>\n    </disk>\n    \
                 <disk type='block' device='cdrom'>\n      <source dev='/dev/sr0'/>\n      <target dev='hda' bus='ide'/>\n    </disk>\n    \
                 <hostdev mode='subsystem' type='pci'>\n      <source/>\n    </hostdev>\n    \
                 <serial type='tcp'>\n      <source mode='bind' host='0.0.0.0' service='4555'/>\n    </serial>\n    \
                 <console type='tcp'/>\n    <console type='pty'><target type='virtio' port='1'/></console>\n    \
                 <graphics type='vnc' port='5901' autoport='no'/>\n";
    let original = Original::of(&domain(HVM, "", &[DISK, extra, CARD].concat()), None).unwrap();
    assert_eq!(original.left_out, ["disk vdb", "the medium in drive hda", "a hostdev of type \"pci\", which the host has once"]);
    assert_eq!(
        (original.target.as_str(), original.cards, original.plug.clone()),
        ("sda", 1, Some(Plug::Bridge("br0".to_owned())))
    );
    let identity = TemplateIdentity {
        uuid: "99999999-2222-4333-8444-555555555555".parse().unwrap(),
        target: "sda",
        volume: DiskLocation::File("/pool/gold.20261121-031000".to_owned()),
        nvram: None,
        plug: None,
        vcpus: 1,
        memory: ByteSize::mib(512),
    };
    let xml = template(&original.xml, &manifest(), &identity).unwrap();
    let (before, rest) = xml.split_once("<metadata>").unwrap();
    let (inside, after) = rest.split_once("</metadata>").unwrap();
    assert_eq!(metadata::read(&xml).unwrap(), Some(Metadata::Template(Box::new(manifest()))), "{inside}");
    let expected = "<domain type='kvm'>\n  <name>gold.20261121-031000</name>\n  <uuid>99999999-2222-4333-8444-555555555555</uuid>\n  \n  \
                    <memory unit='KiB'>524288</memory>\n  <vcpu>1</vcpu>\n  \
                    <os><type arch='x86_64' machine='pc-i440fx-9.2'>hvm</type></os>\n  <devices>\n    \
                    <disk type='file' device='disk'>\n      <driver name='qemu' type='raw' cache='none' discard='unmap'/>\n      \
                    <source file='/pool/gold.20261121-031000'/>\n      <target dev='sda' bus='sata'/>\n      <transient/>\n    </disk>\n    \
                    <disk type='file' device='cdrom'>\n      <target dev='hda' bus='ide'/>\n    </disk>\n    \
                    <console type='pty'><target type='virtio' port='1'/></console>\n    \
                    <graphics type='vnc' port='-1' autoport='yes'/>\n    \
                    <interface type='bridge'>\n      <source bridge='br0'/>\n      <model type='e1000'/>\n    </interface>\n    \
                    <serial type='pty'><log file='/var/log/libvirt/qemu/gold.20261121-031000-serial.log' append='off'/>\
                    <target port='0'/></serial><console type='pty'><target type='serial' port='0'/></console>\n  </devices>\n</domain>\n";
    assert_eq!(format!("{before}{after}"), expected);
}

#[test]
fn what_cannot_be_adopted_is_refused() {
    let second = DISK.replace("sda", "sdb");
    let table: Vec<(Domain, Option<&str>, &str)> = vec![
        (
            domain(HVM, "", &format!("{DISK}{second}")),
            None,
            "web has several disks: --disk names the one with the system: sda, sdb",
        ),
        (domain(HVM, "", DISK), Some("vda"), "web has no disk vda; there is sda"),
        (domain(HVM, "", ""), None, "web has no disk of its own"),
        (
            domain(HVM, "", &DISK.replace("qcow2' cache", "vmdk' cache")),
            None,
            "disk sda of web is of the format \"vmdk\", and raw and qcow2 are copied",
        ),
        (
            domain(HVM, "", &DISK.replace("type='file'", "type='network'")),
            None,
            "disk sda of web is of type \"network\", and files, block devices and volumes are copied",
        ),
        (
            domain("<type>hvm</type><kernel>/boot/vmlinuz</kernel>", "", DISK),
            None,
            "web boots a kernel that is a file of this host, and not of its own disk",
        ),
        (domain("<type>exe</type>", "", DISK), None, "web is of type \"exe\", and a template is a whole machine, hvm"),
        (
            domain(
                HVM,
                "<metadata><l:libosinfo xmlns:l='http://libosinfo.org/xmlns/libvirt/domain/1.0'><l:os id='http://microsoft.com/win/11'/></l:libosinfo></metadata>",
                DISK,
            ),
            None,
            "web is a Windows, and tpl seals Linux guests",
        ),
        (
            domain("<type arch='aarch64x'>hvm</type>", "", DISK),
            None,
            "its guest is built for aarch64x, and templates are for amd64",
        ),
        (
            domain(HVM, &format!("<metadata>{}</metadata>", metadata::element(&Metadata::Template(Box::new(manifest())))), DISK),
            None,
            "web is a template already\n`tpl promote gold@20261121-031000` makes it the current one, `tpl clone gold@20261121-031000` makes VMs of it",
        ),
    ];
    for (domain, disk, expected) in table {
        let error = Original::of(&domain, disk).unwrap_err();
        assert_eq!(error.downcast_ref::<Refusal>().map(ToString::to_string).as_deref(), Some(expected));
    }
    assert_eq!(Original::of(&domain(HVM, "", &format!("{DISK}{second}")), Some("sdb")).unwrap().target, "sdb");
}

#[test]
fn only_a_vm_that_is_off_is_copied() {
    let shut = "`virsh shutdown web` ends it";
    let table = [
        (None, false, "domain web does not exist\n`virsh list --all` lists those there are".to_owned()),
        (Some(DomainState::Running), false, format!("web is running, and what it writes meanwhile would be torn\n{shut}")),
        (Some(DomainState::Paused), false, format!("web is paused, and what it writes meanwhile would be torn\n{shut}")),
        (
            Some(DomainState::Shutoff),
            true,
            "web is off with its memory saved, and its disk is not as its guest has left it\n\
             `virsh start web` brings it back, `virsh shutdown web` then ends it"
                .to_owned(),
        ),
    ];
    for (state, saved, expected) in table {
        assert_eq!(Original::ensure_off("web", state, saved).unwrap_err().to_string(), expected);
    }
    Original::ensure_off("web", Some(DomainState::Shutoff), false).unwrap();
}
