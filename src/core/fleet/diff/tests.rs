use super::*;
use crate::core::{
    fleet::{Fleet, parse},
    manifest::{Phase, Run},
    names::TemplateRef,
};

const GIB: u64 = 1 << 30;

fn fleet(text: &str) -> Fleet {
    parse("f.toml", text).unwrap()
}

/// What making a VM gives: as declared, and the template's defaults where nothing is said.
fn made(vm: &Declared) -> Existing {
    let spec = &vm.spec;
    let template = vm.template.clone().unwrap_or(TemplateRef { name: "debian13".parse().unwrap(), version: None });
    let version = template.version.unwrap_or_else(|| "20261121-031000".parse().unwrap());
    let run = Run { id: uuid::Uuid::nil(), host: "h".to_owned(), since: jiff::Timestamp::UNIX_EPOCH };
    let first = spec.ip.as_ref().and_then(|ip| ip.addresses().next());
    let record = CloneRecord {
        purpose: Purpose::Clone,
        name: vm.name.clone(),
        template: template.name,
        version,
        digest: "d".to_owned(),
        linked: spec.full != Some(true),
        phase: Phase::Complete,
        run,
        created_at: jiff::Timestamp::UNIX_EPOCH,
        user: "debian".parse().unwrap(),
        ssh_host_keys: Vec::new(),
        volumes: vec![vm.name.to_string()],
        pool: "default".to_owned(),
        pool_pledge: ByteSize(0),
        pool_written: ByteSize(0),
        room: None,
        addresses: first.map(IpAddr::V4).into_iter().collect(),
        reservations: Vec::new(),
        dns: Vec::new(),
        forced: None,
        guest_digest: Some(digest(vm)),
        seed: Default::default(),
    };
    let mac = match (&spec.mac, first) {
        (Some(MacChoice::Explicit(macs)), _) => macs.clone(),
        (Some(MacChoice::Ip), Some(ip)) => vec![Mac::of_address(ip)],
        _ => vec![Mac::of_name(vm.name.as_str(), 0, 0)],
    };
    let bridge = spec.bridge.as_ref().map(|name| Plug::Bridge(name.to_string()));
    let network = Plug::Network(spec.network.as_ref().map_or("default".to_owned(), ToString::to_string));
    let system = spec.disk.unwrap_or(ByteSize(8 * GIB)).round_up(ByteSize::MIB);
    Existing {
        record,
        state: DomainState::Running,
        vcpus: spec.vcpus.or(spec.topology.map(|topology| topology.vcpus())).unwrap_or(1),
        memory: spec.memory.unwrap_or(ByteSize(GIB)),
        extent: ByteSize(1),
        disks: std::iter::once(system).chain(spec.disks.iter().map(|disk| disk.size.round_up(ByteSize::MIB))).collect(),
        plug: Some(bridge.unwrap_or(network)),
        macs: mac,
        autostart: spec.autostart.unwrap_or(false),
        addresses: Vec::new(),
    }
}

/// Stands for the digest of what a guest is told.
fn digest(vm: &Declared) -> String {
    format!("digest-of-{:?}", vm.spec.guest.packages)
}

fn world(vms: impl IntoIterator<Item = Existing>) -> World {
    let vms: BTreeMap<_, _> = vms.into_iter().map(|vm| (vm.record.name.clone(), vm)).collect();
    World { domains: vms.keys().map(ToString::to_string).collect(), vms }
}

fn shown(steps: &[Step]) -> Vec<String> {
    let mut lines = Vec::new();
    for step in steps {
        lines.push(format!("{} {:?}", step.name, step.action));
        lines.extend(step.differences.iter().map(|d| format!("  {}: {} / {}", d.what, d.declared, d.actual)));
    }
    lines
}

#[test]
fn a_vm_is_made_started_kept_or_left_alone() {
    let wanted = fleet("[groups.g]\ncount = 8");
    let mut vms: Vec<Existing> = wanted.vms[..7].iter().map(made).collect();
    vms.remove(4);
    vms[1].state = DomainState::Shutoff;
    vms[2].state = DomainState::Crashed;
    vms[3].state = DomainState::Paused;
    vms[4].record.phase = Phase::Creating;
    vms[5].record.purpose = Purpose::BootTest;
    let mut world = world(vms);
    world.domains.insert("g5".to_owned());
    world.domains.insert("other".to_owned());
    let expected = [
        "g1 Keep",
        "g2 Start",
        "g3 Start",
        "g4 Keep",
        "  state: running / paused",
        "g5 Conflict(\"domain g5 does not carry tpl's metadata: tpl has not made it, and leaves it alone\")",
        "g6 Conflict(\"g6 is being made, or was left unfinished: `tpl prune` removes it if its run is dead\")",
        "g7 Conflict(\"g7 is a boot test of template debian13\")",
        "g8 Create",
    ];
    assert_eq!(shown(&diff(&wanted.vms, &world, &digest)), expected);
}

#[test]
fn what_is_otherwise_than_declared_is_said() {
    // What the file said when the VM was made, what it says now, and the differences.
    let table: [(&str, &str, &[&str]); 24] = [
        ("", "", &[]),
        ("memory = '3G'\nvcpus = 7\ndisk = '9G'\nautostart = true\nguest.packages = ['a']", "", &[]),
        ("", "template = 'debian13'", &[]),
        ("template = 'debian13@20260101-000000'", "template = 'debian13'", &[]),
        ("template = 'debian12'", "template = 'debian13'", &["template: debian13 / debian12@20261121-031000"]),
        ("", "template = 'debian13@20260101-000000'", &["template: debian13@20260101-000000 / debian13@20261121-031000"]),
        ("", "vcpus = 4", &["vcpus: 4 / 1"]),
        ("vcpus = 4", "topology = '1:2:2'", &[]),
        ("", "topology = '1:2:2'", &["topology: 4 / 1"]),
        ("memory = '1048577'", "memory = '1048600'", &[]),
        ("", "memory = '2G'", &["memory: 2 GiB / 1 GiB"]),
        ("disk = '8G'", "disk = '8589934591'", &[]),
        ("", "disk = '20G'", &["disk: 20 GiB / 8 GiB"]),
        ("disk = '20G'", "disk = '8G'", &["disk: 8 GiB / 20 GiB"]),
        ("", "full = true", &["full: a whole copy / linked"]),
        ("disks = [{ size = '1G' }]", "", &[]),
        ("", "disks = [{ size = '1G' }, { size = '2G' }]", &["disks: 1 GiB, 2 GiB / none"]),
        (
            "disks = [{ size = '1G' }, { size = '2G' }]",
            "disks = [{ size = '1G', fs = 'ext4' }]",
            &["disks: 1 GiB / 1 GiB, 2 GiB"],
        ),
        ("", "network = 'lab'", &["network: network lab / network default"]),
        ("bridge = 'br0'", "bridge = 'br1'", &["bridge: bridge br1 / bridge br0"]),
        ("ip = '192.0.2.1'", "ip = 'next'", &[]),
        (
            "ip = '192.0.2.1'\nmac = 'ip'",
            "ip = '192.0.2.2'\nmac = 'ip'",
            &["ip: 192.0.2.2 / 192.0.2.1", "mac: 52:54:c0:00:02:02 / 52:54:c0:00:02:01"],
        ),
        ("autostart = true", "autostart = false", &["autostart: false / true"]),
        ("guest.packages = ['a']", "guest.packages = ['b']", &["guest: digest-of-[W / digest-of-[W"]),
    ];
    for (before, now, expected) in table {
        let before = fleet(&format!("[[vms]]\nname = 'a'\n{before}"));
        let steps = diff(&fleet(&format!("[[vms]]\nname = 'a'\n{now}")).vms, &world(before.vms.iter().map(made)), &digest);
        let lines: Vec<String> = expected.iter().map(|line| format!("  {line}")).collect();
        assert_eq!(shown(&steps), [vec!["a Keep".to_owned()], lines].concat(), "{now}");
    }
}

#[test]
fn an_address_that_a_lease_gave_is_the_declared_one_too() {
    let wanted = fleet("[[vms]]\nname = 'a'\nip = '192.0.2.1'\nguest.packages = ['a']");
    let mut vm = made(&wanted.vms[0]);
    vm.addresses.append(&mut vm.record.addresses);
    vm.record.guest_digest = None;
    assert_eq!(shown(&diff(&wanted.vms, &world([vm.clone()]), &digest)), ["a Keep", "  guest: digest-of-[W / unknown"]);
    vm.addresses.clear();
    vm.record.guest_digest = Some(digest(&wanted.vms[0]));
    vm.plug = None;
    assert_eq!(shown(&diff(&wanted.vms, &world([vm]), &digest)), ["a Keep", "  ip: 192.0.2.1 / none"]);
}

#[test]
fn a_step_is_one_flat_json_object() {
    let wanted = fleet("[groups.g]\ncount = 2");
    let mut world = world([]);
    world.domains.insert("g2".to_owned());
    assert_eq!(
        serde_json::to_value(diff(&wanted.vms, &world, &digest)).unwrap(),
        serde_json::json!([
            {"name": "g1", "action": "create", "differences": []},
            {"name": "g2", "action": "conflict", "why": "domain g2 does not carry tpl's metadata: tpl has not made it, and leaves it alone", "differences": []},
        ])
    );
}

/// A fleet's text that follows from a number.
fn random_fleet(seed: u64) -> String {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    // xorshift64 of Marsaglia, "Xorshift RNGs" (2003).
    let mut next = |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let mut spec = |group: u64, addresses: bool| {
        let lines = [
            format!("vcpus = {}", 1 + next(8)),
            format!("memory = '{}M'", 256 + next(4096)),
            format!("disk = {}", 8 * GIB + next(1 << 30)),
            format!("full = {}", next(2) == 0),
            format!("disks = [{{ size = '{}G' }}, {{ size = 123456789 }}]", 1 + next(9)),
            format!("{} = 'net{}'", ["network", "bridge"][usize::from(next(2) == 0)], next(3)),
            format!("autostart = {}", next(2) == 0),
            format!("guest.packages = ['p{}']", next(9)),
            if addresses {
                format!("ip = '10.0.{group}.1-99'\nmac = '{}'", ["ip", "name"][usize::from(next(2) == 0)])
            } else {
                "ip = 'next'".to_owned()
            },
        ];
        lines.into_iter().filter(|_| next(2) == 0).collect::<Vec<_>>().join("\n")
    };
    let mut text = format!("template = 'debian13'\n[defaults]\n{}\n", spec(0, false));
    for group in 1..=3 {
        let size = seed % 5 + group;
        text.push_str(&format!("[groups.g{group}]\nname = 'g{group}-{{}}'\ncount = {size}\n{}\n", spec(group, true)));
        text.push_str(&format!("[[vms]]\nname = 'single{group}'\ngroup = 'g{group}'\n{}\n", spec(9, false)));
    }
    text
}

#[test]
fn a_fleet_that_has_been_made_asks_for_nothing_more() {
    for seed in 1..200 {
        let text = random_fleet(seed);
        let wanted = fleet(&text).vms;
        assert_eq!(fleet(&text).vms, wanted, "reading it twice gives the same");
        let first = diff(&wanted, &World::default(), &digest);
        let names: Vec<_> = first.iter().map(|step| &step.name).collect();
        assert_eq!(names, wanted.iter().map(|vm| &vm.name).collect::<Vec<_>>());
        assert!(first.iter().all(|step| step.action == Action::Create && step.differences.is_empty()), "{text}");
        for step in diff(&wanted, &world(wanted.iter().map(made)), &digest) {
            assert_eq!((step.action, step.differences), (Action::Keep, Vec::new()), "{}\n{text}", step.name);
        }
    }
}

#[test]
fn the_room_of_a_snapshot_is_what_its_plan_made_of_it() {
    const MIB: u64 = 1 << 20;
    let extent = 64 << 10;
    // What is declared, the size of the disk, the room that was made of that.
    let table = [
        ("30721K", 100 * MIB, 30 * MIB + extent),
        // All that a disk can come to need: its own size, 1/256 of it, a header; in whole extents.
        ("1G", 100 * MIB, 100 * MIB + 7 * extent),
        ("1G", 64 * MIB, 64 * MIB + 5 * extent),
    ];
    for (declared, disk, room) in table {
        let wanted = fleet(&format!("[groups.g]\ncount = 1\nfull = false\nsnapshot_size = '{declared}'"));
        let mut vm = made(&wanted.vms[0]);
        (vm.extent, vm.disks[0], vm.record.room) = (ByteSize(extent), ByteSize(disk), Some(ByteSize(room)));
        assert_eq!(shown(&diff(&wanted.vms, &world([vm.clone()]), &digest)), ["g1 Keep"], "{declared} {disk}");
        vm.record.room = Some(ByteSize(room - extent));
        assert_eq!(shown(&diff(&wanted.vms, &world([vm]), &digest)).len(), 2, "{declared} {disk}");
    }
}
