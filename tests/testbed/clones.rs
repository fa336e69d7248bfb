//! Clones on a hypervisor's volume groups, against the template that was sent there: block for block, file for file, and their seeds.

use std::{fs, os::unix::fs::symlink, path::Path, sync::PoisonError};

use serde_json::Value;

use super::{
    bed::{ALONE, sh, shell},
    lab::{Lab, command},
};

const VERSION: &str = "20261121-010000";
const MIB: usize = 1 << 20;
/// An operator's public key.
const KEY: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIFn8OvGRI7x6Tg2sVY9Yhq3gJ1cS3sGvD8lZ7iQ2mNpR";

/// What a tree holds, but for what a filesystem has of itself: names, kinds, modes, lengths, where links lead, and contents.
const LISTING: &str = "find . -mindepth 1 ! -name lost+found \\( -type f -printf '%p %m %s\\n' -o -printf '%p %y %m %l\\n' \\) | LC_ALL=C sort; \
                       find . -type f -exec sha256sum {} + | LC_ALL=C sort -k 2";

/// A folder of all kinds of files, in a filesystem that fills a disk of this many MiB; the folder's listing.
fn filesystem(lab: &Lab, raw: &Path, mib: usize) -> String {
    let tree = lab.folder.path().join("tree");
    fs::create_dir_all(tree.join("etc/deep/er")).unwrap();
    fs::create_dir(tree.join("empty")).unwrap();
    fs::write(tree.join("etc/hostname"), "template\n").unwrap();
    fs::write(tree.join("etc/deep/er/nothing"), "").unwrap();
    fs::write(tree.join("a name with blanks"), "x").unwrap();
    let noise: Vec<u8> = (0..5 * MIB + 77).map(|at| ((at * 31 + at / 251) ^ (at >> 9)) as u8).collect();
    fs::write(tree.join("noise"), noise).unwrap();
    symlink("etc/hostname", tree.join("link")).unwrap();
    fs::File::create(raw).unwrap().set_len((mib * MIB) as u64).unwrap();
    let made = command("mkfs.ext4").args(["-q", "-d"]).arg(&tree).arg(raw).status().unwrap();
    assert!(made.success());
    let listed = command("sh").args(["-c", LISTING]).current_dir(&tree).output().unwrap();
    String::from_utf8(listed.stdout).unwrap()
}

/// The same of what a device there holds.
fn listing(bed: &str, device: &str, kind: &str) -> String {
    let line = format!(
        "at=$(mktemp -d) && mount -t {kind} -o ro {device} $at && (cd $at && {LISTING}); ended=$?; umount $at; rmdir $at; exit $ended"
    );
    sh(shell(bed).as_ref(), &line)
}

/// What a clone's seed says of it.
fn meta_data(bed: &str, device: &str) -> String {
    let line =
        format!("at=$(mktemp -d) && mount -t vfat -o ro {device} $at && cat $at/meta-data $at/user-data; umount $at; rmdir $at");
    sh(shell(bed).as_ref(), &line)
}

fn json(lab: &Lab, args: &[&str]) -> Value {
    let done = lab.tpl(&[args, &["--output", "json"]].concat());
    assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
    serde_json::from_slice(&done.stdout).unwrap()
}

/// One kind of clone, made and looked at from outside.
fn look(lab: &Lab, hypervisor: &str, group: &str, way: &[&str], files: &str) {
    let (bed, id) = ("bed1", lab.id(VERSION));
    let vm = format!("{}-vm", lab.name);
    let key = lab.folder.path().join("key.pub");
    fs::write(&key, format!("ssh-ed25519 {KEY} operator\n")).unwrap();
    let args = ["--on", hypervisor, "clone", &id, "--name", &vm, "--no-start", "--ssh-key", key.to_str().unwrap()];
    let report = json(lab, &[&args, way].concat());
    let clone = &report["clones"][0];
    let (template, disk) = (format!("/dev/{group}/{}", id.replace('@', ".")), format!("/dev/{group}/{vm}"));
    // Thin volumes are not active by themselves.
    let compared = format!("lvchange -y -ay -K {disk} {template} && cmp -n $(blockdev --getsize64 {template}) {template} {disk}");
    assert_eq!(sh(shell(bed).as_ref(), &compared), "", "{hypervisor} {way:?}");
    assert_eq!(listing(bed, &disk, "ext4"), files, "{hypervisor} {way:?}");
    let seed = meta_data(bed, &format!("{disk}-seed"));
    let uuid = sh(shell(bed).as_ref(), &format!("virsh -q domuuid {vm}")).trim().to_owned();
    assert_eq!(clone["uuid"], uuid.as_str());
    let host_key = clone["ssh_host_keys"][0].as_str().unwrap().split(' ').nth(1).unwrap();
    for part in [uuid.as_str(), &format!("local-hostname: {vm}"), KEY, host_key] {
        assert!(seed.contains(part), "{part} in {seed}");
    }
    // What a clone writes is its own.
    sh(shell(bed).as_ref(), &format!("dd if=/dev/urandom of={disk} bs=1M count=3 oflag=direct status=none"));
    assert_eq!(json(lab, &["--on", hypervisor, "verify", &id])["holds"], true);
    if way.contains(&"--snapshot-size") {
        let vms = json(lab, &["--on", hypervisor, "vms"]);
        let room = &vms.as_array().unwrap().iter().find(|one| one["name"] == vm.as_str()).unwrap()["room"];
        assert!(room["used"].as_u64().unwrap() >= 3 << 20 && room["lost"] == false, "{room}");
    }
    assert!(lab.tpl(&["--on", hypervisor, "destroy", &vm]).status.success());
    assert_eq!(sh(shell(bed).as_ref(), &format!("lvs --noheadings -o lv_name {group} | grep {vm} || true")), "");
}

#[test]
fn clones_in_volume_groups_are_their_template() {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let lab = Lab::new("clones");
    let raw = lab.folder.path().join("raw");
    let files = filesystem(&lab, &raw, 24);
    assert!(files.contains("./link l 777 etc/hostname") && files.contains("./noise 644 5242957"), "{files}");
    lab.import(VERSION, &raw);
    let id = lab.id(VERSION);
    let table: [(&str, &str, &[&[&str]]); 2] = [
        ("bed1", "vg0", &[&["--full"], &["--linked", "--snapshot-size", "16M"]]),
        ("bed1-thin", "thin0", &[&["--full"], &["--linked"]]),
    ];
    for (hypervisor, group, ways) in table {
        lab.send(&["--on", "here", "push", &id, "--to", hypervisor]);
        ways.iter().for_each(|way| look(&lab, hypervisor, group, way, &files));
        // Both are pools of one hypervisor, which has each version once.
        let other = if group == "vg0" { "bed1-thin" } else { "bed1" };
        let key = lab.folder.path().join("key.pub");
        let push = ["--on", "here", "push", &id, "--to", other, "--allow-unsigned"];
        let clone = ["--on", other, "clone", &id, "--no-start", "--ssh-key", key.to_str().unwrap()];
        for args in [push, clone] {
            let refused = lab.tpl(&args);
            let said = String::from_utf8_lossy(&refused.stderr);
            assert_eq!(refused.status.code(), Some(3), "{said}");
            assert!(said.contains(&format!("{id} has its volumes in pool {group}")), "{said}");
        }
        assert!(lab.tpl(&["--on", hypervisor, "rm", &id]).status.success());
    }
}
