//! A guest that writes its own frames. The kernel believes what an ARP message says of an address, whichever card has sent it: a
//! guest that claims one for another's card, asks, and claims it back, must not have the other's answer sent again to itself.

use std::{io::Write as _, process::Command, thread, time::Duration};

use super::{
    ID,
    lab::{Answer, Guest, Lab, answer, ask, connect, get},
};

/// A gratuitous ARP request: from the sender's own card, with anything in it.
const ARP: &str = "
import socket, sys
card = lambda text: bytes.fromhex(text.replace(':', ''))
address, source, claimed = socket.inet_aton(sys.argv[1]), card(sys.argv[2]), card(sys.argv[3])
out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
out.bind(('eth0', 0))
arp = b'\\x00\\x01\\x08\\x00\\x06\\x04\\x00\\x01' + claimed + address + bytes(6) + address
out.send(b'\\xff' * 6 + source + b'\\x08\\x06' + arp + bytes(18))
";

impl Lab {
    /// A guest claims an address for a card. The frame is from the card that it says.
    fn claim(&self, guest: &Guest, address: &str, source: &str, card: &str) {
        let namespace = self.namespace(&guest.port);
        let status = Command::new("ip").args(["netns", "exec", &namespace, "python3", "-c", ARP, address, source, card]).status();
        assert!(status.unwrap().success());
    }

    /// A guest moves to an address, away from all that it had.
    fn move_to(&self, guest: &Guest, address: &str) {
        self.inside(guest, &["addr", "flush", "dev", "eth0"]);
        self.inside(guest, &["addr", "add", &format!("{address}/24"), "dev", "eth0"]);
        self.inside(guest, &["route", "replace", "default", "via", "10.77.0.1"]);
    }

    /// What the kernel has for an address on a bridge, and for a card.
    pub fn tables(&self, bridge: &str, address: &str, mac: &str) -> (String, String) {
        let namespace = self.namespace("");
        let say = |args: &[&str]| String::from_utf8(Command::new(args[0]).args(&args[1..]).output().unwrap().stdout).unwrap();
        let neighbour = say(&["ip", "-n", &namespace, "neigh", "show", address, "dev", bridge]);
        let ports = say(&["ip", "netns", "exec", &namespace, "bridge", "fdb", "show", "br", bridge]);
        let port: String = ports.lines().filter(|line| line.starts_with(mac) && !line.contains(" vlan ")).collect();
        (neighbour, port)
    }
}

/// The liar's connection, with the address claimed for the victim's card while it asks: what it reads in the end.
fn asked_in_anothers_name(lab: &Lab, address: &str) -> Option<Answer> {
    let (liar, victim) = (lab.guest("bra-2"), lab.guest("bra-1"));
    lab.by(liar, || {
        let mut stream = connect().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(3))).unwrap();
        lab.claim(liar, address, &liar.mac, &victim.mac);
        stream.write_all(get(ID, "").as_bytes()).unwrap();
        thread::sleep(Duration::from_millis(300));
        // Again and again, as one would who means it.
        for _ in 0..5 {
            lab.claim(liar, address, &liar.mac, &liar.mac);
        }
        answer(&mut stream).ok()
    })
}

#[test]
fn an_answer_is_not_sent_again_to_another() {
    let lab = Lab::new();
    let service = lab.serve(&[]);
    let (liar, victim) = (lab.guest("bra-2"), lab.guest("bra-1"));
    // Nobody's address, and the victim's own while the victim does not use it.
    lab.move_to(victim, "10.77.0.98");
    for address in ["10.77.0.99", "10.77.0.11"] {
        lab.move_to(liar, address);
        assert!(lab.by(victim, || connect().is_ok()), "the bridge has to know the victim's card");
        let read = asked_in_anothers_name(&lab, address);
        assert!(read.as_ref().is_none_or(|answer| !answer.body.contains(&victim.uuid)), "{address}: {read:?}");
    }
    // The victim's answer was on its way to the victim's card, and nobody else's.
    service.says("\"domain\":\"bra-1\"");
}

/// While a guest is being answered, neither what another one says in ARP messages nor frames from its card move its way.
#[test]
fn claims_change_nothing_while_a_guest_is_answered() {
    let lab = Lab::new();
    let service = lab.serve(&[]);
    let (liar, victim) = (lab.guest("bra-2"), lab.guest("bra-1"));
    let address = victim.address.to_string();
    let is_pinned = || {
        let (neighbour, port) = lab.tables("bra", &address, &victim.mac);
        let is_its_own = neighbour.contains(&victim.mac) && neighbour.contains("PERMANENT");
        (is_its_own && port.contains("dev brap1 ") && port.contains("sticky"), format!("{neighbour}{port}"))
    };
    lab.by(victim, || {
        let mut stream = connect().unwrap();
        assert_eq!(ask(&mut stream, &get(ID, "")).unwrap().body, victim.uuid);
        for (source, card) in [(&liar.mac, &liar.mac), (&victim.mac, &liar.mac), (&victim.mac, &victim.mac)] {
            lab.claim(liar, &address, source, card);
            let (pinned, tables) = is_pinned();
            assert!(pinned, "{tables}");
            assert_eq!(ask(&mut stream, &get(ID, "")).unwrap().body, victim.uuid);
        }
    });
    // Some time after the last connection it is let go, and whoever comes then is pinned anew.
    (0..100).take_while(|_| is_pinned().0).for_each(|_| thread::sleep(Duration::from_millis(200)));
    let (neighbour, port) = lab.tables("bra", &address, &victim.mac);
    assert!(!neighbour.contains("PERMANENT") && !port.contains("sticky"), "{neighbour}{port}");
    assert_eq!(lab.get(victim, ID).body, victim.uuid);
    assert!(is_pinned().0);
    assert_eq!(service.end("-TERM"), Some(0));
    assert!(!is_pinned().0);
}

/// What is there of somebody else's stays theirs, and stays.
#[test]
fn what_an_administrator_has_pinned_stays() {
    let lab = Lab::new();
    let one = lab.guest("bra-1");
    let address = one.address.to_string();
    lab.host(&["neigh", "replace", &address, "lladdr", &one.mac, "dev", "bra", "nud", "permanent"]);
    let service = lab.serve(&[]);
    assert_eq!(lab.get(one, ID).body, one.uuid);
    assert_eq!(service.end("-TERM"), Some(0));
    let (neighbour, port) = lab.tables("bra", &address, &one.mac);
    assert!(neighbour.contains("PERMANENT") && !port.contains("sticky"), "{neighbour}{port}");
}

#[test]
fn a_card_has_only_so_many_addresses_at_once() {
    let lab = Lab::new();
    let service = lab.serve(&[]);
    let one = lab.guest("bra-1");
    let statuses: Vec<u16> = (100..110)
        .map(|last| {
            lab.move_to(one, &format!("10.77.0.{last}"));
            lab.get(one, ID).status
        })
        .collect();
    assert_eq!(statuses, [200, 200, 200, 200, 200, 200, 200, 200, 503, 503]);
    service.says("a card has too many addresses at once");
    assert_eq!(lab.get(lab.guest("bra-2"), ID).status, 200);
}
