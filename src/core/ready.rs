//! When a VM counts as ready, and how far one has come that does not.

use std::{fmt, net::IpAddr, str::FromStr};

use serde::Serialize;
use uuid::Uuid;

use super::{facts::DomainState, metadata::ready::Ready, quoted::quoted, ssh_key::PublicKey};

/// So many lines of a console are shown.
const CONSOLE_LINES: usize = 5;
/// So many characters of each.
const LINE: usize = 160;

/// What is waited for. Reads `ssh`, `cloud-init`, `agent`, `tcp:PORT`, `phone-home`, `none`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// SSH answers with the VM's own host key.
    Ssh,
    /// cloud-init says on the console that it has finished.
    CloudInit,
    /// The guest agent answers.
    Agent,
    /// Something listens on this port.
    Tcp(u16),
    /// The guest has told the metadata service that its first boot has ended.
    PhoneHome,
    /// Nothing.
    None,
}

impl FromStr for Until {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let port = || text.strip_prefix("tcp:")?.parse().ok().filter(|port| *port > 0).map(Self::Tcp);
        match text {
            "ssh" => Ok(Self::Ssh),
            "cloud-init" => Ok(Self::CloudInit),
            "agent" => Ok(Self::Agent),
            "phone-home" => Ok(Self::PhoneHome),
            "none" => Ok(Self::None),
            _ => port().ok_or_else(|| {
                format!(
                    "{} is nothing to wait for: there are ssh, cloud-init, agent, tcp:PORT, phone-home and none",
                    quoted(text)
                )
            }),
        }
    }
}

impl fmt::Display for Until {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ssh => f.write_str("ssh"),
            Self::CloudInit => f.write_str("cloud-init"),
            Self::Agent => f.write_str("agent"),
            Self::Tcp(port) => write!(f, "tcp:{port}"),
            Self::PhoneHome => f.write_str("phone-home"),
            Self::None => f.write_str("none"),
        }
    }
}

/// How far a VM has come that is not ready.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Progress {
    /// What is missing.
    pub missing: String,
    /// libvirt's state; none if the domain is gone.
    pub state: Option<DomainState>,
    /// What the network's DHCP server has given it.
    pub leases: Vec<IpAddr>,
    /// What the hypervisor's ARP table knows of it.
    pub neighbours: Vec<IpAddr>,
    /// What answered at its port, or did not.
    pub port: String,
    /// cloud-init's last word on the console.
    pub cloud_init: String,
    /// The console's last lines.
    pub console: Vec<String>,
}

impl Progress {
    /// The VM's story for people, a fact a line.
    pub fn describe(&self) -> String {
        let list = |addresses: &[IpAddr]| match addresses {
            [] => "none".to_owned(),
            _ => addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "),
        };
        let mut text = format!(
            "{}\n    domain: {}\n    lease: {}\n    ARP: {}\n    port: {}\n    cloud-init: {}",
            self.missing,
            self.state.map_or("gone", DomainState::as_str),
            list(&self.leases),
            list(&self.neighbours),
            self.port,
            self.cloud_init
        );
        for line in &self.console {
            text.push_str(&format!("\n    console: {line}"));
        }
        text
    }
}

/// What is missing of a VM's word that it is ready: nothing, if its own instance has said so, with its own host key. `host_key` is
/// type and key of that, as in `known_hosts`.
pub fn not_phoned_home(mark: Option<&Ready>, instance: Uuid, host_key: &str) -> Option<String> {
    let look = "`tpl metadata serve` has to run on its hypervisor, and logs who asks and what it refuses";
    let Some(mark) = mark else { return Some(format!("has not phoned home: {look}")) };
    if mark.instance != instance {
        return Some(format!("has phoned home as another instance, {}: its disk was another machine's", mark.instance));
    }
    // As the file of the key holds it: with the end of its line.
    let is_own = |line: &String| line.trim().parse::<PublicKey>().is_ok_and(|key| key.key() == host_key);
    (!mark.ssh_host_keys.iter().any(is_own)).then(|| "has phoned home with another host key".to_owned())
}

/// cloud-init's last word on a console: its stage, or that it has finished.
pub fn cloud_init_status(console: &str) -> String {
    let told = console.lines().rev().find_map(|line| {
        let rest = &line[line.find("Cloud-init v. ")?..];
        let finished = rest.contains(" finished at ").then(|| "finished".to_owned());
        finished.or_else(|| Some(format!("running '{}'", rest.split_once(" running '")?.1.split_once('\'')?.0)))
    });
    told.unwrap_or_else(|| "has said nothing on the console".to_owned())
}

/// Whether cloud-init says that it has finished.
pub fn cloud_init_has_finished(console: &str) -> bool {
    cloud_init_status(console) == "finished"
}

/// The last lines of a console that hold something, without what a terminal would act on: a guest wrote them.
pub fn last_lines(console: &str) -> Vec<String> {
    let mut lines: Vec<String> =
        console.lines().rev().map(printable).filter(|line| !line.is_empty()).take(CONSOLE_LINES).collect();
    lines.reverse();
    lines
}

fn printable(line: &str) -> String {
    let mut plain = String::new();
    let mut characters = line.chars();
    while let Some(c) = characters.next() {
        if c == '\u{1b}' {
            // A control sequence ends with a letter.
            if characters.next() == Some('[') {
                characters.by_ref().find(|c| c.is_ascii_alphabetic());
            }
        } else if !c.is_control() {
            plain.push(c);
        }
    }
    plain.trim().chars().take(LINE).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_waited_for() {
        for text in ["ssh", "cloud-init", "agent", "tcp:80", "phone-home", "none"] {
            assert_eq!(text.parse::<Until>().unwrap().to_string(), text);
        }
        for bad in ["", "SSH", "tcp", "tcp:", "tcp:0", "tcp:99999", "tcp:x"] {
            assert!(bad.parse::<Until>().is_err(), "{bad}");
        }
    }

    #[test]
    fn whose_word_counts() {
        let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
        let rsa = "ssh-rsa AAAA root@web";
        let mark = |instance: u128, keys: &[&str]| Ready {
            at: "2026-11-21T03:10:00Z".parse().unwrap(),
            instance: Uuid::from_u128(instance),
            ssh_host_keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        };
        let (commented, wrong) = (format!("{key} root@elsewhere\n"), "has phoned home with another host key");
        let table = [
            (
                None,
                Some(
                    "has not phoned home: `tpl metadata serve` has to run on its hypervisor, and logs who asks and what it refuses",
                ),
            ),
            (Some(mark(7, &[rsa, &commented])), None),
            (
                Some(mark(8, &[key])),
                Some("has phoned home as another instance, 00000000-0000-0000-0000-000000000008: its disk was another machine's"),
            ),
            (Some(mark(7, &[])), Some(wrong)),
            (Some(mark(7, &[rsa, "N/A", ""])), Some(wrong)),
        ];
        for (mark, expected) in table {
            assert_eq!(not_phoned_home(mark.as_ref(), Uuid::from_u128(7), key).as_deref(), expected, "{mark:?}");
        }
    }

    #[test]
    fn cloud_inits_words() {
        let table = [
            ("", "has said nothing on the console"),
            ("[   4.1] cloud-init[300]: Cloud-init v. 25.1.4 running 'init-local' at Sat, 21 Nov", "running 'init-local'"),
            (
                "x Cloud-init v. 25.1.4 running 'modules:final' at Sat\nci-info: x\nCloud-init v. 25.1.4 finished at Sat, 21 Nov",
                "finished",
            ),
            ("Cloud-init v. 25.1.4 running \u{1b}[31m", "has said nothing on the console"),
        ];
        for (console, status) in table {
            assert_eq!(cloud_init_status(console), status);
        }
    }

    #[test]
    fn a_console_cannot_act_on_the_terminal() {
        let lines = last_lines("1\n2\n3\n\n4\n\u{1b}[2J\u{1b}[1;31mred\u{1b}[0m\u{7}\r\n  \u{1b}\n5\n");
        assert_eq!(lines, ["2", "3", "4", "red", "5"]);
        assert_eq!(last_lines(&"x".repeat(1000))[0].len(), 160);
    }

    #[test]
    fn the_story_of_a_vm() {
        let progress = Progress {
            missing: "no answer at 192.0.2.5 port 22".to_owned(),
            state: Some(DomainState::Running),
            leases: vec![IpAddr::from([192, 0, 2, 5])],
            neighbours: vec![],
            port: "no answer".to_owned(),
            cloud_init: "running 'init'".to_owned(),
            console: vec!["[ OK ] Reached target".to_owned()],
        };
        assert_eq!(
            progress.describe(),
            "no answer at 192.0.2.5 port 22\n    domain: running\n    lease: 192.0.2.5\n    ARP: none\n    port: no answer\n    \
             cloud-init: running 'init'\n    console: [ OK ] Reached target"
        );
    }
}
