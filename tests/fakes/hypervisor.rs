//! Domains in memory. Their networks are in `networks.rs`, their seeds in `secrets.rs`.

use std::{collections::BTreeMap, io::Read, net::IpAddr};

use anyhow::{Context as _, Result, bail, ensure};
use roxmltree::Document;
use tpl::{
    core::{
        domain::{boot_file, console_log, put_aside},
        facts::{Domain, DomainState, HostSize, Pledge},
        manifest::Metadata,
        metadata::{
            self,
            ready::{self, Ready},
        },
        network::{Lease, Network, Reservation},
        secret::Secret,
        units::ByteSize,
        xml::read::domain_facts,
    },
    host::hypervisor::Hypervisor,
};
use uuid::Uuid;

use super::{
    machine::{FakeDomain, GROUP, POOL, Pool, State},
    run::{FakeRun, Step},
};

impl Hypervisor for FakeRun {
    fn uri(&self) -> &str {
        self.machine.state().uri
    }

    fn versions(&self) -> Result<BTreeMap<String, String>> {
        self.step(Step::ReadHost, "versions")?;
        Ok(BTreeMap::from([("libvirt".to_owned(), "11.3.0".to_owned())]))
    }

    fn size(&self) -> Result<HostSize> {
        self.step(Step::ReadHost, "size")?;
        Ok(HostSize { memory: ByteSize(self.machine.state().memory), cpus: 4 })
    }

    fn domains(&self) -> Result<Vec<Domain>> {
        self.step(Step::ListDomains, "")?;
        Ok(self.machine.state().all_domains())
    }

    fn pledges(&self) -> Result<Vec<Pledge>> {
        self.step(Step::ReadPledges, "")?;
        let pledge = |domain: Domain| {
            let facts = domain_facts(&domain.xml)?;
            Ok(Pledge { name: domain.name, active: domain.state.is_active(), vcpus: facts.vcpus, memory: facts.memory })
        };
        self.machine.state().all_domains().into_iter().map(pledge).collect()
    }

    fn domain(&self, name: &str) -> Result<Option<Domain>> {
        self.step(Step::ReadState, name)?;
        Ok(self.machine.state().all_domains().into_iter().find(|domain| domain.name == name))
    }

    fn state(&self, name: &str) -> Result<Option<DomainState>> {
        self.step(Step::ReadState, name)?;
        Ok(self.machine.state().domains.get(name).map(|domain| domain.state))
    }

    fn has_saved_memory(&self, name: &str) -> Result<bool> {
        self.step(Step::ReadState, name)?;
        Ok(self.machine.state().saved.contains(name))
    }

    fn volume_path(&self, pool: &str, volume: &str) -> Result<Option<String>> {
        self.step(Step::ReadPool, volume)?;
        let there = pool == "default" && self.machine.state().volumes.contains_key(volume);
        Ok(there.then(|| format!("{}/{volume}", self.machine.state().pool_size().path)))
    }

    fn define(&self, xml: &str) -> Result<()> {
        let document = Document::parse(xml)?;
        let text = |tag: &str| {
            let node = document.root_element().children().find(|node| node.has_tag_name(tag));
            node.and_then(|node| node.text()).with_context(|| format!("the domain has no {tag}"))
        };
        let (name, uuid) = (text("name")?.to_owned(), text("uuid")?.parse::<Uuid>()?);
        self.step(Step::Define, &name)?;
        let mut state = self.machine.state();
        let clash = state.domains.iter().any(|(other, domain)| (*other == name) != (domain.uuid == uuid));
        ensure!(!clash, "domain {name} exists already with another name or UUID");
        let fresh = || FakeDomain { uuid, state: DomainState::Shutoff, xml: String::new(), age: 0 };
        xml.clone_into(&mut state.domains.entry(name).or_insert_with(fresh).xml);
        Ok(())
    }

    fn undefine(&self, name: &str) -> Result<()> {
        self.step(Step::Undefine, name)?;
        let mut state = self.machine.state();
        if let Some(domain) = state.domains.get(name) {
            ensure!(!domain.state.is_active(), "domain {name} runs");
        }
        state.domains.remove(name);
        state.variables.remove(name);
        state.snapshots.retain(|(domain, _)| domain != name);
        state.autostart.remove(name);
        Ok(())
    }

    fn has_uefi(&self) -> Result<bool> {
        self.step(Step::ReadHost, "firmware")?;
        Ok(self.machine.state().uefi)
    }

    fn remove_variables(&self, name: &str) -> Result<()> {
        self.step(Step::RemoveVariables, name)?;
        let mut state = self.machine.state();
        ensure!(!state.domains.get(name).is_some_and(|domain| domain.state.is_active()), "domain {name} runs");
        state.variables.remove(name);
        Ok(())
    }

    fn start(&self, name: &str) -> Result<()> {
        self.step(Step::Start, name)?;
        self.machine.state().start(name)
    }

    fn power_off(&self, name: &str) -> Result<()> {
        self.step(Step::PowerOff, name)?;
        if let Some(domain) = self.machine.state().domains.get_mut(name) {
            domain.state = DomainState::Shutoff;
        }
        Ok(())
    }

    fn write_metadata(&self, name: &str, content: &Metadata) -> Result<()> {
        self.step(Step::WriteMetadata, name)?;
        self.machine.state().set_element(name, metadata::NAMESPACE, &metadata::element(content))
    }

    fn mark_ready(&self, name: &str, mark: &Ready) -> Result<()> {
        self.step(Step::MarkReady, name)?;
        self.machine.state().set_element(name, ready::NAMESPACE, &ready::element(mark))
    }

    fn keeps_seeds(&self) -> Result<bool> {
        self.has_secrets()
    }

    fn store_seed(&self, uuid: Uuid, name: &str, seed: &Secret<Vec<u8>>) -> Result<()> {
        self.put_seed(uuid, name, seed)
    }

    fn seed(&self, uuid: Uuid) -> Result<Option<Secret<Vec<u8>>>> {
        self.find_seed(uuid)
    }

    fn remove_seed(&self, uuid: Uuid) -> Result<()> {
        self.take_seed(uuid)
    }

    fn seeds(&self) -> Result<Vec<(Uuid, String)>> {
        self.all_seeds()
    }

    fn network(&self, name: &str) -> Result<Option<Network>> {
        self.one_network(name)
    }

    fn networks(&self) -> Result<Vec<Network>> {
        self.step(Step::ListNetworks, "")?;
        Ok(self.machine.state().networks.values().cloned().collect())
    }

    fn leases(&self, network: &str) -> Result<Vec<Lease>> {
        self.all_leases(network)
    }

    fn reserve_address(&self, reservation: &Reservation) -> Result<()> {
        self.add_reservation(reservation)
    }

    fn release_address(&self, reservation: &Reservation) -> Result<()> {
        self.remove_reservation(reservation)
    }

    fn add_dns_host(&self, network: &str, ip: IpAddr, names: &[String]) -> Result<()> {
        self.put_dns_host(network, ip, names)
    }

    fn remove_dns_host(&self, network: &str, ip: IpAddr, names: &[String]) -> Result<()> {
        self.take_dns_host(network, ip, names)
    }

    fn addresses(&self, domain: &str) -> Result<Vec<IpAddr>> {
        self.step(Step::ReadAddresses, domain)?;
        Ok(self.machine.state().lease(domain).into_iter().collect())
    }

    fn neighbours(&self, domain: &str) -> Result<Vec<IpAddr>> {
        self.step(Step::ReadNeighbours, domain)?;
        Ok(self.machine.state().address(domain).into_iter().collect())
    }

    fn agent_addresses(&self, domain: &str) -> Result<Option<Vec<IpAddr>>> {
        self.step(Step::AskAgent, domain)?;
        let state = self.machine.state();
        Ok(state.address(domain).filter(|_| state.agent).map(|ip| vec![ip]))
    }

    fn snapshot(&self, domain: &str, name: &str, _: &str) -> Result<()> {
        self.step(Step::Snapshot, &format!("{domain} {name}"))?;
        let mut state = self.machine.state();
        ensure!(state.domains.contains_key(domain), "domain {domain} does not exist");
        let new = state.snapshots.insert((domain.to_owned(), name.to_owned()));
        ensure!(new, "domain {domain} has a snapshot {name} already");
        Ok(())
    }

    fn set_autostart(&self, domain: &str, on: bool) -> Result<()> {
        self.step(Step::SetAutostart, domain)?;
        let mut state = self.machine.state();
        ensure!(state.domains.contains_key(domain), "domain {domain} does not exist");
        if on {
            state.autostart.insert(domain.to_owned());
        } else {
            state.autostart.remove(domain);
        }
        Ok(())
    }

    fn autostart(&self, domain: &str) -> Result<bool> {
        self.step(Step::ReadAutostart, domain)?;
        let state = self.machine.state();
        ensure!(state.domains.contains_key(domain), "domain {domain} does not exist");
        Ok(state.autostart.contains(domain))
    }

    fn read_log(&self, path: &str, from: u64) -> Result<Vec<u8>> {
        self.step(Step::ReadLog, path)?;
        let state = self.machine.state();
        let log = state.logs.get(path).map(String::as_bytes).unwrap_or_default();
        Ok(log.get(usize::try_from(from)?..).unwrap_or_default().to_vec())
    }

    fn log_length(&self, path: &str) -> Result<u64> {
        self.step(Step::ReadLog, path)?;
        Ok(self.machine.state().logs.get(path).map_or(0, String::len) as u64)
    }

    fn guest_logs(&self, folder: &str) -> Result<Vec<String>> {
        self.step(Step::ListLogs, folder)?;
        Ok(self.machine.state().logs.keys().cloned().collect())
    }

    fn store_boot_file(&self, volume: &str, length: u64, bytes: &mut dyn Read) -> Result<String> {
        self.step(Step::StoreBootFile, volume)?;
        let written = std::io::copy(bytes, &mut std::io::sink())?;
        ensure!(written == length, "boot file {volume}: {length} bytes were announced, {written} came");
        ensure!(self.machine.state().boot_files.insert(volume.to_owned()), "boot file {volume} exists already");
        Ok(boot_file(volume))
    }

    fn boot_files(&self) -> Result<Vec<String>> {
        self.step(Step::ListLogs, "boot files")?;
        Ok(self.machine.state().boot_files.iter().cloned().collect())
    }

    fn remove_boot_file(&self, volume: &str) -> Result<()> {
        self.step(Step::RemoveBootFile, volume)?;
        self.machine.state().boot_files.remove(volume);
        Ok(())
    }

    fn remove_log(&self, path: &str) -> Result<()> {
        self.step(Step::RemoveLog, path)?;
        let mut state = self.machine.state();
        state.logs.retain(|log, _| log != path && !put_aside(path).contains(log));
        Ok(())
    }
}

impl State {
    /// Replaces the element that a domain's metadata has of a namespace, or adds it.
    pub fn set_element(&mut self, name: &str, namespace: &str, element: &str) -> Result<()> {
        let domain = self.domains.get_mut(name).with_context(|| format!("domain {name} does not exist"))?;
        let document = Document::parse(&domain.xml)?;
        let all = document.descendants().find(|node| node.has_tag_name("metadata"));
        let all = all.context("the fake hypervisor writes metadata only where there is some")?;
        let own = all.children().find(|node| node.tag_name().namespace() == Some(namespace));
        let first = all.first_child().context("there is nothing in it")?.range().start;
        let range = own.map_or(first..first, |node| node.range());
        let mut xml = domain.xml.clone();
        xml.replace_range(range, element);
        domain.xml = xml;
        Ok(())
    }

    fn start(&mut self, name: &str) -> Result<()> {
        let domain = self.domains.get(name).with_context(|| format!("domain {name} does not exist"))?;
        ensure!(!domain.state.is_active(), "domain {name} runs already");
        let document = Document::parse(&domain.xml)?;
        let logical = self.kind != Pool::Directory;
        let disks = document.descendants().filter(|node| node.has_tag_name("disk"));
        for path in disks.filter_map(|disk| disk.children().find(|node| node.has_tag_name("source"))) {
            // A block device that is called a file is opened without its locks and its discards.
            let (wanted, folder) = if logical { ("dev", GROUP) } else { ("file", POOL) };
            let path = path.attribute(wanted).with_context(|| format!("a disk of {name} is no {wanted}"))?;
            let volume = path.strip_prefix(folder).and_then(|rest| rest.strip_prefix('/')).unwrap_or(path);
            ensure!(self.volumes.contains_key(volume), "cannot open {path}: there is no such file");
        }
        let boot = document.descendants().filter(|node| node.has_tag_name("kernel") || node.has_tag_name("initrd"));
        for path in boot.filter_map(|node| node.text()) {
            let volume = path.rsplit('/').next().unwrap_or(path);
            let there = if logical {
                self.boot_files.contains(volume) && path == boot_file(volume)
            } else {
                self.volumes.contains_key(volume)
            };
            ensure!(there, "cannot open {path}: there is no such file");
        }
        if document.descendants().any(|node| node.has_tag_name("readonly") && !is_cdrom(node)) {
            bail!("domain {name} has a read-only disk: a template was started");
        }
        let probe = matches!(metadata::read(&domain.xml), Ok(Some(Metadata::Probe(_))));
        let off_again = probe && self.kvm;
        if !probe {
            self.logs.insert(console_log(name), self.console.clone());
        }
        if document.descendants().any(|node| node.has_tag_name("os") && node.attribute("firmware") == Some("efi")) {
            self.variables.insert(name.to_owned());
        }
        let domain = self.domains.get_mut(name).context("vanished")?;
        domain.age = 0;
        domain.state = if off_again { DomainState::Shutoff } else { DomainState::Running };
        Ok(())
    }
}

/// Whether a disk's element belongs to a CD-ROM drive or a seed, which are read-only by nature.
fn is_cdrom(readonly: roxmltree::Node<'_, '_>) -> bool {
    let Some(disk) = readonly.parent() else { return false };
    let seed = |node: roxmltree::Node<'_, '_>| {
        node.attribute("file").or(node.attribute("dev")).is_some_and(|path| path.ends_with("-seed"))
    };
    disk.attribute("device") == Some("cdrom") || disk.children().any(seed)
}
