//! A version's way between real hypervisors: from a directory here to a directory, to a thick and to a thin volume group, and back.

use std::{
    fs::{self, File},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tpl::core::digest::hex;

use super::{
    bed::{revive, sh, shell, uri},
    lab::{Lab, command},
};

const MIB: usize = 1 << 20;

fn bytes(entry: &Value) -> u64 {
    entry["bytes_sent"].as_u64().unwrap()
}

#[test]
fn a_version_goes_around_all_kinds_of_pools() {
    let lab = Lab::new("around");
    lab.make("20261121-010000", &[]);
    let raw = lab.make("20261121-020000", &[4]);
    let (first, second) = (lab.id("20261121-010000"), lab.id("20261121-020000"));
    let refused = lab.tpl(&["--on", "here", "push", &first, "--to", "bed2"]);
    assert_eq!(refused.status.code(), Some(3), "{}", String::from_utf8_lossy(&refused.stderr));
    let whole = (12 * MIB) as u64;
    let sent = lab.send(&["--on", "here", "push", &first, "--to", "bed2"]);
    assert_eq!((&sent["outcome"], bytes(&sent)), (&"sent".into(), whole), "{sent}");
    // The next version is a difference.
    let sent = lab.send(&["--on", "here", "push", &second, "--to", "bed2"]);
    assert_eq!((&sent["base"], bytes(&sent)), (&first.clone().into(), MIB as u64), "{sent}");
    let again = lab.send(&["--on", "here", "push", &second, "--to", "bed2"]);
    assert_eq!((&again["outcome"], bytes(&again)), (&"unchanged".into(), 0));
    // From a directory to a thick volume group of another machine, as a difference too.
    let sent = lab.send(&["--on", "bed2", "push", &first, "--to", "bed1"]);
    assert_eq!(bytes(&sent), whole, "{sent}");
    let sent = lab.send(&["--on", "bed2", "push", &second, "--to", "bed1"]);
    assert_eq!((&sent["base"], bytes(&sent)), (&first.clone().into(), MIB as u64), "{sent}");
    // And back from there to here.
    lab.tpl(&["--on", "here", "rm", &second]);
    let sent = lab.send(&["--on", "here", "pull", &second, "--from", "bed1"]);
    assert_eq!((&sent["base"], bytes(&sent)), (&first.into(), MIB as u64), "{sent}");
    let volume = lab.folder.path().join("pool").join(second.replace('@', "."));
    assert!(fs::read(&volume).unwrap() == fs::read(&raw).unwrap(), "it is not what was sent");
}

#[test]
fn a_thin_pool_takes_and_gives() {
    let lab = Lab::new("thin");
    let raw = lab.make("20261121-010000", &[]);
    let id = lab.id("20261121-010000");
    let sent = lab.send(&["--on", "here", "push", &id, "--to", "bed1-thin"]);
    assert_eq!(bytes(&sent), (12 * MIB) as u64, "{sent}");
    lab.tpl(&["--on", "here", "rm", &id]);
    let sent = lab.send(&["--on", "here", "pull", &id, "--from", "bed1-thin"]);
    assert_eq!(sent["digest"].as_str().map(str::len), Some(64), "{sent}");
    let volume = lab.folder.path().join("pool").join(id.replace('@', "."));
    assert!(fs::read(&volume).unwrap() == fs::read(&raw).unwrap(), "it is not what was sent");
}

#[test]
fn what_goes_in_several_parts_arrives_whole() {
    const CHUNKS: usize = 50;
    let lab = Lab::new("parts");
    let raw = fs::read(lab.make_of(CHUNKS, "20261121-010000", &[])).unwrap();
    let expected = hex(&Sha256::digest(&raw));
    let id = lab.id("20261121-010000");
    for (target, bed, folder) in [("bed2", "bed2", "/var/lib/libvirt/images"), ("bed1", "bed1", "/dev/vg0")] {
        let sent = lab.send(&["--on", "here", "push", &id, "--to", target]);
        assert_eq!(bytes(&sent), (CHUNKS.div_ceil(3) + (CHUNKS + 1) / 3) as u64 * MIB as u64, "{sent}");
        let volume = format!("{folder}/{}", id.replace('@', "."));
        let found = sh(shell(bed).as_ref(), &format!("head -c {} {volume} | sha256sum", raw.len()));
        assert_eq!(found, format!("{expected}  -\n"), "{target}");
    }
}

/// A call of tpl that has said how much it has sent.
fn in_the_middle(mut tpl: Command, log: &Path, sent: &str) -> Child {
    let mut child = tpl.stdout(Stdio::null()).stderr(File::create(log).unwrap()).spawn().unwrap();
    let end = Instant::now() + Duration::from_secs(300);
    while !fs::read_to_string(log).unwrap().contains(sent) {
        assert!(Instant::now() < end && child.try_wait().unwrap().is_none(), "{}", fs::read_to_string(log).unwrap());
        thread::sleep(Duration::from_millis(5));
    }
    child
}

/// Ends tpl as nothing else does.
fn kill_in_the_middle(tpl: Command, log: &Path) {
    let mut child = in_the_middle(tpl, log, "sending: 3 MiB");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn what_was_killed_is_gone_on_with_or_pruned() {
    let lab = Lab::alone("kill");
    lab.make("20261121-010000", &[]);
    let id = lab.id("20261121-010000");
    let log = lab.folder.path().join("log");
    for target in ["bed2", "bed1"] {
        let push = || lab.start(&["--on", "here", "push", &id, "--to", target, "--allow-unsigned"]);
        kill_in_the_middle(push(), &log);
        revive(target);
        let sent = lab.send(&["--on", "here", "push", &id, "--to", target]);
        assert_eq!(sent["outcome"], "resumed", "{sent}");
        assert!(bytes(&sent) < (12 * MIB) as u64, "{sent}");
        assert!(lab.tpl(&["--on", target, "rm", &id]).status.success());
        kill_in_the_middle(push(), &log);
        revive(target);
        let pruned = lab.tpl(&["--on", target, "prune", "--template", &lab.name]);
        let said = String::from_utf8_lossy(&pruned.stdout).into_owned();
        assert_eq!(said, format!("build {id} (building) removed\n"));
    }
}

#[test]
fn of_two_at_once_one_is_refused() {
    let lab = Lab::new("two");
    lab.make("20261121-010000", &[]);
    let id = lab.id("20261121-010000");
    let push = || {
        let mut push = lab.start(&["--on", "here", "push", &id, "--to", "bed2", "--allow-unsigned"]);
        push.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let (one, two) = (push(), push());
    let ended = [one.wait_with_output().unwrap(), two.wait_with_output().unwrap()];
    let mut codes: Vec<_> = ended.iter().map(|output| output.status.code()).collect();
    codes.sort_unstable();
    let said: Vec<_> = ended.iter().map(|output| String::from_utf8_lossy(&output.stderr).into_owned()).collect();
    assert_eq!(codes, [Some(0), Some(3)], "{said:?}");
    assert_eq!(lab.send(&["--on", "here", "push", &id, "--to", "bed2"])["outcome"], "unchanged");
}

#[test]
fn what_a_broken_connection_has_brought_is_gone_on_with() {
    let lab = Lab::alone("cut");
    lab.make("20261121-010000", &[]);
    let id = lab.id("20261121-010000");
    let log = lab.folder.path().join("log");
    for target in ["bed2", "bed1"] {
        let push = lab.start(&["--on", "here", "push", &id, "--to", target, "--allow-unsigned"]);
        // Late enough that something of it is there: some MiB are on their way, and end with the connection.
        let mut push = in_the_middle(push, &log, "sending: 10 MiB");
        // libvirt's connection and tpl's own.
        assert!(command("pkill").args(["-KILL", "-P", &push.id().to_string(), "ssh"]).status().unwrap().success());
        let ended = push.wait().unwrap();
        revive(target);
        let said = fs::read_to_string(&log).unwrap();
        assert_eq!(ended.code(), Some(1), "{said}");
        assert!(said.contains(&format!("what has arrived at {target} is kept: the same command goes on with it")), "{said}");
        let sent = lab.send(&["--on", "here", "push", &id, "--to", target]);
        assert_eq!(sent["outcome"], "resumed", "{sent}");
        assert!(bytes(&sent) < (12 * MIB) as u64, "{sent}");
        assert!(lab.tpl(&["--on", target, "verify", &id]).status.success());
    }
}

/// A directory pool on bed2 with little room, in a file system of its own.
struct Small<'a>(&'a str);

impl<'a> Small<'a> {
    fn new(name: &'a str) -> Self {
        let line = format!(
            "mkdir /var/lib/{name} && mount -t tmpfs -o size=128M none /var/lib/{name} && \
             virsh -q pool-define-as {name} dir --target /var/lib/{name} && virsh -q pool-start {name}"
        );
        sh(shell("bed2").as_ref(), &line);
        Self(name)
    }
}

impl Drop for Small<'_> {
    fn drop(&mut self) {
        let name = self.0;
        let line =
            format!("virsh -q pool-destroy {name}; virsh -q pool-undefine {name}; umount /var/lib/{name}; rmdir /var/lib/{name}");
        sh(shell("bed2").as_ref(), &line);
    }
}

#[test]
fn a_target_that_gets_full_is_left_as_it_was() {
    let lab = Lab::new("full");
    lab.make_of(50, "20261121-010000", &[]);
    let id = lab.id("20261121-010000");
    let (name, domain) = (lab.name.as_str(), id.replace('@', "."));
    let small = Small::new(name);
    lab.know("small", &uri("bed2"), name);
    let push = || lab.tpl(&["--on", "here", "push", &id, "--to", "small", "--allow-unsigned"]);
    // While the first part is on its way, somebody else takes so much that there is too little for the second one. Not all of it:
    // libvirtd would not live through that.
    let grab = format!(
        "cd /var/lib/{name} && until [ \"$(stat -c %b {domain} 2>/dev/null || echo 0)\" -gt 2048 ]; do sleep 0.05; done; \
         fallocate -l $(($(df --output=avail -B1 . | tail -n 1) - 62914560)) others"
    );
    let failed = thread::scope(|scope| {
        scope.spawn(|| sh(shell("bed2").as_ref(), &grab));
        push()
    });
    let said = String::from_utf8_lossy(&failed.stderr);
    assert_eq!(failed.status.code(), Some(3), "{said}");
    assert!(said.contains(" left, and 17 MiB are to be written, with 64 MiB to spare"), "{said}");
    let left = sh(shell("bed2").as_ref(), &format!("ls /var/lib/{name}; virsh -q list --all --name | grep {name} || true"));
    assert_eq!(left, "others\n");
    sh(shell("bed2").as_ref(), &format!("rm /var/lib/{name}/others"));
    let done = push();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    lab.tpl(&["--on", "small", "rm", &id]);
    drop(small);
}
