//! Domains and networks.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{ErrorKind, Read as _, Seek as _, SeekFrom},
    net::IpAddr,
};

use anyhow::{Context, Result};
use virt::{domain::Domain as VirtDomain, sys};

use super::{Libvirt, node, optional, plain};
use crate::{
    core::{
        facts::{Domain, DomainState, HostSize, Pledge},
        manifest::Metadata,
        metadata,
        units::ByteSize,
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

    /// Whether the logs in this machine's folder are this hypervisor's. Those of another one, with which tpl may be at work too,
    /// must not be taken for ownerless ones.
    fn has_logs_here(&self) -> bool {
        self.uri.split(['?', '#']).next() == Some("qemu:///system")
    }
}

fn state_of(domain: &VirtDomain) -> Result<DomainState> {
    let (state, _) = domain.state().map_err(plain)?;
    Ok(match state.to_raw() {
        sys::VIR_DOMAIN_SHUTOFF => DomainState::Shutoff,
        sys::VIR_DOMAIN_CRASHED => DomainState::Crashed,
        sys::VIR_DOMAIN_PAUSED | sys::VIR_DOMAIN_PMSUSPENDED => DomainState::Paused,
        _ => DomainState::Running,
    })
}

/// A domain that vanished between two calls is none.
fn describe(domain: &VirtDomain) -> Result<Option<Domain>> {
    // The seed's secrets are in a volume, never in the XML: the insecure flag has nothing to show.
    let flags = sys::VIR_DOMAIN_XML_INACTIVE;
    let Some(xml) = optional(domain.xml_desc(flags))? else { return Ok(None) };
    Ok(Some(Domain { name: domain.name().map_err(plain)?, uuid: domain.uuid().map_err(plain)?, state: state_of(domain)?, xml }))
}

/// A domain that vanished between two calls is none.
fn pledge(domain: &VirtDomain) -> Result<Option<Pledge>> {
    let Some(info) = optional(domain.info())? else { return Ok(None) };
    let vcpus = domain.vcpus_flags(sys::VIR_DOMAIN_VCPU_MAXIMUM | sys::VIR_DOMAIN_AFFECT_CONFIG).unwrap_or(info.nr_virt_cpu);
    let memory = ByteSize(info.max_mem.saturating_mul(1024));
    Ok(Some(Pledge { name: domain.name().map_err(plain)?, active: state_of(domain)?.is_active(), vcpus, memory }))
}

fn version(number: u32) -> String {
    format!("{}.{}.{}", number / 1_000_000, number / 1000 % 1000, number % 1000)
}

impl Hypervisor for Libvirt {
    fn uri(&self) -> &str {
        &self.uri
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
        let all = self.connect.list_all_domains(0).map_err(plain).context("listing domains")?;
        let described: Result<Vec<_>> = all.iter().map(describe).collect();
        Ok(described.context("listing domains")?.into_iter().flatten().collect())
    }

    fn pledges(&self) -> Result<Vec<Pledge>> {
        let all = self.connect.list_all_domains(0).map_err(plain).context("listing domains")?;
        let pledges: Result<Vec<_>> = all.iter().map(pledge).collect();
        Ok(pledges.context("reading what domains are promised")?.into_iter().flatten().collect())
    }

    fn domain(&self, name: &str) -> Result<Option<Domain>> {
        match self.find(name)? {
            Some(domain) => describe(&domain).with_context(|| format!("reading domain {name}")),
            None => Ok(None),
        }
    }

    fn state(&self, name: &str) -> Result<Option<DomainState>> {
        self.find(name)?.map(|domain| state_of(&domain)).transpose().with_context(|| format!("reading domain {name}"))
    }

    fn define(&self, xml: &str) -> Result<()> {
        let flags = sys::VIR_DOMAIN_DEFINE_VALIDATE;
        self.connect.define_domain_xml_flags(xml, flags).map(drop).map_err(plain)
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
        let domain = self.require(name)?;
        let kind = i32::try_from(sys::VIR_DOMAIN_METADATA_ELEMENT).unwrap_or(2);
        let mut flags = sys::VIR_DOMAIN_AFFECT_CONFIG;
        if state_of(&domain)?.is_active() {
            flags |= sys::VIR_DOMAIN_AFFECT_LIVE;
        }
        let element = metadata::bare_element(content);
        domain
            .set_metadata(kind, Some(&element), Some(metadata::PREFIX), Some(metadata::NAMESPACE), flags)
            .map_err(plain)
            .with_context(|| format!("writing the metadata of domain {name}"))
    }

    fn network(&self, name: &str) -> Result<Option<bool>> {
        let found = optional(self.connect.lookup_network_by_name(name)).with_context(|| format!("looking for network {name}"))?;
        found.map(|network| network.is_active().map_err(plain)).transpose()
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

    fn read_log(&self, path: &str, from: u64) -> Result<Vec<u8>> {
        let read = || {
            let mut file = File::open(path)?;
            file.seek(SeekFrom::Start(from))?;
            let mut bytes = Vec::new();
            file.take(1 << 20).read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        absent_is_empty(read()).with_context(|| format!("reading {path}"))
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

    fn remove_log(&self, path: &str) -> Result<()> {
        if !self.has_logs_here() {
            return Ok(());
        }
        absent_is_empty(std::fs::remove_file(path)).with_context(|| format!("removing {path}"))
    }
}

fn absent_is_empty<T: Default>(result: std::io::Result<T>) -> std::io::Result<T> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(T::default()),
        other => other,
    }
}
