//! The metadata service against the kernel's own bridges, neighbour tables and sockets: guests are network namespaces, and what
//! libvirt knows of them says its test driver. Real guests with real cloud-init are in `tests/e2e`.
//!
//! Needs root. Run by name: `cargo test --test metadata`.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]
#![expect(clippy::disallowed_methods, reason = "the test looks at the world with other tools than tpl")]
#![expect(clippy::disallowed_macros, reason = "what was measured is shown with --nocapture")]

#[path = "metadata/forged.rs"]
mod forged;
#[path = "metadata/hostile.rs"]
mod hostile;
#[path = "metadata/lab.rs"]
mod lab;
#[path = "metadata/service.rs"]
mod service;

use std::{
    fs,
    io::{Read as _, Write as _},
};

use lab::{Lab, ask, connect, get};

const ID: &str = "/latest/meta-data/instance-id";

#[test]
fn each_guest_is_told_of_itself() {
    let lab = Lab::new();
    let service = lab.serve(&[]);
    for guest in lab.guests.iter().filter(|guest| guest.known) {
        let answer = lab.get(guest, ID);
        assert_eq!((answer.status, answer.body), (200, guest.uuid.clone()), "{}", guest.name);
        assert_eq!(lab.get(guest, "/2021-03-23/meta-data/local-hostname").body, guest.name);
        assert_eq!(lab.get(guest, "/latest/meta-data/local-ipv4").body, guest.address.to_string());
        assert_eq!(lab.get(guest, &format!("/latest/meta-data/network/interfaces/macs/{}/mac", guest.mac)).body, guest.mac);
        let meta = lab.get(guest, "/nocloud/meta-data");
        assert!(meta.body.contains(&guest.uuid), "{meta:?}");
        assert_eq!(lab.get(guest, "/nocloud/user-data").body, "#cloud-config\n{}\n");
        assert_eq!(lab.get(guest, "/latest/user-data").status, 404);
        assert_eq!(lab.get(guest, "/metrics").status, 404);
    }
    let one = lab.guest("bra-1");
    assert!(lab.get(one, "/").body.lines().any(|version| version == "2009-04-04"));
    // HEAD too: it would hand out what is for once, and not show it.
    for method in ["HEAD", "OPTIONS", "DELETE"] {
        let request = format!("{method} {ID} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        let answered = lab.by(one, || {
            let (mut stream, mut text) = (connect().unwrap(), String::new());
            stream.write_all(request.as_bytes()).unwrap();
            stream.read_to_string(&mut text).unwrap();
            text
        });
        assert!(answered.starts_with("HTTP/1.1 405 ") && answered.contains("\r\nallow: GET\r\n"), "{answered}");
    }
    service.says("\"domain\":\"bra-1\"");
    service.says("\"path\":\"/latest/meta-data/instance-id\",\"status\":200");
}

#[test]
fn tokens_are_for_one_guest_and_for_a_while() {
    let lab = Lab::new();
    let _service = lab.serve(&["--require-token"]);
    let (one, other) = (lab.guest("bra-1"), lab.guest("bra-2"));
    let put = |headers: &str| format!("PUT /latest/api/token HTTP/1.1\r\nHost: x\r\n{headers}\r\n");
    assert_eq!(lab.get(one, ID).status, 401);
    assert_eq!(lab.ask(one, &put("")).status, 400);
    assert_eq!(lab.ask(one, &put("X-aws-ec2-metadata-token-ttl-seconds: 60\r\nX-Forwarded-For: 10.77.0.12\r\n")).status, 403);
    let token = lab.ask(one, &put("X-aws-ec2-metadata-token-ttl-seconds: 60\r\n"));
    assert!(token.head.contains("x-aws-ec2-metadata-token-ttl-seconds: 60"), "{token:?}");
    let with = get(ID, &format!("X-aws-ec2-metadata-token: {}\r\n", token.body));
    assert_eq!(lab.ask(one, &with).body, one.uuid);
    assert_eq!(lab.ask(other, &with).status, 401, "{}", _service.log());
    let short = lab.ask(one, &put("X-aws-ec2-metadata-token-ttl-seconds: 1\r\n")).body;
    std::thread::sleep(std::time::Duration::from_secs(2));
    assert_eq!(lab.ask(one, &get(ID, &format!("X-aws-ec2-metadata-token: {short}\r\n"))).status, 401);
}

/// Answers go one hop and no farther: the guest itself has them, whatever it passes them on to has not.
#[test]
fn answers_do_not_pass_a_router() {
    let lab = Lab::new();
    let one = lab.guest("bra-1");
    // A container in the guest: behind it, in a network of its own.
    let inner = lab.behind(one);
    let service = lab.serve(&[]);
    assert_eq!(lab.get(one, ID).status, 200);
    assert!(lab.by(&inner, || connect().is_err()));
    assert_eq!(service.end("-TERM"), Some(0));
    let service = lab.serve(&["--hop-limit", "2"]);
    // It comes that far: the guest's, for all that comes out of the guest is.
    assert_eq!(lab.get(&inner, ID).body, one.uuid);
    assert_eq!(lab.get(&inner, "/latest/meta-data/local-ipv4").body, one.address.to_string());
    service.says("\"address\":\"10.78.0.2\"");
}

#[test]
fn a_guest_that_lies_is_nobody() {
    let lab = Lab::new();
    let service = lab.serve(&[]);
    let (liar, victim) = (lab.guest("bra-2"), lab.guest("bra-1"));
    let own = format!("{}/24", liar.address);
    let others = format!("{}/24", victim.address);
    // Headers and paths.
    let headers = format!("X-Forwarded-For: {0}\r\nForwarded: for={0}\r\nX-Real-IP: {0}\r\nHost: {0}\r\n", victim.address);
    assert_eq!(lab.ask(liar, &get(ID, &headers)).body, liar.uuid);
    assert_eq!(lab.get(liar, &format!("http://{}{ID}", victim.address)).body, liar.uuid);
    assert_eq!(lab.get(liar, "/latest/meta-data/../../1/meta-data/instance-id").status, 404);
    // A bridge is a bridge: the same address and card on the other one are another guest.
    assert_eq!(lab.get(lab.guest("brb-1"), ID).body, lab.guest("brb-1").uuid);
    // Nobody's domain.
    let stranger = lab.guest("bra-4");
    assert_eq!(lab.get(stranger, ID).status, 404);
    service.says("it is no running domain's card at its own port of this bridge");
    // An address that nobody has: it is itself, by its card and port.
    lab.readdress(liar, &own, "10.77.0.99/24");
    assert_eq!(lab.get(liar, ID).body, liar.uuid);
    // The victim is off, and its address is taken.
    lab.inside(victim, &["link", "set", "eth0", "down"]);
    lab.readdress(liar, "10.77.0.99/24", &others);
    assert_eq!(lab.get(liar, ID).status, 404);
    service.says("bra-2 uses an address that is another card's");
    // Its card's address, too.
    lab.inside(liar, &["link", "set", "eth0", "down"]);
    lab.inside(liar, &["link", "set", "eth0", "address", &victim.mac, "up"]);
    lab.inside(liar, &["route", "replace", "default", "via", "10.77.0.1"]);
    assert_eq!(lab.get(liar, ID).status, 404);
    assert!(!service.log().contains("\"domain\":\"bra-1\""));
}

/// Both speak at the same time with one address and one card: whatever the kernel has heard last, nobody is told another's.
#[test]
fn a_race_for_an_address_is_lost() {
    let lab = Lab::new();
    let _service = lab.serve(&[]);
    let (liar, victim) = (lab.guest("bra-2"), lab.guest("bra-1"));
    lab.inside(liar, &["link", "set", "eth0", "down"]);
    lab.inside(liar, &["link", "set", "eth0", "address", &victim.mac, "up"]);
    lab.readdress(liar, &format!("{}/24", liar.address), &format!("{}/24", victim.address));
    let tries = |own: bool| {
        let (mut told, mut refused) = (0, 0);
        let end = std::time::Instant::now() + std::time::Duration::from_secs(5);
        while std::time::Instant::now() < end {
            // The other's frames break many connections.
            let Ok(mut stream) = connect() else { continue };
            stream.set_read_timeout(Some(std::time::Duration::from_millis(300))).unwrap();
            match ask(&mut stream, &get(ID, "")) {
                Ok(answer) if answer.status == 200 => {
                    assert!(own, "{answer:?}");
                    told += 1;
                }
                Ok(answer) => {
                    assert_eq!(answer.status, 404);
                    refused += 1;
                }
                Err(_) => {}
            }
        }
        (told, refused)
    };
    let (own, others) = std::thread::scope(|scope| {
        let own = scope.spawn(|| lab.by(victim, || tries(true)));
        let others = scope.spawn(|| lab.by(liar, || tries(false)));
        (own.join().unwrap(), others.join().unwrap())
    });
    println!("the victim was told {} times and refused {} times, the liar refused {} times", own.0, own.1, others.1);
}

#[test]
fn what_is_for_once_is_handed_out_once() {
    let lab = Lab::new();
    fs::write(lab.folder.path().join("user-data"), "#!/bin/sh\necho secret\n").unwrap();
    let config = lab.folder.path().join("metadata.toml");
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ operator";
    let text = format!(
        "[defaults]\nssh_keys = [\"{key}\"]\nuser_data = \"user-data\"\n[[rule]]\nname = \"bra-*\"\none_shot = true\n\
         one_shot_window = \"0s\"\n[[rule]]\nname = \"bra-3\"\none_shot_window = \"4s\"\n"
    );
    fs::write(&config, text).unwrap();
    let args = ["--config", config.to_str().unwrap()];
    let service = lab.serve(&args);
    let (once, always) = (lab.guest("bra-1"), lab.guest("brb-1"));
    let path = "/latest/meta-data/public-keys/0/openssh-key";
    for guest in [once, always] {
        assert_eq!(lab.get(guest, "/latest/user-data").body, "#!/bin/sh\necho secret\n");
        assert_eq!(lab.get(guest, path).body, key);
    }
    for (guest, status, again) in [(once, 404, ""), (always, 200, key)] {
        assert_eq!((lab.get(guest, "/latest/user-data").status, lab.get(guest, path).body.as_str()), (status, again));
    }
    // cloud-init's Ec2 drops all that it has read where something is listed and not there.
    assert_eq!((lab.get(once, "/latest/meta-data/public-keys/").body.as_str(), lab.get(once, path).status), ("0=key-0", 200));
    assert_eq!(lab.get(once, "/nocloud/user-data").body, "#cloud-config\n{}\n");
    assert!(!lab.get(once, "/nocloud/meta-data").body.contains("ssh-ed25519"));
    assert!(!service.log().contains("secret") && !service.log().contains("AAAAC3"));
    // Within its window it is handed out again, as cloud-init asks twice.
    let twice = lab.guest("bra-3");
    assert_eq!([0, 0].map(|_| lab.get(twice, "/latest/user-data").status), [200, 200]);
    std::thread::sleep(std::time::Duration::from_secs(5));
    assert_eq!(lab.get(twice, "/latest/user-data").status, 404);
    // Also by another service.
    assert_eq!(service.end("-TERM"), Some(0));
    let _service = lab.serve(&args);
    assert_eq!(lab.get(once, "/latest/user-data").status, 404);
    assert_eq!(lab.get(lab.guest("bra-2"), "/latest/user-data").status, 200);
}
