//! Networks of a hypervisor: what they are, and which of their addresses are taken.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use super::{error::Refusal, mac::Mac};

/// What an interface is plugged into.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Plug {
    /// A libvirt network, by its name.
    Network(String),
    /// A bridge of the hypervisor, by its device's name.
    Bridge(String),
}

impl Plug {
    /// The libvirt network, if it is one.
    pub fn network(&self) -> Option<&str> {
        match self {
            Self::Network(name) => Some(name),
            Self::Bridge(_) => None,
        }
    }
}

/// A libvirt network.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// Whether it runs.
    pub active: bool,
    /// The bridge that it is made of.
    pub bridge: Option<String>,
    /// The domain that its DNS server answers for.
    pub domain: Option<String>,
    /// Whether libvirt runs a DNS server for it: it has an address of its own, and DNS is not switched off.
    pub dns: bool,
    /// Its first IPv4 subnet.
    pub subnet: Option<Subnet>,
    /// The addresses that its DHCP server keeps for someone.
    pub reservations: Vec<Reservation>,
    /// What its DNS server answers besides.
    pub hosts: Vec<(IpAddr, Vec<String>)>,
}

/// An IPv4 subnet of a libvirt network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subnet {
    /// The hypervisor's own address in it.
    pub gateway: Ipv4Addr,
    /// The length of its prefix.
    pub prefix: u8,
    /// What its DHCP server gives away by itself. Empty without a DHCP server.
    pub ranges: Vec<(Ipv4Addr, Ipv4Addr)>,
}

/// An address that a libvirt network's DHCP server keeps for one network card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    /// The network.
    pub network: String,
    /// The card; libvirt knows reservations by name alone, too.
    pub mac: Option<Mac>,
    /// The address.
    pub ip: IpAddr,
    /// The host's name.
    pub name: Option<String>,
}

/// An address that a DHCP server has given away for a while.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Who has it.
    pub mac: Option<Mac>,
    /// The address.
    pub ip: IpAddr,
    /// The name that the guest called itself.
    pub hostname: Option<String>,
}

impl Reservation {
    /// Whether both keep the same address for the same card; for the same name, where no card is known.
    pub fn is_for_the_same(&self, other: &Self) -> bool {
        let named_alike = || same_name(self.name.as_deref(), other.name.as_deref());
        self.ip == other.ip && self.mac == other.mac && (self.mac.is_some() || named_alike())
    }
}

impl Network {
    /// The same with what another of the network's definitions keeps besides: live and persistent ones can differ.
    pub fn with_entries_of(mut self, other: Self) -> Self {
        let reservations = other.reservations.into_iter().filter(|entry| !self.reservations.contains(entry)).collect::<Vec<_>>();
        let hosts = other.hosts.into_iter().filter(|entry| !self.hosts.contains(entry)).collect::<Vec<_>>();
        self.reservations.extend(reservations);
        self.hosts.extend(hosts);
        self
    }

    /// Whether a reservation is there already, just so.
    ///
    /// # Errors
    /// [`Refusal`]: its card, its address or its name is in another one. Names all of those.
    pub fn has_reservation(&self, wanted: &Reservation) -> Result<bool, Refusal> {
        let is_wanted = |entry: &&Reservation| entry.is_for_the_same(wanted) && entry.name == wanted.name;
        let there = self.reservations.iter().any(|entry| is_wanted(&entry));
        let others = self.reservations.iter().filter(|entry| !is_wanted(entry));
        let clashes: Vec<String> = others.filter_map(|other| self.clash(wanted, other)).collect();
        if clashes.is_empty() { Ok(there) } else { Err(Refusal { reasons: clashes, advice: None }) }
    }

    /// What a reservation shares with another.
    fn clash(&self, wanted: &Reservation, other: &Reservation) -> Option<String> {
        let mut shared = Vec::new();
        if let Some(mac) = wanted.mac.filter(|mac| other.mac == Some(*mac)) {
            shared.push(mac.to_string());
        }
        if wanted.ip == other.ip {
            shared.push(wanted.ip.to_string());
        }
        if let Some(name) = wanted.name.as_deref().filter(|name| same_name(Some(name), other.name.as_deref())) {
            shared.push(format!("the name {name}"));
        }
        let (shared, network) = (shared.join(" and "), &self.name);
        (!shared.is_empty()).then(|| format!("network {network} reserves {shared} already: {}", describe(other)))
    }

    /// Whether DNS answers already for this address with just these names.
    ///
    /// # Errors
    /// [`Refusal`]: it answers for the address with other names, or for one of the names with another address of the same
    /// family. One name with an address of each family is as it should be.
    pub fn has_dns_host(&self, ip: IpAddr, names: &[String]) -> Result<bool, Refusal> {
        let (mut there, mut reasons) = (false, Vec::new());
        for (other, theirs) in &self.hosts {
            let shares_name = theirs.iter().any(|name| names.iter().any(|wanted| wanted.eq_ignore_ascii_case(name)));
            if *other == ip && same_names(names, theirs) {
                there = true;
            } else if *other == ip || (shares_name && other.is_ipv4() == ip.is_ipv4()) {
                let theirs = theirs.join(", ");
                reasons.push(format!("the DNS of network {} has another entry: {other} is {theirs}", self.name));
            }
        }
        if reasons.is_empty() { Ok(there) } else { Err(Refusal { reasons, advice: None }) }
    }
}

/// Whether two names are one to a DNS server.
fn same_name(one: Option<&str>, other: Option<&str>) -> bool {
    matches!((one, other), (Some(one), Some(other)) if one.eq_ignore_ascii_case(other))
}

/// Whether two lists hold the same names, in any order.
pub fn same_names(one: &[String], other: &[String]) -> bool {
    let within =
        |these: &[String], those: &[String]| these.iter().all(|name| those.iter().any(|it| it.eq_ignore_ascii_case(name)));
    within(one, other) && within(other, one)
}

/// A reservation in an operator's words.
fn describe(reservation: &Reservation) -> String {
    let mac = reservation.mac.map(|mac| format!(" for {mac}")).unwrap_or_default();
    let name = reservation.name.as_ref().map(|name| format!(", named {name}")).unwrap_or_default();
    format!("{}{mac}{name}", reservation.ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reservation(mac: Option<u8>, ip: &str, name: Option<&str>) -> Reservation {
        let mac = mac.map(|last| Mac([0x52, 0x54, 0, 0, 0, last]));
        Reservation { network: "lab".to_owned(), mac, ip: ip.parse().unwrap(), name: name.map(str::to_owned) }
    }

    #[test]
    fn a_reservation_stands_in_no_other_ones_way() {
        let reservations = vec![
            reservation(Some(1), "192.0.2.1", Some("web1")),
            reservation(Some(2), "192.0.2.2", None),
            reservation(None, "192.0.2.3", Some("web3")),
        ];
        let network = Network { name: "lab".to_owned(), reservations, ..Network::default() };
        let first = "192.0.2.1 for 52:54:00:00:00:01, named web1";
        let table = [
            (Some(9), "192.0.2.9", Some("web9"), Ok::<_, Vec<String>>(false)),
            (Some(9), "192.0.2.9", None, Ok(false)),
            (Some(1), "192.0.2.1", Some("web1"), Ok(true)),
            (Some(2), "192.0.2.2", None, Ok(true)),
            (None, "192.0.2.3", Some("web3"), Ok(true)),
            (Some(1), "192.0.2.9", None, Err(vec![format!("network lab reserves 52:54:00:00:00:01 already: {first}")])),
            (None, "192.0.2.9", Some("WEB1"), Err(vec![format!("network lab reserves the name WEB1 already: {first}")])),
            (
                Some(1),
                "192.0.2.1",
                Some("web2"),
                Err(vec![format!("network lab reserves 52:54:00:00:00:01 and 192.0.2.1 already: {first}")]),
            ),
            (
                Some(2),
                "192.0.2.1",
                Some("web3"),
                Err(vec![
                    format!("network lab reserves 192.0.2.1 already: {first}"),
                    "network lab reserves 52:54:00:00:00:02 already: 192.0.2.2 for 52:54:00:00:00:02".to_owned(),
                    "network lab reserves the name web3 already: 192.0.2.3, named web3".to_owned(),
                ]),
            ),
        ];
        for (mac, ip, name, expected) in table {
            let found = network.has_reservation(&reservation(mac, ip, name)).map_err(|refusal| refusal.reasons);
            assert_eq!(found, expected, "{mac:?} {ip} {name:?}");
        }
    }

    #[test]
    fn a_dns_entry_stands_in_no_other_ones_way() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let hosts =
            vec![("192.0.2.1".parse().unwrap(), names(&["web1", "www"])), ("2001:db8::1".parse().unwrap(), names(&["web1"]))];
        let network = Network { name: "lab".to_owned(), hosts, ..Network::default() };
        let clash = || Err(vec!["the DNS of network lab has another entry: 192.0.2.1 is web1, www".to_owned()]);
        let table = [
            ("192.0.2.2", names(&["web2"]), Ok(false)),
            ("192.0.2.1", names(&["WWW", "web1"]), Ok(true)),
            ("192.0.2.1", names(&["web1"]), clash()),
            ("192.0.2.1", names(&["web2"]), clash()),
            ("192.0.2.2", names(&["web2", "Web1"]), clash()),
            ("2001:db8::2", names(&["www"]), Ok(false)),
        ];
        for (ip, names, expected) in table {
            let found = network.has_dns_host(ip.parse().unwrap(), &names).map_err(|refusal| refusal.reasons);
            assert_eq!(found, expected, "{ip} {names:?}");
        }
    }

    #[test]
    fn both_definitions_entries_count() {
        let entries = [reservation(Some(1), "192.0.2.1", None), reservation(Some(2), "192.0.2.2", None)];
        let hosts = [("192.0.2.1".parse().unwrap(), vec!["a".to_owned()]), ("192.0.2.1".parse().unwrap(), vec!["b".to_owned()])];
        let network = |from: usize, to: usize| Network {
            reservations: entries[from..to].to_vec(),
            hosts: hosts[from..to].to_vec(),
            ..Network::default()
        };
        for (one, other) in [(network(0, 1), network(0, 2)), (network(0, 1), network(1, 2)), (network(0, 2), network(1, 2))] {
            assert_eq!(one.with_entries_of(other), network(0, 2));
        }
    }

    #[test]
    fn a_reservation_is_known_by_its_card_and_address() {
        let table = [
            ((Some(1), "192.0.2.1", Some("a")), (Some(1), "192.0.2.1", Some("b")), true),
            ((Some(1), "192.0.2.1", None), (Some(2), "192.0.2.1", None), false),
            ((Some(1), "192.0.2.1", None), (Some(1), "192.0.2.2", None), false),
            ((None, "192.0.2.1", Some("a")), (None, "192.0.2.1", Some("A")), true),
            ((None, "192.0.2.1", Some("a")), (None, "192.0.2.1", Some("b")), false),
            ((None, "192.0.2.1", Some("a")), (Some(1), "192.0.2.1", Some("a")), false),
        ];
        for ((mac, ip, name), (other_mac, other_ip, other_name), same) in table {
            let (one, other) = (reservation(mac, ip, name), reservation(other_mac, other_ip, other_name));
            assert_eq!(one.is_for_the_same(&other), same, "{one:?} {other:?}");
        }
    }
}
