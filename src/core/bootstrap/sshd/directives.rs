//! What sshd is to say: section 5.2 of the CIS benchmark for Ubuntu 22.04, and the keys of this phase beyond it.

use crate::core::bootstrap::text::plain;

/// A directive and its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Directive {
    /// As sshd_config(5) writes it.
    pub name: &'static str,
    /// What it is to be.
    pub value: &'static str,
}

/// All of them. Hosts with an older sshd know the one that is asked for interactive questions by its former name.
const ALL: [(&str, &str); 18] = [
    ("PermitRootLogin", "no"),
    ("PasswordAuthentication", "no"),
    ("PermitEmptyPasswords", "no"),
    (KBD_INTERACTIVE, "no"),
    ("X11Forwarding", "no"),
    // libvirt's own SSH transport needs no forwarding: it runs a program over there.
    ("AllowTcpForwarding", "no"),
    ("PermitUserEnvironment", "no"),
    ("ClientAliveInterval", "300"),
    ("ClientAliveCountMax", "3"),
    ("LoginGraceTime", "60"),
    ("MaxAuthTries", "4"),
    ("MaxSessions", "10"),
    ("MaxStartups", "10:30:60"),
    ("LogLevel", "VERBOSE"),
    ("HostbasedAuthentication", "no"),
    ("IgnoreRhosts", "yes"),
    ("GSSAPIAuthentication", "no"),
    ("KerberosAuthentication", "no"),
];
const KBD_INTERACTIVE: &str = "KbdInteractiveAuthentication";
/// What that is called before OpenSSH 8.7.
const CHALLENGE_RESPONSE: &str = "ChallengeResponseAuthentication";

const HEAD: &str =
    "# Written by tpl host bootstrap: section 5.2 of the CIS benchmark for Ubuntu 22.04, as far as this sshd knows it.\n";

/// A file that has them all, for sshd to say what it thinks of each.
pub fn candidate() -> String {
    // A pattern that no file fits.
    let mut text = "Include /etc/ssh/sshd_config.d/tpl-none-*.none\n".to_owned();
    for (name, value) in ALL {
        text.push_str(&format!("{name} {value}\n"));
    }
    text
}

/// Their names, as an alternative of grep's.
pub fn names() -> String {
    let mut names: Vec<&str> = ALL.iter().map(|(name, _)| *name).collect();
    names.push(CHALLENGE_RESPONSE);
    names.join("|")
}

/// What sshd says of the candidate.
#[derive(Debug, Default)]
pub struct Said {
    /// Directives that it has never heard of.
    unknown: Vec<String>,
    /// Directives that it only warns of.
    idle: Vec<String>,
}

impl Said {
    /// Reads it: `FILE line 3: Deprecated option X`, `FILE: line 3: Bad configuration option: X`.
    pub fn parse(text: &str) -> Self {
        let mut said = Self::default();
        for line in text.lines() {
            let Some(name) = line.split_whitespace().last() else { continue };
            let name = name.to_ascii_lowercase();
            if line.contains("Bad configuration option") {
                said.unknown.push(name);
            } else if line.contains("Deprecated option") || line.contains("Unsupported option") {
                said.idle.push(name);
            }
        }
        said
    }

    /// Whether sshd takes this for a fault.
    pub fn is_unknown(&self, name: &str) -> bool {
        self.unknown.contains(&name.to_ascii_lowercase())
    }

    fn is_idle(&self, name: &str) -> bool {
        self.idle.contains(&name.to_ascii_lowercase())
    }
}

/// The directives that this sshd is to have: those that mean something to it.
pub fn wanted(effective: &str, said: &Said) -> Vec<Directive> {
    // Before 8.7 the new name is another switch, which the old one turns on again.
    let old = value(effective, CHALLENGE_RESPONSE).is_some() || said.is_unknown(KBD_INTERACTIVE);
    let named = |(name, value): (&'static str, &'static str)| {
        let name = if old && name == KBD_INTERACTIVE { CHALLENGE_RESPONSE } else { name };
        Directive { name, value }
    };
    let known = |directive: &Directive| !said.is_unknown(directive.name) && !said.is_idle(directive.name);
    ALL.into_iter().map(named).filter(known).collect()
}

/// The file with these.
pub fn drop_in(wanted: &[Directive]) -> String {
    let mut text = HEAD.to_owned();
    for Directive { name, value } in wanted {
        text.push_str(&format!("{name} {value}\n"));
    }
    text
}

/// What a directive is, by `sshd -T`.
pub fn value<'a>(effective: &'a str, name: &str) -> Option<&'a str> {
    let line = |line: &'a str| line.split_once(' ').filter(|(key, _)| key.eq_ignore_ascii_case(name));
    effective.lines().find_map(line).map(|(_, value)| value.trim())
}

/// Lines that may say something else than the drop-in, in the order in which sshd reads them.
#[derive(Debug, Default)]
pub struct Overridden(Vec<Line>);

#[derive(Debug)]
struct Line {
    place: String,
    name: String,
    value: String,
    /// The block that it is in.
    block: Option<String>,
}

impl Overridden {
    /// Reads what grep has found: `sshd_config.d/00-x.conf:3:PermitRootLogin yes`.
    pub fn parse(text: &str) -> Self {
        let (mut lines, mut block, mut in_file) = (Vec::new(), None::<String>, String::new());
        for line in text.lines() {
            let mut parts = line.splitn(3, ':');
            let (Some(file), Some(number), Some(said)) = (parts.next(), parts.next(), parts.next()) else { continue };
            if file != in_file {
                // A block ends with its file.
                (block, in_file) = (None, file.to_owned());
            }
            let mut words = said.trim().splitn(2, [' ', '\t', '=']);
            let name = words.next().unwrap_or_default().to_owned();
            let value = words.next().unwrap_or_default().trim_matches([' ', '\t', '=']).to_owned();
            if name.eq_ignore_ascii_case("match") {
                block = Some(value);
                continue;
            }
            lines.push(Line { place: format!("/etc/ssh/{file} line {number}"), name, value, block: block.clone() });
        }
        Self(lines)
    }

    /// What blocks for some logins alone make something else, a line each.
    pub fn in_blocks(&self, wanted: &[Directive]) -> Vec<String> {
        let differs = |line: &&Line| {
            let of = wanted.iter().find(|directive| line.name.eq_ignore_ascii_case(directive.name));
            line.block.is_some() && of.is_some_and(|directive| !line.value.eq_ignore_ascii_case(directive.value))
        };
        let told = |line: &Line| {
            let block = line.block.as_deref().unwrap_or_default();
            plain(&format!("{} {} by {}, in Match {block}", line.name, line.value, line.place))
        };
        self.0.iter().filter(differs).map(told).collect()
    }

    /// Which line makes a directive what it `is`: one for all logins that says just that, else one in a block, else the first that says
    /// something else. Whether a block is for this login nobody knows but sshd.
    pub fn by(&self, directive: &Directive, is: &str) -> Option<String> {
        let of =
            |line: &&Line| line.name.eq_ignore_ascii_case(directive.name) && !line.value.eq_ignore_ascii_case(directive.value);
        let for_all = self.0.iter().filter(of).find(|line| line.block.is_none() && line.value.eq_ignore_ascii_case(is));
        let in_block = || self.0.iter().filter(of).find(|line| line.block.is_some());
        let line = for_all.or_else(in_block).or_else(|| self.0.iter().find(of))?;
        let block = line.block.as_ref().map_or(String::new(), |block| format!(", in Match {block}"));
        Some(plain(&format!("by {}{block}", line.place)))
    }
}
