//! What the tests define on this machine's hypervisor, and take away again, also when they fail.

use std::{
    net::{IpAddr, Ipv4Addr},
    process::{self, Command},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use tpl::{
    core::network::Reservation,
    host::{hypervisor::Hypervisor as _, libvirt::Libvirt},
};
use virt::{connect::Connect, domain::Domain, network::Network, sys};

pub const SYSTEM: &str = "qemu:///system";

pub fn hypervisor() -> Libvirt {
    Libvirt::open(SYSTEM, "15s".parse().unwrap()).unwrap()
}

/// A name that nothing else on this machine has.
fn own_name(kind: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("tpl-test-{kind}-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// So many subnets are tried, from 192.168.201.0 on.
const SUBNETS: u32 = 50;

/// The third octet of a subnet that no other test of this process has had: one whose network does not run is still its own.
fn own_subnet() -> u8 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let next = process::id().wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
    201 + u8::try_from(next % SUBNETS).unwrap()
}

/// A running, persistent network without a way out, in a subnet that nobody else here has.
pub struct OwnNetwork {
    pub name: String,
    /// The third octet of its subnet, 192.168.x.0/25, with 192.168.x.129/25 in front of it.
    subnet: u8,
    pub handle: Network,
}

impl OwnNetwork {
    pub fn start() -> Self {
        // libvirt's own handler would print each subnet that is taken.
        let hypervisor = hypervisor();
        let connect = Connect::open(Some(hypervisor.uri())).unwrap();
        let name = own_name("net");
        for _ in 0..SUBNETS {
            let subnet = own_subnet();
            let xml = format!(
                "<network><name>{name}</name><domain name='test.example' localOnly='yes'/>\
                 <ip address='192.168.{subnet}.129' prefix='25'/>\
                 <ip address='192.168.{subnet}.1' prefix='25'><dhcp><range start='192.168.{subnet}.100' end='192.168.{subnet}.120'/></dhcp></ip>\
                 </network>"
            );
            let own = Self { name: name.clone(), subnet, handle: connect.define_network_xml(&xml).unwrap() };
            match own.handle.create() {
                Ok(()) => return own,
                Err(error) if error.message().contains("already in use") => {}
                Err(error) => panic!("{error}"),
            }
        }
        panic!("no subnet from 192.168.201.0 to 192.168.250.0 is free")
    }

    pub fn ip(&self, last: u8) -> IpAddr {
        Ipv4Addr::new(192, 168, self.subnet, last).into()
    }

    pub fn reservation(&self, card: u8, last: u8, name: Option<&str>) -> Reservation {
        let mac = Some(format!("52:54:00:00:01:{card:02x}").parse().unwrap());
        Reservation { network: self.name.clone(), mac, ip: self.ip(last), name: name.map(str::to_owned) }
    }

    /// Both definitions: what runs, where it runs, and what is kept.
    pub fn definitions(&self) -> Vec<String> {
        let flags = if self.handle.is_active().unwrap() { vec![0, sys::VIR_NETWORK_XML_INACTIVE] } else { vec![0] };
        flags.into_iter().map(|flags| self.handle.xml_desc(flags).unwrap()).collect()
    }

    /// How often each definition holds a text.
    pub fn count(&self, text: &str) -> Vec<usize> {
        self.definitions().iter().map(|xml| xml.matches(text).count()).collect()
    }

    /// Changes one definition behind tpl's back.
    pub fn change(&self, command: u32, section: u32, xml: &str, flags: u32) {
        self.handle
            .update(command, section, if section == sys::VIR_NETWORK_SECTION_DNS_HOST { -1 } else { 1 }, xml, flags)
            .unwrap();
    }

    /// Waits until the network's DNS server answers so. libvirt tells it to read its files again, and does not wait for it.
    pub fn answers(&self, name: &str, expected: &[IpAddr]) {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let found = self.dig(name);
            if found == expected {
                return;
            }
            assert!(Instant::now() < deadline, "the DNS server says {found:?} to {name}, not {expected:?}");
            thread::sleep(Duration::from_millis(100));
        }
    }

    #[allow(clippy::disallowed_methods, reason = "another program's view of the DNS server")]
    fn dig(&self, name: &str) -> Vec<IpAddr> {
        let server = format!("@{}", self.ip(1));
        let done = Command::new("dig").args(["+short", "+time=5", &server, name, "A"]).output().expect("dig is not installed");
        let text = String::from_utf8(done.stdout).unwrap();
        assert!(done.status.success(), "dig: {text}");
        text.lines().map(|line| line.parse().unwrap()).collect()
    }
}

impl Drop for OwnNetwork {
    fn drop(&mut self) {
        let _ = self.handle.destroy();
        let _ = self.handle.undefine();
    }
}

/// Domains that are defined and never started.
pub struct OwnDomains {
    pub names: Vec<String>,
    pub handles: Vec<Domain>,
}

impl OwnDomains {
    /// So many domains, each with these lines among its devices.
    pub fn define(count: usize, devices: &str) -> Self {
        let hypervisor = hypervisor();
        let connect = Connect::open(Some(hypervisor.uri())).unwrap();
        let mut own = Self { names: Vec::new(), handles: Vec::new() };
        for _ in 0..count {
            let name = own_name("domain");
            let xml = format!(
                "<domain type='qemu'><name>{name}</name><memory unit='MiB'>8</memory><vcpu current='1'>3</vcpu>\
                 <os><type arch='x86_64'>hvm</type></os><devices>{devices}</devices></domain>"
            );
            own.handles.push(connect.define_domain_xml(&xml).unwrap());
            own.names.push(name);
        }
        own
    }
}

impl Drop for OwnDomains {
    fn drop(&mut self) {
        for handle in &self.handles {
            let flags = sys::VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA;
            let _ = handle.undefine_flags(flags);
        }
    }
}
