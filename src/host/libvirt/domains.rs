//! Domains and networks.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{ErrorKind, Read, Seek as _, SeekFrom},
    net::IpAddr,
    path::Path,
};

use anyhow::{Context, Result, ensure};
use roxmltree::Document;
use uuid::Uuid;
use virt::{
    domain::{Domain as VirtDomain, Interface},
    error::Error,
    sys,
};

use super::{
    Libvirt, boot_files,
    listing::{describe, exact, state_of},
    node, optional, plain,
};
use crate::{
    core::{
        domain::{BOOT_FOLDER, boot_file, put_aside},
        facts::{Domain, DomainState, HostSize, Pledge, is_local},
        manifest::Metadata,
        metadata::{
            self,
            ready::{self, Ready},
        },
        network::{Lease, Network, Reservation},
        secret::Secret,
        units::ByteSize,
        xml::{read::nvram, snapshot::snapshot},
    },
    host::hypervisor::Hypervisor,
};

impl Libvirt {
    fn find(&self, name: &str) -> Result<Option<VirtDomain>> {
        optional(self.connect.lookup_domain_by_name(name)).with_context(|| format!("looking for domain {name}"))
    }

    fn require(&self, name: &str) -> Result<VirtDomain> {
        self.find(name)?.with_context(|| format!("domain {name} does not exist"))
    }

    /// Replaces the element that a domain's metadata has of a namespace.
    fn set_element(&self, name: &str, element: &str, prefix: &str, namespace: &str) -> Result<()> {
        let domain = self.require(name)?;
        let kind = i32::try_from(sys::VIR_DOMAIN_METADATA_ELEMENT).unwrap_or(2);
        let mut flags = sys::VIR_DOMAIN_AFFECT_CONFIG;
        if domain.is_active().map_err(plain)? {
            flags |= sys::VIR_DOMAIN_AFFECT_LIVE;
        }
        domain.set_metadata(kind, Some(element), Some(prefix), Some(namespace), flags).map_err(plain)
    }

    /// Whether the logs in this machine's folder are this hypervisor's. Those of another one, with which tpl may be at work too,
    /// must not be taken for ownerless ones.
    fn has_logs_here(&self) -> bool {
        self.uri.split(['?', '#']).next() == Some("qemu:///system")
    }
}

/// The addresses that others can reach a guest at, out of all that were found.
fn reachable(interfaces: &[Interface]) -> Vec<IpAddr> {
    let all = interfaces.iter().flat_map(|interface| &interface.addrs);
    let addresses = all.filter_map(|address| address.addr.parse().ok());
    let is_local = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local(),
    };
    addresses.filter(|ip| !is_local(ip)).collect()
}

/// Whether an error says that the guest's agent does not answer, or that there is none to ask.
fn agent_is_silent(error: &Error) -> bool {
    use virt::error::ErrorNumber::{
        AgentCommandFailed, AgentCommandTimeout, AgentUnresponsive, AgentUnsynced, ArgumentUnsupported, NoSupport,
    };
    let silent = |code| {
        matches!(
            code,
            AgentUnresponsive | AgentUnsynced | AgentCommandTimeout | AgentCommandFailed | ArgumentUnsupported | NoSupport
        )
    };
    error.code().is_known_and(silent)
}

fn version(number: u32) -> String {
    format!("{}.{}.{}", number / 1_000_000, number / 1000 % 1000, number % 1000)
}

impl Hypervisor for Libvirt {
    fn uri(&self) -> &str {
        &self.uri
    }

    fn name(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.uri)
    }

    fn versions(&self) -> Result<BTreeMap<String, String>> {
        let library = self.connect.lib_version().map_err(plain).context("asking libvirt for its version")?;
        let emulator = self.connect.hyp_version().map_err(plain).context("asking for the emulator's version")?;
        Ok(BTreeMap::from([("libvirt".to_owned(), version(library)), ("emulator".to_owned(), version(emulator))]))
    }

    fn size(&self) -> Result<HostSize> {
        let info = self.connect.node_info().map_err(plain).context("reading the host's size")?;
        // Not every driver counts the memory; this figure, in KiB, is too low on hosts that initialise theirs lazily, never too high.
        let memory = node::memory(&self.connect).unwrap_or(ByteSize(info.memory.saturating_mul(1024)));
        Ok(HostSize { memory, cpus: info.cpus })
    }

    fn domains(&self) -> Result<Vec<Domain>> {
        self.all_domains().context("listing domains")
    }

    fn pledges(&self) -> Result<Vec<Pledge>> {
        self.all_pledges().context("reading what is promised to domains")
    }

    fn domain(&self, name: &str) -> Result<Option<Domain>> {
        match self.find(name)? {
            Some(domain) => describe(&domain, None).with_context(|| format!("reading domain {name}")),
            None => Ok(None),
        }
    }

    fn state(&self, name: &str) -> Result<Option<DomainState>> {
        let Some(domain) = self.find(name)? else { return Ok(None) };
        let found = optional(domain.state()).with_context(|| format!("reading domain {name}"))?;
        Ok(found.map(|(state, reason)| exact(state_of(state.to_raw()), reason)))
    }

    fn has_saved_memory(&self, name: &str) -> Result<bool> {
        let Some(domain) = self.find(name)? else { return Ok(false) };
        domain.has_managed_save(0).map_err(plain).with_context(|| format!("reading domain {name}"))
    }

    fn volume_path(&self, pool: &str, volume: &str) -> Result<Option<String>> {
        let what = || format!("looking for volume {volume} of pool {pool}");
        let Some(pool) = optional(self.connect.lookup_storage_pool_by_name(pool)).with_context(what)? else { return Ok(None) };
        let Some(volume) = optional(pool.lookup_storage_vol_by_name(volume)).with_context(what)? else { return Ok(None) };
        volume.path().map(Some).map_err(plain).with_context(what)
    }

    fn define(&self, xml: &str) -> Result<()> {
        let flags = sys::VIR_DOMAIN_DEFINE_VALIDATE;
        let define = || self.connect.define_domain_xml_flags(xml, flags).map(drop).map_err(plain);
        // When the first two domains after libvirtd's start are defined at the same moment, one of them may find a library of its
        // that is not set up yet (libvirt 11.3): that says nothing of the domain.
        match define() {
            Err(error) if error.to_string().contains("Unable to parse RelaxNG schema") => define(),
            done => done,
        }
    }

    fn undefine(&self, name: &str) -> Result<()> {
        let Some(domain) = self.find(name)? else { return Ok(()) };
        let flags = sys::VIR_DOMAIN_UNDEFINE_NVRAM
            | sys::VIR_DOMAIN_UNDEFINE_MANAGED_SAVE
            | sys::VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA
            | sys::VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA;
        // The test driver and old drivers know no flags at all.
        let done = domain.undefine_flags(flags).or_else(|_| domain.undefine_flags(0));
        done.map_err(plain).with_context(|| format!("removing domain {name}"))
    }

    fn has_uefi(&self) -> Result<bool> {
        let ask = || -> Result<bool> {
            let xml = self.connect.domain_capabilities(None, Some("x86_64"), Some("q35"), None, 0).map_err(plain)?;
            let document = Document::parse(&xml)?;
            let firmwares =
                document.descendants().filter(|node| node.has_tag_name("enum") && node.attribute("name") == Some("firmware"));
            Ok(firmwares.flat_map(|node| node.children()).any(|value| value.text() == Some("efi")))
        };
        ask().context("asking which firmware the emulator has")
    }

    fn remove_variables(&self, name: &str) -> Result<()> {
        let Some(domain) = self.domain(name)? else { return Ok(()) };
        let remove = || -> Result<()> {
            ensure!(!domain.state.is_active(), "it runs");
            let document = Document::parse(&domain.xml)?;
            match nvram(document.root_element()) {
                Some(path) if self.has_logs_here() => Ok(absent_is_empty(std::fs::remove_file(path))?),
                _ => Ok(()),
            }
        };
        remove().with_context(|| format!("removing the UEFI variables of domain {name}"))
    }

    fn start(&self, name: &str) -> Result<()> {
        self.require(name)?.create().map_err(plain).with_context(|| format!("starting domain {name}"))
    }

    fn power_off(&self, name: &str) -> Result<()> {
        let Some(domain) = self.find(name)? else { return Ok(()) };
        match domain.destroy() {
            Ok(()) => Ok(()),
            // It may have ended by itself in the meantime.
            Err(error) if self.state(name)?.is_some_and(DomainState::is_active) => {
                Err(plain(error)).with_context(|| format!("cutting the power of domain {name}"))
            }
            Err(_) => Ok(()),
        }
    }

    fn write_metadata(&self, name: &str, content: &Metadata) -> Result<()> {
        let element = metadata::bare_element(content);
        self.set_element(name, &element, metadata::PREFIX, metadata::NAMESPACE)
            .with_context(|| format!("writing the metadata of domain {name}"))
    }

    fn mark_ready(&self, name: &str, mark: &Ready) -> Result<()> {
        self.set_element(name, &ready::bare_element(mark), ready::PREFIX, ready::NAMESPACE)
            .with_context(|| format!("marking domain {name} as ready"))
    }

    fn keeps_seeds(&self) -> Result<bool> {
        self.has_secrets()
    }

    fn store_seed(&self, uuid: Uuid, name: &str, seed: &Secret<Vec<u8>>) -> Result<()> {
        self.put_seed(uuid, name, seed).with_context(|| format!("keeping the seed of {name} as a secret of libvirt's"))
    }

    fn seed(&self, uuid: Uuid) -> Result<Option<Secret<Vec<u8>>>> {
        self.find_seed(uuid).with_context(|| format!("reading the seed of domain {uuid}"))
    }

    fn remove_seed(&self, uuid: Uuid) -> Result<()> {
        self.take_seed(uuid).with_context(|| format!("removing the seed of domain {uuid}"))
    }

    fn seeds(&self) -> Result<Vec<(Uuid, String)>> {
        self.all_seeds().context("listing the seeds that libvirt keeps")
    }

    fn network(&self, name: &str) -> Result<Option<Network>> {
        self.one_network(name)
    }

    fn networks(&self) -> Result<Vec<Network>> {
        self.all_networks().context("listing networks")
    }

    fn leases(&self, network: &str) -> Result<Vec<Lease>> {
        self.all_leases(network).with_context(|| format!("reading the leases of network {network}"))
    }

    fn reserve_address(&self, reservation: &Reservation) -> Result<()> {
        let Reservation { network, ip, .. } = reservation;
        self.add_reservation(reservation).with_context(|| format!("reserving {ip} in network {network}"))
    }

    fn release_address(&self, reservation: &Reservation) -> Result<()> {
        let Reservation { network, ip, .. } = reservation;
        self.remove_reservation(reservation).with_context(|| format!("releasing {ip} in network {network}"))
    }

    fn add_dns_host(&self, network: &str, ip: IpAddr, names: &[String]) -> Result<()> {
        self.put_dns_host(network, ip, names).with_context(|| format!("adding {ip} to the DNS of network {network}"))
    }

    fn remove_dns_host(&self, network: &str, ip: IpAddr, names: &[String]) -> Result<()> {
        self.take_dns_host(network, ip, names).with_context(|| format!("removing {ip} from the DNS of network {network}"))
    }

    fn addresses(&self, domain: &str) -> Result<Vec<IpAddr>> {
        let interfaces = self
            .require(domain)?
            .interface_addresses(sys::VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_LEASE, 0)
            .map_err(plain)
            .with_context(|| format!("reading the addresses of domain {domain}"))?;
        let all = interfaces.iter().flat_map(|interface| &interface.addrs);
        Ok(all.filter_map(|address| address.addr.parse().ok()).collect())
    }

    fn neighbours(&self, domain: &str) -> Result<Vec<IpAddr>> {
        let found = self.require(domain)?.interface_addresses(sys::VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_ARP, 0);
        let found = found.map_err(plain).with_context(|| format!("looking for domain {domain} among the host's neighbours"))?;
        Ok(reachable(&found))
    }

    fn agent_addresses(&self, domain: &str) -> Result<Option<Vec<IpAddr>>> {
        match self.require(domain)?.interface_addresses(sys::VIR_DOMAIN_INTERFACE_ADDRESSES_SRC_AGENT, 0) {
            Ok(found) => Ok(Some(reachable(&found))),
            Err(error) if agent_is_silent(&error) => Ok(None),
            Err(error) => Err(plain(error)).with_context(|| format!("asking the agent in domain {domain} for its addresses")),
        }
    }

    fn snapshot(&self, domain: &str, name: &str, description: &str) -> Result<()> {
        let made = self.require(domain)?.create_snapshot_xml(&snapshot(name, description), 0);
        made.map(drop).map_err(plain).with_context(|| format!("making snapshot {name} of domain {domain}"))
    }

    fn set_autostart(&self, domain: &str, on: bool) -> Result<()> {
        let how = if on { "letting" } else { "keeping" };
        let what = if on { "start" } else { "from starting" };
        let set = self.require(domain)?.set_autostart(on);
        set.map_err(plain).with_context(|| format!("{how} domain {domain} {what} with its host"))
    }

    fn autostart(&self, domain: &str) -> Result<bool> {
        let read = self.require(domain)?.autostart();
        read.map_err(plain).with_context(|| format!("reading whether domain {domain} starts with its host"))
    }

    fn read_log(&self, path: &str, from: u64) -> Result<Vec<u8>> {
        // A file of this name on this machine would be another VM's.
        if !is_local(&self.uri) {
            return Ok(Vec::new());
        }
        let read = || {
            let mut file = File::open(path)?;
            file.seek(SeekFrom::Start(from))?;
            let mut bytes = Vec::new();
            file.take(1 << 20).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        absent_is_empty(read()).with_context(|| format!("reading {path}"))
    }

    fn log_length(&self, path: &str) -> Result<u64> {
        if !is_local(&self.uri) {
            return Ok(0);
        }
        absent_is_empty(std::fs::metadata(path).map(|meta| meta.len())).with_context(|| format!("reading {path}"))
    }

    fn guest_logs(&self, folder: &str) -> Result<Vec<String>> {
        if !self.has_logs_here() {
            return Ok(Vec::new());
        }
        let list = || -> std::io::Result<Vec<String>> {
            let entries: std::io::Result<Vec<_>> = std::fs::read_dir(folder)?.collect();
            Ok(entries?.iter().map(|entry| entry.path().display().to_string()).collect())
        };
        let mut logs = absent_is_empty(list()).with_context(|| format!("listing {folder}"))?;
        logs.sort();
        Ok(logs)
    }

    fn store_boot_file(&self, volume: &str, length: u64, bytes: &mut dyn Read) -> Result<String> {
        ensure!(
            self.has_logs_here(),
            "storing {volume}: it is booted from a file of the hypervisor, which is not this machine's own"
        );
        boot_files::store(Path::new(&boot_file(volume)), length, bytes)
    }

    fn boot_files(&self) -> Result<Vec<String>> {
        if !self.has_logs_here() {
            return Ok(Vec::new());
        }
        absent_is_empty(boot_files::list(Path::new(BOOT_FOLDER))).with_context(|| format!("listing {BOOT_FOLDER}"))
    }

    fn remove_boot_file(&self, volume: &str) -> Result<()> {
        if !self.has_logs_here() {
            return Ok(());
        }
        let path = boot_file(volume);
        absent_is_empty(std::fs::remove_file(&path)).with_context(|| format!("removing {path}"))
    }

    fn remove_log(&self, path: &str) -> Result<()> {
        if !self.has_logs_here() {
            return Ok(());
        }
        let remove = |path: &str| absent_is_empty(std::fs::remove_file(path)).with_context(|| format!("removing {path}"));
        put_aside(path).iter().try_for_each(|path| remove(path))?;
        remove(path)
    }
}

fn absent_is_empty<T: Default>(result: std::io::Result<T>) -> std::io::Result<T> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(T::default()),
        other => other,
    }
}
