use super::*;
use crate::core::imds::instance::{Content, Kind};

/// A domain with one of everything.
pub(in crate::core::imds) fn instance() -> Instance {
    let card = |index: usize, bridge: &str, address: Option<[u8; 4]>| Card {
        index,
        mac: format!("52:54:00:00:00:0{index}").parse().unwrap(),
        bridge: bridge.to_owned(),
        port: Some(format!("vnet{index}")),
        network: None,
        mark: address.map(|_| 7),
        // A lease from before goes last.
        addresses: address.into_iter().flat_map(|address| [address, [192, 0, 2, 9]]).map(IpAddr::from).collect(),
    };
    Instance {
        uuid: "11111111-2222-4333-8444-555555555555".parse().unwrap(),
        domain: "web01".to_owned(),
        hostname: "web01".to_owned(),
        search: Some("lab.example".to_owned()),
        vcpus: 2,
        memory: 1024,
        architecture: "x86_64".to_owned(),
        kind: Kind::Clone,
        ready: false,
        handed: false,
        template: Some("debian13@20261121-031000".to_owned()),
        host_keys: Vec::new(),
        cards: vec![card(0, "virbr0", Some([192, 0, 2, 10])), card(1, "br1", None)],
        content: Content {
            keys: vec!["ssh-ed25519 AAAA a".to_owned(), "ssh-ed25519 BBBB b".to_owned()],
            user_data: Some("#!/bin/sh\n".to_owned()),
            ..Content::default()
        },
    }
}

#[test]
fn the_whole_tree() {
    let answers = Answers::of(&instance(), "hv1");
    let mac = "meta-data/network/interfaces/macs/52:54:00:00:00:00";
    let table = [
        ("", "dynamic/\nmeta-data/\nuser-data"),
        (
            "meta-data/",
            "ami-id\nami-launch-index\nhostname\ninstance-id\ninstance-type\nlocal-hostname\nlocal-ipv4\nmac\nnetwork/\nplacement/\n\
             public-keys/\nreservation-id",
        ),
        ("meta-data/ami-id", "debian13@20261121-031000"),
        ("meta-data/instance-id", "11111111-2222-4333-8444-555555555555"),
        ("meta-data/instance-type", "2c-1024m"),
        ("meta-data/hostname", "web01.lab.example"),
        ("meta-data/local-hostname", "web01.lab.example"),
        ("meta-data/mac", "52:54:00:00:00:00"),
        ("meta-data/placement", "availability-zone\nregion"),
        ("meta-data/placement/availability-zone", "hv1"),
        ("meta-data/public-keys", "0=key-0\n1=key-1"),
        ("meta-data/public-keys/", "0=key-0\n1=key-1"),
        ("meta-data/public-keys/1/", "openssh-key"),
        ("meta-data/public-keys/1/openssh-key", "ssh-ed25519 BBBB b"),
        ("meta-data/network/interfaces/macs/", "52:54:00:00:00:00/\n52:54:00:00:00:01/"),
        (mac, "device-number\ninterface-id\nlocal-hostname\nlocal-ipv4s\nmac"),
        (&format!("{mac}/local-ipv4s"), "192.0.2.10"),
        ("meta-data/network/interfaces/macs/52:54:00:00:00:01/device-number", "1"),
        ("user-data", "#!/bin/sh\n"),
        ("dynamic/instance-identity", "document"),
    ];
    for (path, expected) in table {
        assert_eq!(answers.get(path), Some(&Answer::Text(expected.to_owned())), "{path}");
    }
    assert_eq!(answers.get("meta-data/local-ipv4"), Some(&Answer::CardsAddress));
    let Some(Answer::Text(document)) = answers.get("dynamic/instance-identity/document") else { panic!() };
    let document: serde_json::Value = serde_json::from_str(document).unwrap();
    assert_eq!(document["instanceId"], "11111111-2222-4333-8444-555555555555");
    assert_eq!((&document["privateIp"], &document["region"]), (&json!("192.0.2.10"), &json!("libvirt")));
    for path in ["vendor-data", "meta-data/public-keys/2/openssh-key", "meta-data/x", "/", "../", "meta-data//"] {
        assert_eq!(answers.get(path), None, "{path}");
    }
}

/// What a folder lists is there, and leads to all leaves: a crawler finds everything.
#[test]
fn each_listing_leads_on() {
    let answers = Answers::of(&instance(), "hv1");
    let mut found = BTreeSet::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        let Some(Answer::Text(listing)) = answers.get(&folder) else { panic!("{folder} is not there") };
        for line in listing.lines() {
            match (line.split_once('='), line.strip_suffix('/')) {
                (Some((index, _)), _) => folders.push(format!("{folder}{index}/")),
                (None, Some(name)) => folders.push(format!("{folder}{name}/")),
                (None, None) => assert!(found.insert(format!("{folder}{line}"))),
            }
        }
    }
    let leaves: BTreeSet<_> = leaves(&instance(), "hv1").into_keys().collect();
    assert_eq!(found, leaves);
}
