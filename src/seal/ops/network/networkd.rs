//! systemd-networkd's files, and udev's `.link` files.

use super::has_mac;

/// The text without MAC addresses. A file that only found its card by the MAC is for any Ethernet card then: with an empty
/// `[Match]` networkd takes no notice of it.
pub(super) fn without_macs(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut done = String::new();
    let mut section = "";
    for (index, line) in lines.iter().enumerate() {
        if line.starts_with('[') {
            section = line.trim();
        }
        let stays = match (is_mac(line), section) {
            (false, _) => Some(*line),
            (true, "[Match]") if is_alone(&lines, index) => Some("Type=ether"),
            (true, _) => None,
        };
        if let Some(line) = stays {
            done.push_str(line);
            done.push('\n');
        }
    }
    done
}

fn is_mac(line: &str) -> bool {
    line.split_once('=').is_some_and(|(key, value)| key.trim().ends_with("MACAddress") && has_mac(value))
}

/// Whether a line is the first of those in its section that say anything besides a MAC's lines.
fn is_alone(lines: &[&str], index: usize) -> bool {
    let says = |line: &&&str| !line.trim().is_empty() && !line.starts_with(['#', ';']);
    let before = lines[..index].iter().rev().take_while(|line| !line.starts_with('['));
    let after = lines[index + 1..].iter().take_while(|line| !line.starts_with('['));
    before.filter(says).count() == 0 && after.filter(says).all(|line| is_mac(line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_binds_to_a_mac_changes() {
        let table = [
            (
                "[Match]\nMACAddress=52:54:00:00:00:01\n\n[Network]\nAddress=192.0.2.9/24\n",
                "[Match]\nType=ether\n\n[Network]\nAddress=192.0.2.9/24\n",
            ),
            (
                "[Match]\nName=en*\nMACAddress=52:54:00:00:00:01\n[Network]\nDHCP=yes\n",
                "[Match]\nName=en*\n[Network]\nDHCP=yes\n",
            ),
            ("[NetDev]\nName=br0\nKind=bridge\nMACAddress=52:54:00:00:00:01\n", "[NetDev]\nName=br0\nKind=bridge\n"),
            ("[NetDev]\nMACAddress=none\n", "[NetDev]\nMACAddress=none\n"),
            ("[Match]\nPermanentMACAddress=52:54:00:00:00:01 52:54:00:00:00:02\n", "[Match]\nType=ether\n"),
        ];
        for (before, after) in table {
            assert_eq!(without_macs(before), after, "{before}");
        }
    }
}
