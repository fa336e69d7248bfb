//! Networks in memory, with what their DHCP and DNS servers keep.

use std::net::IpAddr;

use anyhow::{Context as _, Result};
use tpl::core::{
    manifest::Metadata,
    metadata,
    network::{Lease, Network, Reservation, same_names},
    xml::read::domain_facts,
};

use super::{
    machine::State,
    run::{FakeRun, Step},
};

impl FakeRun {
    pub fn one_network(&self, name: &str) -> Result<Option<Network>> {
        self.step(Step::ReadNetwork, name)?;
        Ok(self.machine.state().networks.get(name).cloned())
    }

    pub fn all_leases(&self, network: &str) -> Result<Vec<Lease>> {
        self.step(Step::ReadLeases, network)?;
        let mut state = self.machine.state();
        state.network(network)?;
        let mut leases = state.leases.get(network).cloned().unwrap_or_default();
        if network == "default" {
            leases.extend(state.domains.keys().filter_map(|name| {
                let mac = domain_facts(&state.domains[name].xml).ok()?.macs.first().copied();
                Some(Lease { mac, ip: state.lease(name)?, hostname: Some(name.clone()) })
            }));
        }
        Ok(leases)
    }

    pub fn add_reservation(&self, wanted: &Reservation) -> Result<()> {
        self.step(Step::ReserveAddress, &format!("{} {}", wanted.network, wanted.ip))?;
        let mut state = self.machine.state();
        let network = state.network(&wanted.network)?;
        if !network.has_reservation(wanted)? {
            network.reservations.push(wanted.clone());
        }
        Ok(())
    }

    pub fn remove_reservation(&self, wanted: &Reservation) -> Result<()> {
        self.step(Step::ReleaseAddress, &format!("{} {}", wanted.network, wanted.ip))?;
        if let Some(network) = self.machine.state().networks.get_mut(&wanted.network) {
            network.reservations.retain(|entry| !entry.is_for_the_same(wanted));
        }
        Ok(())
    }

    pub fn put_dns_host(&self, network: &str, ip: IpAddr, names: &[String]) -> Result<()> {
        self.step(Step::AddDnsHost, &format!("{network} {ip}"))?;
        let mut state = self.machine.state();
        let network = state.network(network)?;
        if !network.has_dns_host(ip, names)? {
            network.hosts.push((ip, names.to_vec()));
        }
        Ok(())
    }

    pub fn take_dns_host(&self, network: &str, ip: IpAddr, names: &[String]) -> Result<()> {
        self.step(Step::RemoveDnsHost, &format!("{network} {ip}"))?;
        if let Some(network) = self.machine.state().networks.get_mut(network) {
            network.hosts.retain(|(address, theirs)| *address != ip || !same_names(theirs, names));
        }
        Ok(())
    }
}

impl State {
    fn network(&mut self, name: &str) -> Result<&mut Network> {
        self.networks.get_mut(name).with_context(|| format!("network {name} does not exist"))
    }

    /// The address of a domain that has run for a moment: the one that is written into the guest, or what DHCP gives it.
    pub fn address(&self, name: &str) -> Option<IpAddr> {
        let fixed = self.fixed(name).filter(|_| self.asks(name));
        fixed.or_else(|| self.lease(name))
    }

    /// The address that a clone was promised and no DHCP server keeps.
    fn fixed(&self, name: &str) -> Option<IpAddr> {
        match metadata::read(&self.domains.get(name)?.xml) {
            Ok(Some(Metadata::Clone(record))) if record.reservations.is_empty() => record.addresses.first().copied(),
            _ => None,
        }
    }

    fn asks(&self, name: &str) -> bool {
        self.on_network && self.domains.get(name).is_some_and(|domain| domain.state.is_active() && domain.age > 0)
    }

    /// What DHCP gives it: the address that is kept for its card, or one for its place.
    pub fn lease(&self, name: &str) -> Option<IpAddr> {
        if !self.asks(name) || self.fixed(name).is_some() {
            return None;
        }
        let index = self.domains.keys().position(|domain| domain == name)?;
        let domain = &self.domains[name];
        let macs = domain_facts(&domain.xml).ok()?.macs;
        let mut reservations = self.networks.values().flat_map(|network| &network.reservations);
        let kept = reservations.find(|entry| entry.mac.is_some_and(|mac| macs.contains(&mac)));
        Some(kept.map_or_else(|| IpAddr::from([192, 0, 2, u8::try_from(index + 1).unwrap()]), |entry| entry.ip))
    }
}

#[cfg(test)]
mod tests {
    use tpl::{
        core::{error::exit_code, network::Reservation},
        host::hypervisor::Hypervisor as _,
    };

    use crate::{
        machine::Machine,
        run::{Fault, Step, fault_text},
    };

    fn reservation(last: u8) -> Reservation {
        Reservation {
            network: "default".to_owned(),
            mac: Some(format!("52:54:00:00:00:{last:02x}").parse().unwrap()),
            ip: [192, 0, 2, last].into(),
            name: Some(format!("web{last}")),
        }
    }

    #[test]
    fn the_fake_keeps_what_a_network_is_given() {
        let machine = Machine::new();
        let (run, first) = (machine.run(), reservation(1));
        let names = ["web1".to_owned()];
        for _ in 0..2 {
            run.reserve_address(&first).unwrap();
            run.add_dns_host("default", first.ip, &names).unwrap();
        }
        let network = run.network("default").unwrap().unwrap();
        assert_eq!((network.reservations, network.hosts), (vec![first.clone()], vec![(first.ip, names.to_vec())]));
        assert_eq!(machine.leftovers(), ["reservation default 192.0.2.1", "dns default 192.0.2.1"]);
        let clash = run.reserve_address(&Reservation { ip: [192, 0, 2, 2].into(), ..first.clone() }).unwrap_err();
        assert_eq!(exit_code(&clash), 3, "{clash:#}");
        assert_eq!(exit_code(&run.add_dns_host("default", [192, 0, 2, 2].into(), &names).unwrap_err()), 3);
        run.release_address(&reservation(2)).unwrap();
        run.remove_dns_host("default", first.ip, &["other".to_owned()]).unwrap();
        assert_eq!(machine.leftovers().len(), 2);
        for _ in 0..2 {
            run.release_address(&first).unwrap();
            run.remove_dns_host("default", first.ip, &names).unwrap();
        }
        assert_eq!(machine.leftovers(), [""; 0]);
        assert_eq!(run.network("other").unwrap(), None);
        assert_eq!(format!("{:#}", run.leases("other").unwrap_err()), "network other does not exist");
    }

    #[test]
    fn the_fake_fails_where_it_is_told_to() {
        let machine = Machine::new();
        let run = machine.failing(Fault::At(Step::ReserveAddress, 1));
        run.reserve_address(&reservation(1)).unwrap();
        let error = run.reserve_address(&reservation(2)).unwrap_err();
        assert_eq!(error.to_string(), fault_text(Step::ReserveAddress, "default 192.0.2.2"));
        let run = machine.failing(Fault::AndUndo(0));
        run.networks().unwrap_err();
        run.release_address(&reservation(1)).unwrap_err();
        run.remove_dns_host("default", [192, 0, 2, 1].into(), &[]).unwrap_err();
        assert_eq!((run.refused(), machine.leftovers().len()), (2, 1));
    }
}
