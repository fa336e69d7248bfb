use super::*;

type Change = fn(&mut CloneIdentity);

/// The clone that all of these tests make.
pub(super) fn identity() -> CloneIdentity {
    CloneIdentity {
        name: "web01".parse().unwrap(),
        uuid: Uuid::from_u128(0x0a1b_2c3d_4e5f_4071_8293_a4b5_c6d7_e8f9),
        macs: vec![Mac([0x52, 0x54, 0, 0xaa, 0, 1])],
        vcpus: None,
        topology: None,
        plug: None,
        memory: None,
        disks: vec![DiskChange {
            target: "vda".to_owned(),
            location: DiskLocation::File("/images/web01 & co.qcow2".to_owned()),
            format: VolumeFormat::Qcow2,
        }],
        seed: Some(DiskLocation::File("/images/web01-seed".to_owned())),
        asks_service: false,
        extra_disks: vec![],
        description: Some("a clone of <debian13>".to_owned()),
        metadata: "<tpl:clone xmlns:tpl='https://example.org/tpl/1'>{\n}</tpl:clone>".to_owned(),
        nvram: None,
    }
}

fn rich_identity() -> CloneIdentity {
    let data = DiskChange {
        target: "sda".to_owned(),
        location: DiskLocation::File("/images/web01-sda".to_owned()),
        format: VolumeFormat::Raw,
    };
    let mut identity = identity();
    identity.macs.push(Mac([0x52, 0x54, 0, 0xaa, 0, 2]));
    identity.disks[0].location = DiskLocation::Block("/dev/vg0/web01".to_owned());
    identity.disks.push(data);
    identity.seed = Some(DiskLocation::Block("/dev/vg0/web01-seed".to_owned()));
    identity
}

#[test]
fn fixtures() {
    // What changes was compared with what virt-clone changes, and the results were defined in libvirt 11.3.
    let table = [
        (
            include_str!("../../../../tests/fixtures/xml/plain.xml"),
            identity(),
            include_str!("../../../../tests/fixtures/xml/plain.clone.xml"),
        ),
        (
            include_str!("../../../../tests/fixtures/xml/rich.xml"),
            rich_identity(),
            include_str!("../../../../tests/fixtures/xml/rich.clone.xml"),
        ),
    ];
    for (template, identity, expected) in table {
        let clone = clone_domain(template, &identity).unwrap();
        assert_eq!(clone, expected);
    }
}

/// A clone of one element in the place of the fixture's devices and more.
pub(super) fn changed(part: &str, change: impl FnOnce(&mut CloneIdentity)) -> String {
    let mut identity = CloneIdentity { macs: vec![], disks: vec![], seed: None, description: None, ..identity() };
    change(&mut identity);
    let xml = format!("<domain><name>old</name><uuid>u</uuid>{part}</domain>");
    let head = format!("<domain><name>web01</name><uuid>{}</uuid><metadata>{}</metadata>", identity.uuid, identity.metadata);
    match clone_domain(&xml, &identity) {
        Ok(clone) => clone.replace(&head, "").replace("</domain>", ""),
        Err(error) => format!("{error:#}"),
    }
}

#[test]
fn shapes() {
    let topology = |n: &str| format!("<vcpu current='1'>4</vcpu><cpu><topology {n}/></cpu>");
    let table: [(String, Change, &str); 15] = [
        (
            topology("sockets='2' dies='1' cores='2' threads='1'"),
            |i| i.vcpus = Some(8),
            "<vcpu>8</vcpu><cpu><topology sockets='4' dies='1' cores='2' threads='1'/></cpu>",
        ),
        (
            topology("sockets='2' dies='1' cores='1' threads='2'"),
            |i| i.vcpus = Some(3),
            "<vcpu>3</vcpu><cpu><topology sockets='1' dies='1' cores='3' threads='1'/></cpu>",
        ),
        (
            "<memory unit='GiB'>2</memory><currentMemory>1</currentMemory>".to_owned(),
            |i| i.memory = Some(ByteSize(1025)),
            "<memory unit='KiB'>2</memory><currentMemory unit='KiB'>2</currentMemory>",
        ),
        (
            "<vcpu>2</vcpu><vcpus><vcpu id='0'/></vcpus><cputune><vcpupin vcpu='0'/><vcpupin vcpu='1'/></cputune>".to_owned(),
            |i| i.vcpus = Some(1),
            "<vcpu>1</vcpu><cputune><vcpupin vcpu='0'/></cputune>",
        ),
        (
            "<cpu><numa><cell id='0'/></numa></cpu>".to_owned(),
            |i| i.vcpus = Some(1),
            "making the XML of clone web01: the template's NUMA cells fix its vCPUs and memory: leave out --vcpus and --memory",
        ),
        (
            "<memory>4</memory><vcpu current='1'>2</vcpu><cpu><topology cores='2'/><numa/></cpu>".to_owned(),
            |i| (i.vcpus, i.memory) = (Some(2), Some(ByteSize(4096))),
            "<memory>4</memory><vcpu current='1'>2</vcpu><cpu><topology cores='2'/><numa/></cpu>",
        ),
        (
            "<memory>4</memory><cpu><numa/></cpu>".to_owned(),
            |i| i.memory = Some(ByteSize(4097)),
            "making the XML of clone web01: the template's NUMA cells fix its vCPUs and memory: leave out --vcpus and --memory",
        ),
        (
            "<vcpu>8</vcpu>".to_owned(),
            |i| i.topology = "1:4:2".parse().ok(),
            "<vcpu>8</vcpu><cpu><topology sockets='1' dies='1' cores='4' threads='2'/></cpu>",
        ),
        (
            "<vcpu>2</vcpu><os/><cpu mode='host-model' check='partial'/>".to_owned(),
            |i| (i.vcpus, i.topology) = (Some(4), "2:2:1".parse().ok()),
            "<vcpu>4</vcpu><os/><cpu mode='host-model' check='partial'>\
             <topology sockets='2' dies='1' cores='2' threads='1'/></cpu>",
        ),
        (
            "<vcpu>8</vcpu><cpu><model>a</model><topology sockets='1' dies='2' clusters='2' cores='1' threads='2'/></cpu>"
                .to_owned(),
            |i| i.topology = "2:4:1".parse().ok(),
            "<vcpu>8</vcpu><cpu><model>a</model><topology sockets='2' dies='1' clusters='1' cores='4' threads='1'/></cpu>",
        ),
        (
            "<vcpu>8</vcpu><cpu><numa/></cpu>".to_owned(),
            |i| i.topology = "2:4:1".parse().ok(),
            "<vcpu>8</vcpu><cpu><numa/><topology sockets='2' dies='1' cores='4' threads='1'/></cpu>",
        ),
        (
            "<vcpu>8</vcpu>".to_owned(),
            |i| (i.vcpus, i.topology) = (Some(4), "2:4:1".parse().ok()),
            "making the XML of clone web01: the topology 2:4:1 makes 8 vCPUs, and there are 4",
        ),
        (
            "<vcpu>2</vcpu>".to_owned(),
            |i| i.topology = "2:4:1".parse().ok(),
            "making the XML of clone web01: the topology 2:4:1 makes 8 vCPUs, and there are 2",
        ),
        (
            String::new(),
            |i| i.topology = "2:4:1".parse().ok(),
            "making the XML of clone web01: comparing its vCPUs with the topology: reading domain XML: <vcpu> is missing or empty",
        ),
        ("<vcpu>2</vcpu>".to_owned(), |i| i.vcpus = Some(0), "making the XML of clone web01: a VM has at least one vCPU"),
    ];
    for (part, change, expected) in table {
        assert_eq!(changed(&part, change), expected, "{part}");
    }
}

#[test]
fn rare_devices() {
    let table = [
        (
            "<tpm><backend type='emulator'><source type='dir' path='/tpm/state'/></backend></tpm>",
            "<tpm><backend type='emulator'><source type='dir' path='/tpm/state-web01'/></backend></tpm>",
        ),
        (
            "<tpm><backend type='passthrough'><device path='/dev/tpm0'/></backend></tpm>",
            "<tpm><backend type='passthrough'><device path='/dev/tpm0'/></backend></tpm>",
        ),
        ("<vsock/>", "<vsock><cid auto='yes'/></vsock>"),
        (
            "<graphics type='spice' port='5900' tlsPort='5901' autoport='no'/><graphics type='vnc' port='-1' autoport='yes'/>",
            "<graphics type='spice' port='-1' tlsPort='-1' autoport='yes'/><graphics type='vnc' port='-1' autoport='yes'/>",
        ),
        (
            "<graphics type='vnc'><listen type='socket' socket='/run/old.vnc'/></graphics>",
            "<graphics type='vnc'><listen type='socket' socket='/run/web01.vnc'/></graphics>",
        ),
        ("<console type='pty' tty='/dev/pts/1'><source path='/dev/pts/1'/></console>", "<console type='pty'></console>"),
        (
            "<serial type='pipe'><source path='/run/fifo'/></serial><serial type='dev'><source path='/dev/ttyS0'/></serial>",
            "<serial type='pipe'><source path='/run/fifo'/></serial><serial type='dev'><source path='/dev/ttyS0'/></serial>",
        ),
    ];
    for (device, expected) in table {
        let (xml, expected) = (format!("<devices>{device}</devices>"), format!("<devices>{expected}</devices>"));
        assert_eq!(changed(&xml, |_| {}), expected);
    }
}

#[test]
fn a_clone_has_not_phoned_home_when_its_template_has() {
    let own = "<tpl:clone xmlns:tpl='https://example.org/tpl/1'>old</tpl:clone>";
    let mark = "<tplr:ready xmlns:tplr='urn:tpl:ready:1'>{}</tplr:ready>";
    let other = "<x:ready xmlns:x='urn:x'/>";
    let clone = changed(&format!("<metadata>{mark}{other}{own}{mark}</metadata>"), |_| {});
    let uuid = identity().uuid;
    let expected = format!("<domain><name>web01</name><uuid>{uuid}</uuid><metadata>{other}{}</metadata>", identity().metadata);
    assert_eq!(clone, expected);
    let alone = changed(&format!("<metadata>{mark}</metadata>"), |_| {});
    assert_eq!(alone, "", "nothing is left but the clone's own");
}

#[test]
fn what_would_harm_is_refused() {
    let disk =
        |inside: &str| format!("<devices><disk type='file'>{inside}<source file='/a'/><target dev='vda'/></disk></devices>");
    let own: Change = |i| i.disks = identity().disks;
    let table: [(String, Change, &str); 8] = [
        (disk(""), |_| {}, "disk vda is writable and has no copy: two machines would write to it"),
        (disk("<encryption/>"), own, "changing disk vda: it is encrypted by QEMU, and tpl makes no encrypted copies"),
        ("<devices/>".to_owned(), own, "the template has no disk vda"),
        (disk(""), |i| i.disks = [identity().disks, identity().disks].concat(), "a disk of the template has two copies"),
        ("<devices><disk/></devices>".to_owned(), |_| {}, "a <disk> of the template has no target"),
        (
            "<devices><interface/></devices>".to_owned(),
            |_| {},
            "the template has 1 interfaces, and there are 0 MAC addresses for them",
        ),
        (
            disk(""),
            |i| {
                i.disks = identity().disks;
                i.disks[0].location = DiskLocation::File("/a\nb\u{7}".to_owned());
            },
            "changing disk vda: setting attribute file: writing \"/a\\nb\\u{7}\" as XML: it holds '\\u{7}', which XML cannot",
        ),
        (String::new(), |i| i.metadata = "<clone/>".to_owned(), "the clone's metadata has no namespace"),
    ];
    for (part, change, expected) in table {
        assert_eq!(changed(&part, change), format!("making the XML of clone web01: {expected}"), "{part}");
    }
}

#[test]
fn a_damaged_document_never_panics() {
    let xml = include_str!("../../../../tests/fixtures/xml/rich.xml");
    let tags: Vec<&str> = xml.split_inclusive('>').collect();
    for index in 0..tags.len() {
        let mut without = tags.clone();
        without.remove(index);
        let mut doubled = tags.clone();
        doubled.insert(index, tags[index]);
        for damaged in [without.concat(), doubled.concat(), tags[..index].concat()] {
            // Whatever comes out, it is XML: `apply` has parsed it.
            let _ = clone_domain(&damaged, &rich_identity());
        }
    }
}
