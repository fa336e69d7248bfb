//! One VM with nearly everything that can be asked for, looked at from inside and outside; and VMs that do not become ready.

use std::fs;

use super::{
    build::template_id,
    lab::{Ended, folder, left, login_key, run, ssh, tpl, virsh},
};

/// crypt(3) of a password that nobody uses.
const HASH: &str = "$6$tple2e$xaL6DLNYS1avDiuEPT72GvbCQ1Yontutxjuw80ZsUQyBfIGCck.kpFUhNSvsUD2a18cf1wPf4TFFyb0cAV.sU0";

fn file(name: &str, text: &str) -> String {
    let path = folder().join(name);
    fs::write(&path, text).unwrap();
    path.display().to_string()
}

fn key() -> String {
    format!("{}.pub", login_key().display())
}

#[test]
fn a_vm_with_everything_is_as_it_was_asked_for() {
    let (id, key, known_hosts) = (template_id(), key(), folder().join("known_hosts.all"));
    let hash_file = file("hash", &format!("{HASH}\n"));
    fs::set_permissions(&hash_file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let greeting = format!("{}:/etc/tpl-e2e/greeting:0640", file("greeting", "good morning\n"));
    let user_data = file(
        "user-data",
        "#cloud-config\nhostname: another\nwrite_files:\n- path: /etc/tpl-e2e/merged\n  content: of the operator's own\n\
         runcmd:\n- echo theirs >>/etc/tpl-e2e/order\n",
    );
    let operator = format!("op,sudo,key={key},group=adm");
    let call = [
        &["clone", &id, "--name", "tpl-e2e-all", "--ssh-key", &key, "--wait", "cloud-init", "--timeout", "20m"][..],
        &["--topology", "1:2:1", "--memory", "640MiB", "--disk", "3G", "--description", "all & everything"],
        &["--add-disk", "size=64M,fs=ext4,label=data,mount=/srv/data,options=noatime"],
        &["--add-disk", "size=48M,fs=ext4,mount=/srv/data/deep", "--add-disk", "size=16M"],
        &["--addressing", "static", "--search", "lab.example", "--apt-mirror", "http://mirror.example/debian"],
        &["--add-user", &operator, "--password-hash-file", &hash_file, "--timezone", "Europe/Vienna"],
        &["--write-file", &greeting, "--runcmd", "echo ours >>/etc/tpl-e2e/order", "--user-data", &user_data],
        &["--autostart", "--snapshot", "fresh", "--known-hosts", known_hosts.to_str().unwrap(), "--output", "json"],
    ];
    let made = tpl(&call.concat());
    assert!(made.stderr.contains("user-data: hostname is not taken: tpl itself says it"), "{made:#?}");
    let report = made.json();
    let clone = &report["clones"][0];
    let address = clone["addresses"][0].as_str().unwrap();
    inside(&known_hosts, address);
    outside(address);
    tpl(&["destroy", "tpl-e2e-all"]).ok();
    assert_eq!(left("tpl-e2e-all"), [""; 0]);
    let network = virsh(&["net-dumpxml", "default"]);
    // Its address may be another test's by now.
    assert!(!network.contains("tpl-e2e-all"), "{network}");
    assert_eq!(dig("tpl-e2e-all"), "");
    assert!(!fs::exists("/var/log/libvirt/qemu/tpl-e2e-all-serial.log").unwrap());
}

/// What is asked, and what the VM must answer to it. Its disk `vdb` is the seed.
fn inside(known_hosts: &std::path::Path, address: &str) {
    let static_address = format!("{address}/24 \n");
    let table = [
        ("hostname; hostname -f", "tpl-e2e-all\ntpl-e2e-all.lab.example\n"),
        (
            "nproc; lscpu | grep -E '^(Core|Socket|Thread)' | tr -s ' '",
            "2\nThread(s) per core: 1\nCore(s) per socket: 2\nSocket(s): 1\n",
        ),
        ("findmnt -rno SOURCE,FSTYPE /srv/data; findmnt -rno OPTIONS /srv/data | grep -o noatime", "/dev/vdc ext4\nnoatime\n"),
        ("findmnt -rno SOURCE,FSTYPE /srv/data/deep; sudo blkid -o value -s LABEL /dev/vdc", "/dev/vdd ext4\ndata\n"),
        (
            "lsblk -brndo SIZE /dev/vda /dev/vdc /dev/vdd /dev/vde; lsblk -rno FSTYPE /dev/vde",
            "3221225472\n67108864\n50331648\n16777216\n\n",
        ),
        ("grep -c '/srv/data' /etc/fstab", "2\n"),
        ("getent passwd op | cut -d: -f1,6; id -nG op; sudo -u op sudo -n id -un", "op:/home/op\nop adm\nroot\n"),
        ("sudo cut -d' ' -f1 ~op/.ssh/authorized_keys", "ssh-ed25519\n"),
        ("timedatectl show -P Timezone", "Europe/Vienna\n"),
        ("sudo cat /etc/tpl-e2e/greeting; sudo stat -c '%a %U' /etc/tpl-e2e/greeting", "good morning\n640 root\n"),
        ("cat /etc/tpl-e2e/merged /etc/tpl-e2e/order", "of the operator's ownours\ntheirs\n"),
        (
            "grep -rh '^URIs: ' /etc/apt/sources.list.d | sort -u; grep -h '^deb ' /etc/apt/sources.list | cut -d' ' -f2 | sort -u",
            "http://mirror.example/debian\n",
        ),
        ("ip -4 -br address show scope global | tr -s ' ' | cut -d' ' -f3-", &static_address),
        (
            "sudo find /run/systemd/netif /var/lib/dhcp /var/lib/dhcpcd /run -xdev -type f -name '*.lease*' 2>/dev/null | wc -l",
            "0\n",
        ),
        ("grep -c 'search.*lab.example' /etc/resolv.conf", "1\n"),
        (
            "sudo cloud-init status --format json | python3 -c 'import json, sys; s = json.load(sys.stdin); print(s[\"status\"], s[\"errors\"], s[\"recoverable_errors\"])'",
            "done [] {}\n",
        ),
        ("sudo cloud-init schema --system >/dev/null 2>&1; echo $?", "0\n"),
        ("systemctl is-system-running --wait; systemctl --failed --plain --no-legend", "running\n"),
        ("df -BM --output=size / | tail -1 | tr -dc 0-9 | awk '{print ($1 > 2700)}'", "1\n"),
    ];
    let mut wrong = Vec::new();
    for (question, expected) in table {
        let answer = ssh(known_hosts, address, &format!("{{ {question}; }} || true"));
        if answer != expected {
            wrong.push((question, answer, expected));
        }
    }
    let hashes = ssh(known_hosts, address, "sudo getent shadow debian | cut -d: -f2");
    assert!(wrong.is_empty() && hashes.trim() == HASH, "{wrong:#?} {hashes}");
}

/// The same VM from the hypervisor.
fn outside(address: &str) {
    assert_eq!(virsh(&["snapshot-list", "tpl-e2e-all", "--name"]).trim(), "fresh");
    let info = virsh(&["dominfo", "tpl-e2e-all"]);
    assert!(info.lines().any(|line| line.starts_with("Autostart:") && line.ends_with("enable")), "{info}");
    let xml = virsh(&["dumpxml", "tpl-e2e-all"]);
    for part in
        ["<description>all &amp; everything</description>", "<memory unit='KiB'>655360</memory>", "sockets='1'", "cores='2'"]
    {
        assert!(xml.contains(part), "{part} in {xml}");
    }
    assert_eq!(dig("tpl-e2e-all").trim(), address);
    let mut disks = left("tpl-e2e-all");
    disks.sort();
    let rest = ["-disk1", "-disk2", "-disk3", "-seed"].map(|rest| format!("tpl-e2e-all{rest}"));
    assert_eq!(disks, [&["tpl-e2e-all".to_owned(), "tpl-e2e-all".to_owned()], &rest[..]].concat(), "a domain and its volumes");
}

fn dig(name: &str) -> String {
    let xml = virsh(&["net-dumpxml", "default"]);
    let server = xml.split("<ip address='").nth(1).and_then(|rest| rest.split('\'').next()).unwrap();
    run("dig", &["+short", "+time=5", "+tries=2", &format!("@{server}"), name, "A"])
}

#[test]
fn a_file_system_that_the_template_cannot_make_is_refused() {
    let (id, key) = (template_id(), key());
    let refused = tpl(&["clone", &id, "--name", "tpl-e2e-xfs", "--ssh-key", &key, "--add-disk", "size=1G,fs=xfs,mount=/srv"]);
    let expected =
        format!("tpl: 'tpl-e2e-xfs': template {id} has no xfsprogs\nadd the package to its pipeline, or ask for ext4\n");
    assert_eq!((refused.code, refused.stderr), (3, expected));
    assert_eq!(left("tpl-e2e-xfs"), [""; 0]);
}

#[test]
fn vms_that_are_late_tell_how_far_they_have_come() {
    let (id, key) = (template_id(), key());
    let report = |args: &[&str]| tpl(&[&["clone", &id, "--ssh-key", &key, "--timeout", "20s"], args].concat());
    let late = report(&["--name", "tpl-e2e-late", "--wait", "tcp:9"]);
    assert_eq!(late.code, 1, "{late:#?}");
    tells(&late, "tpl-e2e-late");
    assert!(late.stderr.contains("port: "), "{late:#?}");
    assert_eq!(left("tpl-e2e-late"), [""; 0]);

    let both = report(&["--name", "tpl-e2e-slow{}", "--count", "2", "--wait", "agent", "--keep-going"]);
    assert_eq!(both.code, 1, "{both:#?}");
    for name in ["tpl-e2e-slow1", "tpl-e2e-slow2"] {
        tells(&both, name);
    }
    assert!(both.stderr.contains("the guest agent does not answer yet"), "{both:#?}");
    assert_eq!(left("tpl-e2e-slow"), [""; 0]);
    let network = virsh(&["net-dumpxml", "default"]);
    assert!(!network.contains("tpl-e2e-late") && !network.contains("tpl-e2e-slow"), "{network}");
}

fn tells(end: &Ended, name: &str) {
    let story = end.stderr.split(&format!("{name}: not ready after 20 s: ")).last().unwrap();
    for part in
        ["\n    domain: running\n", "\n    lease: ", "\n    ARP: ", "\n    port: ", "\n    cloud-init: ", "\n    console: "]
    {
        assert!(story.contains(part), "{part:?} in {end:#?}");
    }
    assert!(story.contains(&format!("its console is logged in /var/log/libvirt/qemu/{name}-serial.log")), "{end:#?}");
}
