use super::*;
use crate::core::bootstrap::samples::{facts, lines, wish};

const WISH: &str = "name = 'hv1'\ndns_forwarder = true";
const WAY: &str = "gateway 10.0.0.1\nname deb.example\nresolves\nanswer 0 2\n";
const STUB: &str = "listener 127.0.0.53%lo:53 users:((\"systemd-resolve\",pid=4,fd=14))\n";

fn file(server: &str) -> String {
    format!("{}{server}\n", DNSMASQ.text())
}

/// A machine with systemd-resolved.
fn vanilla() -> Facts {
    let state =
        format!("systemd\ndnsmasq not-found inactive\nresolved active\nlink ../run/systemd/resolve/stub-resolv.conf\n{STUB}");
    let resolv = "# systemd's\nnameserver 127.0.0.53\noptions edns0\nsearch lab.example .\n";
    facts(&[("dns.resolv", resolv), ("dns.state", &state), ("dns.way", WAY)])
}

/// The same when all is done.
fn done() -> Facts {
    let state = "systemd\ndnsmasq enabled active\nresolved active\ninstalled\nsaved\n\
                 listener 127.0.0.1:53 users:((\"dnsmasq\",pid=9,fd=4))\n";
    vanilla()
        .with("record", Ok(&wish(WISH).record.text()))
        .with("dns.file", Ok(&file("10.0.0.1")))
        .with("dns.unit", Ok(&UNIT.text()))
        .with("dns.resolved", Ok(&RESOLVED.text()))
        .with("dns.dhclient", Ok(&HOOKS[0].file.text()))
        .with("dns.dhcpcd", Ok(&HOOKS[1].file.text()))
        .with("dns.resolv", Ok(&resolv_text("search lab.example\n")))
        .with("dns.state", Ok(state))
}

#[test]
fn from_vanilla_to_done() {
    let table = [
        (
            vanilla(),
            vec![
                "/etc/tpl/host.toml: absent -> as written by tpl",
                "/etc/dnsmasq.d/10-tpl.conf: absent -> as written by tpl",
                "/etc/systemd/system/dnsmasq.service.d/10-tpl.conf: absent -> as written by tpl",
                "package dnsmasq: absent -> installed",
                "dnsmasq: not there -> running, and started with the machine",
                "/etc/dhcp/dhclient-enter-hooks.d/tpl-forwarder: absent -> as written by tpl",
                "/etc/dhcpcd.enter-hook: absent -> as written by tpl",
                "/etc/resolv.conf: a link to ../run/systemd/resolve/stub-resolv.conf -> 127.0.0.1",
                "/etc/systemd/resolved.conf.d/10-tpl.conf: absent -> as written by tpl",
                "stub of systemd-resolved: listening -> out of the way",
                "names: ok",
            ],
        ),
        (
            done(),
            vec![
                "/etc/tpl/host.toml: ok",
                "/etc/dnsmasq.d/10-tpl.conf: ok",
                "/etc/systemd/system/dnsmasq.service.d/10-tpl.conf: ok",
                "package dnsmasq: ok",
                "dnsmasq: ok",
                "/etc/dhcp/dhclient-enter-hooks.d/tpl-forwarder: ok",
                "/etc/dhcpcd.enter-hook: ok",
                "/etc/resolv.conf: ok",
                "/etc/systemd/resolved.conf.d/10-tpl.conf: ok",
                "stub of systemd-resolved: ok",
                "names: ok",
            ],
        ),
    ];
    for (facts, expected) in table {
        assert_eq!(lines(&items(&facts, &wish(WISH)).unwrap()), expected);
    }
}

#[test]
fn what_drifts_once_it_is_there() {
    let drifted = |facts: Facts| -> Vec<String> {
        let items = items(&facts, &wish(WISH)).unwrap();
        lines(&items.into_iter().filter(|item| item.state != super::super::State::Ok).collect::<Vec<_>>())
    };
    let state = |text: &str| done().with("dns.state", Ok(text));
    let runs = |is: &str| vec![format!("dnsmasq: {is} -> running, and started with the machine")];
    let table = [
        (state("dnsmasq enabled active\ninstalled\nstale\n"), runs("running without what its files say")),
        (state("dnsmasq disabled active\ninstalled\n"), runs("running, and not started with the machine")),
        (state("dnsmasq enabled failed\ninstalled\n"), runs("not running")),
        (
            state("dnsmasq enabled active\ninstalled\nmanager\n"),
            vec!["/etc/NetworkManager/conf.d/10-tpl.conf: absent -> as written by tpl".to_owned()],
        ),
        (
            done().with("dns.way", Ok("gateway 10.0.0.2\nname deb.example\nsilent\n")),
            vec![
                format!("{}: something else -> as written by tpl", DNSMASQ.path),
                "dnsmasq: running without what its files say -> running, and started with the machine".to_owned(),
                "names: deb.example is not resolved -> resolved".to_owned(),
            ],
        ),
        (
            done().with("dns.resolv", Ok("nameserver 10.0.2.3\nnameserver \u{1b}x\n")),
            vec!["/etc/resolv.conf: /etc/resolv.conf names 10.0.2.3, ?x -> 127.0.0.1".to_owned()],
        ),
        (
            done().with("dns.dhcpcd", Ok("echo mine\n")),
            vec![
                "/etc/dhcpcd.enter-hook? it is somebody's own, and dhcpcd may write over /etc/resolv.conf\n\
                 a line `nohook resolv.conf` in /etc/dhcpcd.conf keeps it from that"
                    .to_owned(),
            ],
        ),
    ];
    for (facts, expected) in table {
        assert_eq!(drifted(facts), expected);
    }
}

#[test]
fn each_refusal() {
    let way = |text: &str| vanilla().with("dns.way", Ok(text));
    let useless = "\nsay --no-dns-forwarder: a forwarder towards the gateway would resolve nothing";
    let others = format!("\n{OTHERS}");
    let bind = "listener 127.0.0.1:53 users:((\"named\",pid=4,fd=14))\nlistener *:53\nlistener 192.168.122.1:53 users:((\"named\",pid=4,fd=1))\n";
    let table = [
        (
            vanilla().with("dns.way", Err("sh: perl: not found")),
            "the machine does not tell which way its DNS could go: sh: perl: not found".to_owned(),
        ),
        (
            way("name deb.example\nresolves\n"),
            "there is no default gateway of IPv4, to which DNS could be forwarded\n\
             say --no-dns-forwarder, or give the machine a default route"
                .to_owned(),
        ),
        (
            way("gateway 10.0.2.2\nname deb.example\nresolves\nsilent\n").with("dns.resolv", Ok("nameserver 10.0.2.3\n")),
            format!("the default gateway 10.0.2.2 does not answer DNS; /etc/resolv.conf names 10.0.2.3{useless}"),
        ),
        (
            way("gateway 10.0.2.2\nname deb.example\nresolves\nanswer 5 0\n"),
            format!(
                "the default gateway 10.0.2.2 does not resolve deb.example (DNS code 5); /etc/resolv.conf names 127.0.0.53{useless}"
            ),
        ),
        (
            way("gateway 10.0.2.2\nname deb.example\nanswer 0 1\n").with("dns.resolv", Err("exit code 1")),
            "the machine does not resolve deb.example now: /etc/resolv.conf names no server\n\
             put its DNS right first: behind a forwarder nobody would see whose fault it is"
                .to_owned(),
        ),
        (
            vanilla().with("dns.state", Ok("foreign /etc/dnsmasq.d/my\u{1b}dhcp\n")),
            format!("dnsmasq is configured by another already: /etc/dnsmasq.d/my?dhcp{others}"),
        ),
        (
            vanilla().with("dns.state", Ok(bind)),
            format!("an unknown process answers DNS on *:53 already\nnamed answers DNS on 127.0.0.1:53 already{others}"),
        ),
    ];
    for (facts, expected) in table {
        assert_eq!(items(&facts, &wish(WISH)).unwrap_err().to_string(), expected);
    }
}

#[test]
fn a_machine_that_needs_no_names_only_has_to_be_answered() {
    let facts = vanilla().with("dns.way", Ok("gateway 10.0.0.1\nanswer 3 0\n"));
    assert!(items(&facts, &wish(WISH)).is_ok());
    let facts = vanilla().with("dns.way", Ok("gateway 10.0.0.1\nname $(x)\nanswer 0 1\n"));
    assert_eq!(Way::of(&facts).name, "");
}

#[test]
fn what_is_searched_stays() {
    let head = "# Written by tpl host bootstrap: dnsmasq of this machine asks the default gateway. What was here is in \
                /etc/tpl/resolv.conf.before.\nnameserver 127.0.0.1\n";
    let table = [
        ("", String::new()),
        ("nameserver 1.1.1.1\nsearch a.example b.example\n", "search a.example b.example\n".to_owned()),
        ("domain a.example\n", "search a.example\n".to_owned()),
        ("search .\n", String::new()),
        ("search a;b $(x) \u{1b} ok.example\n", "search ok.example\n".to_owned()),
    ];
    for (is, search) in table {
        let text = resolv_text(is);
        assert_eq!(text, format!("{head}{search}"), "{is:?}");
        assert_eq!(resolv_text(&text), text);
    }
}

/// The first line of each step, and of a script its arguments.
fn told(steps: &[Step]) -> Vec<String> {
    let first = |text: String| text.lines().next().unwrap_or_default().to_owned();
    steps
        .iter()
        .map(|step| match step {
            Step::Run { argv, .. } if argv.len() > 4 => argv[4..].join(" "),
            Step::Run { argv, .. } => argv[2].clone(),
            other => first(other.describe()),
        })
        .collect()
}

#[test]
fn one_that_is_not_wanted_goes() {
    let no = wish("name = 'hv1'");
    assert_eq!(lines(&items(&vanilla(), &no).unwrap()), ["/etc/tpl/host.toml: absent -> as written by tpl"]);
    let items = items(&done(), &no).unwrap();
    assert_eq!(lines(&items[1..]), ["DNS forwarder: tpl's is there -> none"]);
    assert_eq!(
        told(&items[1].mend),
        [
            "remove /etc/systemd/resolved.conf.d/10-tpl.conf",
            RESTART_RESOLVED,
            "/etc/tpl/resolv.conf.before 10.0.0.1",
            "remove /etc/dnsmasq.d/10-tpl.conf",
            "remove /etc/systemd/system/dnsmasq.service.d/10-tpl.conf",
            "remove /etc/dhcp/dhclient-enter-hooks.d/tpl-forwarder",
            "remove /etc/dhcpcd.enter-hook",
            "disabled inactive",
        ]
    );
}

#[test]
fn one_that_fails_is_taken_back() {
    let removed = |path: &str| format!("remove {path}");
    let steps = told(&undo(&vanilla()));
    let files = [DNSMASQ.path, UNIT.path, HOOKS[0].file.path, HOOKS[1].file.path, HOOKS[2].file.path];
    let mut expected = vec![
        removed(RESOLVED.path),
        RESTART_RESOLVED.to_owned(),
        "link ../run/systemd/resolve/stub-resolv.conf".to_owned(),
        removed(SAVED),
    ];
    expected.extend(files.map(removed));
    expected.push("not-found inactive".to_owned());
    assert_eq!(steps, expected);
    // A file comes back to the byte, and what was there of tpl's stays.
    let facts = done().with("dns.resolv", Ok("nameserver 10.0.2.3"));
    let steps = told(&undo(&facts));
    assert_eq!(steps[0], "write /etc/systemd/resolved.conf.d/10-tpl.conf (mode 0644)");
    assert_eq!(steps[2], "file nameserver 10.0.2.3");
    assert_eq!(steps[3], "write /etc/dnsmasq.d/10-tpl.conf (mode 0644)");
    assert_eq!(steps.last().map(String::as_str), Some("enabled active"));
}
