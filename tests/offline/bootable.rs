//! A template without cloud-init that really boots. Made from a sealed one with cloud-init: Debian, one partition, ifupdown.

#![expect(clippy::disallowed_methods, reason = "the tests look at the world with other tools than tpl")]

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tpl::{
    core::{facts::VolumeFormat, progress::Silent, seed::machine_id, vm_spec::GuestPath},
    host::{
        guest::Libguestfs,
        identity::{HostKey, LoginKey},
    },
    offline::{CardAddress, CardConfig, File, Target, write_all},
};

use crate::{
    Person,
    offline::appliance::{purge_cloud_init, tcg},
    overlay,
};

/// Emulated, a Debian takes half a minute to its SSH server.
const DEADLINE: Duration = Duration::from_secs(300);
const MACS: [&str; 2] = ["52:54:00:a0:00:01", "52:54:00:a0:00:02"];

/// A QEMU without libvirt: two cards on networks of its own, from which a port of this machine leads to each SSH server.
struct Machine {
    process: Child,
    ports: [u16; 2],
    console: PathBuf,
}

impl Machine {
    fn start(disk: &Path) -> Self {
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let ports = [free(), free()];
        let console = disk.with_extension("console");
        let card = |index: usize| {
            let forward = format!("hostfwd=tcp:127.0.0.1:{}-:22", ports[index]);
            format!("user,model=virtio-net-pci,mac={},net=10.0.{}.0/24,{forward}", MACS[index], index + 2)
        };
        let accelerator = if tcg() { "tcg" } else { "kvm" };
        let process = Command::new("qemu-system-x86_64")
            .args(["-machine", &format!("q35,accel={accelerator}"), "-cpu", "max", "-m", "512", "-display", "none"])
            .args(["-drive", &format!("file={},format=qcow2,if=virtio", disk.display())])
            .args(["-nic", &card(0), "-nic", &card(1), "-serial", &format!("file:{}", console.display())])
            .args(["-device", "virtio-rng-pci", "-monitor", "none"])
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self { process, ports, console }
    }

    /// What a command says inside, over the card of this number, from the host with this key and no other.
    fn ask(&self, card: usize, user: &str, key: &Path, known_hosts: &Path, question: &str) -> String {
        let begin = Instant::now();
        loop {
            let output = Command::new("ssh")
                .args(["-F", "none", "-p", &self.ports[card].to_string(), "-i", key.to_str().unwrap()])
                .args(["-o", "BatchMode=yes", "-o", "ConnectTimeout=10", "-o", "StrictHostKeyChecking=yes"])
                .args(["-o", "HostKeyAlias=clone", "-o", "IdentitiesOnly=yes"])
                .args(["-o", &format!("UserKnownHostsFile={}", known_hosts.display())])
                .args([&format!("{user}@127.0.0.1"), question])
                .stdin(Stdio::null())
                .output()
                .unwrap();
            if output.status.success() {
                return String::from_utf8(output.stdout).unwrap();
            }
            let console = fs::read(&self.console).unwrap_or_default();
            assert!(
                begin.elapsed() < DEADLINE,
                "{}\n{}",
                String::from_utf8_lossy(&output.stderr),
                String::from_utf8_lossy(&console[console.len().saturating_sub(3000)..])
            );
            thread::sleep(Duration::from_secs(2));
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        _ = self.process.kill();
        _ = self.process.wait();
    }
}

/// `TPL_TEST_TEMPLATE` names a published template's volume; it is copied.
#[test]
#[ignore = "needs a sealed Debian in TPL_TEST_TEMPLATE, and boots it"]
fn a_clone_without_cloud_init_boots_as_who_it_should_be() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().join("base.raw");
    let template = std::env::var("TPL_TEST_TEMPLATE").expect("TPL_TEST_TEMPLATE must name a template's volume");
    Command::new("cp").args(["--sparse=always", "--no-preserve=mode", &template, base.to_str().unwrap()]).status().unwrap();
    purge_cloud_init(&base);

    let (host, login) = (HostKey::generate(&"tpl-offline".parse().unwrap()).unwrap(), LoginKey::generate().unwrap());
    let mut person = Person::new("tpl-offline", "operator", 7);
    person.keys = vec![login.public.parse().unwrap()];
    let mut identity = person.identity(MACS[1]);
    identity.host_key = (&host.private, &host.public);
    // Its first card has an address of its own, the second asks for one.
    let fixed =
        CardAddress::Static { address: "10.0.2.15".parse().unwrap(), prefix: 24, gateway: Some("10.0.2.2".parse().unwrap()) };
    let servers = vec!["10.0.2.3".parse().unwrap()];
    let search = vec!["lab.example".parse().unwrap()];
    let domain = "lab.example".parse().unwrap();
    identity.domain = Some(&domain);
    identity.cards.insert(0, CardConfig { mac: MACS[0].parse().unwrap(), address: fixed, nameservers: servers, search });
    let path: GuestPath = "/srv/greeting".parse().unwrap();
    identity.files.push(File { path: &path, content: b"hello\n", mode: Some(0o600), owner: Some("operator") });
    let disk = overlay(&base, "clone");
    Command::new("qemu-img").args(["resize", "-q", disk.to_str().unwrap(), "3G"]).status().unwrap();
    let clone = Target { disk: disk.clone(), format: VolumeFormat::Qcow2, identity };
    write_all(&Libguestfs { tcg: tcg() }, &[clone], &Silent).unwrap();

    let machine = Machine::start(&disk);
    let known_hosts = folder.path().join("known_hosts");
    fs::write(&known_hosts, format!("clone {}\n", host.public)).unwrap();
    let key = login.file().unwrap();
    let question = "hostname; hostname -f; cat /etc/machine-id; ls /etc/ssh/ssh_host_*_key | wc -l; sudo -n id -u; id -un; \
        cat /srv/greeting; cat /sys/class/net/eth0/address /sys/class/net/eth1/address; \
        ip -4 -br address show dev eth0 | tr -s ' ' | cut -d' ' -f3; ip -4 -br address show dev eth1 | tr -s ' ' | cut -d' ' -f3; \
        systemctl is-system-running --wait; systemctl --failed --plain --no-legend";
    let expected = format!(
        "tpl-offline\ntpl-offline.lab.example\n{}\n1\n0\noperator\nhello\n{}\n{}\n10.0.2.15/24\n10.0.3.15/24\nrunning\n",
        machine_id(person.uuid),
        MACS[0],
        MACS[1]
    );
    for card in [0, 1] {
        assert_eq!(machine.ask(card, "operator", key.path(), &known_hosts, question), expected, "card {card}");
    }
    let size = machine.ask(0, "operator", key.path(), &known_hosts, "df --output=size -B1M / | tail -1");
    // The template's root has less than 700 MiB.
    assert!(size.trim().parse::<u32>().unwrap() > 2700, "the root has {} MiB", size.trim());
}
