//! systemd-networkd: systemd.network(5).

use super::{Change, joined};
use crate::offline::{CardAddress, CardConfig};

/// A `.network` file a card. Named so that it sorts before every other, for the first that matches is taken.
pub(in crate::offline) fn networkd(cards: &[CardConfig]) -> Vec<Change> {
    let file = |(index, card): (usize, &CardConfig)| Change {
        path: format!("/etc/systemd/network/05-tpl-{index}.network"),
        text: network(card),
        mode: 0o644,
    };
    cards.iter().enumerate().map(file).collect()
}

fn network(card: &CardConfig) -> String {
    let mut text = format!("[Match]\nMACAddress={}\n\n[Network]\n", card.mac);
    match &card.address {
        CardAddress::Dhcp => text.push_str("DHCP=ipv4\n"),
        CardAddress::Static { address: ip, prefix, gateway } => {
            text.push_str(&format!("Address={ip}/{prefix}\n"));
            text.extend(gateway.map(|gateway| format!("Gateway={gateway}\n")));
        }
    }
    text.extend(card.nameservers.iter().map(|server| format!("DNS={server}\n")));
    if !card.search.is_empty() {
        text.push_str(&format!("Domains={}\n", joined(&card.search, " ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::{shown, two_cards};

    #[test]
    fn files() {
        let expected = "== /etc/systemd/network/05-tpl-0.network 644\n[Match]\nMACAddress=52:54:00:00:00:01\n\n[Network]\nDHCP=ipv4\n\
            == /etc/systemd/network/05-tpl-1.network 644\n[Match]\nMACAddress=52:54:00:00:00:02\n\n[Network]\n\
            Address=192.0.2.10/24\nGateway=192.0.2.1\nDNS=192.0.2.2\nDNS=2001:db8::2\nDomains=lab.example example\n";
        assert_eq!(shown(&super::networkd(&two_cards())), expected);
    }
}
