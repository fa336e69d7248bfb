//! Network configuration in the words of each program that may read it. All find a card by its MAC address: its name depends on
//! the guest and on the machine.

mod ifupdown;
mod keyfile;
mod netplan;
mod networkd;
mod scripts;

use anyhow::{Result, bail};

use super::Scene;

pub(super) use ifupdown::ifupdown;
pub(super) use keyfile::keyfiles;
pub(super) use netplan::netplan;
pub(super) use networkd::networkd;
pub(super) use scripts::scripts;

/// What configures a guest's network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// netplan, which writes for one of the two below.
    Netplan,
    /// NetworkManager.
    NetworkManager,
    /// systemd-networkd.
    Networkd,
    /// Debian's ifupdown.
    Ifupdown,
    /// The Red Hat family's network scripts, up to CentOS 7.
    Scripts,
}

/// A file to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Change {
    /// Where.
    pub path: String,
    /// What is in it then.
    pub text: String,
    /// Its permission bits.
    pub mode: u32,
}

/// What configures this guest's network.
///
/// # Errors
/// Nothing that is known here.
pub(super) fn kind(scene: &Scene<'_>) -> Result<Kind> {
    let any = |patterns: &[&str]| -> Result<bool> { Ok(!scene.guest.glob(patterns)?.is_empty()) };
    let enabled =
        |unit: &str| any(&[&format!("/etc/systemd/system/*.wants/{unit}"), &format!("/usr/lib/systemd/system/*.wants/{unit}")]);
    if any(&["/usr/sbin/netplan", "/usr/bin/netplan"])? {
        return Ok(Kind::Netplan);
    }
    let has_ifupdown = any(&["/sbin/ifup", "/usr/sbin/ifup"])? && scene.exists("/etc/network/interfaces")?;
    // Debian with a desktop has both ifupdown and NetworkManager, and who has the card is said here.
    if has_ifupdown && ifupdown::has_cards(&scene.text("/etc/network/interfaces")?) {
        return Ok(Kind::Ifupdown);
    }
    if enabled("NetworkManager.service")? {
        return Ok(Kind::NetworkManager);
    }
    if enabled("systemd-networkd.service")? {
        return Ok(Kind::Networkd);
    }
    if has_ifupdown {
        return Ok(Kind::Ifupdown);
    }
    if any(&["/etc/sysconfig/network-scripts/ifup"])? {
        return Ok(Kind::Scripts);
    }
    bail!("the guest has none of netplan, NetworkManager, systemd-networkd, ifupdown and network-scripts switched on")
}

/// The texts of a list with something between them.
fn joined<T: ToString>(list: &[T], between: &str) -> String {
    list.iter().map(ToString::to_string).collect::<Vec<_>>().join(between)
}

#[cfg(test)]
fn two_cards() -> Vec<super::CardConfig> {
    use super::{CardAddress, CardConfig};
    vec![
        CardConfig {
            mac: "52:54:00:00:00:01".parse().unwrap(),
            address: CardAddress::Dhcp,
            nameservers: Vec::new(),
            search: Vec::new(),
        },
        CardConfig {
            mac: "52:54:00:00:00:02".parse().unwrap(),
            address: CardAddress::Static {
                address: "192.0.2.10".parse().unwrap(),
                prefix: 24,
                gateway: Some("192.0.2.1".parse().unwrap()),
            },
            nameservers: vec!["192.0.2.2".parse().unwrap(), "2001:db8::2".parse().unwrap()],
            search: vec!["lab.example".parse().unwrap(), "example".parse().unwrap()],
        },
    ]
}

/// Changes as one text, for comparing.
#[cfg(test)]
fn shown(changes: &[Change]) -> String {
    changes.iter().map(|change| format!("== {} {:o}\n{}", change.path, change.mode, change.text)).collect()
}
