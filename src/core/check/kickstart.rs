//! Kickstart: what Anaconda would not take, or would stop at. pykickstart's documentation has commands and sections.

use super::Fault;

/// The commands of Red Hat Enterprise Linux 7 to 10 and of Fedora. A release need not know all of them.
const COMMANDS: [&str; 80] = [
    "auth",
    "authconfig",
    "authselect",
    "autopart",
    "autostep",
    "bootc",
    "bootloader",
    "btrfs",
    "cdrom",
    "clearpart",
    "cmdline",
    "device",
    "deviceprobe",
    "dmraid",
    "driverdisk",
    "eula",
    "fcoe",
    "firewall",
    "firstboot",
    "graphical",
    "group",
    "halt",
    "harddrive",
    "hmc",
    "ignoredisk",
    "install",
    "interactive",
    "iscsi",
    "iscsiname",
    "keyboard",
    "lang",
    "langsupport",
    "liveimg",
    "logging",
    "logvol",
    "mediacheck",
    "method",
    "module",
    "monitor",
    "mount",
    "mouse",
    "multipath",
    "network",
    "nfs",
    "nvdimm",
    "ostreecontainer",
    "ostreesetup",
    "part",
    "partition",
    "poweroff",
    "raid",
    "rdp",
    "realm",
    "reboot",
    "repo",
    "reqpart",
    "rescue",
    "rhsm",
    "rootpw",
    "selinux",
    "services",
    "shutdown",
    "skipx",
    "snapshot",
    "sshkey",
    "sshpw",
    "syspurpose",
    "text",
    "timesource",
    "timezone",
    "unsupported_hardware",
    "updates",
    "upgrade",
    "url",
    "user",
    "vnc",
    "volgroup",
    "xconfig",
    "zerombr",
    "zfcp",
];
/// Of IBM Z alone.
const OF_Z: [&str; 1] = ["zipl"];
/// The sections.
const SECTIONS: [&str; 9] =
    ["%packages", "%pre", "%pre-install", "%post", "%addon", "%anaconda", "%onerror", "%traceback", "%certificate"];

/// What is wrong with a kickstart file.
pub fn check(text: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut open: Option<(usize, &str)> = None;
    let mut ends: Option<&str> = None;
    let mut has_root = false;
    for (index, line) in text.lines().enumerate() {
        let column = line.chars().take_while(|c| c.is_whitespace()).count() + 1;
        let mut low = |message: String| faults.push(Fault::at(index + 1, column, message));
        let word = line.split_whitespace().next().unwrap_or_default();
        match (open, word) {
            (_, "%include" | "%ksappend") => low(format!("{word} reads what tpl neither sees nor digests: write it in here")),
            (Some(_), "%end") => open = None,
            (Some((begun, section)), word) if SECTIONS.contains(&word) && line.starts_with('%') => {
                low(format!("{word} begins, and {section} of line {begun} has no %end"));
                open = Some((index + 1, word));
            }
            (Some(_), _) => {}
            (None, "%end") => low("%end ends no section".to_owned()),
            (None, word) if SECTIONS.contains(&word) => open = Some((index + 1, word)),
            (None, word) if word.starts_with('%') => {
                low(format!("{} is no section: there are {}", short(word), SECTIONS.join(", ")));
                // Its lines are no commands.
                open = Some((index + 1, "this section"));
            }
            (None, "") => {}
            (None, word) if word.starts_with('#') => {}
            (None, word) => {
                ends = command(line, word, ends, &mut low);
                has_root |= makes_root(line, word);
            }
        }
    }
    if let Some((begun, section)) = open {
        faults.push(Fault::at(begun, 1, format!("{section} has no %end")));
    }
    if !has_root {
        faults.push(Fault::at(1, 1, "there is no root: part, logvol, btrfs or mount for /, or autopart, makes one"));
    }
    if ends.is_none() {
        faults.push(Fault::at(1, 1, "the machine is not powered off at the end: `poweroff` does that"));
    }
    faults
}

/// Looks at a command. What ends the installation, as far as it is known.
fn command<'t>(line: &'t str, word: &'t str, ends: Option<&'t str>, low: &mut impl FnMut(String)) -> Option<&'t str> {
    if !COMMANDS.contains(&word) && !OF_Z.contains(&word) {
        low(format!("{} is no command of a kickstart", short(word)));
        return ends;
    }
    if !quotes_close(line) {
        low("a quotation mark is not closed".to_owned());
    }
    match word {
        "poweroff" | "shutdown" => Some(word),
        "reboot" | "halt" => {
            low(format!("{word} does not power the machine off, which is how its installation ends: use poweroff"));
            // One finding is enough.
            Some(word)
        }
        "rootpw" | "user" | "sshpw" if gives_password(line, word) && !line.contains("--iscrypted") => {
            low(format!("{word} has a password as it is: --iscrypted takes its hash, and anybody could read this"));
            ends
        }
        "interactive" | "vnc" | "rdp" | "rescue" => {
            low(format!("{word} waits for somebody"));
            ends
        }
        _ => ends,
    }
}

/// Whether a command makes the root file system.
fn makes_root(line: &str, word: &str) -> bool {
    match word {
        "autopart" | "ostreesetup" => true,
        "part" | "partition" | "logvol" | "btrfs" | "mount" => line.split_whitespace().any(|word| word == "/"),
        _ => false,
    }
}

/// Whether a command has a password: `rootpw` as a word of its own, `user` as an option, `sshpw` both ways.
fn gives_password(line: &str, word: &str) -> bool {
    let mut words = line.split('#').next().unwrap_or_default().split_whitespace().skip(1);
    match word {
        "user" => words.any(|word| word.starts_with("--password")),
        _ => words.any(|word| !word.starts_with('-')),
    }
}

/// Whether quotation marks come in pairs, as Python's shlex reads them; behind a `#` stands a comment.
fn quotes_close(line: &str) -> bool {
    let (mut open, mut escaped) = (None, false);
    for c in line.chars() {
        match open {
            _ if escaped => escaped = false,
            Some('"') | None if c == '\\' => escaped = true,
            Some(quote) if c == quote => open = None,
            Some(_) => {}
            None if c == '#' => return true,
            None if c == '"' || c == '\'' => open = Some(c),
            None => {}
        }
    }
    open.is_none()
}

fn short(text: &str) -> String {
    format!("{:?}", text.chars().take(60).collect::<String>())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::{super::Said, *};

    #[test]
    fn what_anaconda_takes_passes() {
        let text = "# a comment\nautopart\nrootpw --iscrypted $6$a$b\ncmdline\nurl --url=http://a.example/\nbootloader --append=\"a b\" # it's a comment\npoweroff\n\n\
                    %packages --excludedocs\n@core\n-plymouth\n%end\n%addon com_redhat_kdump --disable\n%end\n\
                    %post --nochroot\necho %post 'it is\n%endless\n  not ours\n%end\n";
        assert_eq!(check(text), []);
    }

    #[test]
    fn each_fault_has_its_line() {
        let table: [(&str, &[Said<'_>]); 11] = [
            ("poweroff\n  fnord x\n", &[(2, 3, "\"fnord\" is no command of a kickstart")]),
            ("poweroff\n%packages\n@core\n", &[(2, 1, "%packages has no %end")]),
            ("poweroff\n%end\n", &[(2, 1, "%end ends no section")]),
            ("poweroff\n%packages\n%post\n%end\n", &[(3, 1, "%post begins, and %packages of line 2 has no %end")]),
            (
                "poweroff\n%pots\nx\n%end\n",
                &[(
                    2,
                    1,
                    "\"%pots\" is no section: there are %packages, %pre, %pre-install, %post, %addon, %anaconda, %onerror, %traceback, \
                     %certificate",
                )],
            ),
            ("poweroff\n%include /tmp/x\n", &[(2, 1, "%include reads what tpl neither sees nor digests: write it in here")]),
            ("poweroff\nbootloader --append=\"a\n", &[(2, 1, "a quotation mark is not closed")]),
            ("lang C\n", &[(1, 1, "the machine is not powered off at the end: `poweroff` does that")]),
            (
                "lang C\nreboot\n",
                &[(2, 1, "reboot does not power the machine off, which is how its installation ends: use poweroff")],
            ),
            ("shutdown\nvnc\n", &[(2, 1, "vnc waits for somebody")]),
            ("shutdown\nuser --name=a --gecos='it\\'\n", &[]),
        ];
        for (text, expected) in table {
            let mut faults = check(text);
            faults.retain(|fault| !fault.message.starts_with("there is no root"));
            let shown: Vec<_> = faults.iter().map(|fault| (fault.line, fault.column, fault.message.as_str())).collect();
            assert_eq!(shown, expected, "{text}");
        }
    }

    #[test]
    fn a_root_is_made() {
        let no_root = "there is no root: part, logvol, btrfs or mount for /, or autopart, makes one";
        let table = [
            ("autopart --type=lvm", true),
            ("part / --grow", true),
            ("logvol / --vgname=vg0 --name=root", true),
            ("part /boot --size=1", false),
            ("# part /", false),
            ("%post\npart /\n%end", false),
        ];
        for (line, expected) in table {
            let faults = check(&format!("poweroff\n{line}\n"));
            assert_eq!(faults.iter().all(|fault| fault.message != no_root), expected, "{line}");
        }
    }

    #[test]
    fn passwords_are_hashes() {
        let table = [
            ("rootpw secret", false),
            ("rootpw --plaintext secret", false),
            ("rootpw --iscrypted $6$a$b", true),
            ("rootpw --lock", true),
            ("user --name=a --password=secret", false),
            ("user --name=a --iscrypted --password=$6$a$b", true),
            ("user --name=a # --password=x", true),
            ("sshpw --username=root secret", false),
        ];
        for (line, expected) in table {
            let faults = check(&format!("poweroff\nautopart\n{line}\n"));
            assert_eq!(faults.is_empty(), expected, "{line}: {faults:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in any::<String>(), words in "(%(pre|end|post|x)|[a-z\"'\\\\# \n]|poweroff){0,60}") {
            check(&text);
            check(&words);
        }
    }
}
