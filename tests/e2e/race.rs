//! Eight calls at once want the room that three of them fit in: the cap is not passed, three VMs are there at the end, and nothing
//! of the other five.

use std::{
    collections::BTreeSet,
    fs,
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use serde_json::Value;

use super::{
    build::template_id,
    lab::{Ended, Turn, command, finish, folder, left, login_key, virsh},
};

const CALLS: usize = 8;
const FIT: usize = 3;
const MIB: u64 = 1 << 20;
/// A domain that is not tpl's, never started: most of what the calls find promised already.
const FOREIGN: &str = "tpl-e2e-crowd";

/// Where the calls come from.
#[derive(Clone, Copy, PartialEq)]
enum From {
    /// One machine: a lock lets them reserve one after the other.
    OneMachine,
    /// Eight workstations, which share nothing but the hypervisor.
    Workstations,
}

#[test]
fn eight_calls_on_one_machine_fill_the_host_and_do_not_pass_the_cap() {
    race(From::OneMachine, "tpl-e2e-race", "tpl-e2e-race{}");
}

#[test]
fn eight_workstations_that_take_the_same_names_fill_the_host_and_do_not_pass_the_cap() {
    race(From::Workstations, "tpl-e2e-same", "tpl-e2e-same{}");
}

#[test]
fn eight_workstations_that_take_the_same_addresses_fill_the_host_and_do_not_pass_the_cap() {
    race(From::Workstations, "tpl-e2e-own", "tpl-e2e-own-CALL");
}

/// All names begin with `prefix`; `CALL` in the pattern stands for the number of the call.
fn race(from: From, prefix: &str, pattern: &str) {
    let (id, key) = (template_id(), login_key());
    let _turn = Turn::alone();
    let before = (dhcp_hosts(), dns_hosts());
    // A quarter of what is free for each: the slack of an eighth is for whoever else uses this hypervisor.
    let memory = free_memory() / 4 / MIB;
    let _foreign = Foreign::define(memory / 2);
    let (ends, most) = all_at_once(prefix, |number| {
        let name = pattern.replace("CALL", &number.to_string());
        let memory = format!("{memory}MiB");
        let key = format!("{}.pub", key.display());
        let args = ["clone", &id, "--no-start", "--name", &name, "--memory", &memory, "--disk", "1G", "--ssh-key", &key];
        let mut call = of(from, number, &[&args[..], &["--output", "json"]].concat());
        call.env("TPL_CPU_OVERCOMMIT", "100");
        call
    });
    let made: Vec<Value> = ends.iter().filter(|end| end.code == 0).map(Ended::json).collect();
    assert_eq!((made.len(), ends.iter().filter(|end| end.code == 3).count()), (FIT, CALLS - FIT), "{ends:#?}");
    for end in ends.iter().filter(|end| end.code == 3) {
        assert!(end.stderr.contains("memory: 1 × "), "{end:#?}");
    }
    assert!(most <= FIT, "{most} VMs were admitted at once");
    let clones: Vec<&Value> = made.iter().flat_map(|report| report["clones"].as_array().unwrap()).collect();
    only_these_are_there(prefix, &clones, &before);
    let names: Vec<&str> = clones.iter().map(|clone| clone["name"].as_str().unwrap()).collect();
    finish(&mut command(&[&["destroy"], &names[..]].concat())).ok();
    assert_eq!((left(prefix), dhcp_hosts(), dns_hosts()), (vec![], before.0, before.1));
}

/// A call in a world of its own, as on another machine: with a name and with locks of its own.
fn of(from: From, number: usize, args: &[&str]) -> Command {
    if from == From::OneMachine {
        return command(args);
    }
    let script = "mkdir -p /run/tpl && mount -t tmpfs -o mode=700 none /run/tpl && hostname \"$0\" && exec \"$@\"";
    let mut call = Command::new("/usr/bin/unshare");
    call.args(["--mount", "--uts", "sh", "-c", script, &format!("tpl-e2e-ws{number}"), env!("CARGO_BIN_EXE_tpl")]);
    call.args(args).stdin(Stdio::null());
    call
}

/// How the calls ended, and how many of their VMs were admitted at most, as somebody who looks on sees it.
fn all_at_once(prefix: &str, call: impl Fn(usize) -> Command) -> (Vec<Ended>, usize) {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let looker = scope.spawn(|| {
            let mut most = 0;
            while !done.load(Ordering::Relaxed) {
                most = most.max(admitted(prefix));
                thread::sleep(Duration::from_millis(100));
            }
            most.max(admitted(prefix))
        });
        let calls: Vec<_> = (1..=CALLS).map(|number| (number, call(number))).collect();
        let calls: Vec<_> = calls
            .into_iter()
            .map(|(number, mut call)| {
                let said = |kind: &str| folder().join(format!("{prefix}{number}.{kind}"));
                let file = |kind: &str| fs::File::create(said(kind)).unwrap();
                let child = call.stdout(file("stdout")).stderr(file("stderr")).spawn().unwrap();
                (child, said("stdout"), said("stderr"))
            })
            .collect();
        let ends = calls.into_iter().map(|(mut child, stdout, stderr)| {
            let code = child.wait().unwrap().code().unwrap_or(-1);
            let text = |file| fs::read_to_string(file).unwrap();
            Ended { code, stdout: text(stdout), stderr: text(stderr) }
        });
        let ends = ends.collect();
        done.store(true, Ordering::Relaxed);
        (ends, looker.join().unwrap())
    })
}

/// How many VMs have gone ahead: a reservation pledges, too, but may still give way.
fn admitted(prefix: &str) -> usize {
    let names = virsh(&["list", "--all", "--name"]);
    let ours = names.lines().filter(|name| name.starts_with(prefix));
    // One that gives way may be gone before it is looked at.
    let xml = |name: &str| Command::new("virsh").args(["-q", "-c", "qemu:///system", "dumpxml", name]).output().unwrap().stdout;
    let phases = ours.map(|name| String::from_utf8(xml(name)).unwrap());
    phases.filter(|xml| xml.contains(r#""phase":"creating""#) || xml.contains(r#""phase":"complete""#)).count()
}

fn only_these_are_there(prefix: &str, clones: &[&Value], before: &(Vec<String>, Vec<String>)) {
    let text = |clone: &Value, key: &str| match &clone[key] {
        Value::Array(list) => list[0].as_str().unwrap().to_owned(),
        value => value.as_str().unwrap().to_owned(),
    };
    let mut expected: Vec<String> = clones
        .iter()
        .flat_map(|clone| {
            let name = text(clone, "name");
            [name.clone(), name.clone(), format!("{name}-seed")]
        })
        .collect();
    expected.sort();
    let mut found = left(prefix);
    found.sort();
    assert_eq!(found, expected, "for each a domain, a disk and a seed");
    for key in ["name", "uuid", "macs", "addresses", "machine_id", "ssh_host_keys"] {
        let values: BTreeSet<String> = clones.iter().map(|clone| text(clone, key)).collect();
        assert_eq!(values.len(), FIT, "{key}: {values:?}");
    }
    let ours = |now: Vec<String>, before: &[String]| now.into_iter().filter(|line| !before.contains(line)).collect::<Vec<_>>();
    let (dhcp, dns) = (ours(dhcp_hosts(), &before.0), ours(dns_hosts(), &before.1));
    assert_eq!((dhcp.len(), dns.len()), (FIT, FIT), "{dhcp:?} {dns:?}");
    for clone in clones {
        let (mac, name, address) = (text(clone, "macs"), text(clone, "name"), text(clone, "addresses"));
        let line = format!("<host mac='{mac}' name='{name}' ip='{address}'/>");
        assert!(dhcp.contains(&line), "{line} in {dhcp:?}");
        assert!(dns.contains(&format!("<host ip='{address}'>")), "{address} in {dns:?}");
    }
}

fn lines_of_network(section: &str, starts: &str) -> Vec<String> {
    let xml = virsh(&["net-dumpxml", "default"]);
    let inside = xml.split(&format!("<{section}>")).nth(1).and_then(|rest| rest.split(&format!("</{section}>")).next());
    inside.unwrap_or_default().lines().map(|line| line.trim().to_owned()).filter(|line| line.starts_with(starts)).collect()
}

fn dhcp_hosts() -> Vec<String> {
    lines_of_network("dhcp", "<host ")
}

fn dns_hosts() -> Vec<String> {
    lines_of_network("dns", "<host ")
}

fn free_memory() -> u64 {
    let report = finish(&mut command(&["capacity", "--output", "json"])).json();
    let axes = report["axes"].as_array().unwrap();
    axes.iter().find(|axis| axis["axis"] == "memory").unwrap()["free"].as_u64().unwrap()
}

/// A domain that is not tpl's, for the time of a test.
struct Foreign;

impl Foreign {
    fn define(memory: u64) -> Self {
        let file = folder().join("foreign.xml");
        let xml = format!(
            "<domain type='qemu'><name>{FOREIGN}</name><memory unit='MiB'>{memory}</memory><vcpu>1</vcpu>\
             <os><type arch='x86_64'>hvm</type></os></domain>"
        );
        fs::write(&file, xml).unwrap();
        virsh(&["define", file.to_str().unwrap()]);
        Self
    }
}

impl Drop for Foreign {
    fn drop(&mut self) {
        // A panic here would hide the one that ends the test.
        let _ = Command::new("virsh").args(["-q", "-c", "qemu:///system", "undefine", FOREIGN]).status();
    }
}
