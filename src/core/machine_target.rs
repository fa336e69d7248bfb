//! Whom a bootstrap is for: a machine by its address, or a hypervisor by its name.

use std::{fmt, str::FromStr};

use super::{
    config::HypervisorName,
    names::UserName,
    quoted::quoted,
    transport::{HostKeys, SshTarget},
};

/// A machine, as operators name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MachineTarget {
    /// A hypervisor of the configuration.
    Named(HypervisorName),
    /// Any machine that answers SSH.
    Login(Login),
}

/// Who logs in where: `admin@hv1.lab.example:2222`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// Who.
    pub user: UserName,
    /// A name, or an address without brackets.
    pub host: String,
    /// The port; none leaves it to SSH.
    pub port: Option<u16>,
}

impl FromStr for MachineTarget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !text.contains('@') {
            return text.parse().map(Self::Named);
        }
        text.parse().map(Self::Login)
    }
}

impl FromStr for Login {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let no = || format!("{} names no login: write USER@HOST or USER@HOST:PORT, an address of IPv6 in brackets", quoted(text));
        let (user, place) = text.split_once('@').ok_or_else(no)?;
        let user = user.parse()?;
        let (host, port) = match place.strip_prefix('[') {
            Some(rest) => {
                let (address, rest) = rest.split_once(']').ok_or_else(no)?;
                address.parse::<std::net::Ipv6Addr>().map_err(|_| no())?;
                (address, if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or_else(no)?) })
            }
            None => match place.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (place, None),
            },
        };
        let port = match port {
            Some(port) => Some(port.parse().ok().filter(|port| *port != 0).ok_or_else(no)?),
            None => None,
        };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
        if host.is_empty() || host.len() > 253 || host.starts_with(['-', '.']) || !host.bytes().all(plain) {
            return Err(no());
        }
        Ok(Self { user, host: host.to_owned(), port })
    }
}

impl Login {
    /// The same in the words of SSH.
    pub fn ssh(&self) -> SshTarget {
        SshTarget {
            host: self.host.clone(),
            user: Some(self.user.to_string()),
            port: self.port,
            key: None,
            command: None,
            known_hosts: None,
            host_keys: HostKeys::Known,
        }
    }
}

impl fmt::Display for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        write!(f, "{}@{host}", self.user)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logins_and_names() {
        for good in ["admin@hv1", "admin@hv1.lab.example:2222", "admin@10.0.0.1", "admin@[2001:db8::1]", "admin@[2001:db8::1]:22"]
        {
            match good.parse() {
                Ok(MachineTarget::Login(login)) => assert_eq!(login.to_string(), good),
                other => panic!("{good}: {other:?}"),
            }
        }
        assert!(matches!("hv1".parse(), Ok(MachineTarget::Named(name)) if name.as_str() == "hv1"));
        for bad in [
            "",
            "hv1;reboot",
            "$(x)",
            "@hv1",
            "admin@",
            "Admin@hv1",
            "a b@hv1",
            "admin@-oProxyCommand=x",
            "admin@hv1:",
            "admin@hv1:0",
            "admin@hv1:70000",
            "admin@hv1:22:22",
            "admin@h v",
            "admin@hv1`x`",
            "admin@hv1\n",
            "-l@hv1",
            "admin@[::1",
            "admin@[::1]22",
            "admin@[hv1]",
            "admin@a@b",
        ] {
            assert!(bad.parse::<MachineTarget>().is_err(), "{bad}");
        }
    }
}
