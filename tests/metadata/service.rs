//! How the service begins, goes on and ends.

use std::{fs, process::Command, thread, time::Duration};

use super::{
    ID,
    lab::{Guest, Lab, Service, ask, connect, get, must},
};

#[test]
fn it_leaves_nothing_behind() {
    let lab = Lab::new();
    let service = lab.serve(&[]);
    let server = service.server();
    assert!(lab.has_address("bra") && lab.has_address("brb"));
    let status = fs::read_to_string(format!("/proc/{server}/status")).unwrap();
    for line in ["Uid:\t65534\t65534\t65534\t65534", "CapEff:\t0000000000000000", "CapPrm:\t0000000000000000", "NoNewPrivs:\t1"] {
        assert!(status.lines().any(|found| found == line), "{line} is not in\n{status}");
    }
    assert_eq!(lab.status("/healthz").body, "{\"domains\":6,\"libvirt\":true,\"rules\":true}\n");
    assert!(has_rules(&lab) && gives_marks(&lab) && fs::exists(lab.lock()).unwrap());
    assert_eq!(service.end("-TERM"), Some(0));
    assert!(!lab.has_address("bra") && !lab.has_address("brb"));
    assert!(!has_rules(&lab) && !gives_marks(&lab));
    assert!(!fs::exists(lab.lock()).unwrap());
}

/// Whose request it is stands in the mark that a connection has: without marks nobody is anybody.
#[test]
fn connections_have_marks_again_when_somebody_has_taken_them_away() {
    let lab = Lab::new();
    let service = lab.serve(&[]);
    lab.sysctl_of_host("net.ipv4.tcp_fwmark_accept=0");
    service.says("does something flush the packet filter");
    assert_eq!(lab.get(lab.guest("bra-1"), ID).status, 200);
    assert!(gives_marks(&lab));
}

/// Signals that go to both processes are the keeper's to follow.
#[test]
fn its_server_does_not_end_by_a_reload() {
    let lab = Lab::new();
    let service = lab.serve(&[]);
    must("kill", &["-HUP", &service.server().to_string()]);
    service.signal("-HUP");
    service.says("the defaults are read again");
    assert_eq!(lab.get(lab.guest("bra-1"), ID).status, 200);
    assert_eq!(service.end("-TERM"), Some(0));
}

/// The host is nobody's guest.
#[test]
fn the_host_itself_is_nobody() {
    let lab = Lab::new();
    let service = lab.serve(&[]);
    let host = Guest { port: String::new(), ..lab.guest("bra-1").clone() };
    assert_eq!(lab.get(&host, ID).status, 404);
    service.says("unknown caller");
}

/// Who connects to its status port and says nothing holds it for seconds alone.
#[test]
fn its_status_is_nobodys_alone() {
    let lab = Lab::new();
    let service = lab.serve(&[]);
    let idle = lab.hold_status(40);
    assert_eq!(lab.status("/healthz").status, 200);
    assert_eq!(lab.get(lab.guest("bra-1"), ID).status, 200);
    drop(idle);
    assert_eq!(service.end("-TERM"), Some(0));
}

/// Kills a service that has answered a guest.
fn kill(lab: &Lab, service: Service) {
    assert_eq!(lab.get(lab.guest("bra-1"), ID).status, 200);
    let server = service.server();
    assert_eq!(service.end("-KILL"), None);
    let gone = || !fs::exists(format!("/proc/{server}")).unwrap();
    (0..200).take_while(|_| !gone()).for_each(|_| thread::sleep(Duration::from_millis(50)));
    assert!(gone(), "the server is still there");
    assert!(lab.has_address("bra") && has_rules(lab));
}

/// Whether there are rules of the packet filter.
fn has_rules(lab: &Lab) -> bool {
    lab.nft("", &["list", "tables"]).contains("tpl-metadata")
}

fn gives_marks(lab: &Lab) -> bool {
    let args = ["netns", "exec", &lab.namespace(""), "cat", "/proc/sys/net/ipv4/tcp_fwmark_accept"];
    Command::new("ip").args(args).output().unwrap().stdout == b"1\n"
}

/// Killed, it cannot take away what it has put there: the next one does.
#[test]
fn what_a_killed_one_leaves_the_next_one_takes_away() {
    let lab = Lab::new();
    kill(&lab, lab.serve(&[]));
    let service = lab.serve(&[]);
    assert_eq!(lab.get(lab.guest("bra-1"), ID).status, 200);
    assert_eq!(service.end("-INT"), Some(0));
    assert!(!lab.has_address("bra") && !has_rules(&lab));
}

/// So does `tpl prune`, and it leaves alone what a service has that runs.
#[test]
fn what_a_killed_one_leaves_is_pruned() {
    let lab = Lab::new();
    // A name that leaves no room for all of the label.
    let long = "br-a-long-name1";
    lab.host(&["link", "add", long, "type", "bridge"]);
    lab.host(&["link", "set", long, "up"]);
    let service = lab.serve(&["--bridge", long]);
    assert!(!lab.prune().contains("address"));
    assert!(lab.has_address("bra"));
    kill(&lab, service);
    let pruned = lab.prune();
    for bridge in ["bra", "brb", long] {
        assert!(pruned.contains(&format!("the metadata service's address on {bridge} removed\n")), "{pruned}");
        assert!(!lab.has_address(bridge));
    }
    assert!(pruned.contains("the metadata service's rules in the packet filter removed\n") && !has_rules(&lab), "{pruned}");
}

#[test]
fn there_is_one() {
    let lab = Lab::new();
    let service = lab.serve(&[]);
    let (code, said) = lab.refused(&["--bridge", "bra", "--status-port", "9255"]);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("another metadata service runs on this machine"), "{said}");
    let (code, said) = lab.refused(&["--bridge", "bra"]);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("another metadata service runs on this machine"), "{said}");
    assert!(lab.has_address("bra"));
    assert_eq!(lab.get(lab.guest("bra-1"), ID).status, 200);
    assert_eq!(service.end("-TERM"), Some(0));
}

#[test]
fn what_it_cannot_do_is_refused() {
    let lab = Lab::new();
    let wrong = lab.folder.path().join("wrong.toml");
    fs::write(&wrong, "[defaults]\nssh_key = 1\n").unwrap();
    let table: [(&[&str], i32, &str); 8] = [
        (&["--network", "nosuch"], 3, "there is no network nosuch\nthere are: netbra, netbrb"),
        (&["--bridge", "a/b"], 2, "no name of a network device"),
        (&["--bridge", "brap1"], 3, "brap1 is no bridge"),
        (&["--bridge", "bra", "--status-port", "0"], 2, "--status-port"),
        (&["--bridge", "bra", "--user", "root"], 2, "root is root"),
        (&["--bridge", "bra", "--user", "nosuch"], 2, "there is no user nosuch"),
        (&["--bridge", "bra", "--config", "/nosuch"], 2, "/nosuch: it cannot be read"),
        (&["--bridge", "bra", "--config", wrong.to_str().unwrap()], 2, "wrong.toml:2:1: unknown field `ssh_key`"),
    ];
    for (args, code, text) in table {
        let (found, said) = lab.refused(args);
        assert_eq!(found, code, "{args:?}: {said}");
        assert!(said.contains(text), "{args:?}: {said}");
        assert!(!lab.has_address("bra"), "{args:?}");
    }
}

/// A bridge that is made again has another number, and has lost its address.
#[test]
fn a_bridge_that_comes_again_is_served_again() {
    let lab = Lab::new();
    let service = lab.serve(&[]);
    let one = lab.guest("bra-1");
    lab.host(&["link", "del", "bra"]);
    service.says("serving no more");
    assert_eq!(lab.get(lab.guest("brb-1"), ID).status, 200);
    lab.make_bridge("bra");
    for guest in lab.guests.iter().filter(|guest| guest.bridge == "bra") {
        lab.host(&["link", "set", &guest.port, "master", "bra", "up"]);
    }
    for _ in 0..100 {
        if lab.has_address("bra") && lab.by(one, || connect().is_ok()) {
            break;
        }
        thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(lab.get(one, ID).body, one.uuid);
    assert_eq!(service.end("-TERM"), Some(0));
}

/// Somebody who manages bridges may take away what they do not know.
#[test]
fn an_address_that_is_taken_away_comes_back() {
    let lab = Lab::new();
    let service = lab.serve(&[]);
    lab.host(&["addr", "del", "169.254.169.254/32", "dev", "bra"]);
    (0..100).take_while(|_| !lab.has_address("bra")).for_each(|_| thread::sleep(Duration::from_millis(100)));
    assert_eq!(lab.get(lab.guest("bra-1"), ID).body, lab.guest("bra-1").uuid);
    assert_eq!(service.end("-TERM"), Some(0));
    assert!(!lab.has_address("bra"));
}

/// What is under way when it ends is answered; what comes later is not.
#[test]
fn it_ends_in_its_own_time() {
    let lab = Lab::new();
    let service = lab.serve(&[]);
    let one = lab.guest("bra-1");
    lab.by(one, || {
        let mut stream = connect().unwrap();
        assert_eq!(ask(&mut stream, &get(ID, "")).unwrap().body, one.uuid);
        service.signal("-TERM");
        service.says("stopping");
        assert!(ask(&mut stream, &get(ID, "")).is_err() || connect().is_err());
    });
    assert_eq!(service.end("-TERM"), Some(0));
}

#[test]
fn defaults_are_read_again_and_a_wrong_file_changes_nothing() {
    let lab = Lab::new();
    let config = lab.folder.path().join("metadata.toml");
    let key = |name: &str| {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
        fs::write(&config, format!("[defaults]\nssh_keys = [\"{key} {name}\"]\nsearch = \"lab.example\"\n")).unwrap();
    };
    key("first");
    let service = lab.serve(&["--config", config.to_str().unwrap()]);
    let one = lab.guest("bra-1");
    let path = "/latest/meta-data/public-keys/0/openssh-key";
    assert!(lab.get(one, path).body.ends_with(" first"));
    assert_eq!(lab.get(one, "/latest/meta-data/hostname").body, "bra-1.lab.example");
    fs::write(&config, "[defaults]\nssh_keys = [1]\n[[rule]]\nx = 1\n").unwrap();
    service.signal("-HUP");
    service.says("the defaults are wrong: the old ones stay");
    assert!(lab.get(one, path).body.ends_with(" first"));
    key("second");
    service.signal("-HUP");
    service.says("the defaults are read again");
    for _ in 0..100 {
        if lab.get(one, path).body.ends_with(" second") {
            return;
        }
        thread::sleep(Duration::from_millis(50));
    }
    panic!("the new defaults are not there\n{}", service.log());
}
