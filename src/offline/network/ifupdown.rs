//! Debian's ifupdown: interfaces(5). It knows cards by name, so udev gives each its name by its MAC address: systemd.link(5).

use anyhow::Result;

use super::{Change, joined};
use crate::offline::{CardAddress, CardConfig, Scene};

const INTERFACES: &str = "/etc/network/interfaces";

/// The interfaces, and the cards' names.
pub(in crate::offline) fn ifupdown(scene: &Scene<'_>, cards: &[CardConfig]) -> Result<Vec<Change>> {
    let text = interfaces(&scene.text(INTERFACES)?, cards);
    let mut changes = vec![Change { path: INTERFACES.to_owned(), text, mode: 0o644 }];
    changes.extend(cards.iter().enumerate().map(|(index, card)| Change {
        path: format!("/etc/systemd/network/05-tpl-{index}.link"),
        text: format!("[Match]\nMACAddress={}\n\n[Link]\nName=eth{index}\n", card.mac),
        mode: 0o644,
    }));
    Ok(changes)
}

/// Whether any interface but the loopback is in it.
pub(super) fn has_cards(text: &str) -> bool {
    text.lines().any(|line| {
        let mut words = line.split_whitespace();
        words.next() == Some("iface") && words.next().is_some_and(|name| name != "lo")
    })
}

/// The file with these cards. Loopback and what is sourced from elsewhere stay; the template's cards have other names here, and
/// a card that is not there makes the whole network a failed unit.
fn interfaces(old: &str, cards: &[CardConfig]) -> String {
    let mut text = String::new();
    // Whether the lines belong to a stanza that stays.
    let mut kept = true;
    for line in old.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        match words.as_slice() {
            ["iface" | "mapping", name, ..] => kept = *name == "lo",
            ["source" | "source-directory", ..] => kept = true,
            ["auto" | "no-auto-down" | "no-scripts", names @ ..] => kept = names.contains(&"lo"),
            [word, names @ ..] if word.starts_with("allow-") => kept = names.contains(&"lo"),
            [] => {}
            // A comment before a stanza is about that one, and nobody knows which it is.
            [word, ..] if word.starts_with('#') => kept = false,
            _ => {}
        }
        if kept && !words.is_empty() {
            // Another name in the same line would be a card's.
            let auto = words[0] == "auto" || words[0].starts_with("allow-");
            let line = if auto { format!("{} lo", words[0]) } else { line.to_owned() };
            text.push_str(&format!("{line}\n"));
        }
    }
    if !text.lines().any(|line| line.starts_with("iface lo ")) {
        text.push_str("auto lo\niface lo inet loopback\n");
    }
    text.extend(cards.iter().enumerate().map(|(index, card)| stanza(index, card)));
    text
}

fn stanza(index: usize, card: &CardConfig) -> String {
    let mut text = format!("\nauto eth{index}\niface eth{index} ");
    match &card.address {
        CardAddress::Dhcp => text.push_str("inet dhcp\n"),
        CardAddress::Static { address: ip, prefix, gateway } => {
            let family = if ip.is_ipv4() { "inet" } else { "inet6" };
            text.push_str(&format!("{family} static\n    address {ip}/{prefix}\n"));
            text.extend(gateway.map(|gateway| format!("    gateway {gateway}\n")));
        }
    }
    // Read by resolvconf, where there is one.
    if !card.nameservers.is_empty() {
        text.push_str(&format!("    dns-nameservers {}\n", joined(&card.nameservers, " ")));
    }
    if !card.search.is_empty() {
        text.push_str(&format!("    dns-search {}\n", joined(&card.search, " ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{super::two_cards, *};

    const CARDS: &str = "\nauto eth0\niface eth0 inet dhcp\n\nauto eth1\niface eth1 inet static\n    address 192.0.2.10/24\n    \
        gateway 192.0.2.1\n    dns-nameservers 192.0.2.2 2001:db8::2\n    dns-search lab.example example\n";

    #[test]
    fn the_templates_cards_go_and_the_rest_stays() {
        let loopback = "auto lo\niface lo inet loopback\n";
        let debian = "# This file describes the network\n\nsource /etc/network/interfaces.d/*\n\n# The loopback network interface\n\
                      auto lo\niface lo inet loopback\n\n# The primary network interface\nallow-hotplug enp1s0\niface enp1s0 inet dhcp\n";
        let table = [
            (String::new(), format!("{loopback}{CARDS}")),
            (debian.to_owned(), format!("source /etc/network/interfaces.d/*\n{loopback}{CARDS}")),
            (
                "auto lo ens3\niface lo inet loopback\n    up true\niface ens3 inet static\n    address 192.0.2.1/24\n"
                    .to_owned(),
                format!("auto lo\niface lo inet loopback\n    up true\n{CARDS}"),
            ),
            (format!("{loopback}{CARDS}"), format!("{loopback}{CARDS}")),
        ];
        for (old, new) in table {
            assert_eq!(interfaces(&old, &two_cards()), new, "{old}");
        }
    }

    #[test]
    fn cards_are_told_from_the_loopback() {
        for (text, expected) in [("", false), ("iface lo inet loopback", false), ("  iface ens3 inet dhcp", true)] {
            assert_eq!(has_cards(text), expected, "{text}");
        }
    }
}
