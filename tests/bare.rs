//! A bare machine becomes a hypervisor, for real: the machine `bare1` of `scripts/testbed up --bare`, fresh.
//!
//! Run apart, because it takes minutes: `scripts/testbed reset bare1; eval "$(scripts/testbed env)"; cargo test --test bare`. It is one
//! test: what it does to the machine builds on what it did before.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]
#![expect(clippy::disallowed_methods, reason = "the test looks at the world with other tools than tpl")]
#![expect(clippy::disallowed_macros, reason = "what was measured is shown with --nocapture")]

#[path = "bare/metadata.rs"]
mod metadata;
#[path = "bare/operator.rs"]
mod operator;

use std::{
    thread,
    time::{Duration, Instant},
};

use operator::Operator;

const DROP_IN: &str = "/etc/ssh/sshd_config.d/10-tpl-hardening.conf";

/// All that the machine's configuration holds, but what the system writes by itself.
const SNAPSHOT: &str = "cd / && find etc -type f ! -name '*.cache' ! -path 'etc/lvm/archive/*' ! -path 'etc/lvm/backup/*' \
                        -exec sha256sum {} + | sort -k2; find etc -type l -printf '%p -> %l\\n' | sort; stat -c '%a %U %n' /etc/ssh/*";

/// The directives of the benchmark's section 5.2, as `sshd -T` prints them.
const DIRECTIVES: [&str; 17] = [
    "permitrootlogin no",
    "passwordauthentication no",
    "permitemptypasswords no",
    "kbdinteractiveauthentication no",
    "x11forwarding no",
    "allowtcpforwarding no",
    "permituserenvironment no",
    "clientaliveinterval 300",
    "clientalivecountmax 3",
    "logingracetime 60",
    "maxauthtries 4",
    "maxsessions 10",
    "maxstartups 10:30:60",
    "loglevel VERBOSE",
    "hostbasedauthentication no",
    "ignorerhosts yes",
    "gssapiauthentication no",
];

#[test]
fn a_bare_machine_becomes_a_hypervisor() {
    let operator = Operator::new();
    another_host_key_is_refused(&operator);
    nobody_is_locked_out(&operator);
    connections_break(&operator);
    all_of_it(&operator);
    again_changes_nothing(&operator);
    drift_is_found_and_mended(&operator);
    the_ceiling_holds(&operator);
    metadata::the_service_is_a_unit(&operator);
}

fn step(name: &str, began: Instant) {
    println!("{name}: {} s", began.elapsed().as_secs());
}

/// What is said of a known host's key is compared with what is known, before anybody logs in.
fn another_host_key_is_refused(operator: &Operator) {
    let began = Instant::now();
    let other = "SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let refused = operator.tpl(&["host", "bootstrap", "bare1", "--yes", "--host-key", other, "--ssh-key", &operator.own_key()]);
    assert_eq!(refused.code, 3, "{refused:?}");
    step("another host key", began);
}

/// With a key whose private half is another one, a login by it cannot succeed: the machine is as it was within the minute.
fn nobody_is_locked_out(operator: &Operator) {
    let began = Instant::now();
    let before = operator.root(SNAPSHOT);
    let broken = operator.broken_key();
    let failed = operator.bootstrap(&["--only", "ssh", "--ssh-key", &broken]);
    assert_eq!(failed.code, 1, "{failed:?}");
    assert!(failed.stderr.contains("sshd's old configuration"), "{failed:?}");
    while operator.root(&format!("[ ! -e {DROP_IN} ] && echo gone || echo there")) != "gone" {
        assert!(began.elapsed() < Duration::from_secs(150), "the old configuration is not back");
        thread::sleep(Duration::from_secs(2));
    }
    assert_eq!(operator.root(SNAPSHOT), before);
    let says = operator.root("$(command -v sshd) -T");
    assert!(says.contains("passwordauthentication yes"), "{says}");
    step("no lock-out", began);
}

/// The connection breaks in the middle of each phase, by the end of the process that has it; the same command is run again later.
fn connections_break(operator: &Operator) {
    let began = Instant::now();
    let phases: &[(&str, Duration)] = &[
        ("ssh", Duration::from_secs(4)),
        ("hostname", Duration::from_millis(1500)),
        ("patch", Duration::from_secs(10)),
        ("kvm", Duration::from_secs(25)),
        ("ceiling", Duration::from_millis(2500)),
    ];
    for (phase, after) in phases {
        let cut = operator.cut(&["--only", phase, "--name", "hv9", "--domain", "lab.example"], phase, *after);
        // Where it was faster than the cut, there was nothing to break. Packages take their time.
        let slow = matches!(*phase, "patch" | "kvm");
        assert!(cut.code == 1 || cut.code == 0 && !slow, "{phase}: {cut:?}");
        assert!(
            cut.code == 0 || cut.stderr.ends_with("run the same command again: it goes on where this has ended\n"),
            "{cut:?}"
        );
        println!("cut in {phase}: exit code {}", cut.code);
        // Cut while sshd was reading its configuration anew, it takes no connection for a moment.
        operator.waits_for_sshd();
    }
    step("cuts", began);
}

fn all_of_it(operator: &Operator) {
    let began = Instant::now();
    let boot_id = operator.root("cat /proc/sys/kernel/random/boot_id");
    let done = operator.bootstrap(&["--name", "hv9", "--domain", "lab.example", "--reboot"]);
    assert_eq!(done.code, 0, "{done:?}");
    for phase in done.json()["phases"].as_array().unwrap() {
        println!("{}: {} in {:.0} s", phase["name"], phase["outcome"], phase["seconds"].as_f64().unwrap());
    }
    assert_ne!(operator.root("cat /proc/sys/kernel/random/boot_id"), boot_id, "it was not started again");
    let says = operator.root("$(command -v sshd) -T -C user=admin,host=127.0.0.1,addr=127.0.0.1").to_lowercase();
    for directive in DIRECTIVES {
        assert!(says.lines().any(|line| line == directive.to_lowercase()), "{directive} is not in\n{says}");
    }
    assert!(!operator.opens_by_password(), "a password still opens it");
    assert_eq!(operator.root("hostname; getent hosts hv9.lab.example | tr -s ' '"), "hv9\n127.0.1.1 hv9.lab.example hv9");
    let virsh = "virsh -q -c qemu:///system";
    let libvirt = operator.user(&format!("{virsh} pool-info default | grep State; {virsh} net-info default | grep Active"));
    assert_eq!(libvirt.split_whitespace().collect::<Vec<_>>(), ["State:", "running", "Active:", "yes"]);
    step("bootstrap", began);
}

fn again_changes_nothing(operator: &Operator) {
    let began = Instant::now();
    let before = operator.root(SNAPSHOT);
    let checked = operator.check();
    assert_eq!(checked.code, 0, "{checked:?}");
    let states: Vec<String> =
        checked.json()[0]["items"].as_array().unwrap().iter().map(|item| item["state"].as_str().unwrap().to_owned()).collect();
    // That guests are emulated here is nothing that a bootstrap could mend.
    assert!(states.len() > 35 && states.iter().filter(|state| *state != "ok").all(|state| state == "unknown"), "{checked:?}");
    let again = operator.bootstrap(&[]);
    assert_eq!(again.code, 0, "{again:?}");
    for phase in again.json()["phases"].as_array().unwrap() {
        assert_eq!(phase["outcome"], "unchanged", "{phase}");
    }
    assert_eq!(operator.root(SNAPSHOT), before);
    step("again", began);
}

fn drift_is_found_and_mended(operator: &Operator) {
    let began = Instant::now();
    operator.root("sed -i s/^LogLevel.*/LogLevel\\ QUIET/ /etc/ssh/sshd_config.d/10-tpl-hardening.conf && hostname other");
    let checked = operator.check();
    assert_eq!(checked.code, 3, "{checked:?}");
    let items = checked.json()[0]["items"].clone();
    let drifted: Vec<&str> = items
        .as_array()
        .unwrap()
        .iter()
        .filter(|item| item["state"] == "drifted")
        .map(|item| item["item"].as_str().unwrap())
        .collect();
    assert_eq!(drifted, [DROP_IN, "LogLevel", "host name"]);
    let mended = operator.bootstrap(&["--only", "ssh,hostname"]);
    assert_eq!(mended.code, 0, "{mended:?}");
    assert_eq!(operator.root("hostname"), "hv9");
    step("drift", began);
}

/// One that takes all memory is the one that ends, and burners in the slice of the guests, more than there are CPUs, leave SSH answering:
/// by the kernel's own counters.
fn the_ceiling_holds(operator: &Operator) {
    let began = Instant::now();
    let memory = operator.root(
        "systemd-run -q --slice=machine.slice --unit=hog -p MemorySwapMax=0 tail /dev/zero; \
         for n in $(seq 90); do sleep 2; systemctl is-active -q hog || break; done; cd /sys/fs/cgroup/machine.slice; \
         echo $(cat memory.max) $(cat memory.peak) $(sed -n \"s/^oom_kill //p\" memory.events); systemctl stop hog 2>/dev/null; true",
    );
    let [most, peak, killed] = numbers(&memory)[..] else { panic!("{memory}") };
    println!("memory: at most {peak} of {most}, {killed} ended");
    assert!(peak <= most && peak > most / 10 * 9 && killed > 0, "{memory}");
    operator.root("for n in 1 2 3 4; do systemd-run -q --slice=machine.slice --unit=burn$n sh -c \"while :; do :; done\"; done");
    thread::sleep(Duration::from_secs(10));
    let asked = Instant::now();
    assert_eq!(operator.user("echo here"), "here");
    println!("a login and a command beside burners: {:.1} s", asked.elapsed().as_secs_f64());
    let cpu = operator.root(
        "cd /sys/fs/cgroup/machine.slice; set -- $(cat cpu.max); used() { sed -n \"s/^usage_usec //p\" cpu.stat; }; \
         before=$(used) began=$(date +%s%N); sleep 10; after=$(used) ended=$(date +%s%N); \
         echo $(((after - before) * 100000 / (ended - began))) $(($1 * 100 / $2)) $(sed -n \"s/nr_throttled //p\" cpu.stat); \
         systemctl stop \"burn*\"; true",
    );
    let [used, quota, throttled] = numbers(&cpu)[..] else { panic!("{cpu}") };
    println!("CPU: {used} % of at most {quota} %, held back {throttled} times");
    assert!(used <= quota + 5 && throttled > 0, "{cpu}");
    step("ceiling", began);
}

fn numbers(text: &str) -> Vec<u64> {
    text.split_whitespace().map(|word| word.parse().unwrap()).collect()
}
