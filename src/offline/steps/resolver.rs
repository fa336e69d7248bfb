//! The resolver, for static name servers in a guest where nothing else writes `resolv.conf`.

use std::{collections::BTreeSet, net::IpAddr};

use anyhow::Result;

use crate::offline::{CardAddress, CardConfig, Scene, Step};

pub(super) const STEP: Step = Step { name: "resolver", run };

const RESOLVER: &str = "/etc/resolv.conf";

fn run(scene: &Scene<'_>) -> Result<()> {
    let Some(text) = resolver(&scene.identity.cards) else {
        return Ok(());
    };
    // A link leads to what systemd-resolved or resolvconf writes at each boot.
    if scene.guest.link_target(RESOLVER)?.is_some() {
        return Ok(());
    }
    scene.put(RESOLVER, text.as_bytes(), 0o644)
}

/// The file for these cards; none where DHCP tells the name servers, or nobody does.
fn resolver(cards: &[CardConfig]) -> Option<String> {
    let fixed = |card: &&CardConfig| matches!(card.address, CardAddress::Static { .. });
    if cards.iter().any(|card| !fixed(&card)) {
        return None;
    }
    let mut seen = BTreeSet::new();
    let servers: Vec<IpAddr> =
        cards.iter().flat_map(|card| card.nameservers.iter().copied()).filter(|ip| seen.insert(*ip)).collect();
    if servers.is_empty() {
        return None;
    }
    let mut seen = BTreeSet::new();
    let search: Vec<_> =
        cards.iter().flat_map(|card| &card.search).filter(|domain| seen.insert(*domain)).map(|d| d.as_str()).collect();
    let search = if search.is_empty() { String::new() } else { format!("search {}\n", search.join(" ")) };
    // resolv.conf(5) reads three.
    Some(servers.iter().take(3).fold(search, |text, server| text + &format!("nameserver {server}\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card(ip: Option<&str>, servers: &[&str], search: &[&str]) -> CardConfig {
        let fixed = |ip: &str| CardAddress::Static { address: ip.parse().unwrap(), prefix: 24, gateway: None };
        CardConfig {
            mac: "52:54:00:00:00:01".parse().unwrap(),
            address: ip.map_or(CardAddress::Dhcp, fixed),
            nameservers: servers.iter().map(|ip| ip.parse().unwrap()).collect(),
            search: search.iter().map(|name| name.parse().unwrap()).collect(),
        }
    }

    #[test]
    fn only_static_name_servers_are_written() {
        let table: [(Vec<CardConfig>, Option<&str>); 5] = [
            (vec![card(None, &["192.0.2.1"], &["lab"])], None),
            (vec![card(Some("192.0.2.9"), &[], &["lab"])], None),
            (vec![card(Some("192.0.2.9"), &["192.0.2.1"], &[]), card(None, &[], &[])], None),
            (
                vec![
                    card(Some("192.0.2.9"), &["192.0.2.2", "192.0.2.1"], &["b", "a"]),
                    card(Some("::9"), &["192.0.2.1"], &["b"]),
                ],
                Some("search b a\nnameserver 192.0.2.2\nnameserver 192.0.2.1\n"),
            ),
            (
                vec![card(Some("192.0.2.9"), &["::1", "::2", "::3", "::4"], &[])],
                Some("nameserver ::1\nnameserver ::2\nnameserver ::3\n"),
            ),
        ];
        for (cards, text) in table {
            assert_eq!(resolver(&cards).as_deref(), text, "{cards:?}");
        }
    }
}
