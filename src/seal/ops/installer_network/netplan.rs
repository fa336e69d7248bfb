//! netplan's files.

use serde_json::Value;

/// Whether a text is a network configuration.
pub(super) fn is_network(text: &str) -> bool {
    serde_saphyr::from_str::<Value>(text).is_ok_and(|root| root["network"].is_object())
}

/// Whether there is nothing in the file but Ethernet cards with DHCP.
pub(super) fn is_plain_dhcp(text: &str) -> bool {
    let only = |value: &Value, keys: &[&str]| {
        value.as_object().is_some_and(|object| object.keys().all(|key| keys.contains(&key.as_str())))
    };
    let Ok(root) = serde_saphyr::from_str::<Value>(text) else {
        return false;
    };
    let network = &root["network"];
    let cards = network["ethernets"].as_object();
    let is_plain = |card: &Value| {
        only(card, &["dhcp4", "dhcp6", "match", "set-name", "optional", "critical", "dhcp-identifier"])
            && (card["dhcp4"] == Value::Bool(true) || card["dhcp6"] == Value::Bool(true))
    };
    only(&root, &["network"])
        && only(network, &["version", "renderer", "ethernets"])
        && cards.is_some_and(|cards| cards.values().all(is_plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_plain_dhcp_is_the_installers() {
        let head = "# This is the network config written by 'subiquity'\nnetwork:\n  ethernets:\n    ens3:\n";
        let table = [
            ("      dhcp4: true\n  version: 2\n", true),
            (
                "      dhcp4: true\n      match:\n        macaddress: 52:54:00:00:00:01\n      set-name: ens3\n  version: 2\n",
                true,
            ),
            ("      addresses: [192.0.2.9/24]\n  version: 2\n", false),
            ("      dhcp4: true\n      nameservers: {addresses: [192.0.2.1]}\n  version: 2\n", false),
            ("      dhcp4: true\n  bridges: {br0: {}}\n", false),
            ("      dhcp4: false\n", false),
            ("      {{\n", false),
        ];
        for (tail, plain) in table {
            assert_eq!(is_plain_dhcp(&format!("{head}{tail}")), plain, "{tail}");
        }
        assert_eq!(["network: {version: 2}", "network:\n", "network: {", ""].map(is_network), [true, false, false, false]);
        assert!(!is_plain_dhcp("network: {version: 2, renderer: NetworkManager}\n"));
        assert!(!is_plain_dhcp(""));
    }
}
