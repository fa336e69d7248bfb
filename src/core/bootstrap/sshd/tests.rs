use super::*;
use crate::core::bootstrap::{Record, State, record::Reboot, steps};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
const DEBIAN: &str = "\n# comment\nInclude /etc/ssh/sshd_config.d/*.conf\nUsePAM yes\n";

fn wish(user: Option<&str>) -> Wish {
    Wish {
        user: user.map(|user| user.parse().unwrap()),
        key: Some(format!("{KEY} me@here").parse().unwrap()),
        reboot: Reboot::WhenNeeded,
        device: None,
        record: Record::parse("name = 'hv1'").unwrap(),
    }
}

/// What `sshd -T` prints of an sshd that is as Debian installs it, but for these.
fn effective(but: &[(&str, &str)]) -> String {
    let debian = [
        ("permitrootlogin", "without-password"),
        ("passwordauthentication", "yes"),
        ("permitemptypasswords", "no"),
        ("kbdinteractiveauthentication", "no"),
        ("x11forwarding", "yes"),
        ("allowtcpforwarding", "yes"),
        ("permituserenvironment", "no"),
        ("clientaliveinterval", "0"),
        ("clientalivecountmax", "3"),
        ("logingracetime", "120"),
        ("maxauthtries", "6"),
        ("maxsessions", "10"),
        ("maxstartups", "10:30:100"),
        ("loglevel", "INFO"),
        ("hostbasedauthentication", "no"),
        ("ignorerhosts", "yes"),
        ("gssapiauthentication", "no"),
        ("authorizedkeysfile", ".ssh/authorized_keys .ssh/authorized_keys2"),
    ];
    let value =
        |name: &str, value: &str| but.iter().find(|(other, _)| *other == name).map_or(value.to_owned(), |(_, v)| (*v).to_owned());
    debian.iter().map(|(name, of)| format!("{name} {}\n", value(name, of))).collect()
}

const HARD: [(&str, &str); 10] = [
    ("permitrootlogin", "no"),
    ("passwordauthentication", "no"),
    ("x11forwarding", "no"),
    ("allowtcpforwarding", "no"),
    ("clientaliveinterval", "300"),
    ("logingracetime", "60"),
    ("maxauthtries", "4"),
    ("maxstartups", "10:30:60"),
    ("loglevel", "VERBOSE"),
    ("kbdinteractiveauthentication", "no"),
];

const CANDIDATE: &str = "/tmp/tmp.X line 19: Unsupported option KerberosAuthentication\n";
const CONTENT: &str =
    "# Written by tpl host bootstrap: section 5.2 of the CIS benchmark for Ubuntu 22.04, as far as this sshd knows it.
PermitRootLogin no
PasswordAuthentication no
PermitEmptyPasswords no
KbdInteractiveAuthentication no
X11Forwarding no
AllowTcpForwarding no
PermitUserEnvironment no
ClientAliveInterval 300
ClientAliveCountMax 3
LoginGraceTime 60
MaxAuthTries 4
MaxSessions 10
MaxStartups 10:30:60
LogLevel VERBOSE
HostbasedAuthentication no
IgnoreRhosts yes
GSSAPIAuthentication no
";

/// A fresh Debian.
fn fresh() -> Facts {
    Facts::default()
        .with("ssh.main", Ok(DEBIAN))
        .with("ssh.drop-in", Err("exit code 1"))
        .with("ssh.modes", Ok("644 /etc/ssh/sshd_config\n"))
        .with("ssh.effective", Ok(&effective(&[])))
        .with("ssh.root", Ok(&effective(&[])))
        .with("ssh.candidate", Ok(CANDIDATE))
        .with("ssh.lines", Ok(""))
        .with("ssh.user", Ok("admin:x:1000:1000::/home/admin:/bin/bash\n"))
        .with("ssh.keys", Ok(""))
        .with("ssh.key-modes", Ok("700 admin home\n"))
}

/// The same after a bootstrap.
fn hard() -> Facts {
    fresh()
        .with("ssh.drop-in", Ok(CONTENT))
        .with("ssh.modes", Ok("644 /etc/ssh/sshd_config\n600 /etc/ssh/sshd_config.d/10-tpl-hardening.conf\n"))
        .with("ssh.effective", Ok(&effective(&HARD)))
        .with("ssh.root", Ok(&effective(&HARD)))
        .with("ssh.keys", Ok(&format!("{KEY} me@here\n")))
        .with("ssh.key-modes", Ok("755 admin home\n700 admin .ssh\n600 admin authorized_keys\n"))
}

fn drifted(facts: &Facts) -> Vec<String> {
    let told = |item: Item| match item.state {
        State::Drifted { is, should } => Some(format!("{}: {is} → {should}", item.what)),
        _ => None,
    };
    items(facts, &wish(Some("admin"))).unwrap().into_iter().filter_map(told).collect()
}

#[test]
fn a_fresh_machine_gets_the_key_and_one_file() {
    let expected = [
        "key in /home/admin/.ssh/authorized_keys: absent → present",
        "/etc/ssh/sshd_config.d/10-tpl-hardening.conf: absent → as written by tpl",
        "PermitRootLogin: without-password → no",
        "PasswordAuthentication: yes → no",
        "X11Forwarding: yes → no",
        "AllowTcpForwarding: yes → no",
        "ClientAliveInterval: 0 → 300",
        "LoginGraceTime: 120 → 60",
        "MaxAuthTries: 6 → 4",
        "MaxStartups: 10:30:100 → 10:30:60",
        "LogLevel: INFO → VERBOSE",
    ];
    assert_eq!(drifted(&fresh()), expected);
    let steps = steps(&items(&fresh(), &wish(Some("admin"))).unwrap());
    let told: Vec<String> = steps.iter().map(Step::summary).collect();
    let starts = [
        "ran runuser -u admin -- sh -c",
        "ran give the user their own files of keys admin /home/admin",
        "ran runuser -u admin -- sh -c",
        "wrote /etc",
        "ran let sshd read its files anew",
    ];
    assert_eq!(told.len(), starts.len());
    for (told, start) in told.iter().zip(starts) {
        assert!(told.starts_with(start), "{told}");
    }
    let Step::Run { argv, .. } = &steps[0] else { panic!("{:?}", steps[0]) };
    assert_eq!(argv[7..], ["sh", "/home/admin", &format!("{KEY} me@here"), KEY]);
    assert_eq!(steps[3], Step::Write { path: DROP_IN.to_owned(), mode: 0o600, content: CONTENT.to_owned() });
}

#[test]
fn what_is_done_is_not_done_again() {
    assert_eq!(drifted(&hard()), [""; 0]);
    // As a user whom SSH itself has chosen.
    assert!(items(&hard(), &wish(None)).unwrap().iter().all(|item| item.state == State::Ok));
}

#[test]
fn the_main_file_reads_the_others_first() {
    for main in [
        "Include /etc/ssh/sshd_config.d/*.conf\n",
        "  include\t\"sshd_config.d/*.conf\"\n",
        "#Port 22\n\nInclude=/etc/ssh/sshd_config.d/*.conf\nPort 22\n",
        "Include /etc/other.conf /etc/ssh/sshd_config.d/*.conf\n",
    ] {
        assert_eq!(drifted(&hard().with("ssh.main", Ok(main))), [""; 0], "{main}");
    }
    for main in ["Port 22\nInclude /etc/ssh/sshd_config.d/*.conf\n", "#Include /etc/ssh/sshd_config.d/*.conf\n", "Port 22", ""] {
        let facts = fresh().with("ssh.main", Ok(main));
        assert_eq!(drifted(&facts)[1], format!("/etc/ssh/sshd_config: Include: not before all else → {INCLUDE}"), "{main}");
        let steps = steps(&items(&facts, &wish(Some("admin"))).unwrap());
        let content = format!("{INCLUDE}\n{main}");
        assert_eq!(steps[3], Step::Write { path: MAIN.to_owned(), mode: 0o600, content });
        // sshd reads its files once, behind all that is written.
        assert!(matches!(&steps[4], Step::Write { path, .. } if path == DROP_IN));
        assert!(matches!(&steps[5..], [Step::Run { argv, .. }] if argv[2] == RELOAD));
    }
}

#[test]
fn what_overrides_is_named() {
    let lines = "sshd_config.d/00-site.conf:2:PasswordAuthentication yes\n\
                 sshd_config.d/10-tpl-hardening.conf:3:PasswordAuthentication no\n\
                 sshd_config:9:X11Forwarding no\nsshd_config:10:Match User admin\nsshd_config:11:\tX11Forwarding=yes\n";
    let facts = hard().with("ssh.lines", Ok(lines)).with(
        "ssh.effective",
        Ok(&effective(&[&[("passwordauthentication", "yes"), ("x11forwarding", "yes")], &HARD[..]].concat())),
    );
    let expected = [
        "PasswordAuthentication: yes (by /etc/ssh/sshd_config.d/00-site.conf line 2) → no",
        "X11Forwarding: yes (by /etc/ssh/sshd_config line 11, in Match User admin) → no",
    ];
    assert_eq!(drifted(&facts), expected);
    // Saying it again would help nobody.
    assert_eq!(steps(&items(&facts, &wish(Some("admin"))).unwrap()), []);
    let for_root = effective(&[&[("permitrootlogin", "yes")], &HARD[..]].concat());
    assert_eq!(drifted(&hard().with("ssh.root", Ok(&for_root))), ["PermitRootLogin: yes for root → no"]);
    // A block that may be for others is not what is named first.
    let both = "sshd_config.d/05-x.conf:1:PasswordAuthentication yes\nsshd_config.d/05-x.conf:3:Match User bob\n\
                sshd_config.d/05-x.conf:4:PasswordAuthentication yes\n";
    let open = effective(&[&[("passwordauthentication", "yes")], &HARD[..]].concat());
    let facts = hard().with("ssh.lines", Ok(both)).with("ssh.effective", Ok(&open));
    assert_eq!(drifted(&facts), ["PasswordAuthentication: yes (by /etc/ssh/sshd_config.d/05-x.conf line 1) → no"]);
    // Of logins by others from elsewhere nobody is told: that is said.
    let others = "sshd_config:9:Match User backup\nsshd_config:10:PasswordAuthentication yes\nsshd_config:11:X11Forwarding no\n";
    let told = items(&hard().with("ssh.lines", Ok(others)), &wish(Some("admin"))).unwrap();
    let unknown: Vec<_> = told.iter().filter(|item| matches!(item.state, State::Unknown(_))).collect();
    let why = "some get something else: PasswordAuthentication yes by /etc/ssh/sshd_config line 10, in Match User backup";
    assert_eq!(unknown, [&Item::unknown("logins in Match blocks", why)]);
}

#[test]
fn an_sshd_gets_what_it_knows() {
    let names = |facts: &Facts| -> Vec<String> {
        let items = items(facts, &wish(Some("admin"))).unwrap();
        items.into_iter().map(|item| item.what).filter(|what| what.contains("Authentication")).collect()
    };
    let new = ["PasswordAuthentication", "KbdInteractiveAuthentication", "HostbasedAuthentication", "GSSAPIAuthentication"];
    assert_eq!(names(&fresh()), new);
    let old = format!("{}challengeresponseauthentication yes\nkerberosauthentication no\n", effective(&[]));
    let said =
        "/tmp/x line 5: Deprecated option KbdInteractiveAuthentication\n/tmp/x: line 18: Unsupported option GSSAPIAuthentication";
    let facts = fresh().with("ssh.effective", Ok(&old)).with("ssh.candidate", Ok(said));
    let expected =
        ["PasswordAuthentication", "ChallengeResponseAuthentication", "HostbasedAuthentication", "KerberosAuthentication"];
    assert_eq!(names(&facts), expected);
    let refused =
        items(&fresh().with("ssh.candidate", Ok("/tmp/x: line 1: Bad configuration option: Include")), &wish(None)).unwrap_err();
    assert!(refused.to_string().starts_with("its sshd is older than 8.2"), "{refused}");
}

#[test]
fn keys_are_found_as_sshd_finds_them() {
    let with = |text: &str| hard().with("ssh.keys", Ok(text));
    for text in [format!("{KEY}\n"), format!("a b\nno-pty,from=\"10.*\" {KEY} x"), format!("\t{KEY}\tx\n")] {
        assert_eq!(drifted(&with(&text)), [""; 0], "{text}");
    }
    for text in [format!("#{KEY}\n"), format!("{KEY}AAAA x\n"), KEY[..60].to_owned(), String::new()] {
        assert_eq!(drifted(&with(&text)), ["key in /home/admin/.ssh/authorized_keys: absent → present"], "{text}");
    }
    let modes = "775 admin home\n755 admin .ssh\n600 root authorized_keys\n";
    let expected = [
        "owner and mode of /home/admin: mode 775 → closed to the writing of others",
        "owner and mode of /home/admin/.ssh: admin's, mode 755 → admin's, mode 700",
        "owner and mode of /home/admin/.ssh/authorized_keys: root's, mode 600 → admin's, mode 600",
    ];
    assert_eq!(drifted(&hard().with("ssh.key-modes", Ok(modes))), expected);
    // A file that several use is nobody's to take.
    let linked = |who: &str| hard().with("ssh.key-modes", Ok(&format!("644 {who} linked /home/admin/.ssh/authorized_keys\n")));
    assert_eq!(drifted(&linked("root")), [""; 0]);
    assert_eq!(
        drifted(&linked("bob")),
        ["what /home/admin/.ssh/authorized_keys leads to: bob's, mode 644 → admin's or root's, closed to the writing of others"]
    );
    assert_eq!(steps(&items(&linked("bob"), &wish(Some("admin"))).unwrap()), []);
}

#[test]
fn what_must_not_be_touched_is_refused() {
    let effective_with =
        |line: &str| format!("{}authorizedkeysfile {line}\n", effective(&HARD).replace("authorizedkeysfile", "x"));
    let refused = |facts: &Facts, user: Option<&str>| items(facts, &wish(user)).unwrap_err().reasons.join("\n");
    let root = hard().with("ssh.user", Ok("root:x:0:0:root:/root:/bin/bash\n"));
    let no_root = "root logs in, and would be locked out: the phase ssh lets root log in no more";
    let table = [
        (root, None, no_root),
        (hard(), Some("root"), no_root),
        (
            hard().with("ssh.keys", Err("it is no UTF-8")),
            None,
            "/home/admin/.ssh/authorized_keys is not added to: it is no UTF-8",
        ),
        (hard().with("ssh.main", Err("it is no UTF-8")), None, "/etc/ssh/sshd_config cannot be read: it is no UTF-8"),
        (
            hard().with("ssh.drop-in", Err("it is no UTF-8")),
            None,
            "/etc/ssh/sshd_config.d/10-tpl-hardening.conf cannot be read: it is no UTF-8",
        ),
        (hard().with("ssh.effective", Err("line 3: no")), None, "sshd does not read its own configuration: line 3: no"),
        (hard().with("ssh.user", Err("exit code 2")), None, "who logs in has no entry in passwd there, and no home for a key"),
        (
            hard().with("ssh.effective", Ok(&effective_with("/etc/ssh/keys/%u"))),
            None,
            "its sshd looks for keys in \"/etc/ssh/keys/%u\" alone (AuthorizedKeysFile), not in /home/admin/.ssh/authorized_keys",
        ),
    ];
    for (facts, user, expected) in table {
        assert_eq!(refused(&facts, user), expected);
    }
    let forced = format!("command=\"id\" {KEY}\n");
    assert!(refused(&hard().with("ssh.keys", Ok(&forced)), None).contains("for one command alone"));
}
