//! Names in the DNS of a server that is not libvirt's, and in a hosts file: told, taken back, and refused where others have them.

use std::{fs, path::Path};

use tempfile::TempDir;

use super::{
    build::template_id,
    lab::{Ended, command, ended, left, login_key, virsh},
};
use crate::servers::Server;

/// A configuration of the operator's own, with both providers.
struct Lab {
    server: Server,
    folder: TempDir,
}

/// What stands in the hosts file before tpl writes to it.
const OTHERS: &str = "192.0.2.80 printer.lab.example printer\n";

impl Lab {
    fn new(key: &str) -> Self {
        let (server, folder) = (Server::named(), tempfile::tempdir().unwrap());
        fs::create_dir(folder.path().join("tpl")).unwrap();
        fs::write(folder.path().join("hosts"), OTHERS).unwrap();
        let config = format!(
            "[dns.file]\nkind = \"hosts-file\"\nfile = {:?}\ndomain = \"lab.example\"\n\n\
             [dns.zone]\nkind = \"rfc2136\"\nserver = \"127.0.0.1:{}\"\nzone = \"lab.example\"\n\
             reverse = [\"2.0.192.in-addr.arpa\"]\nkey_file = {:?}\n",
            folder.path().join("hosts"),
            server.port,
            server.path(key)
        );
        fs::write(folder.path().join("tpl/config.toml"), config).unwrap();
        Self { server, folder }
    }

    fn tpl(&self, args: &[&str]) -> Ended {
        ended(command(args).env("XDG_CONFIG_HOME", self.folder.path()))
    }

    /// A VM that is not started, whose address is known beforehand.
    fn clone(&self, name: &str, ip: &str) -> Ended {
        let (id, key) = (template_id(), format!("{}.pub", login_key().display()));
        let xml = virsh(&["net-dumpxml", "default"]);
        let bridge = xml.split("<bridge name='").nth(1).and_then(|rest| rest.split('\'').next()).unwrap();
        let size = ["--disk", "1G", "--ssh-key", &key, "--output", "json"];
        let place = ["--name", name, "--bridge", bridge, "--ip", ip, "--prefix", "24"];
        self.tpl(&[&["clone", &id, "--no-start"], &size[..], &place].concat())
    }

    fn hosts(&self) -> String {
        fs::read_to_string(self.folder.path().join("hosts")).unwrap()
    }

    /// What the server has of a name: its address, who the address is, and how many SSH keys.
    fn records(&self, name: &str, ip: &str) -> (Vec<String>, Vec<String>, Vec<String>) {
        let name = format!("{name}.lab.example");
        (self.server.dig(&name, "A"), self.server.dig_reverse(ip), self.server.dig(&name, "SSHFP"))
    }
}

/// The fingerprints that ssh-keygen makes of a key for DNS, in dig's words.
fn fingerprint(folder: &Path, key: &str) -> Vec<String> {
    let file = folder.join("host.pub");
    fs::write(&file, format!("{key}\n")).unwrap();
    let text = super::lab::run("ssh-keygen", &["-r", "x", "-f", file.to_str().unwrap()]);
    // `x IN SSHFP 4 2 1234…`; dig cuts the digits in two after 56 of them.
    let line = text.lines().find(|line| line.contains("SSHFP 4 2")).unwrap();
    let digits = line.rsplit(' ').next().unwrap().to_uppercase();
    vec![format!("4 2 {} {}", &digits[..56], &digits[56..])]
}

#[test]
fn a_clone_is_in_dns_until_it_is_destroyed() {
    let lab = Lab::new("key");
    let report = lab.clone("tpl-e2e-dns", "192.0.2.60").json();
    let clone = &report["clones"][0];
    let ours = fingerprint(lab.folder.path(), clone["ssh_host_keys"][0].as_str().unwrap());
    let there = (vec!["192.0.2.60".to_owned()], vec!["tpl-e2e-dns.lab.example.".to_owned()], ours);
    assert_eq!(lab.records("tpl-e2e-dns", "192.0.2.60"), there);
    let hosts = lab.hosts();
    assert!(hosts.starts_with(OTHERS) && hosts.contains("192.0.2.60 tpl-e2e-dns.lab.example tpl-e2e-dns"), "{hosts}");
    assert!(report["clones"][0]["dns"].to_string().contains("tpl-e2e-dns.lab.example (zone)"), "{report}");
    lab.tpl(&["destroy", "tpl-e2e-dns"]).ok();
    assert_eq!(lab.records("tpl-e2e-dns", "192.0.2.60"), Default::default());
    assert_eq!(lab.hosts(), OTHERS);
    assert_eq!(left("tpl-e2e-dns"), [""; 0]);
}

#[test]
fn anothers_record_is_refused_before_anything_is_made() {
    let lab = Lab::new("key");
    let calls = [
        ("other", "192.0.2.61", "other.lab.example has A 192.0.2.99"),
        ("tpl-e2e-ptr", "192.0.2.50", "other.lab.example"),
        ("printer", "192.0.2.62", "printer"),
    ];
    for (name, ip, reason) in calls {
        let refused = lab.clone(name, ip);
        assert!(refused.code == 3 && refused.stderr.contains(reason), "{reason} in {refused:#?}");
        assert_eq!(left(name), [""; 0]);
    }
    assert_eq!(lab.records("tpl-e2e-ptr", "192.0.2.50").0, [""; 0]);
    assert_eq!(lab.hosts(), OTHERS);
}

#[test]
fn a_provider_that_refuses_or_is_down_undoes_the_call() {
    // The server answers questions, and takes no update with this key: it is found out after the hosts file has been written.
    let lab = Lab::new("weak");
    let refused = lab.clone("tpl-e2e-weak", "192.0.2.63");
    assert_eq!(refused.code, 1, "{refused:#?}");
    assert!(refused.stderr.contains("telling DNS (zone) of tpl-e2e-weak"), "{refused:#?}");
    assert_eq!((left("tpl-e2e-weak"), lab.hosts()), (vec![], OTHERS.to_owned()));

    let mut lab = Lab::new("key");
    lab.server.stop();
    let failed = lab.clone("tpl-e2e-down", "192.0.2.64");
    assert_eq!(failed.code, 1, "{failed:#?}");
    assert!(failed.stderr.contains("asking DNS (zone) for tpl-e2e-down"), "{failed:#?}");
    assert_eq!((left("tpl-e2e-down"), lab.hosts()), (vec![], OTHERS.to_owned()));
}

#[test]
fn a_vm_is_not_removed_while_its_names_cannot_be() {
    let mut lab = Lab::new("key");
    lab.clone("tpl-e2e-stuck", "192.0.2.65").json();
    let whole = left("tpl-e2e-stuck");
    assert_eq!(whole.len(), 3, "a domain, a disk, a seed: {whole:?}");
    lab.server.stop();
    let failed = lab.tpl(&["destroy", "tpl-e2e-stuck"]);
    assert_eq!(failed.code, 1, "{failed:#?}");
    assert!(failed.stderr.contains("taking tpl-e2e-stuck out of DNS (zone)"), "{failed:#?}");
    assert_eq!(left("tpl-e2e-stuck"), whole);
    lab.server.start_again("ns.lab.example");
    assert_eq!(lab.records("tpl-e2e-stuck", "192.0.2.65").0, ["192.0.2.65"]);
    lab.tpl(&["destroy", "tpl-e2e-stuck"]).ok();
    assert_eq!(lab.records("tpl-e2e-stuck", "192.0.2.65"), Default::default());
    assert_eq!((left("tpl-e2e-stuck"), lab.hosts()), (vec![], OTHERS.to_owned()));
}
