//! A guest that writes its own frames. The kernel believes what an ARP message says of an address, whichever card has sent it: a
//! guest that claims one for another's card, asks, and claims it back, must not have the other's answer sent again to itself.

use std::{
    io::{Read as _, Write as _},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use super::{
    ID,
    lab::{Guest, Lab, answer, ask, connect, get},
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

/// Prints what arrives, also what is for others.
const EARS: &str = "
import os, socket, sys, time
ears = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
ears.bind(('eth0', 0))
os.write(1, b'!')
end = time.time() + float(sys.argv[1])
while time.time() < end:
    ears.settimeout(max(0.01, end - time.time()))
    try: os.write(1, ears.recv(65536))
    except TimeoutError: pass
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

    /// Runs `nft` in a namespace; what it prints.
    pub fn nft(&self, name: &str, args: &[&str]) -> String {
        let namespace = self.namespace(name);
        let all = ["netns", "exec", &namespace, "nft"].into_iter().chain(args.iter().copied());
        let done = Command::new("ip").args(all).output().unwrap();
        assert!(done.status.success(), "{done:?}");
        String::from_utf8(done.stdout).unwrap()
    }

    /// Starts to listen to all that arrives at a guest, for so long. What it has heard when it is waited for.
    fn overhear(&self, guest: &Guest, seconds: u32) -> Child {
        let namespace = self.namespace(&guest.port);
        let mut ears = Command::new("ip");
        ears.args(["netns", "exec", &namespace, "python3", "-c", EARS, &seconds.to_string()]).stdout(Stdio::piped());
        let mut ears = ears.spawn().unwrap();
        // It says when it is all ears.
        ears.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        ears
    }
}

fn heard(ears: Child) -> String {
    String::from_utf8_lossy(&ears.wait_with_output().unwrap().stdout).into_owned()
}

/// The liar's connection from an address, which it claims for the victim's card while it asks: it is itself, or nobody.
#[test]
fn an_answer_is_not_sent_again_to_another() {
    let lab = Lab::new();
    let service = lab.serve(&[]);
    let (liar, victim) = (lab.guest("bra-2"), lab.guest("bra-1"));
    lab.move_to(victim, "10.77.0.98");
    // Nobody's address, and the victim's own while the victim does not use it.
    for (address, status, body) in [("10.77.0.99", 200, liar.uuid.as_str()), ("10.77.0.11", 404, "there is nothing here\n")] {
        lab.move_to(liar, address);
        assert!(lab.by(victim, || connect().is_ok()), "the bridge has to know the victim's card");
        let answer = lab.by(liar, || {
            let mut stream = connect().unwrap();
            lab.claim(liar, address, &liar.mac, &victim.mac);
            stream.write_all(get(ID, "").as_bytes()).unwrap();
            thread::sleep(Duration::from_millis(300));
            // Again and again, as one would who means it.
            (0..5).for_each(|_| lab.claim(liar, address, &liar.mac, &liar.mac));
            answer(&mut stream).unwrap()
        });
        assert_eq!((answer.status, answer.body.as_str()), (status, body), "{address}");
    }
    assert!(!service.log().contains("\"domain\":\"bra-1\""));
}

/// The victim's address is claimed for the liar's card before the victim is answered; and the answer is for nobody else.
#[test]
fn an_answer_is_not_sent_to_who_claims_the_address() {
    let lab = Lab::new();
    let service = lab.serve(&[]);
    let (liar, victim) = (lab.guest("bra-2"), lab.guest("bra-1"));
    let address = victim.address.to_string();
    let ears = lab.overhear(liar, 6);
    let answer = lab.by(victim, || {
        let mut stream = connect().unwrap();
        for source in [&liar.mac, &victim.mac] {
            lab.claim(liar, &address, source, &liar.mac);
        }
        stream.write_all(get(ID, "").as_bytes()).unwrap();
        thread::sleep(Duration::from_secs(1));
        // The victim speaks up.
        lab.claim(victim, &address, &victim.mac, &victim.mac);
        answer(&mut stream).unwrap()
    });
    assert_eq!(answer.body, victim.uuid);
    let heard = heard(ears);
    assert!(!heard.contains(&victim.uuid), "{heard}");
    service.says("\"domain\":\"bra-1\"");
}

/// What is for a wire that is gone is for nobody: a bridge sends to all ports what is for a card that it has not heard.
#[test]
fn what_is_for_a_wire_that_is_gone_is_lost() {
    let lab = Lab::new();
    let service = lab.serve(&[]);
    let (liar, victim) = (lab.guest("bra-2"), lab.guest("bra-1"));
    let ears = lab.overhear(liar, 6);
    lab.by(victim, || {
        let mut stream = connect().unwrap();
        // It hears nothing any more, and asks: the answer is sent again and again.
        let deaf = "table inet deaf { chain in { type filter hook input priority 0; policy drop; }; }";
        lab.nft(&victim.port, &[deaf]);
        stream.write_all(get(ID, "").as_bytes()).unwrap();
        lab.host(&["link", "del", &victim.port]);
        service.says("\"domain\":\"bra-1\"");
        // Somebody who says that it is that card.
        lab.claim(liar, "10.77.0.11", &victim.mac, &victim.mac);
        thread::sleep(Duration::from_secs(3));
    });
    let heard = heard(ears);
    assert!(!heard.contains(&victim.uuid), "{heard}");
}

/// An address beyond a router: the host's way there is whoever says that it is the router.
#[test]
fn a_false_router_is_itself() {
    let lab = Lab::new();
    let service = lab.serve(&[]);
    let (liar, victim) = (lab.guest("bra-2"), lab.guest("bra-1"));
    lab.host(&["route", "add", "default", "via", "10.77.0.254", "dev", "bra"]);
    lab.inside(liar, &["addr", "add", "10.77.0.254/24", "dev", "eth0"]);
    lab.inside(liar, &["addr", "add", "192.0.2.9/32", "dev", "eth0"]);
    lab.inside(liar, &["route", "replace", "default", "via", "10.77.0.1", "src", "192.0.2.9"]);
    assert!(lab.by(victim, || connect().is_ok()));
    lab.claim(liar, "192.0.2.9", &liar.mac, &victim.mac);
    assert_eq!(lab.get(liar, ID).body, liar.uuid);
    service.says("\"address\":\"192.0.2.9\"");
}

/// What a guest says by way of another one, which has made it believe that this is the router, is not taken for the guest's: that other one
/// could have written it.
#[test]
fn what_comes_in_by_anothers_wire_is_not_taken() {
    let lab = Lab::new();
    let service = lab.serve(&[]);
    let (liar, victim) = (lab.guest("bra-2"), lab.guest("bra-1"));
    let set = |name: &str| lab.sysctl(liar, &format!("net.ipv4.{name}"));
    ["ip_forward=1", "conf.all.send_redirects=0", "conf.eth0.send_redirects=0", "conf.all.rp_filter=0"]
        .iter()
        .for_each(|name| set(name));
    let router = |mac: &[&str]| {
        let all: Vec<&str> = ["neigh"].into_iter().chain(mac.iter().copied()).collect();
        lab.inside(victim, &all);
    };
    lab.by(victim, || {
        let mut stream = connect().unwrap();
        assert_eq!(ask(&mut stream, &get(ID, "")).unwrap().body, victim.uuid);
        router(&["replace", "10.77.0.1", "lladdr", &liar.mac, "dev", "eth0", "nud", "permanent"]);
        // Its line is written beside the answer, not before it.
        service.says("answered");
        stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        assert!(ask(&mut stream, &get("/latest/meta-data/mac", "")).is_err());
        assert_eq!(service.log().matches("answered").count(), 1);
        router(&["del", "10.77.0.1", "dev", "eth0"]);
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        assert_eq!(answer(&mut stream).unwrap().body, victim.mac);
        // One that begins there is the other one's, and the victim does not hear of it.
        router(&["replace", "10.77.0.1", "lladdr", &liar.mac, "dev", "eth0", "nud", "permanent"]);
        assert!(connect().is_err());
    });
    assert_eq!(service.end("-TERM"), Some(0));
}

/// Somebody who loads a firewall anew may take away what they do not know: nobody is answered until it is there again.
#[test]
fn rules_that_are_flushed_come_back() {
    let lab = Lab::new();
    let service = lab.serve(&[]);
    let one = lab.guest("bra-1");
    assert!(lab.nft("", &["list", "tables"]).contains("table bridge tpl-metadata"));
    lab.nft("", &["flush", "ruleset"]);
    assert_eq!(lab.get(one, ID).status, 404);
    service.says("are again");
    assert_eq!(lab.get(one, ID).body, one.uuid);
    // Also where a part of them is gone alone.
    lab.nft("", &["flush", "chain", "bridge", "tpl-metadata", "go"]);
    (0..100)
        .take_while(|_| !lab.nft("", &["list", "chain", "bridge", "tpl-metadata", "go"]).contains("drop"))
        .for_each(|_| thread::sleep(Duration::from_millis(100)));
    assert!(lab.nft("", &["list", "chain", "bridge", "tpl-metadata", "go"]).contains("drop"));
    assert_eq!(service.end("-TERM"), Some(0));
    assert_eq!(lab.nft("", &["list", "tables"]), "");
}

/// A connection that is open while the rules are made anew stays whose it is.
#[test]
fn a_connection_stays_whose_it_is() {
    let lab = Lab::new();
    let service = lab.serve(&[]);
    let one = lab.guest("bra-1");
    lab.by(one, || {
        let mut stream = connect().unwrap();
        assert_eq!(ask(&mut stream, &get(ID, "")).unwrap().body, one.uuid);
        // The other bridge is made again, and its ports: other wires.
        lab.host(&["link", "del", "brb"]);
        service.says("serving no more");
        assert_eq!(ask(&mut stream, &get(ID, "")).unwrap().body, one.uuid);
    });
    // Plugged in again, it is another wire: what began on the old one is nobody's.
    let other = lab.guest("bra-2");
    lab.by(other, || {
        let mut stream = connect().unwrap();
        assert_eq!(ask(&mut stream, &get(ID, "")).unwrap().body, other.uuid);
        lab.host(&["link", "del", &other.port]);
        stream.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        assert!(ask(&mut stream, &get(ID, "")).is_err());
    });
    assert_eq!(service.end("-TERM"), Some(0));
}
