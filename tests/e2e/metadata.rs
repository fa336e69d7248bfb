//! The metadata service and real guests with real cloud-init: a clone that has no seed volume, by NoCloud; and a VM that tpl has not
//! made, by EC2 with a token.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::{
    build::template_id,
    lab::{folder, left, login_key, pool, run, ssh, tpl, virsh, volume_path},
};

const NETWORK: &str = "tpl-e2e-md";
const BRIDGE: &str = "virbr-tplmd";
/// A UUID that cloud-init takes for a machine of EC2's.
const EC2: &str = "ec2e2e00-1111-4222-8333-444444444444";
const PATIENCE: Duration = Duration::from_secs(25 * 60);

/// The network, and the service on it.
struct Lab {
    service: Option<Child>,
    log: PathBuf,
    config: PathBuf,
}

impl Lab {
    fn new() -> Self {
        let file = folder().join("md.xml");
        // An isolated network tells its guests of no router, and so of no way to the service.
        let ip = "<ip address='198.51.101.1' netmask='255.255.255.0'><dhcp><range start='198.51.101.2' end='198.51.101.99'/></dhcp></ip>";
        fs::write(&file, format!("<network><name>{NETWORK}</name><forward mode='nat'/><bridge name='{BRIDGE}'/>{ip}</network>"))
            .unwrap();
        virsh(&["net-define", file.to_str().unwrap()]);
        virsh(&["net-start", NETWORK]);
        let config = folder().join("metadata.toml");
        let key = fs::read_to_string(format!("{}.pub", login_key().display())).unwrap();
        let user_data = "#cloud-config\nwrite_files:\n- path: /etc/tpl-e2e-user-data\n  content: it was applied\n";
        fs::write(folder().join("md-user-data"), user_data).unwrap();
        let rule = format!(
            "[[rule]]\nname = \"tpl-e2e-*\"\nssh_keys = [{key:?}]\nuser_data = \"md-user-data\"\none_shot = true\none_shot_window = \"60s\"\n"
        );
        fs::write(&config, rule.replace("\\n", "")).unwrap();
        let mut lab = Self { service: None, log: folder().join("md.log"), config };
        lab.start();
        lab
    }

    fn start(&mut self) {
        let mut tpl = Command::new(env!("CARGO_BIN_EXE_tpl"));
        tpl.args(["metadata", "serve", "--network", NETWORK, "--require-token", "--status-port", "9354", "--config"]);
        tpl.arg(&self.config).arg("--state").arg(folder().join("md-state"));
        tpl.stdin(Stdio::null()).stderr(fs::File::create(&self.log).unwrap());
        self.service = Some(tpl.spawn().unwrap());
        self.says(&format!("\"message\":\"serving\",\"bridge\":\"{BRIDGE}\""));
    }

    fn stop(&mut self) {
        let Some(mut service) = self.service.take() else { return };
        run("kill", &["-TERM", &service.id().to_string()]);
        assert!(service.wait().unwrap().success());
    }

    fn says(&self, text: &str) {
        let end = Instant::now() + PATIENCE;
        while !self.log().contains(text) {
            assert!(Instant::now() < end, "{text} is not in\n{}", self.log());
            thread::sleep(Duration::from_millis(200));
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // What a failed test leaves besides, scripts/test removes.
        if let Some(mut service) = self.service.take() {
            let _ = service.kill();
            let _ = service.wait();
        }
    }
}

/// Defines and starts a VM on a copy of the template's disk, as somebody would who knows nothing of tpl.
fn start_foreign(name: &str) {
    let id = template_id();
    let template = volume_path(&id.replace('@', "."));
    virsh(&[
        "vol-create-as",
        &pool(),
        name,
        "3G",
        "--format",
        "qcow2",
        "--backing-vol",
        &template,
        "--backing-vol-format",
        "raw",
    ]);
    let disk = volume_path(name);
    // A template's cloud-init looks for seeds alone; that of any cloud image looks at what machine it is on.
    let mut fish = Command::new("guestfish");
    fish.env("LIBGUESTFS_BACKEND", "direct").env("LIBGUESTFS_BACKEND_SETTINGS", "force_tcg");
    fish.args(["-a", &disk, "-i", "rm", "/etc/cloud/cloud.cfg.d/91_datasource.cfg"]);
    assert!(fish.status().unwrap().success());
    // KVM may be there and not work: tpl has found that out for the template.
    let template_xml = virsh(&["dumpxml", "--inactive", &id.replace('@', ".")]);
    let kind = template_xml.split('\'').nth(1).unwrap();
    let xml = format!(
        "<domain type='{kind}'><name>{name}</name><uuid>{EC2}</uuid><memory unit='MiB'>640</memory><vcpu>1</vcpu>\
         <os><type arch='x86_64' machine='q35'>hvm</type><boot dev='hd'/><smbios mode='sysinfo'/></os>\
         <sysinfo type='smbios'><system><entry name='uuid'>{EC2}</entry><entry name='serial'>{EC2}</entry></system></sysinfo>\
         <features><acpi/></features><devices><disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{disk}'/>\
         <target dev='vda' bus='virtio'/></disk><interface type='network'><mac address='52:54:00:e2:e0:01'/>\
         <source network='{NETWORK}'/><model type='virtio'/></interface><rng model='virtio'><backend model='random'>/dev/urandom</backend>\
         </rng><serial type='pty'/></devices></domain>"
    );
    let file = folder().join(format!("{name}.xml"));
    fs::write(&file, xml).unwrap();
    virsh(&["define", file.to_str().unwrap()]);
    virsh(&["start", name]);
}

/// The address that the network's DHCP server has given to the VM.
fn address_of(name: &str) -> String {
    let end = Instant::now() + PATIENCE;
    loop {
        let leases = virsh(&["domifaddr", name]);
        if let Some(address) = leases.split_whitespace().find_map(|word| word.strip_suffix("/24")) {
            return address.to_owned();
        }
        assert!(Instant::now() < end, "{name} has no address");
        thread::sleep(Duration::from_secs(1));
    }
}

/// Waits until the VM is up with the host key that it has now.
fn known_when_up(name: &str, address: &str) -> PathBuf {
    let file = folder().join(format!("known_hosts-{name}"));
    let end = Instant::now() + PATIENCE;
    loop {
        let scanned = Command::new("ssh-keyscan").args(["-T", "20", "-t", "ed25519", address]).output().unwrap();
        if !scanned.stdout.is_empty() {
            fs::write(&file, scanned.stdout).unwrap();
            return file;
        }
        assert!(Instant::now() < end, "{name} does not come up");
        thread::sleep(Duration::from_secs(2));
    }
}

#[test]
fn guests_ask_the_metadata_service_who_they_are() {
    let id = template_id();
    let mut lab = Lab::new();
    start_foreign("tpl-e2e-ec2");
    let known_hosts = folder().join("known_hosts.md");
    let (key, hosts) = (format!("{}.pub", login_key().display()), known_hosts.to_str().unwrap());
    let asked = ["clone", &id, "--name", "tpl-e2e-md1", "--seed", "metadata", "--wait", "phone-home", "--network", NETWORK];
    let more = ["--ssh-key", &key, "--known-hosts", hosts, "--timeout", "25m", "--output", "json"];
    let made = tpl(&[&asked[..], &more].concat()).json();
    let address = made["clones"][0]["addresses"][0].as_str().unwrap();

    // By NoCloud: its name and the host key that was made for it, and a second disk is not there.
    assert_eq!(ssh(&known_hosts, address, "hostname; cloud-id; lsblk -dno NAME | grep -c vd"), "tpl-e2e-md1\nnocloud\n1\n");
    lab.says("\"message\":\"ready\",\"domain\":\"tpl-e2e-md1\"");
    // It is ready, and its secrets are gone: from the service, and from libvirt.
    let fetch =
        "python3 -c 'import urllib.request as u; print(u.urlopen(\"http://169.254.169.254/nocloud/user-data\").read().decode())'";
    assert_eq!(ssh(&known_hosts, address, fetch), "#cloud-config\n{}\n\n");
    let uuid = virsh(&["domuuid", "tpl-e2e-md1"]).trim().to_owned();
    assert!(!virsh(&["secret-get-value", &uuid, "--plain"]).contains("PRIVATE KEY"));

    // By EC2, with a token: the domain's name, the key that opens it, and the user-data.
    let other = address_of("tpl-e2e-ec2");
    let known = known_when_up("tpl-e2e-ec2", &other);
    let look = "cloud-init status --wait >/dev/null; hostname; cloud-id; cat /etc/tpl-e2e-user-data";
    assert_eq!(ssh(&known, &other, look), "tpl-e2e-ec2\naws\nit was applied");
    lab.says("\"domain\":\"tpl-e2e-ec2\",\"bridge\":\"virbr-tplmd\"");
    assert!(lab.log().contains("\"path\":\"/latest/api/token\",\"status\":200"), "{}", lab.log());
    // It was for once, and for the minute after that.
    let again = "import urllib.request as u; r=u.Request(\"http://169.254.169.254/latest/api/token\", method=\"PUT\", \
                 headers={\"X-aws-ec2-metadata-token-ttl-seconds\": \"60\"}); t=u.urlopen(r).read().decode(); \
                 print(u.urlopen(u.Request(\"http://169.254.169.254/latest/user-data\", headers={\"X-aws-ec2-metadata-token\": t})).status)";
    let again = format!("python3 -c '{again}' 2>&1 | tail -n 1");
    let end = Instant::now() + PATIENCE;
    while ssh(&known, &other, &again) != "urllib.error.HTTPError: HTTP Error 404: Not Found\n" {
        assert!(Instant::now() < end, "it is handed out still");
        thread::sleep(Duration::from_secs(5));
    }

    // The service is gone, and the clone is still itself when it starts again.
    lab.stop();
    let before = ssh(&known_hosts, address, "cat /proc/sys/kernel/random/boot_id");
    virsh(&["reboot", "tpl-e2e-md1"]);
    let end = Instant::now() + PATIENCE;
    loop {
        assert!(Instant::now() < end, "it does not come up again");
        thread::sleep(Duration::from_secs(5));
        if Command::new("ssh-keyscan").args(["-T", "20", "-t", "ed25519", address]).output().unwrap().stdout.is_empty() {
            continue;
        }
        if ssh(&known_hosts, address, "cat /proc/sys/kernel/random/boot_id") != before {
            break;
        }
    }
    let look = "cloud-init status --wait >/dev/null; hostname; cat /var/lib/cloud/data/instance-id";
    assert_eq!(ssh(&known_hosts, address, look), format!("tpl-e2e-md1\n{uuid}\n"));

    tpl(&["destroy", "tpl-e2e-md1"]).ok();
    virsh(&["destroy", "tpl-e2e-ec2"]);
    virsh(&["undefine", "tpl-e2e-ec2"]);
    virsh(&["vol-delete", "--pool", &pool(), "tpl-e2e-ec2"]);
    virsh(&["net-destroy", NETWORK]);
    virsh(&["net-undefine", NETWORK]);
    assert_eq!(left("tpl-e2e-md"), [""; 0]);
    assert!(!virsh(&["secret-list"]).contains(&uuid));
}
