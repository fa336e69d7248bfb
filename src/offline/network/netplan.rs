//! netplan: <https://netplan.readthedocs.io/en/stable/netplan-yaml/>.

use super::{Change, joined};
use crate::offline::{CardAddress, CardConfig};

/// One file with all cards. Not by serialising: every value has a type whose texts have no quotes in them.
pub(in crate::offline) fn netplan(cards: &[CardConfig]) -> Vec<Change> {
    let mut text = "network:\n  version: 2\n  ethernets:\n".to_owned();
    for (index, card) in cards.iter().enumerate() {
        // A digit first: of two entries for one card networkd takes the one that sorts first, and a template may have one
        // under the card's name.
        text.push_str(&format!("    0tpl{index}:\n      match:\n        macaddress: \"{}\"\n", card.mac));
        text.push_str(&ethernet(card));
    }
    // The mode that netplan asks for: there can be secrets in such files.
    vec![Change { path: "/etc/netplan/90-tpl.yaml".to_owned(), text, mode: 0o600 }]
}

fn ethernet(card: &CardConfig) -> String {
    let mut text = String::new();
    match &card.address {
        CardAddress::Dhcp => text.push_str("      dhcp4: true\n"),
        CardAddress::Static { address: ip, prefix, gateway } => {
            text.push_str(&format!("      addresses: [\"{ip}/{prefix}\"]\n"));
            if let Some(gateway) = gateway {
                // Every release of netplan knows this spelling; the word default is younger.
                let all = if gateway.is_ipv4() { "0.0.0.0/0" } else { "::/0" };
                text.push_str(&format!("      routes: [{{to: \"{all}\", via: \"{gateway}\"}}]\n"));
            }
        }
    }
    if !card.nameservers.is_empty() || !card.search.is_empty() {
        text.push_str("      nameservers:\n");
        text.push_str(&list("addresses", &card.nameservers));
        text.push_str(&list("search", &card.search));
    }
    text
}

fn list<T: ToString>(key: &str, values: &[T]) -> String {
    if values.is_empty() { String::new() } else { format!("        {key}: [\"{}\"]\n", joined(values, "\", \"")) }
}

#[cfg(test)]
mod tests {
    use super::super::{shown, two_cards};

    #[test]
    fn one_file() {
        let expected = "\
== /etc/netplan/90-tpl.yaml 600
network:
  version: 2
  ethernets:
    0tpl0:
      match:
        macaddress: \"52:54:00:00:00:01\"
      dhcp4: true
    0tpl1:
      match:
        macaddress: \"52:54:00:00:00:02\"
      addresses: [\"192.0.2.10/24\"]
      routes: [{to: \"0.0.0.0/0\", via: \"192.0.2.1\"}]
      nameservers:
        addresses: [\"192.0.2.2\", \"2001:db8::2\"]
        search: [\"lab.example\", \"example\"]
";
        assert_eq!(shown(&super::netplan(&two_cards())), expected);
    }
}
