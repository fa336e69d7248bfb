//! From what libvirt says to what the service knows.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use super::{
    defaults::Defaults,
    directory::{Known, Owner},
    instance::{Content, Handed, Instance, Kind},
    nocloud::NOTHING,
};
use crate::core::{
    error::Refusal,
    network::{Lease, Network},
    seed::handed::HandedSeed,
};
use uuid::Uuid;

/// What libvirt said.
#[derive(Debug, Clone, Default)]
pub struct Said {
    /// The live XML of the running domains.
    pub domains: Vec<String>,
    /// The networks.
    pub networks: Vec<Network>,
    /// The leases, by network.
    pub leases: BTreeMap<String, Vec<Lease>>,
    /// The numbers that this machine's network devices had before the domains were asked for.
    pub ports: BTreeMap<String, u32>,
    /// The seeds that are kept for clones.
    pub seeds: BTreeMap<Uuid, HandedSeed>,
}

/// What is known then of the domains with a card on one of these bridges, and what could not be read.
pub fn gather(said: &Said, bridges: &BTreeSet<String>, defaults: &Defaults, host: &str) -> (Known, Vec<String>) {
    let mut unreadable = Vec::new();
    let mut instances = Vec::new();
    for xml in &said.domains {
        match Instance::read(xml) {
            Ok(mut instance) if instance.cards.iter().any(|card| bridges.contains(&card.bridge)) => {
                if let Some(seed) = said.seeds.get(&instance.uuid).filter(|_| instance.kind == Kind::Clone) {
                    instance.content = of_clone(seed, instance.ready);
                }
                instances.push(instance);
            }
            Ok(_) => {}
            Err(error) => unreadable.push(format!("{error:#}")),
        }
    }
    let owners = owners(said, bridges);
    for instance in &mut instances {
        for card in &mut instance.cards {
            let own = owners.iter().filter(|owner| owner.bridge == card.bridge && owner.mac == card.mac);
            // What is kept for it counts more than what it had last.
            let mut own: Vec<&Owner> = own.collect();
            own.sort_by_key(|owner| (!owner.reserved, !owner.address.is_ipv4()));
            card.addresses = own.into_iter().map(|owner| owner.address).collect();
        }
        defaults.apply(host, instance);
    }
    // The same each time, whatever the order of the answers.
    instances.sort_by_key(|instance| instance.uuid);
    (Known { instances, owners }, unreadable)
}

/// That these networks can be served: each is defined, and those that are active have a bridge.
///
/// # Errors
/// [`Refusal`]: one cannot.
pub fn ensure_served(names: &[String], networks: &[Network]) -> Result<(), Refusal> {
    for name in names {
        let Some(network) = networks.iter().find(|network| network.name == *name) else {
            let all: Vec<&str> = networks.iter().map(|network| network.name.as_str()).collect();
            return Err(Refusal::new(format!("there is no network {name}")).advise(format!("there are: {}", all.join(", "))));
        };
        if network.active && network.bridge.is_none() {
            let advice = "its guests are on another machine's wire; --bridge names a bridge of this host";
            return Err(Refusal::new(format!("network {name} has no bridge")).advise(advice));
        }
    }
    Ok(())
}

/// What a clone's maker wrote for it. Once it is ready it has its secrets, and anybody in it could ask for them again.
fn of_clone(seed: &HandedSeed, ready: bool) -> Content {
    let user_data = if ready { NOTHING.to_owned() } else { seed.user_data.expose().clone() };
    let nocloud = Handed { meta_data: seed.meta_data.clone(), network_config: seed.network_config.clone() };
    Content { keys: seed.public_keys.clone(), user_data: Some(user_data), nocloud: Some(nocloud), ..Content::default() }
}

fn owners(said: &Said, bridges: &BTreeSet<String>) -> Vec<Owner> {
    let mut owners = Vec::new();
    for network in &said.networks {
        let Some(bridge) = network.bridge.as_ref().filter(|bridge| bridges.contains(*bridge)) else { continue };
        let mut add = |mac, address: IpAddr, reserved| {
            owners.extend(Option::map(mac, |mac| Owner { bridge: bridge.clone(), address, mac, reserved }));
        };
        network.reservations.iter().for_each(|reservation| add(reservation.mac, reservation.ip, true));
        let leases = said.leases.get(&network.name);
        leases.into_iter().flatten().for_each(|lease| add(lease.mac, lease.ip, false));
    }
    owners
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::network::Reservation;

    fn domain(name: &str, mac: &str, bridge: &str) -> String {
        format!(
            "<domain type='kvm'><name>{name}</name><uuid>11111111-2222-4333-8444-5555555555{mac}</uuid><vcpu>1</vcpu>\
             <memory>1</memory><devices><interface type='bridge'><mac address='52:54:00:00:00:{mac}'/><source bridge='{bridge}'/>\
             <target dev='vnet{mac}'/></interface></devices></domain>"
        )
    }

    #[test]
    fn domains_on_other_bridges_and_what_cannot_be_read_are_left_out() {
        let mac = |last: &str| Some(format!("52:54:00:00:00:{last}").parse().unwrap());
        let ip = |last: u8| IpAddr::from([192, 0, 2, last]);
        let reservation = Reservation { network: "default".to_owned(), mac: mac("0b"), ip: ip(11), name: None };
        let network = Network {
            name: "default".to_owned(),
            bridge: Some("br0".to_owned()),
            reservations: vec![reservation],
            ..Network::default()
        };
        let lease = |last: &str, address: u8| Lease { mac: mac(last), ip: ip(address), hostname: None };
        let said = Said {
            domains: vec![domain("b", "0b", "br0"), domain("a", "0a", "br0"), domain("c", "0c", "br9"), "<domain/>".to_owned()],
            networks: vec![network],
            leases: [("default".to_owned(), vec![lease("0a", 10), lease("0b", 99)]), ("other".to_owned(), vec![lease("0a", 5)])]
                .into(),
            ports: BTreeMap::new(),
            seeds: BTreeMap::new(),
        };
        let (known, unreadable) = gather(&said, &["br0".to_owned()].into(), &Defaults::default(), "hv1");
        let found: Vec<_> =
            known.instances.iter().map(|instance| (instance.domain.as_str(), instance.cards[0].addresses[0])).collect();
        assert_eq!(found, [("a", ip(10)), ("b", ip(11))]);
        assert_eq!((known.owners.len(), unreadable.len()), (3, 1));
    }

    /// A clone's XML: of this name, with a record that says how it gets its seed, and marked as ready.
    fn clone(name: &str, seed: &str, ready: bool) -> String {
        let record = format!(
            r#"{{"kind":"clone","purpose":"clone","name":"web01","template":"debian13","version":"20261121-031000","digest":"",
            "linked":true,"phase":"complete","run":{{"id":"00000000-0000-0000-0000-000000000001","host":"hv","since":"2026-11-21T03:10:00Z"}},
            "created_at":"2026-11-21T03:10:00Z","user":"debian","ssh_host_keys":["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ root@web01"],"volumes":[],"pool":"default","seed":"{seed}"}}"#
        );
        let mark = r#"{"at":"2026-11-21T03:10:00Z","instance":"11111111-2222-4333-8444-55555555550a"}"#;
        let mark = format!("<r:ready xmlns:r='urn:tpl:ready:1'>{mark}</r:ready>");
        let metadata = format!("<tpl:tpl xmlns:tpl='urn:tpl:metadata:1'>{record}</tpl:tpl>{}", if ready { &mark } else { "" });
        domain(name, "0a", "br0").replace("<vcpu>", &format!("<metadata>{metadata}</metadata><vcpu>"))
    }

    #[test]
    fn a_clone_is_told_its_seed_or_that_there_is_none_yet() {
        let seed = HandedSeed {
            meta_data: "a: 1\n".to_owned(),
            network_config: String::new(),
            user_data: crate::core::secret::Secret::new("secret".to_owned()),
            public_keys: Vec::new(),
        };
        let table = [
            ("its seed is known", clone("web01", "metadata", false), true, Some("secret"), false),
            ("it is not", clone("web01", "metadata", false), false, None, true),
            ("it is ready", clone("web01", "metadata", true), true, Some(NOTHING), false),
            ("it is ready, and its seed is gone", clone("web01", "metadata", true), false, None, false),
            ("its seed is a volume", clone("web01", "volume", false), false, None, false),
            ("a copy of a clone", clone("web02", "metadata", false), false, None, false),
            ("nobody's", domain("web01", "0a", "br0"), true, None, false),
        ];
        for (case, xml, known, user_data, lacks) in table {
            let seeds =
                known.then(|| ("11111111-2222-4333-8444-55555555550a".parse().unwrap(), seed.clone())).into_iter().collect();
            let said = Said { domains: vec![xml], seeds, ..Said::default() };
            let (found, unreadable) = gather(&said, &["br0".to_owned()].into(), &Defaults::default(), "hv1");
            assert_eq!(unreadable, Vec::<String>::new(), "{case}");
            let instance = &found.instances[0];
            assert_eq!((instance.content.user_data.as_deref(), instance.lacks_seed()), (user_data, lacks), "{case}");
            let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
            assert_eq!(instance.host_keys, if case == "nobody's" { vec![] } else { vec![key] }, "{case}");
        }
    }
}
