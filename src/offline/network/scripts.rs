//! The Red Hat family's network scripts, up to CentOS 7: its udev names a card by `HWADDR` and `DEVICE`.

use anyhow::Result;

use super::Change;
use crate::offline::{CardAddress, CardConfig, Scene};

const FOLDER: &str = "/etc/sysconfig/network-scripts";

/// A file a card, and the template's own cards switched off.
pub(in crate::offline) fn scripts(scene: &Scene<'_>, cards: &[CardConfig]) -> Result<Vec<Change>> {
    let path = |index: usize| format!("{FOLDER}/ifcfg-eth{index}");
    let own: Vec<_> = (0..cards.len()).map(path).collect();
    let mut changes = Vec::new();
    for other in scene.guest.glob(&[&format!("{FOLDER}/ifcfg-*")])? {
        if own.contains(&other) || other.ends_with("/ifcfg-lo") {
            continue;
        }
        let old = scene.text(&other)?;
        changes.extend(switched_off(&old).map(|text| Change { path: other, text, mode: 0o644 }));
    }
    let file = |(index, card): (usize, &CardConfig)| Change { path: path(index), text: ifcfg(index, card), mode: 0o644 };
    changes.extend(cards.iter().enumerate().map(file));
    Ok(changes)
}

/// The file without being started at boot; none if it is not.
fn switched_off(old: &str) -> Option<String> {
    let on = |line: &str| {
        let value = line.trim().strip_prefix("ONBOOT=").map(|value| value.trim_matches(['"', '\'']));
        value.is_some_and(|value| value.eq_ignore_ascii_case("yes"))
    };
    let line = |line: &str| if on(line) { "ONBOOT=no\n".to_owned() } else { format!("{line}\n") };
    old.lines().any(on).then(|| old.lines().map(line).collect())
}

fn ifcfg(index: usize, card: &CardConfig) -> String {
    let mut text = format!("DEVICE=eth{index}\nHWADDR={}\nTYPE=Ethernet\nONBOOT=yes\n", card.mac);
    match &card.address {
        CardAddress::Dhcp => text.push_str("BOOTPROTO=dhcp\n"),
        CardAddress::Static { address: ip, prefix, gateway } if ip.is_ipv4() => {
            text.push_str(&format!("BOOTPROTO=none\nIPADDR={ip}\nPREFIX={prefix}\n"));
            text.extend(gateway.map(|gateway| format!("GATEWAY={gateway}\n")));
        }
        CardAddress::Static { address: ip, prefix, gateway } => {
            text.push_str(&format!("BOOTPROTO=none\nIPV6INIT=yes\nIPV6_AUTOCONF=no\nIPV6ADDR={ip}/{prefix}\n"));
            text.extend(gateway.map(|gateway| format!("IPV6_DEFAULTGW={gateway}\n")));
        }
    }
    text.extend(card.nameservers.iter().enumerate().map(|(index, server)| format!("DNS{}={server}\n", index + 1)));
    if !card.search.is_empty() {
        text.push_str(&format!("DOMAIN=\"{}\"\n", super::joined(&card.search, " ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{super::two_cards, *};

    #[test]
    fn files() {
        let cards = two_cards();
        assert_eq!(ifcfg(0, &cards[0]), "DEVICE=eth0\nHWADDR=52:54:00:00:00:01\nTYPE=Ethernet\nONBOOT=yes\nBOOTPROTO=dhcp\n");
        let expected = "DEVICE=eth1\nHWADDR=52:54:00:00:00:02\nTYPE=Ethernet\nONBOOT=yes\nBOOTPROTO=none\nIPADDR=192.0.2.10\nPREFIX=24\n\
                        GATEWAY=192.0.2.1\nDNS1=192.0.2.2\nDNS2=2001:db8::2\nDOMAIN=\"lab.example example\"\n";
        assert_eq!(ifcfg(1, &cards[1]), expected);
    }

    #[test]
    fn the_templates_cards_stay_down() {
        let table = [
            ("DEVICE=ens3\nONBOOT=\"yes\"\nBOOTPROTO=dhcp", Some("DEVICE=ens3\nONBOOT=no\nBOOTPROTO=dhcp\n")),
            ("DEVICE=ens3\nONBOOT=no\n", None),
        ];
        for (old, new) in table {
            assert_eq!(switched_off(old).as_deref(), new);
        }
    }
}
