//! ifupdown's `interfaces`.

use std::collections::BTreeSet;

/// What Debian's installer writes above the card that it used itself.
const COMMENTS: [&str; 2] = ["# The primary network interface", "# This is an autoconfigured IPv6 interface"];

/// The text without cards that only have DHCP; as it was where the clone's own configuration would not be read.
pub(super) fn without_plain_dhcp(text: &str) -> String {
    let sources = |line: &str| line.split_whitespace().next().is_some_and(|word| word.starts_with("source"));
    let plain = plain_cards(text);
    if plain.is_empty() || !text.lines().any(sources) {
        return text.to_owned();
    }
    let stays = |line: &&str| {
        let words: Vec<_> = line.split_whitespace().collect();
        match words.first() {
            Some(&"iface") => words.get(1).is_none_or(|card| !plain.contains(card)),
            Some(&("auto" | "allow-hotplug")) => words[1..].iter().any(|card| !plain.contains(card)),
            _ => !COMMENTS.contains(&line.trim()),
        }
    };
    text.lines().filter(stays).map(|line| line.to_owned() + "\n").collect()
}

/// Cards of which all that is said is DHCP.
fn plain_cards(text: &str) -> BTreeSet<&str> {
    let (mut plain, mut other) = (BTreeSet::new(), BTreeSet::new());
    let mut current = None;
    for line in text.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        match words[..] {
            [] => {}
            [first, ..] if first.starts_with('#') => {}
            ["iface", card, family, method] => {
                let asks = matches!((family, method), ("inet", "dhcp") | ("inet6", "dhcp" | "auto"));
                if asks {
                    plain.insert(card)
                } else {
                    other.insert(card)
                };
                current = Some(card);
            }
            ["iface", ..] | ["mapping", ..] => current = None,
            [first, ..] if first.starts_with("auto") || first.starts_with("allow-") || first.starts_with("source") => {
                current = None;
            }
            // An option: somebody wanted more of this card.
            _ => other.extend(current),
        }
    }
    plain.difference(&other).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_dhcp_is_the_installers() {
        let head = "# This file describes the network interfaces\n\nsource /etc/network/interfaces.d/*\n\n\
                    # The loopback network interface\nauto lo\niface lo inet loopback\n\n";
        let table = [
            (
                "# The primary network interface\nallow-hotplug enp1s0\niface enp1s0 inet dhcp\n\
                 # This is an autoconfigured IPv6 interface\niface enp1s0 inet6 auto\n",
                "",
            ),
            (
                "allow-hotplug enp1s0\niface enp1s0 inet static\n\taddress 192.0.2.9/24\n",
                "allow-hotplug enp1s0\niface enp1s0 inet static\n\taddress 192.0.2.9/24\n",
            ),
            ("auto eth0\niface eth0 inet dhcp\n\tmetric 5\n", "auto eth0\niface eth0 inet dhcp\n\tmetric 5\n"),
            ("auto eth0 eth1\niface eth0 inet dhcp\niface eth1 inet manual\n", "auto eth0 eth1\niface eth1 inet manual\n"),
        ];
        for (before, after) in table {
            assert_eq!(without_plain_dhcp(&format!("{head}{before}")), format!("{head}{after}"), "{before}");
        }
        let alone = "auto eth0\niface eth0 inet dhcp\n";
        assert_eq!(without_plain_dhcp(alone), alone);
    }
}
