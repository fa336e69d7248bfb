//! A hypervisor with its pool, in memory. It outlives the runs of tpl on it, as a real one does.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard},
};

use jiff::Timestamp;
use tempfile::TempDir;
use tpl::core::{
    dns::Host,
    domain::{console_log, installer_log, put_aside},
    facts::{Beside, Domain, DomainState},
    inventory::Inventory,
    manifest::{Manifest, State as Stage},
    metadata::NAMESPACE,
    network::{Lease, Network, Subnet},
    seed::handed::DOCUMENTS,
    signing::PublicKey,
};
use uuid::Uuid;

use super::{players, secrets::FakeSecret, shell::Program};

/// Where the fake pool says that its volumes are.
pub const POOL: &str = "/pool";
/// The same, where it is a volume group.
pub const GROUP: &str = "/dev/vg0";

/// The files of a guest.
pub type Tree = BTreeMap<String, Node>;

/// One file of a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    File(String),
    Directory,
}

/// The kinds of pools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pool {
    Directory,
    Thick,
    Thin,
}

impl Pool {
    pub const ALL: [Self; 3] = [Self::Directory, Self::Thick, Self::Thin];
}

/// How the installer behaves once it is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Script {
    /// It comes to its end.
    Good,
    /// The same, while the keeper of the logs begins new ones.
    RollsOver,
    /// It asks something, and waits.
    Question,
    /// The VM goes off while packages are being installed.
    Off,
    /// The same, by a reboot.
    Reboot,
    /// The build disk is full.
    Full,
    /// One of its steps fails, and it sits at its menu.
    FailedStep,
    /// Its emulator stops it.
    Halts,
    /// It never gets on.
    Stuck,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FakeDomain {
    pub uuid: Uuid,
    pub state: DomainState,
    pub xml: String,
    /// For how many ticks of the clock it has been running.
    pub age: u32,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FakeVolume {
    pub capacity: u64,
    pub backing: Option<String>,
    /// The room of a classic snapshot.
    pub room: Option<u64>,
    /// It is to be closed to writers, and has been.
    pub protected: bool,
    pub closed: bool,
    /// What is taken of its room.
    pub used: u64,
    pub bytes: Vec<u8>,
    /// What its filesystem holds, if it has one.
    pub tree: Tree,
    /// The size of that filesystem.
    pub filesystem: u64,
    /// What has arrived of a volume that is not whole.
    pub partial: Option<super::bytes::Chunks>,
}

#[derive(Clone)]
pub struct State {
    pub now: Timestamp,
    pub domains: BTreeMap<String, FakeDomain>,
    pub volumes: BTreeMap<String, FakeVolume>,
    pub logs: BTreeMap<String, String>,
    /// Runs whose process is there.
    pub alive: BTreeSet<Uuid>,
    pub locks: BTreeMap<String, Uuid>,
    pub script: Script,
    pub kvm: bool,
    /// What it is reached by.
    pub uri: &'static str,
    /// Whether there is a UEFI firmware.
    pub uefi: bool,
    /// The domains that have UEFI variables.
    pub variables: BTreeSet<String>,
    /// Whether clones become ready.
    pub ready: bool,
    pub memory: u64,
    /// The size of the pool.
    pub pool: u64,
    /// How it keeps its volumes.
    pub kind: Pool,
    /// How large a thin pool's metadata are.
    pub pool_metadata: u64,
    /// The connection breaks once while a volume is made, which is there all the same.
    pub cut: bool,
    /// What its volume group has besides.
    pub beside: Beside,
    /// The volumes whose bytes are in files that are booted with.
    pub boot_files: BTreeSet<String>,
    /// What runs and what is kept is one here.
    pub networks: BTreeMap<String, Network>,
    /// The leases of each network besides those of the domains that run.
    pub leases: BTreeMap<String, Vec<Lease>>,
    /// What the DNS server besides libvirt's has been told.
    pub records: Vec<Host>,
    /// Whether the installer puts cloud-init into the guest.
    pub cloud_init: bool,
    /// What guests print on their console.
    pub console: String,
    /// What libvirt keeps as secrets, by their UUIDs.
    pub secrets: BTreeMap<Uuid, FakeSecret>,
    /// Whether it keeps any.
    pub keeps_seeds: bool,
    /// The connection breaks once between a secret and its value.
    pub cut_secret: bool,
    /// Whether a metadata service runs there, so that guests phone home.
    pub phones_home: bool,
    /// Whether guests ask for an address.
    pub on_network: bool,
    /// Whether the guests' agents answer.
    pub agent: bool,
    /// The snapshots: of which domain, under which name.
    pub snapshots: BTreeSet<(String, String)>,
    /// The domains that start with their host.
    pub autostart: BTreeSet<String>,
    /// The domains that are off with their memory saved.
    pub saved: BTreeSet<String>,
    /// What has been exported, by the file that it is in.
    pub files: BTreeMap<PathBuf, FakeVolume>,
    /// The operator's signing key.
    pub key: Option<minisign::KeyPair>,
    /// The keys that the operator trusts besides.
    pub trusted: Vec<PublicKey>,
    /// Whether the operator asks for signatures.
    pub require_signatures: bool,
    /// The hypervisor's own programs.
    pub programs: BTreeMap<&'static str, Program>,
}

/// The hypervisor, and the folder that stands for this machine's disk.
#[derive(Clone)]
pub struct Machine {
    state: Arc<Mutex<State>>,
    pub folder: Arc<TempDir>,
}

/// What is published: nothing of it may ever change by a run that fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    pub domains: BTreeMap<String, String>,
    pub volumes: BTreeMap<String, FakeVolume>,
}

impl Machine {
    pub fn new() -> Self {
        let state = State {
            now: "2026-11-21T03:10:00Z".parse().unwrap(),
            domains: BTreeMap::new(),
            volumes: BTreeMap::new(),
            logs: BTreeMap::new(),
            alive: BTreeSet::new(),
            locks: BTreeMap::new(),
            script: Script::Good,
            kvm: true,
            uri: "fake:///system",
            uefi: true,
            variables: BTreeSet::new(),
            ready: true,
            memory: 16 << 30,
            pool: 1 << 40,
            kind: Pool::Directory,
            pool_metadata: 1 << 30,
            cut: false,
            beside: Beside::default(),
            boot_files: BTreeSet::new(),
            networks: BTreeMap::from([("default".to_owned(), default_network())]),
            leases: BTreeMap::new(),
            records: Vec::new(),
            cloud_init: true,
            console: String::new(),
            secrets: BTreeMap::new(),
            keeps_seeds: true,
            cut_secret: false,
            phones_home: true,
            on_network: true,
            agent: true,
            snapshots: BTreeSet::new(),
            autostart: BTreeSet::new(),
            saved: BTreeSet::new(),
            files: BTreeMap::new(),
            key: None,
            trusted: Vec::new(),
            require_signatures: false,
            programs: BTreeMap::new(),
        };
        Self { state: Arc::new(Mutex::new(state)), folder: Arc::new(TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap()) }
    }

    /// Another machine in the same state.
    pub fn copy(&self) -> Self {
        let state = self.state().clone();
        Self { state: Arc::new(Mutex::new(state)), folder: Arc::clone(&self.folder) }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub fn inventory(&self) -> Inventory {
        Inventory::of(self.state().all_domains())
    }

    /// The manifests of all versions, oldest first.
    pub fn manifests(&self) -> Vec<Manifest> {
        self.inventory().templates.into_iter().map(|template| template.manifest).collect()
    }

    /// The current version of the template that the tests build.
    pub fn current(&self) -> Option<String> {
        let inventory = self.inventory();
        inventory.current(&"debian13".parse().unwrap()).map(|template| template.manifest.id().to_string())
    }

    pub fn published(&self) -> Published {
        let inventory = self.inventory();
        let state = self.state();
        let mut published = Published { domains: BTreeMap::new(), volumes: BTreeMap::new() };
        for template in inventory.templates.iter().filter(|template| template.manifest.state >= Stage::Published) {
            published.domains.insert(template.domain.name.clone(), template.domain.xml.clone());
            for volume in &template.manifest.volumes {
                published.volumes.insert(volume.clone(), state.volumes[volume].clone());
            }
        }
        published
    }

    /// Everything there is, by name.
    pub fn everything(&self) -> Vec<String> {
        let state = self.state();
        let domains = state.domains.keys().map(|name| format!("domain {name}"));
        let volumes = state.volumes.keys().map(|name| format!("volume {name}"));
        let logs = state.logs.keys().map(|log| format!("log {log}"));
        let variables = state.variables.iter().map(|name| format!("variables {name}"));
        let boot_files = state.boot_files.iter().map(|name| format!("boot file {name}"));
        let secrets = state.secrets.keys().map(|uuid| format!("secret {uuid}"));
        domains.chain(volumes).chain(boot_files).chain(logs).chain(variables).chain(secrets).chain(state.entries()).collect()
    }

    /// Everything that is neither published nor a complete VM nor belongs to one.
    pub fn leftovers(&self) -> Vec<String> {
        let inventory = self.inventory();
        // What is not tpl's is nobody's leftover.
        let foreign = self.state().all_domains().into_iter().filter(|domain| !domain.xml.contains(NAMESPACE));
        let mut kept: BTreeSet<String> = foreign.map(|domain| format!("domain {}", domain.name)).collect();
        let published = inventory.templates.iter().filter(|template| template.manifest.state >= Stage::Published);
        for template in published {
            kept.insert(format!("domain {}", template.domain.name));
            kept.extend(template.manifest.volumes.iter().map(|volume| format!("volume {volume}")));
        }
        for clone in inventory.clones.iter().filter(|clone| clone.is_vm() && !clone.record.is_unfinished()) {
            kept.insert(format!("domain {}", clone.domain.name));
            kept.insert(format!("variables {}", clone.domain.name));
            kept.insert(format!("log {}", console_log(&clone.domain.name)));
            kept.insert(format!("secret {}", clone.domain.uuid));
            kept.extend(clone.record.volumes.iter().map(|volume| format!("volume {volume}")));
            kept.extend(clone.record.reservations.iter().map(|entry| format!("reservation {} {}", entry.network, entry.ip)));
            for registration in &clone.record.dns {
                let addresses = registration.host.addresses.iter();
                match &registration.network {
                    Some(network) => kept.extend(addresses.map(|ip| format!("dns {network} {ip}"))),
                    None => kept.extend([format!("record {}", registration.host.name)]),
                }
            }
        }
        self.everything().into_iter().filter(|thing| !kept.contains(thing)).collect()
    }

    /// Time passes until nothing changes by itself any more.
    pub fn settle(&self) {
        (0..5).for_each(|_| self.state().tick());
    }
}

/// libvirt's own network, in addresses that are nobody's.
fn default_network() -> Network {
    let range = (Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 127));
    Network {
        name: "default".to_owned(),
        active: true,
        bridge: Some("virbr0".to_owned()),
        dns: true,
        subnet: Some(Subnet { gateway: Ipv4Addr::new(192, 0, 2, 254), prefix: 24, ranges: vec![range] }),
        ..Network::default()
    }
}

impl State {
    /// What DHCP and DNS servers keep, by name.
    fn entries(&self) -> Vec<String> {
        let of = |(name, network): (&String, &Network)| {
            let reservations = network.reservations.iter().map(|entry| format!("reservation {name} {}", entry.ip));
            let hosts = network.hosts.iter().map(|(ip, _)| format!("dns {name} {ip}"));
            reservations.chain(hosts).collect::<Vec<_>>()
        };
        let records = self.records.iter().map(|host| format!("record {}", host.name));
        self.networks.iter().flat_map(of).chain(records).collect()
    }

    pub fn all_domains(&self) -> Vec<Domain> {
        let domain = |(name, domain): (&String, &FakeDomain)| Domain {
            name: name.clone(),
            uuid: domain.uuid,
            state: domain.state,
            xml: domain.xml.clone(),
        };
        self.domains.iter().map(domain).collect()
    }

    /// A moment passes: what runs gets on.
    pub fn tick(&mut self) {
        let running: Vec<String> =
            self.domains.iter().filter(|(_, domain)| domain.state.is_active()).map(|(name, _)| name.clone()).collect();
        for name in running {
            let domain = self.domains.get_mut(&name).unwrap();
            domain.age += 1;
            if self.phones_home && domain.xml.contains(DOCUMENTS) {
                self.phone_home(&name);
                continue;
            }
            if domain.xml.contains("<kernel>") {
                let age = domain.age;
                self.install(&name, age);
            }
        }
    }

    /// The installer in the VM `name` gets on.
    fn install(&mut self, name: &str, age: u32) {
        let kind = players::kind(&self.domains[name].xml);
        let moment = players::play(kind, self.script, age);
        if self.script == Script::RollsOver && age == 2 {
            for log in [console_log(name), installer_log(name)] {
                let before = self.logs.remove(&log).unwrap_or_default() + "unread\n";
                self.logs.insert(put_aside(&log)[0].clone(), before);
            }
        }
        for (log, text) in [(console_log(name), moment.console), (installer_log(name), moment.log)] {
            let log = self.logs.entry(log).or_default();
            log.push_str(&text);
            if self.script == Script::RollsOver && age == 1 {
                // A log is put aside when it has become long, and the new one is short for a while.
                log.push_str(&"x\n".repeat(200));
            }
        }
        if moment.installed {
            self.volumes.get_mut(&format!("{name}-build")).unwrap().tree = installed_system(self.cloud_init);
        }
        if let Some(state) = moment.ends {
            self.domains.get_mut(name).unwrap().state = state;
        }
    }
}

/// What an installation leaves: everything that sealing is there for.
pub fn installed_system(cloud_init: bool) -> Tree {
    let root = "11111111-2222-3333-4444-555555555555";
    let grub = format!("search --no-floppy --fs-uuid --set=root {root}\nlinux /boot/vmlinuz root=UUID={root} ro\n");
    let package = |name: &str| format!("Package: {name}\nStatus: install ok installed\nVersion: 25.1\n");
    let packages = if cloud_init { vec![package("cloud-init")] } else { vec![] };
    let mut files = vec![
        ("/etc/fstab", format!("UUID={root} / ext4 errors=remount-ro 0 1\n")),
        ("/etc/os-release", "PRETTY_NAME=\"Debian GNU/Linux 13 (trixie)\"\nVERSION_ID=\"13\"\nID=debian\n".to_owned()),
        ("/etc/machine-id", "0123456789abcdef0123456789abcdef\n".to_owned()),
        ("/etc/ssh/ssh_host_ed25519_key", "secret\n".to_owned()),
        ("/etc/passwd", "root:x:0:0:root:/root:/bin/bash\n".to_owned()),
        ("/etc/shadow", "root:$6$salt$hash:20000:0:99999:7:::\n".to_owned()),
        ("/etc/group", "root:x:0:\n".to_owned()),
        ("/etc/network/interfaces", "auto lo\niface lo inet loopback\n".to_owned()),
        ("/usr/sbin/ifup", "program\n".to_owned()),
        ("/boot/grub/grub.cfg", grub),
        ("/boot/vmlinuz", "kernel".to_owned()),
        ("/var/lib/dpkg/status", [vec![package("e2fsprogs")], packages].concat().join("\n")),
        ("/var/lib/systemd/random-seed", "seed".to_owned()),
        ("/var/log/installer/syslog", "answers\n".to_owned()),
        ("/root/.bash_history", "passwd\n".to_owned()),
    ];
    if cloud_init {
        files.push(("/usr/bin/cloud-init", "program\n".to_owned()));
    }
    let mut tree = Tree::new();
    for (path, text) in files {
        put(&mut tree, path, text);
    }
    tree
}

/// Puts a file into a tree, with the folders above it.
pub fn put(tree: &mut Tree, path: &str, text: String) {
    for (index, _) in path.match_indices('/').skip(1) {
        tree.entry(path[..index].to_owned()).or_insert(Node::Directory);
    }
    tree.insert(path.to_owned(), Node::File(text));
}
