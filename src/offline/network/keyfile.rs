//! NetworkManager: nm-settings-keyfile(5).

use std::net::IpAddr;

use uuid::Uuid;

use super::{Change, joined};
use crate::offline::{CardAddress, CardConfig};

/// A keyfile a card. The connections' UUIDs come from the clone's own, so that they stay the same.
pub(in crate::offline) fn keyfiles(uuid: Uuid, cards: &[CardConfig]) -> Vec<Change> {
    let file = |(index, card): (usize, &CardConfig)| Change {
        path: format!("/etc/NetworkManager/system-connections/tpl-{index}.nmconnection"),
        text: keyfile(index, Uuid::from_u128(uuid.as_u128() ^ (index as u128 + 1)), card),
        // NetworkManager refuses one that others can read.
        mode: 0o600,
    };
    cards.iter().enumerate().map(file).collect()
}

fn keyfile(index: usize, uuid: Uuid, card: &CardConfig) -> String {
    // The priority is above that of what the template may have for the same card.
    let mut text = format!(
        "[connection]\nid=tpl-{index}\nuuid={uuid}\ntype=ethernet\nautoconnect-priority=100\n\n\
         [ethernet]\nmac-address={}\n",
        card.mac
    );
    for (section, four) in [("ipv4", true), ("ipv6", false)] {
        text.push_str(&format!("\n[{section}]\n{}", family(card, four)));
    }
    text
}

fn family(card: &CardConfig, four: bool) -> String {
    let mut text = String::new();
    match &card.address {
        CardAddress::Static { address: ip, prefix, gateway } if ip.is_ipv4() == four => {
            let gateway = gateway.map(|gateway| format!(",{gateway}")).unwrap_or_default();
            text.push_str(&format!("method=manual\naddress1={ip}/{prefix}{gateway}\n"));
        }
        // IPv6 by router advertisements; IPv4 not at all on a card that has an IPv6 address of its own.
        CardAddress::Static { .. } if four => text.push_str("method=disabled\n"),
        CardAddress::Static { .. } | CardAddress::Dhcp => text.push_str("method=auto\n"),
    }
    let servers: Vec<&IpAddr> = card.nameservers.iter().filter(|server| server.is_ipv4() == four).collect();
    if !servers.is_empty() {
        text.push_str(&format!("dns={};\n", joined(&servers, ";")));
    }
    if !card.search.is_empty() && !text.starts_with("method=disabled") {
        text.push_str(&format!("dns-search={};\n", joined(&card.search, ";")));
    }
    text
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::super::{shown, two_cards};

    #[test]
    fn files() {
        let expected = "\
== /etc/NetworkManager/system-connections/tpl-0.nmconnection 600
[connection]
id=tpl-0
uuid=00000000-0000-0000-0000-000000000101
type=ethernet
autoconnect-priority=100

[ethernet]
mac-address=52:54:00:00:00:01

[ipv4]
method=auto

[ipv6]
method=auto
== /etc/NetworkManager/system-connections/tpl-1.nmconnection 600
[connection]
id=tpl-1
uuid=00000000-0000-0000-0000-000000000102
type=ethernet
autoconnect-priority=100

[ethernet]
mac-address=52:54:00:00:00:02

[ipv4]
method=manual
address1=192.0.2.10/24,192.0.2.1
dns=192.0.2.2;
dns-search=lab.example;example;

[ipv6]
method=auto
dns=2001:db8::2;
dns-search=lab.example;example;
";
        assert_eq!(shown(&super::keyfiles(Uuid::from_u128(0x100), &two_cards())), expected);
    }
}
