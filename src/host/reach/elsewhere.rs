//! Guests of another machine, on networks that only that one may reach, as libvirt's own are: looked at from there, and from here where
//! that does not see them, as with a card that goes past the hypervisor.

use std::{net::IpAddr, time::Duration};

use anyhow::Result;

use super::{Knock, Login, OpenSsh, Reach};
use crate::host::shell::{self, Shell};

/// For one call over there.
const DEADLINE: Duration = Duration::from_secs(60);

/// Makes a connection to port `$1` of `$0`, and ends it.
const CONNECT: &str = "exec 3<>\"/dev/tcp/$0/$1\"";

/// Reaches guests from their hypervisor.
pub struct Elsewhere<'a> {
    /// The hypervisor's programs.
    pub shell: &'a dyn Shell,
}

impl Elsewhere<'_> {
    /// What a program there has printed, if it has succeeded. One that is not there, or a hypervisor that does not answer now, tells
    /// nothing of a guest.
    fn said(&self, argv: &[&str]) -> Option<String> {
        shell::run(self.shell, argv, DEADLINE).ok()
    }
}

impl Reach for Elsewhere<'_> {
    fn knock(&self, address: IpAddr, host_key: &str) -> Result<Knock> {
        let kind = host_key.split(' ').next().unwrap_or_default();
        let scanned = self.said(&["ssh-keyscan", "-T", "20", "-t", kind, &address.to_string()]);
        match shown(&scanned.unwrap_or_default(), host_key) {
            Some(true) => Ok(Knock::Ready),
            Some(false) => Ok(Knock::WrongKey),
            None => OpenSsh.knock(address, host_key),
        }
    }

    fn port(&self, address: IpAddr, port: u16) -> Result<Option<String>> {
        let (place, number) = (address.to_string(), port.to_string());
        match self.said(&["timeout", "5", "bash", "-c", CONNECT, &place, &number]) {
            Some(_) => Ok(None),
            None => OpenSsh.port(address, port),
        }
    }

    fn command(&self, address: IpAddr, host_key: &str, login: &Login<'_>, command: &str) -> Result<Result<String, String>> {
        OpenSsh.command(address, host_key, login, command)
    }
}

/// Whether a host has shown this key, by what ssh-keyscan prints: `ADDRESS TYPE KEY`. None: it has shown none.
fn shown(scanned: &str, host_key: &str) -> Option<bool> {
    let keys: Vec<&str> = scanned.lines().filter_map(|line| Some(line.trim().split_once(' ')?.1)).collect();
    if keys.is_empty() { None } else { Some(keys.contains(&host_key)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_shown_or_another_one() {
        let key = "ssh-ed25519 AAAAC3Nz";
        let table = [
            ("", None),
            ("192.0.2.5 ssh-ed25519 AAAAC3Nz\n", Some(true)),
            ("192.0.2.5 ssh-ed25519 AAAAC3Nzx\n", Some(false)),
            ("nonsense\n", None),
        ];
        for (scanned, expected) in table {
            assert_eq!(shown(scanned, key), expected, "{scanned:?}");
        }
    }

    #[test]
    fn a_port_is_tried_from_there() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let elsewhere = Elsewhere { shell: &shell::LocalShell };
        assert_eq!(elsewhere.port(address.ip(), address.port()).unwrap(), None);
        drop(listener);
        let refused = elsewhere.port(address.ip(), address.port()).unwrap().unwrap();
        assert_eq!(refused, format!("127.0.0.1 refuses connections to port {}", address.port()));
    }
}
