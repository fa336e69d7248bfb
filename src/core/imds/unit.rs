//! The service as systemd runs it: what is to be there, and what makes it so.

use std::path::{Path, PathBuf};

use super::wires::no_nft;
use crate::core::{
    bootstrap::{Facts, Item, Probe, Step},
    error::Refusal,
};

/// The unit.
const UNIT: &str = "/etc/systemd/system/tpl-metadata.service";
/// Its name.
const NAME: &str = "tpl-metadata.service";
/// Its first line: by this alone it is known as tpl's.
const HEAD: &str = "# Written by tpl metadata install.\n";
/// Who answers guests.
pub const USER: &str = "tpl-metadata";
/// What stands beside that name in `/etc/passwd`: by this alone the user is known as tpl's.
const COMMENT: &str = "tpl metadata service";
/// Where it is written down what was handed out once: for systemd a folder of its [`STATES`].
pub const STATE: &str = "/var/lib/tpl/metadata";
/// What systemd's `StateDirectory` is below.
const STATES: &str = "/var/lib/";
/// What the service's sandbox does not show, by `ProtectHome` and `PrivateTmp`.
const HIDDEN: [(&str, &str); 5] = [
    ("/home", "somebody's home"),
    ("/root", "somebody's home"),
    ("/run/user", "somebody's home"),
    ("/tmp", "a folder for temporary files"),
    ("/var/tmp", "a folder for temporary files"),
];

/// Everything that could be changed by somebody who is not root: the program, and each folder on the way to it.
const LOOSE: &str = r#"path=$(readlink -f "$1") || exit
while :; do
  [ "$(stat -c %u "$path")" = 0 ] || echo "$path is not root's"
  [ $(($(stat -c 0%a "$path") & 022)) = 0 ] || [ -k "$path" ] || echo "$path can be changed by others than root"
  [ "$path" != / ] || break
  path=$(dirname "$path")
done"#;

/// What this machine is asked.
pub fn probes(program: &str) -> Vec<Probe> {
    vec![
        Probe::new("unit.systemd", "[ ! -d /run/systemd/system ] || echo yes"),
        Probe::with("unit.loose", LOOSE, &[program]),
        Probe::new("unit.nft", "PATH=/usr/local/sbin:/usr/sbin:/sbin:$PATH; ! command -v nft >/dev/null || echo yes"),
        Probe::with("unit.user", "getent passwd \"$1\" || [ $? = 2 ]", &[USER]),
        Probe::file("unit.file", UNIT),
        Probe::with("unit.enabled", "systemctl is-enabled \"$1\" || true", &[NAME]),
        Probe::with("unit.active", "systemctl is-active \"$1\" || true", &[NAME]),
    ]
}

/// What is to be so: the service runs, with these arguments of `tpl`. The user is made unless another one is named there.
///
/// # Errors
/// [`Refusal`]: there is no systemd, or a unit of that name that is not tpl's; or root would run a program that others can change, or that
/// its sandbox cannot see.
pub fn items(facts: &Facts, program: &str, arguments: &[String], user: &str) -> Result<Vec<Item>, Refusal> {
    ensure_systemd(facts)?;
    ensure_own(facts)?;
    let advice = "copy it to a folder that is root's alone, as in: install tpl /usr/local/bin/; and run it from there";
    if let Some(reason) = hidden(Path::new(program)) {
        return Err(Refusal::new(reason).advise(advice));
    }
    if !facts.is_yes("unit.nft") {
        return Err(no_nft());
    }
    let loose = facts.get("unit.loose").unwrap_or("it cannot be looked at");
    if !loose.is_empty() {
        let reasons = loose.lines().map(|line| format!("root would run {program} from now on: {line}")).collect();
        return Err(Refusal { reasons, advice: Some(advice.to_owned()) });
    }
    let text = text(program, arguments);
    let add = Step::run(&[
        "useradd",
        "--system",
        "--user-group",
        "--no-create-home",
        "--comment",
        COMMENT,
        "--home-dir",
        "/",
        "--shell",
        "/usr/sbin/nologin",
        USER,
    ]);
    let (reload, restart) = (Step::run(&["systemctl", "daemon-reload"]), Step::run(&["systemctl", "restart", NAME]));
    Ok(vec![
        Item::holds(format!("user {USER}"), user != USER || !account(facts).is_empty(), "absent", "there", vec![add]),
        Item::file(UNIT, facts.whole("unit.file"), 0o644, &text, vec![reload, restart.clone()]),
        Item::compare("at start", facts.get("unit.enabled"), "enabled", vec![Step::run(&["systemctl", "enable", NAME])]),
        Item::compare("now", facts.get("unit.active"), "active", vec![restart]),
    ])
}

/// A file that the service is to read, or a folder on the way to it.
#[derive(Debug, Clone)]
pub struct Place {
    /// Where it is.
    pub path: PathBuf,
    /// Whose it is.
    pub user: u32,
    /// Whose group's it is.
    pub group: u32,
    /// Its mode.
    pub mode: u32,
    /// Whether it is a folder, which is gone through and not read.
    pub folder: bool,
}

/// That the service can read its files: each with all that is on the way to it, by the names that are given and by their own.
///
/// # Errors
/// [`Refusal`] with a reason for each that its sandbox does not show, or that root reads only because it may read everything. The service
/// may not: what it gets at is what root is given.
pub fn ensure_readable(files: &[Vec<Place>]) -> Result<(), Refusal> {
    let reasons: Vec<String> =
        files.iter().filter_map(|way| way.iter().find_map(|place| hidden(&place.path).or_else(|| barred(place)))).collect();
    if reasons.is_empty() {
        return Ok(());
    }
    let advice = "put such files into /etc/tpl, and let them be root's: chown root:root FILE";
    Err(Refusal { reasons, advice: Some(advice.to_owned()) })
}

/// Why the service would not find that.
fn hidden(path: &Path) -> Option<String> {
    let (_, what) = HIDDEN.iter().find(|(folder, _)| path.starts_with(folder))?;
    Some(format!("{} is in {what}, which the service does not see", path.display()))
}

/// Why the service would not get past that, as the kernel decides for a root without `CAP_DAC_OVERRIDE` and `CAP_DAC_READ_SEARCH`.
fn barred(place: &Place) -> Option<String> {
    let bits = match (place.user, place.group) {
        (0, _) => place.mode >> 6,
        (_, 0) => place.mode >> 3,
        _ => place.mode,
    };
    let needed = if place.folder { 1 } else { 4 };
    let Place { path, user, mode, .. } = place;
    let reason = || format!("{} is user {user}'s, with mode {:04o}: the service cannot get at it", path.display(), mode & 0o7777);
    (bits & needed == 0).then(reason)
}

/// What is to be so: nothing of it is there.
///
/// # Errors
/// [`Refusal`]: there is no systemd, or a unit of that name that is not tpl's.
pub fn none(facts: &Facts) -> Result<Vec<Item>, Refusal> {
    ensure_systemd(facts)?;
    ensure_own(facts)?;
    let there = facts.whole("unit.file").is_some();
    // A user of that name that somebody else has made stays.
    let is_own = account(facts).split(':').nth(4) == Some(COMMENT);
    let remove = vec![
        Step::run(&["systemctl", "disable", "--now", NAME]),
        Step::Remove { path: UNIT.to_owned() },
        Step::run(&["systemctl", "daemon-reload"]),
    ];
    Ok(vec![
        Item::holds(UNIT, !there, "there", "absent", remove),
        Item::holds(format!("user {USER}"), !is_own, "there", "absent", vec![Step::run(&["userdel", USER])]),
    ])
}

/// The line of [`USER`] in `/etc/passwd`; empty where there is none.
fn account(facts: &Facts) -> &str {
    facts.get("unit.user").unwrap_or_default()
}

fn ensure_own(facts: &Facts) -> Result<(), Refusal> {
    if facts.whole("unit.file").is_none_or(|text| text.starts_with(HEAD)) {
        return Ok(());
    }
    let advice = "look at it; with another name, or without it, tpl metadata install can do its work";
    Err(Refusal::new(format!("{UNIT} is not tpl's own")).advise(advice))
}

fn ensure_systemd(facts: &Facts) -> Result<(), Refusal> {
    if facts.is_yes("unit.systemd") {
        return Ok(());
    }
    let advice = "let this machine's own init run: tpl metadata serve";
    Err(Refusal::new("this machine is not run by systemd").advise(advice))
}

/// The unit. What the keeper needs of root's rights, and no more: addresses on bridges, the packet filter, low ports, another user for the
/// server.
fn text(program: &str, arguments: &[String]) -> String {
    let words: Vec<String> = std::iter::once(program).chain(arguments.iter().map(String::as_str)).map(word).collect();
    let command = words.join(" ");
    let state = STATE.strip_prefix(STATES).unwrap_or(STATE);
    format!(
        "\
{HEAD}[Unit]
Description=Metadata service for the guests of this hypervisor
After=network.target libvirtd.service virtqemud.service virtnetworkd.service

[Service]
Type=exec
# The service itself may set nothing of the kernel's: connections are to have the mark of the wire that they came in by.
ExecStartPre=+/bin/sh -c 'echo 1 >/proc/sys/net/ipv4/tcp_fwmark_accept'
ExecStart={command}
ExecReload=/bin/kill -HUP $MAINPID
KillMode=mixed
TimeoutStopSec=30
Restart=on-failure
RestartSec=2
# What is wrong in the call or on the host does not mend itself.
RestartPreventExitStatus=2 3
# Nobody's own configuration is read.
Environment=HOME=/
StateDirectory={state}
StateDirectoryMode=0700
RuntimeDirectory=tpl-metadata
RuntimeDirectoryMode=0700
# A service that is run by hand has its lock there.
RuntimeDirectoryPreserve=yes
UMask=0077
CapabilityBoundingSet=CAP_NET_ADMIN CAP_NET_BIND_SERVICE CAP_NET_RAW CAP_SETUID CAP_SETGID CAP_KILL
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
TasksMax=128

[Install]
WantedBy=multi-user.target
"
    )
}

/// A word of a command line of systemd's: <https://www.freedesktop.org/software/systemd/man/latest/systemd.service.html#Command%20lines>.
fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,=+@".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    let mut quoted = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '%' | '$' => quoted.extend([c, c]),
            c if c.is_control() => quoted.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::bootstrap::steps;

    const ACCOUNT: &str = "tpl-metadata:x:998:998:tpl metadata service:/:/usr/sbin/nologin";

    fn facts(unit: Option<&str>, state: &str) -> Facts {
        let file = unit.ok_or("");
        let answers = [
            ("unit.systemd", Ok("yes")),
            ("unit.loose", Ok("")),
            ("unit.nft", Ok("yes")),
            ("unit.user", Ok(if unit.is_some() { ACCOUNT } else { "" })),
            ("unit.file", file),
            ("unit.enabled", Ok(if unit.is_some() { "enabled" } else { "not-found" })),
            ("unit.active", Ok(state)),
        ];
        answers.into_iter().fold(Facts::default(), |facts, (name, answer)| facts.with(name, answer))
    }

    fn arguments() -> Vec<String> {
        ["metadata", "serve", "--network", "it's $HOME"].map(str::to_owned).to_vec()
    }

    #[test]
    fn what_is_missing_is_made_and_then_nothing() {
        let program = "/usr/local/bin/tpl";
        let missing = steps(&items(&facts(None, "inactive"), program, &arguments(), USER).unwrap());
        let lines: Vec<String> = missing.iter().map(Step::summary).collect();
        assert_eq!(
            lines,
            [
                "ran useradd --system --user-group --no-create-home --comment 'tpl metadata service' --home-dir / --shell…",
                "wrote /etc/systemd/system/tpl-metadata.service",
                "ran systemctl daemon-reload",
                "ran systemctl restart tpl-metadata.service",
                "ran systemctl enable tpl-metadata.service",
            ]
        );
        let text = text(program, &arguments());
        assert!(text.contains("\nExecStart=/usr/local/bin/tpl metadata serve --network \"it's $$HOME\"\n"), "{text}");
        assert!(text.contains("\nStateDirectory=tpl/metadata\n"), "{text}");
        assert_eq!(steps(&items(&facts(Some(&text), "active"), program, &arguments(), USER).unwrap()), []);
        // Somebody else's user is not made, and tpl's is not missed then.
        let others = facts(Some(&text), "active").with("unit.user", Ok(""));
        assert_eq!(steps(&items(&others, program, &arguments(), "nobody").unwrap()), []);
        assert_eq!(steps(&none(&facts(Some(&text), "active")).unwrap()).len(), 4);
        assert_eq!(steps(&none(&facts(None, "inactive")).unwrap()), []);
        let others = facts(None, "inactive").with("unit.user", Ok("tpl-metadata:x:1001:1001:Theo P. Lang,,,:/home/x:/bin/sh"));
        assert_eq!(steps(&none(&others).unwrap()), []);
    }

    #[test]
    fn what_must_not_be_is_refused() {
        let fine = facts(None, "inactive");
        let loose = fine.clone().with("unit.loose", Ok("/srv is not root's\n/srv/tpl can be changed by others than root"));
        let table = [
            (fine.clone().with("unit.systemd", Ok("")), "/usr/bin/tpl", "this machine is not run by systemd"),
            (fine.clone().with("unit.nft", Ok("")), "/usr/bin/tpl", "there is no nft here"),
            (fine.clone(), "/root/tpl", "/root/tpl is in somebody's home"),
            (fine, "/tmp/tpl", "/tmp/tpl is in a folder for temporary files"),
            (facts(Some("[Service]\n"), "active"), "/usr/bin/tpl", "/etc/systemd/system/tpl-metadata.service is not tpl's own"),
            (loose, "/srv/tpl", "root would run /srv/tpl from now on: /srv is not root's"),
        ];
        for (facts, program, expected) in table {
            let refused = items(&facts, program, &[], USER).unwrap_err().to_string();
            assert!(refused.contains(expected), "{refused}");
        }
    }

    #[test]
    fn what_the_service_could_not_read_is_refused() {
        let place = |path: &str, user: u32, group: u32, mode: u32| Place {
            path: path.into(),
            user,
            group,
            mode,
            folder: mode & 0o040_000 != 0,
        };
        let (root, etc) = (place("/", 0, 0, 0o040_755), place("/etc", 0, 0, 0o040_700));
        let file = |user, group, mode: u32| vec![place("/etc/a", user, group, 0o100_000 | mode), etc.clone(), root.clone()];
        let below = |folder: Place| vec![place("/srv/a", 0, 0, 0o100_600), folder, root.clone()];
        let table = [
            (file(0, 0, 0o600), None),
            (file(0, 0, 0o000), Some("/etc/a is user 0's, with mode 0000: the service cannot get at it")),
            (file(1000, 1000, 0o644), None),
            (file(1000, 0, 0o640), None),
            (file(1000, 1000, 0o600), Some("/etc/a is user 1000's, with mode 0600: the service cannot get at it")),
            // Group root is asked before the others are, and has no right to it.
            (file(1000, 0, 0o604), Some("/etc/a is user 1000's, with mode 0604: the service cannot get at it")),
            (below(place("/srv", 1000, 1000, 0o040_711)), None),
            (
                below(place("/srv", 1000, 1000, 0o040_744)),
                Some("/srv is user 1000's, with mode 0744: the service cannot get at it"),
            ),
            (vec![place("/home/a", 0, 0, 0o100_644)], Some("/home/a is in somebody's home, which the service does not see")),
            (
                vec![place("/srv/link", 0, 0, 0o100_644), place("/var/tmp/a", 0, 0, 0o100_644)],
                Some("/var/tmp/a is in a folder for temporary files, which the service does not see"),
            ),
            (vec![place("/homely/a", 0, 0, 0o100_644)], None),
        ];
        for (way, expected) in table {
            let found = ensure_readable(std::slice::from_ref(&way)).map_err(|refusal| refusal.reasons.join("\n"));
            assert_eq!(found.err().as_deref(), expected, "{way:?}");
        }
        assert_eq!(ensure_readable(&[file(1, 1, 0), vec![], file(2, 2, 0)]).unwrap_err().reasons.len(), 2);
    }

    #[test]
    fn words_cannot_leave_their_line() {
        let table = [
            ("default", "default"),
            ("", "\"\""),
            ("a b", "\"a b\""),
            ("a\nExecStartPre=x", "\"a\\x0aExecStartPre=x\""),
            ("%h $A \"\\", "\"%%h $$A \\\"\\\\\""),
        ];
        for (text, expected) in table {
            assert_eq!(word(text), expected);
        }
    }
}
