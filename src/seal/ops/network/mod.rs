//! MAC addresses and hostnames in network configuration. The configuration itself stays: it can be there on purpose.

mod netplan;
mod networkd;

use anyhow::Result;

use crate::{
    host::guest::Files,
    seal::{
        ops::{edit_lines, edit_text, merge, text_of},
        table::{Operation, Outcome},
    },
};

/// The operation.
pub const OPERATION: Operation = Operation {
    name: "network",
    summary: "removes MAC addresses and hostnames from interface configuration",
    families: &[],
    default: true,
    run,
};

/// ifupdown's files.
pub(super) const INTERFACES: [&str; 2] = ["/etc/network/interfaces", "/etc/network/interfaces.d/*"];

fn run(files: &dyn Files) -> Result<Outcome> {
    let without = |keys: &'static [&str]| {
        move |line: &str| {
            let key = line.split('=').next().unwrap_or_default().trim();
            (!keys.contains(&key)).then(|| line.to_owned())
        }
    };
    let ifcfg = ["/etc/sysconfig/network-scripts/ifcfg-*", "/etc/sysconfig/network/ifcfg-*", "/etc/sysconfig/network"];
    let ifcfg = edit_lines(files, &ifcfg, &without(&["HWADDR", "MACADDR", "LLADDR", "HOSTNAME", "DHCP_HOSTNAME"]))?;
    // Connections keep their UUIDs: they name a profile within one machine, and NetworkManager mixes them with the machine's
    // own key, which is gone, where an address comes of them.
    let keyfiles = ["/etc/NetworkManager/system-connections/*"];
    let keyfiles = edit_lines(files, &keyfiles, &|line| {
        let copied = line.trim_start().starts_with("cloned-mac-address") && has_mac(line);
        without(&["mac-address", "dhcp-hostname"])(line).filter(|_| !copied)
    })?;
    let interfaces = edit_lines(files, &INTERFACES, &|line| {
        let hardware = line.split_whitespace().next().is_some_and(|word| ["hwaddress", "hostname"].contains(&word));
        (!hardware).then(|| line.to_owned())
    })?;
    let netplan = edit_text(files, &["/etc/netplan/*.yaml", "/etc/netplan/*.yml"], &netplan::without_macs)?;
    let networkd = ["/etc/systemd/network/*.network", "/etc/systemd/network/*.link", "/etc/systemd/network/*.netdev"];
    let networkd = edit_text(files, &networkd, &networkd::without_macs)?;
    Ok(merge([ifcfg, keyfiles, interfaces, netplan, networkd]))
}

/// Whether a line names an Ethernet address.
pub(in crate::seal) fn has_mac(line: &str) -> bool {
    let octet = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    let is_mac = |word: &str| word.split(':').count() == 6 && word.split(':').all(octet);
    line.split(|letter: char| !letter.is_ascii_hexdigit() && letter != ':').any(|word| is_mac(word.trim_matches(':')))
}

/// Whether ifupdown is told a static address.
pub(super) fn has_static_interfaces(files: &dyn Files) -> Result<bool> {
    for path in files.glob(&INTERFACES)? {
        let fixed = |line: &str| line.split_whitespace().next() == Some("iface") && line.trim_end().ends_with(" static");
        if text_of(files, &path)?.lines().any(fixed) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ethernet_addresses_are_recognised() {
        let table = [
            ("HWADDR=52:54:00:ab:cd:EF", true),
            ("      macaddress: \"52:54:00:ab:cd:ef\"", true),
            ("ATTR{address}==\"52:54:00:ab:cd:ef\", NAME=\"eth0\"", true),
            ("address: 52:54:00:ab:cd", false),
            ("2001:db8:1:2:3:4:5:6", false),
            ("fe80::5054:ff:feab:cdef/64", false),
            ("12:34:56", false),
            ("cloned-mac-address=preserve", false),
        ];
        for (line, expected) in table {
            assert_eq!(has_mac(line), expected, "{line}");
        }
    }
}
