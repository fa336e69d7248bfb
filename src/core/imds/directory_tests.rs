use super::*;
use crate::core::imds::{
    ec2::tests::instance,
    instance::{Card, Instance},
};

const ALICE: &str = "52:54:00:00:00:0a";
const BOB: &str = "52:54:00:00:00:0b";
const TWIN: &str = "52:54:00:00:00:0c";

fn domain(name: &str, cards: &[(&str, &str, Option<&str>)]) -> Instance {
    let card = |(index, (mac, bridge, port)): (usize, &(&str, &str, Option<&str>))| Card {
        index,
        mac: mac.parse().unwrap(),
        bridge: (*bridge).to_owned(),
        port: port.map(str::to_owned),
        network: None,
        address: None,
    };
    Instance { domain: name.to_owned(), cards: cards.iter().enumerate().map(card).collect(), ..instance() }
}

fn owner(bridge: &str, last: u8, mac: &str, reserved: bool) -> Owner {
    Owner { bridge: bridge.to_owned(), address: IpAddr::from([192, 0, 2, last]), mac: mac.parse().unwrap(), reserved }
}

fn directory() -> Directory {
    let instances = vec![
        domain("alice", &[(ALICE, "br0", Some("vnet0")), ("52:54:00:00:01:0a", "br1", Some("vnet9"))]),
        domain("bob", &[(BOB, "br0", Some("vnet1"))]),
        // The same card on two bridges is two cards.
        domain("other", &[(ALICE, "br2", Some("vnet2"))]),
        domain("twin1", &[(TWIN, "br0", Some("vnet3"))]),
        domain("twin2", &[(TWIN, "br0", Some("vnet4"))]),
        domain("macvtap", &[("52:54:00:00:00:0d", "br0", None)]),
    ];
    let owners = vec![
        owner("br0", 1, ALICE, false),
        owner("br0", 2, BOB, false),
        owner("br0", 3, "52:54:00:ff:ff:ff", true),
        owner("br0", 4, "52:54:00:ff:ff:ff", false),
    ];
    Directory::new(Known { instances, owners }, "hv1")
}

#[test]
fn who_is_asking() {
    let directory = directory();
    let ask = |bridge: &str, last: u8, seen: Option<(&str, Option<&str>)>| {
        let seen = seen.map(|(mac, port)| Sighting { mac: mac.parse().unwrap(), port: port.map(str::to_owned), pinned: false });
        let told = directory.caller(bridge, IpAddr::from([192, 0, 2, last]), seen.as_ref());
        told.map(|told| told.instance.domain.clone()).map_err(|stranger| stranger.to_string())
    };
    let own = |mac, port| Some((mac, Some(port)));
    let no = |text: &str| Err(text.to_owned());
    let table = [
        ("it itself", ask("br0", 1, own(ALICE, "vnet0")), Ok("alice".to_owned())),
        ("its other card", ask("br1", 1, own("52:54:00:00:01:0a", "vnet9")), Ok("alice".to_owned())),
        ("an address that nobody gave it", ask("br0", 99, own(ALICE, "vnet0")), Ok("alice".to_owned())),
        ("the same card elsewhere", ask("br2", 1, own(ALICE, "vnet2")), Ok("other".to_owned())),
        ("a lease of a domain that is gone", ask("br0", 4, own(BOB, "vnet1")), Ok("bob".to_owned())),
        ("another's lease", ask("br0", 1, own(BOB, "vnet1")), no("bob uses an address that is another card's")),
        ("kept for a domain that is off", ask("br0", 3, own(BOB, "vnet1")), no("bob uses an address that is another card's")),
        (
            "another's address and card",
            ask("br0", 1, own(ALICE, "vnet1")),
            no("alice's card was heard at port vnet1, which is not its own"),
        ),
        ("a card of no port", ask("br0", 1, Some((ALICE, None))), no("alice's card was heard at no port of this bridge")),
        (
            "a card without a port of its own",
            ask("br0", 1, Some(("52:54:00:00:00:0d", None))),
            no("macvtap's card was heard at no port of this bridge"),
        ),
        (
            "another bridge",
            ask("br1", 1, own(ALICE, "vnet0")),
            no("no running domain has the card 52:54:00:00:00:0a on this bridge"),
        ),
        (
            "no bridge of ours",
            ask("eth0", 1, own(ALICE, "vnet0")),
            no("no running domain has the card 52:54:00:00:00:0a on this bridge"),
        ),
        (
            "two of them",
            ask("br0", 5, own(TWIN, "vnet3")),
            no("several running domains have the card 52:54:00:00:00:0c on this bridge"),
        ),
        ("not seen", ask("br0", 1, None), no("its address has no card in the neighbour table")),
    ];
    for (case, found, expected) in table {
        assert_eq!(found, expected, "{case}");
    }
}
