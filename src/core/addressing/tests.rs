use super::*;
use crate::core::{network::Subnet, toml_text};

fn network() -> Network {
    Network {
        name: "lab".to_owned(),
        active: true,
        dns: true,
        subnet: Some(Subnet {
            gateway: [192, 0, 2, 1].into(),
            prefix: 24,
            ranges: vec![([192, 0, 2, 2].into(), [192, 0, 2, 9].into())],
        }),
        reservations: vec![Reservation {
            network: "lab".to_owned(),
            mac: None,
            ip: IpAddr::from([192, 0, 2, 10]),
            name: Some("printer".to_owned()),
        }],
        hosts: vec![([192, 0, 2, 11].into(), vec!["nas".to_owned()])],
        ..Network::default()
    }
}

fn lease(last: u8, mac: Mac) -> Lease {
    Lease { mac: Some(mac), ip: [192, 0, 2, last].into(), hostname: Some("laptop".to_owned()) }
}

fn taken() -> Taken {
    let full = Subnet { gateway: [198, 51, 100, 1].into(), prefix: 30, ranges: vec![] };
    let plain = Network { name: "plain".to_owned(), active: true, subnet: Some(full), ..Network::default() };
    let stopped = Network { name: "stopped".to_owned(), ..Network::default() };
    Taken {
        macs: [Mac::of_name("web01", 0, 0)].into(),
        promised: [(IpAddr::from([192, 0, 2, 12]), "db".to_owned())].into(),
        networks: [network(), plain, stopped].map(|network| (network.name.clone(), network)).into(),
        leases: [("lab".to_owned(), vec![lease(13, Mac([2; 6])), lease(14, Mac::of_name("old", 0, 0))])].into(),
    }
}

/// What VMs of these names get that ask for this, in the words of a fleet's file: address, way, MAC.
fn placed(names: &[&str], spec: &str) -> String {
    let spec: VmSpec = toml_text::parse("f", spec).unwrap();
    let names: Vec<VmName> = names.iter().map(|name| name.parse().unwrap()).collect();
    let plug = Plug::Network("lab".to_owned());
    let wanted: Vec<Wanted<'_>> = names.iter().map(|name| Wanted { name, spec: &spec, plug: Some(&plug), cards: 1 }).collect();
    let mut next = 0_u128;
    let mut fresh = || {
        next += 1;
        Uuid::from_u128(next << 104)
    };
    let mut taken = taken();
    match places(&wanted, &mut taken, &mut fresh) {
        Ok(places) => places.iter().map(shown).collect::<Vec<_>>().join("; "),
        Err(error) => error.to_string(),
    }
}

fn shown(place: &Place) -> String {
    let address = place.address.map_or("-".to_owned(), |address| address.to_string());
    let way = match (&place.reservation, &place.config.fixed) {
        (Some(reservation), None) => {
            assert_eq!((Some(reservation.ip), reservation.mac), (place.address, place.macs.first().copied()));
            if reservation.name.is_some() { "reserved" } else { "reserved without a name" }.to_owned()
        }
        (None, Some(fixed)) => {
            let gateway = fixed.gateway.map_or("-".to_owned(), |ip| ip.to_string());
            let servers: Vec<_> = place.config.nameservers.iter().map(IpAddr::to_string).collect();
            format!("static/{} via {gateway} dns {}", fixed.prefix, servers.join(" "))
        }
        (None, None) => "dhcp".to_owned(),
        (Some(_), Some(_)) => "both".to_owned(),
    };
    let macs: Vec<_> = place.macs.iter().map(Mac::to_string).collect();
    format!("{address} {way} {}", macs.join(" "))
}

#[test]
fn addresses() {
    let web02 = Mac::of_name("web02", 0, 0);
    let table = [
        // Outside the dynamic range first; past the printer, the NAS, the database, the laptop, and the old machine's lease.
        (&["web02"][..], "", format!("192.0.2.15 reserved {web02}")),
        (&["old"], "", format!("192.0.2.14 reserved {}", Mac::of_name("old", 0, 0))),
        (&["web02"], "ip = '192.0.2.5'", format!("192.0.2.5 reserved {web02}")),
        // libvirt refuses such a name for a DHCP server's host.
        (&["1web"], "", format!("192.0.2.15 reserved without a name {}", Mac::of_name("1web", 0, 0))),
        (
            &["web02"],
            "ip = '192.0.2.10-16'\naddressing = 'static'",
            format!("192.0.2.15 static/24 via 192.0.2.1 dns 192.0.2.1 {web02}"),
        ),
        (&["web02"], "addressing = 'dhcp'", format!("- dhcp {web02}")),
        (&["web02"], "ip = '192.0.2.10'", "'web02' has no address: 192.0.2.10 is taken: it is reserved for printer".to_owned()),
        (&["web02"], "ip = '192.0.2.1'", "'web02' has no address: 192.0.2.1 is taken: it is the hypervisor's own".to_owned()),
        (&["web02"], "ip = '192.0.2.11'", "'web02' has no address: 192.0.2.11 is taken: DNS has it as nas".to_owned()),
        (&["web02"], "ip = '192.0.2.12'", "'web02' has no address: 192.0.2.12 is taken: VM db has it".to_owned()),
        (&["web02"], "ip = '192.0.2.13'", "'web02' has no address: 192.0.2.13 is taken: laptop has leased it".to_owned()),
        (
            &["web02"],
            "ip = '192.0.2.10-13'",
            "'web02' has no address: none of the 4 addresses that are named is free any more".to_owned(),
        ),
        (
            &["web02"],
            "ip = '192.0.3.1'",
            "192.0.3.1 is no address for a VM in network lab: its subnet is 192.0.2.0/24".to_owned(),
        ),
        (
            &["web02"],
            "ip = '192.0.2.255'",
            "192.0.2.255 is no address for a VM in network lab: its subnet is 192.0.2.0/24".to_owned(),
        ),
        (&["web02"], "network = 'plain'", format!("- dhcp {web02}")),
        (&["web02"], "network = 'plain'\nip = 'next'", format!("198.51.100.2 static/30 via 198.51.100.1 dns  {web02}")),
        (
            &["a", "b"],
            "network = 'plain'\nip = 'next'",
            "network plain has no free address for 'b': all of 198.51.100.0/30 are taken".to_owned(),
        ),
        (&["web02"], "network = 'gone'", "network gone does not exist\n`virsh net-list --all` lists the networks".to_owned()),
        (
            &["web02"],
            "network = 'stopped'",
            "network stopped is not running\n`virsh net-list --all` lists the networks".to_owned(),
        ),
        (&["web02"], "bridge = 'br0'", format!("- dhcp {web02}")),
        (
            &["web02"],
            "bridge = 'br0'\nip = '203.0.113.5'\nprefix = 24\ngateway = '203.0.113.1'",
            format!("203.0.113.5 static/24 via 203.0.113.1 dns  {web02}"),
        ),
        (
            &["web02"],
            "bridge = 'br0'\nip = '203.0.113.5'",
            "'web02': a static address needs the length of its prefix, with --prefix 24".to_owned(),
        ),
        (
            &["web02"],
            "bridge = 'br0'\nip = '127.0.0.1'\nprefix = 24",
            "'web02': 127.0.0.1/24 is no address for a VM: it means something else everywhere".to_owned(),
        ),
        (
            &["web02"],
            "bridge = 'br0'\nip = '203.0.113.255'\nprefix = 24",
            "'web02': 203.0.113.255/24 is no address for a VM: it is its subnet's own".to_owned(),
        ),
        (
            &["web02"],
            "bridge = 'br0'\nip = '203.0.113.5'\nprefix = 24\ngateway = '203.0.113.5'",
            "'web02': 203.0.113.5/24 is no address for a VM: it is the gateway's".to_owned(),
        ),
        (&["web02"], "bridge = 'br0'\nip = 'next'", "'web02': only a libvirt network can say which address is next".to_owned()),
        (
            &["web02"],
            "bridge = 'br0'\nip = '203.0.113.5'\nprefix = 24\ngateway = '10.0.0.1'",
            "'web02': the gateway 10.0.0.1 is not in the subnet of 203.0.113.5/24".to_owned(),
        ),
        (
            &["web02"],
            "bridge = 'br0'\naddressing = 'reserve'",
            "'web02': an address can only be reserved in a libvirt network that has a DHCP server".to_owned(),
        ),
        (&["web02"], "bridge = 'br0'\nnetwork = 'lab'", "a VM's first card is in a network or on a bridge, not both".to_owned()),
        (
            &["web02"],
            "ip = 'next'\naddressing = 'dhcp'",
            "'web02': an address that is asked for by DHCP cannot be named".to_owned(),
        ),
        (
            &["web02"],
            "gateway = '192.0.2.1'",
            "'web02': gateway and prefix go with a static address; a DHCP server tells its own".to_owned(),
        ),
        (
            &["web02"],
            "bridge = 'br0'\naddressing = 'static'",
            "'web02': a static address outside libvirt's networks must be named, with --ip".to_owned(),
        ),
    ];
    for (names, spec, expected) in table {
        assert_eq!(placed(names, spec), expected, "{names:?} {spec}");
    }
}

#[test]
fn macs() {
    let table = [
        (&["web01"][..], "mac = 'name'", format!("192.0.2.15 reserved {}", Mac::of_name("web01", 0, 1))),
        (&["web02"], "mac = 'ip'", "192.0.2.15 reserved 52:54:c0:00:02:0f".to_owned()),
        (
            &["a", "b"],
            "mac = 'random'",
            "192.0.2.15 reserved 52:54:00:00:00:01; 192.0.2.16 reserved 52:54:00:00:00:02".to_owned(),
        ),
        (
            &["a", "b"],
            "mac = '52:54:00:00:00:01,52:54:00:00:00:02'",
            "192.0.2.15 reserved 52:54:00:00:00:01; 192.0.2.16 reserved 52:54:00:00:00:02".to_owned(),
        ),
        (
            &["a"],
            "mac = '52:54:00:00:00:01,52:54:00:00:00:02'",
            "2 MAC addresses are given, and 1 are needed: one for each card of each VM".to_owned(),
        ),
        (
            &["a", "b"],
            "mac = '52:54:00:00:00:01,52:54:00:00:00:01'",
            "the MAC address 52:54:00:00:00:01 is given twice".to_owned(),
        ),
        (
            &["a"],
            "mac = '01:00:5e:00:00:01'",
            "01:00:5e:00:00:01 is no network card's address: it is a multicast address, or empty".to_owned(),
        ),
        (
            &["a"],
            "mac = 'ip'\naddressing = 'dhcp'",
            "the MAC address of 'a' cannot follow from its address: it has none yet (name it with --ip)".to_owned(),
        ),
    ];
    for (names, spec, expected) in table {
        assert_eq!(placed(names, spec), expected, "{names:?} {spec}");
    }
}
