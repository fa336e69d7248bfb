use super::*;
use crate::core::imds::{
    ec2::tests::instance,
    instance::{Card, Instance},
};

const ALICE: &str = "52:54:00:00:00:0a";
const BOB: &str = "52:54:00:00:00:0b";

fn domain(name: &str, cards: &[(&str, &str, Option<u32>)]) -> Instance {
    let card = |(index, (mac, bridge, mark)): (usize, &(&str, &str, Option<u32>))| Card {
        index,
        mac: mac.parse().unwrap(),
        bridge: (*bridge).to_owned(),
        port: None,
        network: None,
        addresses: Vec::new(),
        mark: *mark,
    };
    Instance { domain: name.to_owned(), cards: cards.iter().enumerate().map(card).collect(), ..instance() }
}

fn owner(bridge: &str, last: u8, mac: &str, reserved: bool) -> Owner {
    Owner { bridge: bridge.to_owned(), address: IpAddr::from([192, 0, 2, last]), mac: mac.parse().unwrap(), reserved }
}

fn directory() -> Directory {
    let instances = vec![
        domain("alice", &[(ALICE, "br0", Some(1)), ("52:54:00:00:01:0a", "br1", Some(2))]),
        domain("bob", &[(BOB, "br0", Some(3))]),
        // The same card on two bridges is two cards.
        domain("other", &[(ALICE, "br2", Some(4))]),
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
    let ask = |bridge: &str, last: u8, mark: u32| {
        let told = directory.caller(bridge, IpAddr::from([192, 0, 2, last]), mark);
        told.map(|told| told.instance.domain.clone()).map_err(|stranger| stranger.to_string())
    };
    let is = |name: &str| Ok(name.to_owned());
    let no = |text: &str| Err(text.to_owned());
    let nobody = "it is no running domain's card at its own port of this bridge";
    let table = [
        ("it itself", ask("br0", 1, 1), is("alice")),
        ("its other card", ask("br1", 1, 2), is("alice")),
        ("an address that nobody gave it", ask("br0", 99, 1), is("alice")),
        ("the same card elsewhere", ask("br2", 1, 4), is("other")),
        ("a lease of a domain that is gone", ask("br0", 4, 3), is("bob")),
        ("another's lease", ask("br0", 1, 3), no("bob uses an address that is another card's")),
        ("kept for a domain that is off", ask("br0", 3, 3), no("bob uses an address that is another card's")),
        ("no mark", ask("br0", 1, 0), no(nobody)),
        ("a mark of nobody's", ask("br0", 1, 9), no(nobody)),
        ("another bridge", ask("br1", 1, 1), no(nobody)),
        ("no bridge of ours", ask("eth0", 1, 1), no(nobody)),
    ];
    for (case, found, expected) in table {
        assert_eq!(found, expected, "{case}");
    }
}
