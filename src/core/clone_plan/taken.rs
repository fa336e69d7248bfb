//! Who has a name already.

use super::Facts;

/// What stands behind a name on the hypervisor; none if it is free.
pub fn holder_of(name: &str, facts: &Facts) -> Option<String> {
    if facts.inventory.names.contains(name) {
        return Some("there is a domain of this name".to_owned());
    }
    let own = |volume: &str| {
        let rest = volume.strip_prefix(name);
        rest.is_some_and(|rest| matches!(rest, "" | "-seed" | "-nvram") || is_further_disk(rest))
    };
    if let Some(volume) = facts.volumes.iter().find(|volume| own(&volume.name)) {
        return Some(format!("there is a volume {}", volume.name));
    }
    if let Some(volume) = facts.pool.beside.names.iter().find(|volume| own(volume)) {
        let group = facts.pool.group().unwrap_or_default();
        return Some(format!("there is a volume {volume} in volume group {group}"));
    }
    for network in facts.taken.networks.values() {
        if let Some(reservation) = network.reservations.iter().find(|host| host.name.as_deref() == Some(name)) {
            let (network, ip) = (&network.name, reservation.ip);
            let frees = format!("virsh net-update {network} delete ip-dhcp-host \"<host ip='{ip}'/>\" --live --config");
            return Some(format!("network {network} keeps {ip} for it (if no machine needs that any more, `{frees}` frees it)"));
        }
        if let Some((ip, _)) = network.hosts.iter().find(|(_, names)| names.iter().any(|host| host == name)) {
            return Some(format!("the DNS of network {} has it at {ip}", network.name));
        }
    }
    None
}

fn is_further_disk(rest: &str) -> bool {
    rest.strip_prefix("-disk").is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}
