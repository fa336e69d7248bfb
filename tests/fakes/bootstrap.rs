//! A bootstrap, failing and cut off at every place.

use std::sync::Mutex;

use anyhow::{Result, bail};
use tpl::{
    cmd::host::{
        check::{Standing, look},
        run::{Around, Done, Outcome, Runner},
    },
    core::{
        bootstrap::{Item, PHASES, Phase, Reboot, Record, Wish},
        error::exit_code,
    },
    ui,
};

use super::bare::{Bare, DROP_IN, Fault, RESOLV};

pub const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ me@here";

/// The world besides the machine.
#[derive(Default)]
struct World {
    named: Mutex<bool>,
    registered: Mutex<bool>,
    fails: Option<Phase>,
    said: Mutex<Vec<String>>,
}

impl World {
    /// Whether this changes something: the first time.
    fn once(&self, done: &Mutex<bool>, phase: Phase, dry_run: bool, line: &str) -> Result<Vec<String>> {
        if self.fails == Some(phase) {
            bail!("nobody answers");
        }
        let mut done = done.lock().unwrap();
        let new = !*done;
        *done |= !dry_run;
        Ok(if new { vec![line.to_owned()] } else { Vec::new() })
    }
}

impl Around for World {
    fn say(&self, line: &str) {
        self.said.lock().unwrap().push(line.to_owned());
    }

    fn go_on(&self) -> Result<()> {
        Ok(())
    }

    fn name(&self, _: &Wish, dry_run: bool) -> Result<Vec<String>> {
        self.once(&self.named, Phase::Hostname, dry_run, "told DNS (lab) of hv1 at 192.0.2.7")
    }

    fn register(&self, _: &Wish, dry_run: bool) -> Result<Vec<String>> {
        self.once(&self.registered, Phase::Register, dry_run, "wrote [hypervisors.hv1]")
    }
}

fn wish() -> Wish {
    Wish {
        user: Some("admin".parse().unwrap()),
        key: Some(KEY.parse().unwrap()),
        reboot: Reboot::WhenNeeded,
        device: None,
        record: Record::parse("name = 'hv1'\ndomain = 'lab.example'").unwrap(),
    }
}

fn run(machine: &Bare, world: &World, phases: &[Phase], dry_run: bool) -> (Vec<Done>, Result<()>) {
    let mut runner = Runner { machine, around: world, wish: wish(), dry_run };
    ui::captured(|| runner.run(phases)).0
}

fn outcomes(phases: &[Done]) -> Vec<Outcome> {
    phases.iter().map(|done| done.outcome).collect()
}

/// A machine with all of it done, without any fault.
fn finished() -> (Bare, World) {
    let (machine, world) = (Bare::vanilla(), World::default());
    let (phases, result) = run(&machine, &world, &PHASES, false);
    result.unwrap();
    // Of DNS nothing was asked for: nothing is changed, but what the machine is to be was written down before.
    let expected = [Outcome::Changed, Outcome::Changed, Outcome::Changed, Outcome::Unchanged, Outcome::Changed, Outcome::Changed];
    assert_eq!(outcomes(&phases), [&expected[..], &[Outcome::Changed]].concat());
    assert_eq!(world.said.lock().unwrap()[0], "ssh: begins");
    (machine, world)
}

#[test]
fn a_second_run_changes_nothing() {
    let (machine, world) = finished();
    let before = machine.state().clone();
    let (phases, result) = run(&machine, &world, &PHASES, false);
    result.unwrap();
    assert_eq!(outcomes(&phases), [Outcome::Unchanged; 7]);
    assert!(phases.iter().all(|done| done.changes.is_empty() && done.notes.is_empty()), "{phases:?}");
    assert_eq!(*machine.state(), before);
}

#[test]
fn a_dry_run_tells_all_of_it_and_changes_nothing() {
    let (machine, world) = (Bare::vanilla(), World::default());
    let before = machine.state().clone();
    let (phases, result) = run(&machine, &world, &PHASES, true);
    result.unwrap();
    assert_eq!(*machine.state(), before);
    let would = |phase: Phase| phases.iter().find(|done| done.name == phase).unwrap().changes.join("");
    assert!(phases.iter().all(|done| done.outcome == Outcome::WouldChange), "{phases:?}");
    assert!(would(Phase::Ssh).contains(&format!("write {DROP_IN} (mode 0600)\n")), "{}", would(Phase::Ssh));
    assert!(would(Phase::Ssh).contains("      | PermitRootLogin no\n"));
    assert!(would(Phase::Hostname).contains("      | 127.0.1.1\thv1.lab.example hv1\n"));
    assert!(would(Phase::Patch).contains("dist-upgrade"));
    assert!(would(Phase::Kvm).contains("install qemu-system-x86 "));
    assert!(would(Phase::Ceiling).contains("      | CPUQuota=360%\n"));
    assert_eq!(would(Phase::Register), "wrote [hypervisors.hv1]");
    // Of one that is done there is nothing to tell.
    let (machine, world) = finished();
    let (phases, result) = run(&machine, &world, &PHASES, true);
    result.unwrap();
    assert_eq!(outcomes(&phases), [Outcome::Unchanged; 7]);
}

#[test]
fn what_is_cut_off_anywhere_is_gone_on_with() {
    let (whole, world) = (Bare::vanilla(), World::default());
    run(&whole, &world, &PHASES, false).1.unwrap();
    let calls = whole.calls();
    assert!(calls > 20, "{calls}");
    for call in 1..=calls {
        for after in [false, true] {
            let (machine, world) = (Bare::vanilla(), World::default());
            machine.goes_wrong(Some(Fault::Cut { call, after }));
            let (_, result) = run(&machine, &world, &PHASES, false);
            let error = format!("{:#}", result.expect_err("it was cut off"));
            assert!(error.contains(&format!("the connection broke: call {call}")), "{error}");
            assert!(error.ends_with("\nrun the same command again: it goes on where this has ended"), "{error}");
            machine.goes_wrong(None);
            run(&machine, &world, &PHASES, false).1.unwrap();
            assert_eq!(*machine.state(), *whole.state(), "cut at {call}");
            assert_eq!(outcomes(&run(&machine, &world, &PHASES, false).0), [Outcome::Unchanged; 7], "cut at {call}");
        }
    }
}

#[test]
fn each_phase_fails_in_its_own_words() {
    let table: [(Phase, Fault, &str); 9] = [
        (
            Phase::Ssh,
            Fault::Fails("sshd\" -t"),
            "phase ssh of admin@hv1: sshd's old configuration is back: it fails, as it was told to",
        ),
        (Phase::Ssh, Fault::BadKey, "phase ssh of admin@hv1: sshd's old configuration is back: Permission denied (publickey)"),
        (
            Phase::Hostname,
            Fault::Fails("write /etc/hosts"),
            "phase hostname of admin@hv1: writing /etc/hosts: it fails, as it was told to",
        ),
        (Phase::Hostname, Fault::Fails("hostnamectl"), "phase hostname of admin@hv1: it fails, as it was told to"),
        (Phase::Patch, Fault::Fails("dist-upgrade"), "phase patch of admin@hv1: it fails, as it was told to"),
        (Phase::Patch, Fault::StaysAway, "phase patch of admin@hv1: rebooting: it is not back after 10 minutes"),
        (Phase::Kvm, Fault::Fails("install qemu"), "phase kvm of admin@hv1: it fails, as it was told to"),
        (Phase::Kvm, Fault::Fails("pool-define"), "phase kvm of admin@hv1: it fails, as it was told to"),
        (
            Phase::Ceiling,
            Fault::Fails("machine.slice.d"),
            "phase ceiling of admin@hv1: writing /etc/systemd/system/machine.slice.d/10-tpl-ceiling.conf: it fails, as it was told to",
        ),
    ];
    for (phase, fault, expected) in table {
        let (machine, world) = (Bare::vanilla(), World::default());
        machine.goes_wrong(Some(fault.clone()));
        let (phases, result) = run(&machine, &world, &PHASES, false);
        let error = result.unwrap_err();
        assert_eq!((format!("{error:#}").as_str(), exit_code(&error)), (expected, 1), "{fault:?}");
        let last = phases.last().unwrap();
        assert_eq!((last.name, last.outcome), (phase, Outcome::Failed), "{fault:?}");
        if phase == Phase::Ssh {
            assert!(!machine.state().files.contains_key(DROP_IN), "{fault:?}: somebody may be locked out");
        }
        machine.goes_wrong(None);
        run(&machine, &world, &PHASES, false).1.unwrap();
    }
    for phase in [Phase::Hostname, Phase::Register] {
        let (machine, world) = (Bare::vanilla(), World { fails: Some(phase), ..World::default() });
        let error = run(&machine, &world, &PHASES, false).1.unwrap_err();
        assert_eq!(format!("{error:#}"), format!("phase {phase} of admin@hv1: nobody answers"));
    }
}

#[test]
fn a_forwarder_that_fails_is_taken_back() {
    let run = |machine: &Bare| {
        let wish = Wish { record: Record::parse("name = 'hv1'\ndns_forwarder = true").unwrap(), ..wish() };
        let mut runner = Runner { machine, around: &World::default(), wish, dry_run: false };
        ui::captured(|| runner.run(&[Phase::Dns])).0
    };
    for word in ["ask it for a name", "/etc/resolv.conf anew"] {
        let machine = Bare::vanilla();
        let before = machine.state().clone();
        machine.goes_wrong(Some(Fault::Fails(word)));
        let error = run(&machine).1.unwrap_err();
        let expected = "phase dns of admin@hv1: it is as it was before, for this has failed: it fails, as it was told to";
        assert_eq!(format!("{error:#}"), expected, "{word}");
        // But for the package, and for what the machine is to be.
        let mut after = machine.state().clone();
        after.files.remove("/etc/tpl/host.toml");
        after.forwarder.0 = false;
        assert_eq!(after, before, "{word}");
        machine.goes_wrong(None);
        run(&machine).1.unwrap();
        assert_eq!(outcomes(&run(&machine).0), [Outcome::Unchanged], "{word}");
        assert_eq!(machine.state().forwarder, (true, true), "{word}");
        assert!(machine.state().files[RESOLV].1.ends_with("nameserver 127.0.0.1\n"));
    }
}

#[test]
fn what_a_later_phase_refuses_is_found_before_the_first() {
    let (machine, world) = (Bare::vanilla(), World::default());
    let before = machine.state().clone();
    // There is no such group, and no device to make it of.
    let record = Record::parse("name = 'hv1'\nvg = 'vg0'").unwrap();
    let runner = Runner { machine: &machine, around: &world, wish: Wish { record, ..wish() }, dry_run: false };
    let error = runner.foresee(&PHASES).unwrap_err();
    assert_eq!(exit_code(&error), 3);
    assert!(format!("{error:#}").starts_with("phase kvm of admin@hv1: volume group vg0 is not there\n"), "{error:#}");
    assert_eq!(*machine.state(), before);
    let ssh = [Phase::Ssh, Phase::Register];
    runner.foresee(&ssh).unwrap();
}

#[test]
fn a_check_finds_what_has_drifted() {
    let (machine, _) = finished();
    let fine = || Item::holds("hypervisor hv1 of the configuration", true, "", "there", Vec::new());
    let entries = look(&machine, &wish(), fine()).unwrap();
    assert!(entries.len() > 30, "{entries:?}");
    assert!(entries.iter().all(|entry| entry.state == Standing::Ok), "{entries:?}");
    let drift = |change: &dyn Fn(&Bare)| {
        let (machine, _) = finished();
        change(&machine);
        let entries = look(&machine, &wish(), fine()).unwrap();
        let drifted = entries.into_iter().filter(|entry| entry.state == Standing::Drifted);
        let told = drifted.map(|entry| format!("{}/{}: {}", entry.phase, entry.item, entry.is.unwrap_or_default()));
        told.collect::<Vec<_>>()
    };
    assert_eq!(drift(&|machine| machine.state().name = "other".to_owned()), ["hostname/host name: other"]);
    assert_eq!(drift(&|machine| machine.state().patched = false), ["patch/packages: 1 package to change: libc6"]);
    let pool = drift(&|machine| machine.state().pool = false);
    assert_eq!(pool, ["kvm/pool default: absent"]);
    let ssh = drift(&|machine| drop(machine.state().files.remove(DROP_IN)));
    assert_eq!(ssh[..2], [format!("ssh/{DROP_IN}: absent"), "ssh/PermitRootLogin: without-password".to_owned()]);
    let ceiling = drift(&|machine| machine.state().at_start = false);
    assert_eq!(ceiling[0], "ceiling/machine.slice: not there before a guest is");
    // A look changes nothing.
    let before = machine.state().clone();
    look(&machine, &wish(), fine()).unwrap();
    assert_eq!(*machine.state(), before);
}
