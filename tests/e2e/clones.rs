//! Five clones, up and reached over SSH: who they are is what tpl reported.

use std::{collections::BTreeSet, fs, time::Duration};

use serde_json::Value;

use super::{
    build::template_id,
    lab::{Background, folder, left, login_key, run, ssh, tpl, volume_path},
};

fn public_key() -> String {
    format!("{}.pub", login_key().display())
}

fn texts(clone: &Value, key: &str) -> Vec<String> {
    clone[key].as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

#[test]
fn five_clones_are_five_machines() {
    let known_hosts = folder().join("known_hosts");
    let (id, key) = (template_id(), public_key());
    let call = [
        "clone",
        &id,
        "--count",
        "5",
        "--name",
        "tpl-e2e-five{:02}",
        "--ssh-key",
        &key,
        "--timeout",
        "25m",
        "--known-hosts",
        known_hosts.to_str().unwrap(),
        "--output",
        "json",
    ];
    let report = tpl(&call).json();
    let clones = report["clones"].as_array().unwrap();
    assert_eq!(clones.len(), 5);
    let mut seen: [BTreeSet<String>; 6] = Default::default();
    for clone in clones {
        let name = clone["name"].as_str().unwrap();
        let address = &texts(clone, "addresses")[0];
        // Of the machine itself, over SSH with the published key and no prompt.
        let inside = ssh(
            &known_hosts,
            address,
            "hostname; cat /etc/machine-id; cut -d' ' -f1,2 /etc/ssh/ssh_host_ed25519_key.pub; ls /etc/ssh/ssh_host_*_key | wc -l; \
             sudo cat /sys/class/dmi/id/product_uuid; cat /sys/class/net/e*/address; cloud-init status --wait | tail -1; sudo -n true && echo sudo",
        );
        let lines: Vec<&str> = inside.lines().collect();
        let host_key: Vec<&str> = clone["ssh_host_keys"][0].as_str().unwrap().split_whitespace().take(2).collect();
        let expected = [
            name,
            clone["machine_id"].as_str().unwrap(),
            &host_key.join(" "),
            "1",
            clone["uuid"].as_str().unwrap(),
            &texts(clone, "macs")[0],
            "status: done",
            "sudo",
        ];
        assert_eq!(lines, expected, "{name}");
        let own = [name, lines[1], lines[2], lines[4], lines[5], address];
        for (set, value) in seen.iter_mut().zip(own) {
            assert!(set.insert(value.to_owned()), "{value} twice");
        }
    }
    let names: Vec<&str> = clones.iter().map(|clone| clone["name"].as_str().unwrap()).collect();
    let listed = tpl(&["vms", "--output", "json"]).json();
    let running =
        listed.as_array().unwrap().iter().filter(|vm| names.contains(&vm["name"].as_str().unwrap()) && vm["state"] == "running");
    assert_eq!(running.count(), 5);
    refuses_to_lose_their_template(&names);
    let args: Vec<&str> = std::iter::once("destroy").chain(names).collect();
    tpl(&args).ok();
    assert_eq!(left("tpl-e2e-five"), Vec::<String>::new());
}

fn refuses_to_lose_their_template(names: &[&str]) {
    let refused = tpl(&["rm", &template_id()]);
    assert_eq!(refused.code, 3, "{refused:#?}");
    for name in names {
        assert!(refused.stderr.contains(name), "{refused:#?}");
    }
}

#[test]
fn a_full_clone_has_a_disk_of_its_own_that_grows() {
    let (id, key) = (template_id(), public_key());
    let known_hosts = folder().join("known_hosts.full");
    let call = [
        "clone",
        &id,
        "--full",
        "--name",
        "tpl-e2e-full",
        "--disk",
        "3G",
        "--memory",
        "640MiB",
        "--vcpus",
        "2",
        "--ssh-key",
        &key,
        "--timeout",
        "20m",
        "--known-hosts",
        known_hosts.to_str().unwrap(),
        "--output",
        "json",
    ];
    let report = tpl(&call).json();
    let clone = &report["clones"][0];
    let disk = &texts(clone, "disks")[0];
    assert!(!run("qemu-img", &["info", "-U", disk]).contains("backing file"));
    let inside = ssh(
        &known_hosts,
        &texts(clone, "addresses")[0],
        "cloud-init status --wait >/dev/null; df -BM --output=size / | tail -1; nproc; grep MemTotal /proc/meminfo",
    );
    let numbers: Vec<u64> =
        inside.lines().map(|line| line.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap()).collect();
    assert!((2700..=3072).contains(&numbers[0]), "the root filesystem has grown: {inside}");
    assert_eq!(numbers[1], 2);
    assert!((500_000..=655_360).contains(&numbers[2]), "{inside}");
    tpl(&["destroy", "tpl-e2e-full"]).ok();
    assert_eq!(left("tpl-e2e-full"), Vec::<String>::new());
}

#[test]
fn clones_that_are_killed_in_the_making_are_pruned() {
    let (id, key) = (template_id(), public_key());
    let call = ["clone", &id, "--count", "2", "--name", "tpl-e2e-killed{}", "--ssh-key", &key];
    let mut clone = Background::start("clone-killed", &call);
    clone.wait_for("tpl-e2e-killed2: no answer", Duration::from_secs(120));
    clone.kill();
    let vms = tpl(&["vms", "--output", "json"]).json();
    let creating = vms
        .as_array()
        .unwrap()
        .iter()
        .filter(|vm| vm["name"].as_str().unwrap().starts_with("tpl-e2e-killed") && vm["state"] == "creating");
    assert_eq!(creating.count(), 2);
    let pruned = tpl(&["prune"]).ok();
    assert!(
        pruned.stdout.contains("unfinished clone tpl-e2e-killed1 removed\nunfinished clone tpl-e2e-killed2 removed\n"),
        "{pruned:#?}"
    );
    assert_eq!(left("tpl-e2e-killed"), Vec::<String>::new());
}

#[test]
fn a_call_that_has_no_room_touches_nothing() {
    let (id, key) = (template_id(), public_key());
    let call = ["clone", &id, "--count", "900", "--memory", "64G", "--name", "tpl-e2e-huge{}", "--ssh-key", &key];
    let refused = tpl(&call);
    assert_eq!(refused.code, 3, "{refused:#?}");
    assert!(refused.stderr.contains("memory: 900 × 64 GiB is 56.2 TiB and "), "{refused:#?}");
    let shrinking = tpl(&["clone", &id, "--disk", "100M", "--name", "tpl-e2e-huge", "--ssh-key", &key]);
    assert_eq!(shrinking.code, 2, "{shrinking:#?}");
    assert!(shrinking.stderr.contains("a clone's disk grows, never shrinks"), "{shrinking:#?}");
    assert_eq!(left("tpl-e2e-huge"), Vec::<String>::new());
}

#[test]
fn the_seed_is_what_cloud_init_accepts() {
    let (id, key) = (template_id(), public_key());
    tpl(&["clone", &id, "--no-start", "--name", "tpl-e2e-seed", "--ssh-key", &key]).ok();
    let path = volume_path("tpl-e2e-seed-seed");
    assert_eq!(run("stat", &["-c", "%a", &path]).trim(), "600", "the seed holds a private key");
    let image = fs::read(&path).unwrap();
    assert!(image.windows(13).any(|window| window == b"#cloud-config"));
    let xml = run("virsh", &["-c", "qemu:///system", "dumpxml", "tpl-e2e-seed"]);
    assert!(!xml.contains("PRIVATE KEY"));
    let file = folder().join("clone.xml");
    fs::write(&file, xml).unwrap();
    run("virt-xml-validate", &[file.to_str().unwrap(), "domain"]);
    tpl(&["destroy", "tpl-e2e-seed"]).ok();
}
