//! Names, MACs and addresses of VMs that are not started: as asked, and refused where others have them.

use std::{fs, sync::Once};

use serde_json::Value;

use super::{
    build::template_id,
    lab::{Ended, folder, left, login_key, pool, tpl, virsh, volume_path},
};

/// A network in which no VM runs. In the one of libvirt's own, any of the addresses that are asked for here could have been leased
/// to the boot test of a build, whose card is random.
const LAN: &str = "tpl-e2e-lan";

/// How the addresses of that network begin: RFC 5737 keeps them for examples.
const PREFIX: &str = "198.51.100";

/// Defines the network, unless an earlier run has left it.
fn lan() -> &'static str {
    static MADE: Once = Once::new();
    MADE.call_once(|| {
        if virsh(&["net-list", "--all", "--name"]).lines().any(|name| name == LAN) {
            return;
        }
        let file = folder().join("lan.xml");
        let dhcp = format!("<dhcp><range start='{PREFIX}.2' end='{PREFIX}.254'/></dhcp>");
        let ip = format!("<ip address='{PREFIX}.1' netmask='255.255.255.0'>{dhcp}</ip>");
        fs::write(&file, format!("<network><name>{LAN}</name>{ip}</network>")).unwrap();
        virsh(&["net-define", file.to_str().unwrap()]);
        virsh(&["net-start", LAN]);
    });
    LAN
}

/// A call for VMs that are not started.
fn clone(args: &[&str]) -> Ended {
    let (id, key) = (template_id(), format!("{}.pub", login_key().display()));
    tpl(&[&["clone", &id, "--no-start", "--disk", "1G", "--ssh-key", &key, "--output", "json"], args].concat())
}

/// The same in the network of these tests.
fn clone_in_lan(args: &[&str]) -> Ended {
    clone(&[&["--network", lan()], args].concat())
}

/// A key of each VM in a report, the first where there are several.
pub fn each<'a>(report: &'a Value, key: &str) -> Vec<&'a str> {
    let first = |value: &'a Value| value.as_array().map_or(value, |list| &list[0]).as_str().unwrap();
    report["clones"].as_array().unwrap().iter().map(|clone| first(&clone[key])).collect()
}

pub fn destroy(names: &[&str]) {
    tpl(&[&["destroy"], names].concat()).ok();
}

/// An address of the network, by its last number.
fn address(last: u8) -> String {
    format!("{PREFIX}.{last}")
}

fn mac_of(address: &str) -> String {
    let octets = address.split('.').map(|octet| format!("{:02x}", octet.parse::<u8>().unwrap()));
    format!("52:54:{}", octets.collect::<Vec<_>>().join(":"))
}

#[test]
fn numbers_lists_and_chance_make_names() {
    let numbered = clone_in_lan(&["--numbers", "3,7-9", "--name", "tpl-e2e-n"]).json();
    assert_eq!(each(&numbered, "name"), ["tpl-e2e-n3", "tpl-e2e-n7", "tpl-e2e-n8", "tpl-e2e-n9"]);
    // The lowest that are free.
    let lowest = clone_in_lan(&["--name", "tpl-e2e-n{}", "--count", "3"]).json();
    assert_eq!(each(&lowest, "name"), ["tpl-e2e-n1", "tpl-e2e-n2", "tpl-e2e-n4"]);
    let again = clone_in_lan(&["--numbers", "1-9", "--name", "tpl-e2e-n"]);
    assert_eq!(again.code, 3, "{again:#?}");
    for number in [1, 2, 3, 4, 7, 8, 9] {
        assert!(again.stderr.contains(&format!("'tpl-e2e-n{number}' is taken: there is a domain of this name")), "{again:#?}");
    }
    assert_eq!(left("tpl-e2e-n5"), [""; 0]);
    destroy(&[each(&numbered, "name"), each(&lowest, "name")].concat());
    let listed = clone_in_lan(&["--names", "tpl-e2e-na,tpl-e2e-nb"]).json();
    assert_eq!(each(&listed, "name"), ["tpl-e2e-na", "tpl-e2e-nb"]);
    destroy(&each(&listed, "name"));
    assert_eq!(left("tpl-e2e-n"), [""; 0]);
    // Nothing is made, for nothing would tell that it is this test's.
    let random = clone_in_lan(&["--random-names", "--count", "2", "--dry-run"]).json();
    let random = each(&random, "name");
    assert!(random[0] != random[1], "{random:?}");
    assert!(random.iter().all(|name| name.len() == 8 && name.bytes().all(|b| b.is_ascii_lowercase())), "{random:?}");
}

#[test]
fn macs_follow_from_the_name_the_address_or_nothing() {
    let mac_in_xml = |name: &str, mac: &str| virsh(&["dumpxml", name]).contains(&format!("<mac address='{mac}'/>"));
    let by_name = clone_in_lan(&["--name", "tpl-e2e-mac"]).json();
    destroy(&["tpl-e2e-mac"]);
    let again = clone_in_lan(&["--name", "tpl-e2e-mac"]).json();
    assert_eq!(each(&by_name, "macs"), each(&again, "macs"), "a VM that is made again has the card that it had");
    let by_address = clone_in_lan(&["--name", "tpl-e2e-mac-ip", "--mac", "ip", "--ip", &address(230)]).json();
    assert_eq!(each(&by_address, "macs"), [mac_of(&address(230))]);
    let random = clone_in_lan(&["--name", "tpl-e2e-mac-random{}", "--count", "2", "--mac", "random"]).json();
    let macs = each(&random, "macs");
    assert!(macs[0] != macs[1] && macs.iter().all(|mac| mac.starts_with("52:54:00:")), "{macs:?}");
    let given = clone_in_lan(&["--name", "tpl-e2e-mac-given", "--mac", "52:54:00:e2:e2:01"]).json();
    assert_eq!(each(&given, "macs"), ["52:54:00:e2:e2:01"]);
    for report in [&again, &by_address, &random, &given] {
        for (name, mac) in each(report, "name").into_iter().zip(each(report, "macs")) {
            assert!(mac_in_xml(name, mac), "{name} {mac}");
        }
    }
    let taken = clone_in_lan(&["--name", "tpl-e2e-mac-taken", "--mac", "52:54:00:e2:e2:01"]);
    assert_eq!(taken.code, 3, "{taken:#?}");
    assert!(taken.stderr.contains("52:54:00:e2:e2:01"), "{taken:#?}");
    assert_eq!(left("tpl-e2e-mac-taken"), [""; 0]);
    for report in [&again, &by_address, &random, &given] {
        destroy(&each(report, "name"));
    }
    assert_eq!(left("tpl-e2e-mac"), [""; 0]);
}

#[test]
fn addresses_are_dealt_out_and_kept_and_given_back() {
    let before = virsh(&["net-dumpxml", lan()]);
    let range = format!("{}-222", address(220));
    let report = clone_in_lan(&["--name", "tpl-e2e-ip{}", "--count", "3", "--ip", &range]).json();
    assert_eq!(each(&report, "addresses"), [address(220), address(221), address(222)]);
    let network = virsh(&["net-dumpxml", lan()]);
    for (index, mac) in each(&report, "macs").into_iter().enumerate() {
        let (name, ip) = (format!("tpl-e2e-ip{}", index + 1), address(220 + u8::try_from(index).unwrap()));
        assert!(network.contains(&format!("<host mac='{mac}' name='{name}' ip='{ip}'/>")), "{network}");
        assert!(network.contains(&format!("<hostname>{name}</hostname>")), "{network}");
    }
    let taken = clone_in_lan(&["--name", "tpl-e2e-ip-taken", "--ip", &address(221)]);
    assert_eq!(taken.code, 3, "{taken:#?}");
    assert!(taken.stderr.contains(&format!("{} is taken: VM tpl-e2e-ip2 has it", address(221))), "{taken:#?}");
    let names: Vec<&str> = each(&report, "name");
    destroy(&names);
    let after = virsh(&["net-dumpxml", lan()]);
    for line in after.lines().filter(|line| !before.contains(*line)) {
        assert!(!line.contains("tpl-e2e-ip") && !line.contains(&address(220)), "{line}");
    }
    assert_eq!(left("tpl-e2e-ip"), [""; 0]);
}

#[test]
fn what_others_have_is_refused_and_left_alone() {
    virsh(&["vol-create-as", &pool(), "tpl-e2e-others-seed", "1M", "--format", "raw"]);
    let path = volume_path("tpl-e2e-others-seed");
    let host = format!("<host mac='52:54:00:e2:e2:02' name='tpl-e2e-elsewhere' ip='{}'/>", address(231));
    virsh(&["net-update", lan(), "add", "ip-dhcp-host", &host, "--live", "--config"]);
    let calls = [
        (["--name", "tpl-e2e-others"], "'tpl-e2e-others' is taken: there is a volume tpl-e2e-others-seed".to_owned()),
        (["--name", "tpl-e2e-elsewhere"], format!("'tpl-e2e-elsewhere' is taken: network {LAN} keeps {} for it", address(231))),
    ];
    let refused: Vec<Ended> = calls.iter().map(|(args, _)| clone_in_lan(args)).collect();
    let address_taken = clone_in_lan(&["--name", "tpl-e2e-others2", "--ip", &address(231)]);
    let domains = left("tpl-e2e-others");
    virsh(&["net-update", lan(), "delete", "ip-dhcp-host", &host, "--live", "--config"]);
    fs::metadata(path).unwrap();
    virsh(&["vol-delete", "--pool", &pool(), "tpl-e2e-others-seed"]);
    for (end, (_, reason)) in refused.iter().zip(&calls) {
        assert!(end.code == 3 && end.stderr.contains(reason), "{reason} in {end:#?}");
    }
    let reason = format!("{} is taken: it is reserved for tpl-e2e-elsewhere", address(231));
    assert!(address_taken.code == 3 && address_taken.stderr.contains(&reason), "{reason} in {address_taken:#?}");
    assert_eq!(domains, ["tpl-e2e-others-seed"]);
}

#[test]
fn a_static_address_on_a_bridge_stands_in_the_seed() {
    let (ip, router) = (address(232), address(1));
    let bridge = {
        let xml = virsh(&["net-dumpxml", lan()]);
        xml.split("<bridge name='").nth(1).and_then(|rest| rest.split('\'').next()).unwrap().to_owned()
    };
    let args = ["--name", "tpl-e2e-bridge", "--bridge", &bridge, "--ip", &ip, "--gateway", &router, "--nameserver", &router];
    let without = clone(&args);
    assert_eq!(without.code, 2, "{without:#?}");
    assert!(without.stderr.contains("a static address needs the length of its prefix, with --prefix 24"), "{without:#?}");
    let report = clone(&[&args[..], &["--prefix", "24"]].concat()).json();
    assert_eq!(each(&report, "addresses"), std::slice::from_ref(&ip));
    let xml = virsh(&["dumpxml", "tpl-e2e-bridge"]);
    assert!(xml.contains("<interface type='bridge'>") && xml.contains(&format!("<source bridge='{bridge}'/>")), "{xml}");
    assert!(!virsh(&["net-dumpxml", lan()]).contains(&format!("'{ip}'")), "nothing of it is the network's");
    let seed = String::from_utf8_lossy(&fs::read(volume_path("tpl-e2e-bridge-seed")).unwrap()).into_owned();
    for part in [format!("{ip}/24"), router, each(&report, "macs")[0].to_owned()] {
        assert!(seed.contains(&part), "{part}");
    }
    destroy(&["tpl-e2e-bridge"]);
    assert_eq!(left("tpl-e2e-bridge"), [""; 0]);
}
