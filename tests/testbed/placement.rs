//! VMs over both hypervisors: eight calls at once fill them and pass no cap, and one that stands still is named.

use std::{
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use super::bed::{ALONE, Turn, sh, shell, uri, variable};

/// All that is made here is called so.
const PREFIX: &str = "tb-place";
const TEMPLATE: &str = "tb-place-t";
const VERSION: &str = "20261121-031000";
const BEDS: [&str; 2] = ["bed1", "bed2"];
const CALLS: usize = 8;
const MIB: u64 = 1 << 20;

/// A folder as a pool on both, with a template in it that is published and was never installed. It all goes with this.
struct Ground;

impl Ground {
    fn prepare() -> Self {
        let ground = Self;
        for bed in BEDS {
            ground.clear(bed);
            sh(shell(bed).as_ref(), &format!("virsh -q pool-define-as {PREFIX} dir --target /var/lib/{PREFIX}"));
            let domain = domain();
            let script = format!(
                "virsh -q pool-build {PREFIX} && virsh -q pool-start {PREFIX} && \
                 virsh -q vol-create-as {PREFIX} {TEMPLATE}.{VERSION} 8M --format raw && virsh -q define /dev/stdin <<'END'\n{domain}\nEND"
            );
            sh(shell(bed).as_ref(), &script);
        }
        ground
    }

    fn clear(&self, bed: &str) {
        let script = format!(
            "for vm in $(virsh list --all --name | grep '^{PREFIX}'); do virsh -q undefine $vm; done; \
             for ip in $(virsh net-dumpxml default | sed -n \"s/.*name='{PREFIX}[^']*' ip='\\([^']*\\)'.*/\\1/p\"); do \
             virsh -q net-update default delete ip-dhcp-host \"<host ip='$ip'/>\" --live --config; done; \
             virsh -q pool-destroy {PREFIX} 2>/dev/null; virsh -q pool-undefine {PREFIX} 2>/dev/null; rm -rf /var/lib/{PREFIX}"
        );
        sh(shell(bed).as_ref(), &script);
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        BEDS.iter().for_each(|bed| self.clear(bed));
    }
}

fn domain() -> String {
    let manifest = serde_json::json!({
        "kind": "template", "name": TEMPLATE, "version": VERSION, "state": "published",
        "run": {"id": "11111111-1111-4111-8111-111111111111", "host": "elsewhere", "since": "2026-11-21T03:10:00Z"},
        "created_at": "2026-11-21T03:10:00Z", "promoted_at": "2026-11-21T03:30:00Z", "pipeline_digest": "aa", "answers_digest": "bb",
        "sources": [], "trust": {"kind": "signed", "fingerprint": "A1B2"}, "digest": "0123456789abcdef".repeat(4),
        "virtual_size": 8 * MIB, "volumes": [format!("{TEMPLATE}.{VERSION}")], "pool": PREFIX,
        "os": {"id": "debian", "version": "13", "name": "Debian"}, "packages": [{"name": "cloud-init", "version": "25.1"}],
        "identity": "nocloud", "clone": {"user": "debian", "vcpus": 1, "memory": 128 * MIB, "disk": 8 * MIB},
        "operations": [], "invariants": [], "stages": [], "tools": {"tpl": "0.1.0"},
    });
    format!(
        "<domain type='qemu'><name>{TEMPLATE}.{VERSION}</name>\
         <metadata><tpl:tpl xmlns:tpl='urn:tpl:metadata:1'>{manifest}</tpl:tpl></metadata>\
         <memory unit='MiB'>128</memory><vcpu>1</vcpu><os><type arch='x86_64' machine='pc'>hvm</type></os><devices>\
         <disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='/var/lib/{PREFIX}/{TEMPLATE}.{VERSION}'/>\
         <target dev='vda' bus='virtio'/></disk><interface type='network'><source network='default'/></interface></devices></domain>"
    )
}

/// How a call ended.
#[derive(Debug)]
struct Ended {
    code: i32,
    stdout: String,
    stderr: String,
}

fn end(mut command: Command) -> Ended {
    let out = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended { code: out.status.code().unwrap(), stdout: text(out.stdout), stderr: text(out.stderr) }
}

/// `tpl` in the pool of this test, in a world of its own as on another machine: with a name and locks of its own.
fn tpl(number: usize, args: &[&str]) -> Command {
    let script = "mkdir -p /run/tpl && mount -t tmpfs -o mode=700 none /run/tpl && hostname \"$0\" && exec \"$@\"";
    let mut call = Command::new("/usr/bin/unshare");
    call.args(["--mount", "--uts", "sh", "-c", script, &format!("{PREFIX}-ws{number}"), env!("CARGO_BIN_EXE_tpl")]);
    // Sixteen connections at once are much for two emulated machines.
    call.args(args).envs([("TPL_POOL", PREFIX), ("TPL_CPU_OVERCOMMIT", "100"), ("TPL_CONNECT_TIMEOUT", "5m")]);
    call
}

/// The VMs of this test on one of them.
fn vms(bed: &str) -> Vec<String> {
    let listed = end(tpl(0, &["vms", "--on", bed, "--output", "json"]));
    assert_eq!(listed.code, 0, "{listed:?}");
    let json: Value = serde_json::from_str(&listed.stdout).unwrap();
    let names = json.as_array().unwrap().iter().map(|vm| vm["name"].as_str().unwrap().to_owned());
    names.filter(|name| name.starts_with(PREFIX)).collect()
}

/// What may still be promised of a hypervisor's memory, and the cap.
fn memory(bed: &str) -> (u64, u64) {
    let report = end(tpl(0, &["capacity", "--on", bed, "--output", "json"]));
    let json: Value = serde_json::from_str(&report.stdout).unwrap();
    let axis = json["axes"].as_array().unwrap().iter().find(|row| row["axis"] == "memory").unwrap();
    (axis["free"].as_u64().unwrap(), axis["cap"].as_u64().unwrap())
}

#[test]
fn eight_calls_fill_both_and_pass_no_cap() {
    let _alone = ALONE.lock();
    let _turn = Turn::shared();
    let _ground = Ground::prepare();
    let key = tempfile::NamedTempFile::new().unwrap();
    let line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJDYnDuuh7rnNYFBEgcsHmOPVXo4pQ5bEeoHc+C+n3Ml operator@here\n";
    std::fs::write(key.path(), line).unwrap();
    let free = BEDS.map(|bed| memory(bed).0);
    // Three fit on the smaller one, and so many on the other.
    let each = free[0].min(free[1]) / 3 / MIB - 1;
    let fit: u64 = free.iter().map(|free| free / (each * MIB)).sum();
    let calls = |number: usize| {
        let on = if number.is_multiple_of(2) { "bed1,bed2" } else { "bed2,bed1" };
        let (name, memory) = (format!("{PREFIX}-{number}"), format!("{each}MiB"));
        let args = ["clone", TEMPLATE, "--on", on, "--name", &name, "--no-start", "--memory", &memory, "--output", "json"];
        end(tpl(number, &[&args[..], &["--ssh-key", &key.path().display().to_string()]].concat()))
    };
    let ended: Vec<Ended> = thread::scope(|scope| {
        let threads: Vec<_> = (0..CALLS).map(|number| scope.spawn(move || calls(number))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let made = ended.iter().filter(|end| end.code == 0).count();
    assert!(ended.iter().all(|end| end.code == 0 || end.code == 3 && end.stderr.contains("memory: ")), "{ended:#?}");
    let there = BEDS.map(vms);
    assert_eq!((made as u64, there[0].len() + there[1].len()), (fit.min(CALLS as u64), made), "{ended:#?}");
    for bed in BEDS {
        let (free, cap) = memory(bed);
        assert!(free < cap, "{bed} has VMs");
        let pledged = vms(bed).len() as u64 * each * MIB;
        assert!(pledged <= cap, "{bed}: {pledged} of {cap}");
    }
    let all: Vec<String> = there.concat();
    let names: Vec<&str> = all.iter().map(String::as_str).collect();
    let gone = end(tpl(0, &[&["destroy", "--on", "bed1,bed2"], &names[..]].concat()));
    assert_eq!(gone.code, 0, "{gone:?}");
    assert_eq!(BEDS.map(|bed| vms(bed).len()), [0, 0]);
}

/// A hypervisor that stands still, until this is dropped.
struct Halted(String);

impl Halted {
    fn new(bed: &str) -> Self {
        let halted = Self(variable(&format!("TPL_TESTBED_{}_PID", bed.to_uppercase())));
        halted.signal("-STOP");
        halted
    }

    fn signal(&self, signal: &str) {
        assert!(Command::new("/bin/kill").args([signal, &self.0]).status().unwrap().success());
    }
}

impl Drop for Halted {
    fn drop(&mut self) {
        self.signal("-CONT");
    }
}

#[test]
fn one_that_stands_still_is_named_and_the_other_is_shown() {
    let _alone = ALONE.lock();
    let _turn = Turn::alone();
    // For less than the half minute after which others give their connections to it up: new ones they give up earlier.
    let halted = Halted::new("bed2");
    let began = Instant::now();
    let all = end(tpl(0, &["vms", "--all", "--timeout", "12s"]));
    assert!(began.elapsed() < Duration::from_secs(16));
    assert_eq!(all.code, 1, "{all:?}");
    assert!(all.stderr.contains("\n  bed2: no answer within 12s\n") && !all.stderr.contains("  bed1: "), "{all:?}");
    let expected = format!(
        "tpl: hypervisor bed2: connecting to {}: no answer within 2s\nis it up and on the network? --connect-timeout TIME waits longer\n",
        end_of(&uri("bed2"))
    );
    for command in [&["list"][..], &["prune"]] {
        let ended = end(tpl(0, &[command, &["--on", "bed2", "--connect-timeout", "2s"]].concat()));
        assert_eq!((ended.code, ended.stderr.as_str()), (1, expected.as_str()), "{command:?}");
    }
    drop(halted);
}

/// The URI as tpl's configuration has it, with the key's file.
fn end_of(uri: &str) -> String {
    format!("{uri}&keyfile={}", variable("TPL_TESTBED_KEY"))
}
