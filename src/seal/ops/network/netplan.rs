//! netplan's files, edited line by line: comments and order are people's.

use super::has_mac;

/// The text without MAC addresses. A card that was only found by its MAC is found by its name then: that of its entry, if that
/// is one of the kernel's or udev's, or any Ethernet card's.
pub(super) fn without_macs(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut done = String::new();
    for (index, line) in lines.iter().enumerate() {
        let edited = if is_mac(line) { edit(&lines, index) } else { Some((*line).to_owned()) };
        if let Some(line) = edited {
            done.push_str(&line);
            done.push('\n');
        }
    }
    done
}

fn is_mac(line: &str) -> bool {
    !line.trim_start().starts_with('#') && line.contains("macaddress") && has_mac(line)
}

/// What stands in the place of a line with a MAC; none if nothing does.
fn edit(lines: &[&str], index: usize) -> Option<String> {
    let line = lines[index];
    let text = line.trim_start();
    // `match: {macaddress: …}` with nothing else in it.
    if let Some(inline) = text.strip_prefix("match:") {
        let only = inline.trim().trim_matches(['{', '}']).split(',').count() == 1;
        let name = parent(lines, index).map_or(ANY, |parent| card(lines[parent]));
        return if only { Some(format!("{}match: {{name: \"{name}\"}}", indent(line))) } else { Some(line.to_owned()) };
    }
    if !text.starts_with("macaddress:") {
        return Some(line.to_owned());
    }
    // The MAC that the card is given: clones would share it.
    let parent = parent(lines, index).filter(|parent| key(lines[*parent]) == "match")?;
    let siblings = lines.iter().enumerate().filter(|(other, sibling)| {
        *other != index && *other > parent && !sibling.trim().is_empty() && self::parent(lines, *other) == Some(parent)
    });
    if siblings.count() > 0 {
        return None;
    }
    let name = self::parent(lines, parent).map_or(ANY, |entry| card(lines[entry]));
    Some(format!("{}name: \"{name}\"", indent(line)))
}

/// `eth0`, `enp1s0`, …
const ANY: &str = "e*";

/// What finds the card of an entry.
fn card(entry: &str) -> &str {
    let name = key(entry);
    let named = ["en", "eth"].iter().any(|start| name.starts_with(start)) && name.bytes().any(|byte| byte.is_ascii_digit());
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if named && plain { name } else { ANY }
}

fn key(line: &str) -> &str {
    line.trim().split(':').next().unwrap_or_default().trim_matches(['"', '\''])
}

fn indent(line: &str) -> &str {
    &line[..line.len() - line.trim_start().len()]
}

/// The nearest line above that is less indented.
fn parent(lines: &[&str], index: usize) -> Option<usize> {
    let depth = indent(lines[index]).len();
    let is_above = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#') && indent(line).len() < depth;
    (0..index).rev().find(|above| is_above(lines[*above]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_binds_to_a_mac_changes() {
        let table = [
            (
                "# ours\nnetwork:\n  ethernets:\n    enp1s0:\n      match:\n        macaddress: \"52:54:00:00:00:01\"\n      addresses: [192.0.2.9/24]\n      set-name: enp1s0\n",
                "# ours\nnetwork:\n  ethernets:\n    enp1s0:\n      match:\n        name: \"enp1s0\"\n      addresses: [192.0.2.9/24]\n      set-name: enp1s0\n",
            ),
            (
                "  ethernets:\n    lan:\n      match: {macaddress: 52:54:00:00:00:01}\n      macaddress: 52:54:00:00:00:02\n      dhcp4: true\n",
                "  ethernets:\n    lan:\n      match: {name: \"e*\"}\n      dhcp4: true\n",
            ),
            (
                "    lan:\n      match:\n        driver: virtio_net\n        macaddress: 52:54:00:00:00:01\n      dhcp4: true\n",
                "    lan:\n      match:\n        driver: virtio_net\n      dhcp4: true\n",
            ),
            (
                "network: {version: 2}\n# macaddress: 52:54:00:00:00:01\n",
                "network: {version: 2}\n# macaddress: 52:54:00:00:00:01\n",
            ),
            ("macaddress: 52:54:00:00:00:01\n", ""),
            ("", ""),
        ];
        for (before, after) in table {
            assert_eq!(without_macs(before), after, "{before}");
        }
    }
}
