//! Seeds, read by the real cloud-init: its own code merges them, checks them against its schema, and turns them into files.
//!
//! `scripts/setup` unpacks cloud-init into `target/cloud-init`, as it comes from the distribution, without installing it: on a
//! machine where it is installed it would act at the next boot.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]
#![expect(clippy::disallowed_methods, reason = "the tests look at the world with other tools than tpl")]

#[path = "seeds/clone.rs"]
mod clone;
#[path = "seeds/commands.rs"]
mod commands;
#[path = "seeds/handed.rs"]
mod handed;
#[path = "seeds/hostile.rs"]
mod hostile;
#[path = "seeds/merge.rs"]
mod merge;

use std::{
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;

use clone::{KEY, Wishes};

/// cloud-init's modules for Python.
fn cloud_init() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("cloud-init").join("usr/lib/python3/dist-packages");
    assert!(folder.join("cloudinit").is_dir(), "cloud-init is not in {}: scripts/setup unpacks it there", folder.display());
    folder
}

fn python(arguments: &[&str]) -> Output {
    // The distribution's own, which has the modules that cloud-init needs.
    let mut command = Command::new("/usr/bin/python3");
    command.args(arguments).stdin(Stdio::null()).env("PYTHONPATH", cloud_init()).env("PYTHONDONTWRITEBYTECODE", "1");
    command.env_remove("PYTHONHOME").env("LC_ALL", "C.UTF-8").output().unwrap()
}

/// What `tests/seeds/read.py` makes of a document, which is right by cloud-init's schema and causes no warning.
fn read(what: &str, document: &str) -> Value {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, document).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/seeds/read.py");
    let output = python(&[script.to_str().unwrap(), what, file.path().to_str().unwrap()]);
    assert!(output.status.success(), "{}\n{document}", String::from_utf8_lossy(&output.stderr));
    let read: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&read["faults"], &read["log"]), (&Value::from(""), &Value::from("")), "{document}");
    read
}

/// The cloud-config that a guest acts on.
fn config(user_data: &str) -> Value {
    read("user-data", user_data)["config"].clone()
}

#[test]
fn a_plain_clone_and_a_full_one_are_right_by_the_schema() {
    let plain = Wishes::new(&format!("user = 'debian'\nssh_keys = ['{KEY}']")).user_data();
    assert_eq!(config(&plain)["users"][0]["name"], "debian");
    let full = Wishes::full();
    let config = config(&full.user_data());
    assert_eq!(config["fqdn"], "web01.lab.example");
    assert_eq!(config["manage_etc_hosts"], "localhost");
    assert_eq!(config["mounts"].as_array().unwrap().len(), 2);
    assert_eq!(config["package_update"], true);
}

#[test]
fn network_configuration_becomes_what_ifupdown_and_netplan_read() {
    let seed = Wishes::full().network_config();
    let read = read("network", &seed);
    assert_eq!(
        read["interfaces"].as_str().unwrap().trim(),
        "auto lo
iface lo inet loopback

auto eth0
iface eth0 inet static
    address 192.0.2.10/24
    dns-nameservers 192.0.2.1 2001:db8::1
    dns-search lab.example
    gateway 192.0.2.1

auto eth1
iface eth1 inet6 static
    address 2001:db8::10/64
    gateway fe80::1

auto eth2
iface eth2 inet dhcp"
    );
    let cards = &read["netplan"]["network"]["ethernets"];
    assert_eq!(cards["eth0"]["match"]["macaddress"], "52:54:00:00:00:01");
    assert_eq!(cards["eth0"]["addresses"], serde_json::json!(["192.0.2.10/24"]));
    assert_eq!(cards["eth2"]["dhcp4"], true);
}

#[test]
fn file_systems_are_made_on_blank_disks_alone() {
    let read = read("disks", &Wishes::full().user_data());
    let made = serde_json::json!([
        ["mkfs.ext4", "-L", "data", "-F", "/dev/disk/by-id/virtio-0a1b2c3d4e5f4071-00"],
        ["mkfs.xfs", "-f", "/dev/disk/by-id/virtio-0a1b2c3d4e5f4071-01"],
    ]);
    assert_eq!(read["blank"], made);
    // Whatever is on a disk stays, when cloud-init takes the guest for a new one.
    assert_eq!(read["filled"], serde_json::json!([[], [], []]));
}
