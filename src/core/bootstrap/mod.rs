//! How a fresh machine becomes a hypervisor: phases, each a list of things that are to be so.
//!
//! A phase asks the machine some questions ([`Probe`]), and makes of the answers ([`Facts`]) a list of [`Item`]s: what is, what should
//! be, and the steps that mend it. The same list is a bootstrap's plan, its proof (read once more, nothing of it may be left), and the
//! report of `tpl host check`. Nothing here touches a machine.

mod apt;
pub mod ceiling;
pub mod forwarder;
pub mod hostname;
pub mod kvm;
pub mod patch;
pub mod probe;
pub mod record;
#[cfg(test)]
mod samples;
pub mod sshd;
mod text;

use std::{fmt, str::FromStr};

use serde::{Serialize, Serializer};

use super::{error::Refusal, quoted::quoted};
pub use probe::{Facts, Probe};
pub use record::{Reboot, Record, Wish};

/// A part of a bootstrap. Each can be run alone, and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// The operator's key in, passwords and root out.
    Ssh,
    /// The machine's name.
    Hostname,
    /// Updates, and the reboot that they need.
    Patch,
    /// A DNS forwarder, where one is asked for.
    Dns,
    /// libvirt, QEMU, a network, a pool.
    Kvm,
    /// What all guests together may take.
    Ceiling,
    /// The hypervisor in tpl's own configuration.
    Register,
}

/// In the order in which they run.
pub const PHASES: [Phase; 7] =
    [Phase::Ssh, Phase::Hostname, Phase::Patch, Phase::Dns, Phase::Kvm, Phase::Ceiling, Phase::Register];

impl Phase {
    /// As operators write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ssh => "ssh",
            Self::Hostname => "hostname",
            Self::Patch => "patch",
            Self::Dns => "dns",
            Self::Kvm => "kvm",
            Self::Ceiling => "ceiling",
            Self::Register => "register",
        }
    }

    /// What the machine is asked before anything is decided. [`Phase::Register`] asks it nothing.
    pub fn probes(self, wish: &Wish) -> Vec<Probe> {
        match self {
            Self::Ssh => sshd::probes(wish),
            Self::Hostname => hostname::probes(wish),
            Self::Patch => patch::probes(wish),
            Self::Dns => forwarder::probes(wish),
            Self::Kvm => kvm::probes(wish),
            Self::Ceiling => ceiling::probes(wish),
            Self::Register => Vec::new(),
        }
    }

    /// What is to be so, in the order in which it is mended.
    ///
    /// # Errors
    /// [`Refusal`]: something is there that must not be touched, or this machine cannot be what is asked.
    pub fn items(self, facts: &Facts, wish: &Wish) -> Result<Vec<Item>, Refusal> {
        match self {
            Self::Ssh => sshd::items(facts, wish),
            Self::Hostname => hostname::items(facts, wish),
            Self::Patch => patch::items(facts, wish),
            Self::Dns => forwarder::items(facts, wish),
            Self::Kvm => kvm::items(facts, wish),
            Self::Ceiling => ceiling::items(facts, wish),
            Self::Register => Ok(Vec::new()),
        }
    }

    /// What is done before the questions, whatever the answers: nothing of the machine's configuration.
    pub fn before(self) -> Vec<Step> {
        match self {
            Self::Patch => patch::before(),
            _ => Vec::new(),
        }
    }

    /// What takes the phase back when its steps have failed, from the facts before them.
    pub fn undo(self, facts: &Facts) -> Vec<Step> {
        match self {
            Self::Dns => forwarder::undo(facts),
            _ => Vec::new(),
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Phase {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl FromStr for Phase {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        PHASES.into_iter().find(|phase| phase.as_str() == text).ok_or_else(|| {
            let all: Vec<&str> = PHASES.iter().map(|phase| phase.as_str()).collect();
            format!("{} is no phase: {}", quoted(text), all.join(", "))
        })
    }
}

/// One thing that is to be so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// What it is: `PermitRootLogin`, `pool default`.
    pub what: String,
    /// Whether it is so.
    pub state: State,
    /// What mends it. Several items may be mended by the same steps, which are then done once.
    pub mend: Vec<Step>,
}

/// Whether something is as it is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It is.
    Ok,
    /// It is something else.
    Drifted {
        /// What it is.
        is: String,
        /// What it should be.
        should: String,
    },
    /// The machine does not tell, and why. A bootstrap takes it for nothing that it could mend, and warns.
    Unknown(String),
}

impl Item {
    /// Something that is `is` and should be `should`; `None` is nothing at all.
    pub fn compare(what: impl Into<String>, is: Option<&str>, should: &str, mend: Vec<Step>) -> Self {
        let state = if is == Some(should) {
            State::Ok
        } else {
            State::Drifted { is: is.unwrap_or("absent").to_owned(), should: should.to_owned() }
        };
        Self { what: what.into(), state, mend }
    }

    /// Something that is to hold; `is` says what is the case instead.
    pub fn holds(what: impl Into<String>, holds: bool, is: &str, should: &str, mend: Vec<Step>) -> Self {
        Self::compare(what, Some(if holds { should } else { is }), should, mend)
    }

    /// A file that is to have this content. What it has is told by its size alone: it may be long.
    pub fn file(path: &str, is: Option<&str>, mode: u32, content: &str, then: Vec<Step>) -> Self {
        let mut mend = vec![Step::Write { path: path.to_owned(), mode, content: content.to_owned() }];
        mend.extend(then);
        let shown = match is {
            None => "absent",
            Some(is) if is == content => "as written by tpl",
            Some(_) => "something else",
        };
        Self::compare(path, Some(shown), "as written by tpl", mend)
    }

    /// Something that the machine does not tell.
    pub fn unknown(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self { what: what.into(), state: State::Unknown(why.into()), mend: Vec::new() }
    }

    /// Whether it is something else than it should be.
    pub fn has_drifted(&self) -> bool {
        matches!(self.state, State::Drifted { .. })
    }
}

/// Something that is done on the machine, by root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// A file is written as a whole: readers see the old one or the new one.
    Write {
        /// Its absolute path.
        path: String,
        /// Its mode.
        mode: u32,
        /// What it is to hold.
        content: String,
    },
    /// A file is removed. One that is not there is no error.
    Remove {
        /// Its absolute path.
        path: String,
    },
    /// A program is run, which must succeed.
    Run {
        /// The program and its arguments.
        argv: Vec<String>,
        /// How long it may take.
        minutes: u16,
    },
    /// The machine starts again, and proves it by another boot id.
    Reboot,
}

impl Step {
    /// A program that does little.
    pub fn run(argv: &[&str]) -> Self {
        Self::run_for(5, argv)
    }

    /// A program that may take so many minutes.
    pub fn run_for(minutes: u16, argv: &[&str]) -> Self {
        Self::Run { argv: argv.iter().map(|word| (*word).to_owned()).collect(), minutes }
    }

    /// A script for the machine's POSIX shell, with these arguments from `$1` on: they are data, never a part of the script.
    pub fn script(minutes: u16, script: &str, arguments: &[&str]) -> Self {
        let words: Vec<&str> = ["sh", "-c", script, "sh"].into_iter().chain(arguments.iter().copied()).collect();
        Self::run_for(minutes, &words)
    }

    /// In a line, for a report: what is written or run.
    pub fn summary(&self) -> String {
        match self {
            Self::Write { path, .. } => format!("wrote {path}"),
            Self::Remove { path } => format!("removed {path}"),
            Self::Run { argv, .. } => format!("ran {}", shown(argv)),
            Self::Reboot => "rebooted".to_owned(),
        }
    }

    /// Exactly what would be done, for `--dry-run`.
    pub fn describe(&self) -> String {
        match self {
            Self::Write { path, mode, content } => {
                let lines: String = content.lines().map(|line| format!("      | {line}\n")).collect();
                format!("write {path} (mode {mode:04o})\n{lines}")
            }
            Self::Remove { path } => format!("remove {path}\n"),
            Self::Run { argv, .. } => format!("run   {}\n", quoted_words(argv).replace('\n', "\n      | ")),
            Self::Reboot => "reboot, and wait until it is back\n".to_owned(),
        }
    }
}

/// The steps that mend what has drifted, each once.
pub fn steps(items: &[Item]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for step in items.iter().filter(|item| item.has_drifted()).flat_map(|item| &item.mend) {
        if !steps.contains(step) {
            steps.push(step.clone());
        }
    }
    steps
}

/// A command as one would type it; NULs, which no command can have, aside.
fn quoted_words(argv: &[String]) -> String {
    shlex::try_join(argv.iter().map(String::as_str)).unwrap_or_else(|_| argv.join(" "))
}

/// The same in one short line: of a script its first line.
fn shown(argv: &[String]) -> String {
    let line = match argv {
        [sh, c, script, _, arguments @ ..] if sh == "sh" && c == "-c" => {
            let first = script.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
            // Where a script says what it does, that.
            let first = first.strip_prefix("# ").unwrap_or(first);
            std::iter::once(first).chain(arguments.iter().map(String::as_str)).collect::<Vec<_>>().join(" ")
        }
        _ => quoted_words(argv),
    };
    let line = line.replace(char::is_control, " ");
    match line.char_indices().nth(100) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_known_by_name_alone() {
        for phase in PHASES {
            assert_eq!(phase.as_str().parse(), Ok(phase));
        }
        let error = "Kvm\n".parse::<Phase>().unwrap_err();
        assert_eq!(error, "\"Kvm\\n\" is no phase: ssh, hostname, patch, dns, kvm, ceiling, register");
    }

    #[test]
    fn what_has_drifted_is_mended_once_and_in_order() {
        let reload = Step::run(&["systemctl", "reload", "ssh"]);
        let write = Step::Write { path: "/etc/a".to_owned(), mode: 0o644, content: "a\n".to_owned() };
        let items = [
            Item::compare("a", Some("yes"), "no", vec![write.clone(), reload.clone()]),
            Item::compare("b", Some("no"), "no", vec![Step::Reboot]),
            Item::unknown("c", "nobody knows"),
            Item::file("/etc/a", None, 0o644, "a\n", vec![reload.clone()]),
        ];
        assert_eq!(steps(&items), [write, reload]);
        let states: Vec<bool> = items.iter().map(Item::has_drifted).collect();
        assert_eq!(states, [true, false, false, true]);
    }

    #[test]
    fn steps_are_told_exactly_and_in_a_line() {
        let table = [
            (
                Step::Write { path: "/etc/a".to_owned(), mode: 0o600, content: "x\ny\n".to_owned() },
                "wrote /etc/a",
                "write /etc/a (mode 0600)\n      | x\n      | y\n",
            ),
            (Step::Remove { path: "/etc/a".to_owned() }, "removed /etc/a", "remove /etc/a\n"),
            (Step::run(&["echo", "a b", "$x"]), "ran echo 'a b' '$x'", "run   echo 'a b' '$x'\n"),
            (
                Step::script(1, "set -e\necho \"$1\"", &["it's"]),
                "ran set -e it's",
                "run   sh -c 'set -e\n      | echo \"$1\"' sh \"it's\"\n",
            ),
            (Step::Reboot, "rebooted", "reboot, and wait until it is back\n"),
        ];
        for (step, summary, description) in table {
            assert_eq!((step.summary().as_str(), step.describe().as_str()), (summary, description));
        }
    }
}
