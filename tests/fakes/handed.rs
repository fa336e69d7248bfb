//! Clones that have their seed from the metadata service: what is kept for it, what is refused, and what becomes of it.

use std::fs;

use tpl::core::{
    error::exit_code,
    metadata::ready::{self, Ready},
    secret::Secret,
    seed::handed::{HandedSeed, owner},
    vm_spec::SeedWay,
};
use uuid::Uuid;

use super::{
    machine::Machine,
    run::{Fault, Step},
    secrets::FakeSecret,
};

const CLONE: &str = "clone --name web --jobs 1 --seed metadata --wait none --ssh-key KEY";
const SERIAL: &str = "ds=nocloud;dsmode=net;s=http://169.254.169.254/nocloud/";

/// The UUID of a domain.
fn uuid(machine: &Machine, name: &str) -> Uuid {
    machine.state().domains[name].uuid
}

/// Exit code and text of a command that must change nothing.
fn refused(machine: &Machine, command: &str) -> (u8, String) {
    let before = machine.everything();
    let error = machine.tpl(command).unwrap_err();
    assert_eq!(machine.everything(), before, "{command} has touched something");
    (exit_code(&error), format!("{error:#}"))
}

/// Somebody else's secret.
fn foreign(machine: &Machine, uuid: Uuid) {
    let xml = format!("<secret><uuid>{uuid}</uuid><description>ceph: seed of web</description></secret>");
    machine.state().secrets.insert(uuid, FakeSecret { xml, value: b"key".to_vec() });
}

#[test]
fn the_seed_is_kept_as_a_secret_and_the_machine_says_where_to_ask() {
    let machine = Machine::with_template();
    machine.tpl(CLONE).unwrap();
    let clone = machine.inventory().clones.remove(0);
    assert_eq!((clone.record.seed, clone.record.volumes.as_slice()), (SeedWay::Metadata, &["web".to_owned()][..]));
    assert_eq!(machine.leftovers(), [""; 0]);
    // The template's own XML, with the splices.
    let xml = &clone.domain.xml;
    let between = |from: &str, to: &str| xml.split_once(from).unwrap().1.split_once(to).unwrap().0.to_owned();
    assert!(between("<os>", "</os>").trim_end().ends_with("<smbios mode='sysinfo'/>"), "{xml}");
    let sysinfo = format!("<system><entry name='serial'>{SERIAL}</entry></system>");
    assert_eq!(between("<sysinfo type='smbios'>", "</sysinfo>"), sysinfo);
    assert!(!xml.contains("-seed"), "{xml}");

    let uuid = clone.domain.uuid;
    let secret = machine.state().secrets[&uuid].clone();
    assert_eq!(owner(&secret.xml).unwrap().as_deref(), Some("web"));
    let seed = HandedSeed::parse(&Secret::new(secret.value)).unwrap();
    assert_eq!(seed.meta_data, format!("instance-id: {uuid}\nlocal-hostname: web\n"));
    assert_eq!(seed.network_config, "");
    assert_eq!(seed.public_keys.len(), 1);
    assert!(seed.public_keys[0].ends_with(" operator@here"), "{:?}", seed.public_keys);
    let user_data = seed.user_data.expose();
    let key = &clone.record.ssh_host_keys[0];
    for line in [&format!("  ed25519_public: {key}"), "  url: http://169.254.169.254/tpl/ready", "  tries: 10"] {
        assert!(user_data.lines().any(|known| known == line), "{line} is not in\n{user_data}");
    }
}

#[test]
fn who_asks_for_a_volume_gets_one_and_says_nothing() {
    let machine = Machine::with_template();
    machine.tpl(&CLONE.replace("metadata", "volume")).unwrap();
    let clone = machine.inventory().clones.remove(0);
    assert_eq!((clone.record.seed, clone.record.volumes.len()), (SeedWay::Volume, 2));
    assert!(!clone.domain.xml.contains("sysinfo") && machine.state().secrets.is_empty());
    let json = serde_json::to_value(&clone.record).unwrap();
    assert_eq!(json.get("seed"), None, "an earlier tpl's records say nothing of it");
}

#[test]
fn the_seed_goes_with_its_vm() {
    for fault in [None, Some(Fault::At(Step::RemoveSeed, 0))] {
        let machine = Machine::with_template();
        machine.tpl(CLONE).unwrap();
        let other = Uuid::from_u128(7);
        foreign(&machine, other);
        if let Some(fault) = fault {
            let error = machine.failing(fault).tpl("destroy web").unwrap_err();
            assert_eq!(format!("{error:#}"), "removing web: a fault was put in: RemoveSeed ");
            assert_eq!(machine.tpl("prune").unwrap().data, "unfinished clone web removed\n");
        } else {
            assert_eq!(machine.tpl("destroy web").unwrap().data, "web destroyed\n");
        }
        assert_eq!(machine.state().secrets.keys().collect::<Vec<_>>(), [&other]);
        assert!(machine.inventory().clones.is_empty());
    }
}

#[test]
fn prune_removes_seeds_whose_vm_is_gone_and_no_others() {
    let machine = Machine::with_template();
    for name in ["web", "gone"] {
        machine.tpl(&CLONE.replace("web", name)).unwrap();
    }
    let (web, gone) = (uuid(&machine, "web"), uuid(&machine, "gone"));
    // Somebody has undefined it by hand; its disk is theirs now.
    machine.state().domains.remove("gone");
    let other = Uuid::from_u128(7);
    foreign(&machine, other);
    let kept = |machine: &Machine| machine.state().secrets.keys().copied().collect::<Vec<_>>();
    let mut all = vec![other, web, gone];
    all.sort();
    assert_eq!(machine.tpl("prune --template debian13").unwrap().data, "nothing to prune\n");
    assert_eq!(machine.tpl("prune --dry-run").unwrap().data, format!("seed of gone ({gone}) would be removed\n"));
    assert_eq!(kept(&machine), all);
    assert_eq!(machine.tpl("prune").unwrap().data, format!("seed of gone ({gone}) removed\n"));
    all.retain(|uuid| *uuid != gone);
    assert_eq!(kept(&machine), all);
    assert_eq!(machine.tpl("prune").unwrap().data, "nothing to prune\n");
}

#[test]
fn a_secret_without_its_value_is_taken_back() {
    let machine = Machine::with_template();
    machine.state().cut_secret = true;
    let error = machine.tpl(CLONE).unwrap_err();
    assert_eq!((exit_code(&error), format!("{error:#}")), (1, "the connection is broken".to_owned()));
    assert_eq!(machine.leftovers(), [""; 0]);
    assert!(machine.state().secrets.is_empty());
}

#[test]
fn what_cannot_be_handed_out_is_refused_in_the_plan() {
    let advice = "ask for --seed volume, or leave these out";
    let folder = |machine: &Machine| machine.folder.path().to_owned();
    let machine = Machine::with_template().apart();
    let write = |name: &str, text: &str| fs::write(folder(&machine).join(name), text).unwrap();
    write("large", &format!("#cloud-config\nfinal_message: {}\n", "x".repeat(64 << 10)));
    write("own", "#cloud-config\nphone_home: { url: 'http://seen.example/' }\n");
    let of = |name: &str| folder(&machine).join(name).display().to_string();
    let address = "a static address is written into its seed, and it has to have one to ask the metadata service for that";
    let names = "name servers and search domains are written into its seed, which it gets behind its network";
    let table = [
        (
            format!("{CLONE} --addressing static --ip 192.0.2.200 --search lab.example"),
            3,
            format!("'web': {address}\n'web': {names}\n{advice}"),
        ),
        (format!("{CLONE} --nameserver 192.0.2.53"), 3, format!("'web': {names}\n{advice}")),
        (
            CLONE.replace("--seed metadata --wait none", "--wait phone-home"),
            2,
            "--wait phone-home: only a VM that has its seed from the metadata service tells it when it is ready: ask for --seed \
             metadata, or wait for ssh"
                .to_owned(),
        ),
        (
            format!("{CLONE} --user-data {}", of("own")).replace("--wait none", "--wait phone-home"),
            2,
            "--wait phone-home: the user-data has a phone_home of its own, and a guest tells one alone: leave it out, or wait for ssh"
                .to_owned(),
        ),
    ];
    for (command, code, text) in table {
        for command in [format!("{command} --dry-run"), command] {
            assert_eq!(refused(&machine, &command), (code, text.clone()), "{command}");
        }
    }
    let (code, text) = refused(&machine, &format!("{CLONE} --user-data {}", of("large")));
    let (before, after) = text.split_once(" bytes, and").unwrap();
    assert_eq!((code, after), (3, format!(" libvirt keeps 64512 at most, its host key aside\n{advice}").as_str()));
    assert!(before.starts_with("'web': its seed has 6"), "{text}");
    // With another way to wait the operator's own is no hindrance.
    machine.tpl(&format!("{CLONE} --user-data {}", of("own"))).unwrap();
    let value = machine.state().secrets.values().next().unwrap().value.clone();
    let seed = HandedSeed::parse(&Secret::new(value)).unwrap();
    assert!(seed.user_data.expose().contains("http://seen.example/") && !seed.user_data.expose().contains("tpl/ready"));
}

#[test]
fn a_hypervisor_or_a_template_that_cannot_is_refused() {
    let machine = Machine::with_template();
    machine.state().keeps_seeds = false;
    let expected = "fake:///system keeps no secrets, and with --seed metadata a VM's seed is kept as one: it holds a private key\nask for --seed volume";
    for command in [format!("{CLONE} --dry-run"), CLONE.to_owned()] {
        assert_eq!(refused(&machine, &command), (3, expected.to_owned()));
    }
    let machine = Machine::with_offline_template();
    let lacks = "--seed metadata: the template has no cloud-init, which would ask for a seed";
    assert_eq!(refused(&machine, CLONE), (2, lacks.to_owned()));
    let both = format!("{lacks}\n--wait phone-home: the template has no cloud-init");
    assert_eq!(refused(&machine, &CLONE.replace("none", "phone-home")), (2, both));
}

#[test]
fn a_vm_is_ready_once_it_has_phoned_home() {
    let command = CLONE.replace("--wait none", "--wait phone-home --timeout 5s");
    let machine = Machine::with_template();
    machine.tpl(&command).unwrap();
    let clone = machine.inventory().clones.remove(0);
    let mark = ready::read(&clone.domain.xml).unwrap().unwrap();
    assert_eq!((mark.instance, &mark.ssh_host_keys), (clone.domain.uuid, &clone.record.ssh_host_keys));
    let vms: serde_json::Value = serde_json::from_str(&machine.tpl("vms --output json").unwrap().data).unwrap();
    assert_eq!(vms[0]["phoned_home"], serde_json::json!(mark.at));

    let missing = |machine: &Machine| {
        let error = machine.tpl(&command).unwrap_err();
        assert_eq!((exit_code(&error), machine.leftovers()), (1, vec![]));
        let text = format!("{error:#}");
        text.lines().next().unwrap().strip_prefix("web: not ready after 5 s: ").unwrap_or(&text).to_owned()
    };
    let machine = Machine::with_template();
    machine.state().phones_home = false;
    let silent = "has not phoned home: `tpl metadata serve` has to run on its hypervisor, and logs who asks and what it refuses";
    assert_eq!(missing(&machine), silent);
}

#[test]
fn a_word_that_is_not_the_vms_own_does_not_count() {
    let command = CLONE.replace("--wait none", "--wait phone-home --timeout 5s");
    let table: [(Option<u128>, &str); 2] = [
        (Some(9), "has phoned home as another instance, 00000000-0000-0000-0000-000000000009: its disk was another machine's"),
        (None, "has phoned home with another host key"),
    ];
    for (instance, expected) in table {
        let machine = Machine::with_template();
        machine.state().phones_home = false;
        let (run, elsewhere) = (machine.run(), machine.clone());
        run.before(Step::ReadAddresses, move || {
            let at = elsewhere.state().now;
            let own = uuid(&elsewhere, "web");
            let instance = instance.map_or(own, Uuid::from_u128);
            let mark = Ready { at, instance, ssh_host_keys: vec!["ssh-ed25519 AAAA root@web".to_owned()] };
            elsewhere.state().set_element("web", ready::NAMESPACE, &ready::element(&mark)).unwrap();
        });
        let error = run.tpl(&command.replace("--ssh-key", "--addressing dhcp --ssh-key")).unwrap_err();
        assert_eq!(format!("{error:#}").lines().next(), Some(format!("web: not ready after 5 s: {expected}").as_str()));
        assert_eq!(machine.leftovers(), [""; 0]);
    }
}

#[test]
fn the_mark_and_tpls_own_metadata_do_not_overwrite_each_other() {
    let machine = Machine::with_template();
    // It phones home before the call writes that the clone is complete.
    machine.tpl(&CLONE.replace("--wait none", "--wait phone-home")).unwrap();
    let clone = machine.inventory().clones.remove(0);
    assert!(!clone.record.is_unfinished() && clone.phoned_home().is_some());
}

#[test]
fn a_fleet_says_it_too() {
    let fleet = "[defaults]\nseed = 'metadata'\nguest.ssh_key_files = ['key.pub']\n[groups.web]\ncount = 2\n[[vms]]\nname = 'db'\nseed = 'volume'\n";
    let machine = Machine::with_template().apart();
    let file = machine.folder.path().join("fleet.toml");
    fs::write(&file, fleet).unwrap();
    let apply = format!("apply {}", file.display());
    let said = machine.tpl(&format!("{apply} --wait phone-home")).unwrap_err();
    assert_eq!(exit_code(&said), 2);
    assert!(format!("{said:#}").contains("db: --wait phone-home: only a VM"), "{said:#}");
    machine.tpl(&format!("{apply} --wait none")).unwrap();
    let ways: Vec<(String, SeedWay)> =
        machine.inventory().clones.iter().map(|clone| (clone.record.name.to_string(), clone.record.seed)).collect();
    let expected = [("db", SeedWay::Volume), ("web1", SeedWay::Metadata), ("web2", SeedWay::Metadata)];
    assert_eq!(ways, expected.map(|(name, way)| (name.to_owned(), way)));
    fs::write(&file, fleet.replace("'volume'", "'metadata'")).unwrap();
    let json: serde_json::Value =
        serde_json::from_str(&machine.tpl(&format!("{apply} --dry-run --output json")).unwrap().data).unwrap();
    let of_db = json["vms"].as_array().unwrap().iter().find(|vm| vm["name"] == "db").unwrap()["differences"].clone();
    assert_eq!(of_db, serde_json::json!([{ "what": "seed", "declared": "metadata", "actual": "volume" }]));
}
