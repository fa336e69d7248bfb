//! Installations that do not end well: what the operator is told, and what stays.

use tpl::core::error::exit_code;

use super::machine::{Machine, Script};

const LOGS: &str = "/var/log/libvirt/qemu/debian13.20261121-031100";

/// The whole error of a build with this installer.
fn report(machine: &Machine, command: &str) -> String {
    let error = machine.tpl(command).unwrap_err();
    assert_eq!(exit_code(&error), 1);
    format!("{error:#}")
}

fn expected(fault: &str, console: &[&str], installer: &[&str]) -> String {
    let lines = |lines: &[&str]| lines.iter().map(|line| format!("  {line}\n")).collect::<String>();
    format!(
        "building debian13@20261121-031100: install: {fault}\n\nthe console's last lines:\n{}\nthe installer's log, last lines:\n{}\n\
         logs: {LOGS}-serial.log and {LOGS}-installer.log\n--keep-failed keeps the VM of a failed installation",
        lines(console),
        lines(installer),
    )
}

const BASE: &str = "Installing the base system  ... 50%";
const MENU: &str = "Nov 21 03:11:00 main-menu[9]: INFO: Menu item 'bootstrap-base' selected";

#[test]
fn each_bad_end_is_told_with_both_logs() {
    let question = ["Select your location", "1: Africa", "Prompt: '?' for help>"];
    let asked =
        "the installer waits for an answer to this question:\n\n  Select your location\n  1: Africa\n  Prompt: '?' for help>\n\n";
    let failed = "Nov 21 03:11:00 main-menu[9]: INFO: Menu item 'grub-installer' failed.";
    let table = [
        (Script::Question, expected(asked, &[&[BASE], question.as_slice()].concat(), &[MENU])),
        (Script::Reboot, expected("the VM went off before the installation was complete", &[BASE, "Rebooting"], &[MENU])),
        (Script::FailedStep, expected("the installer's step grub-installer failed", &[BASE], &[MENU, failed])),
        (Script::Stuck, expected("the installer was not done after 1h00m, its deadline", &[BASE], &[MENU])),
    ];
    for (script, text) in table {
        let machine = Machine::prepared();
        machine.state().script = script;
        assert_eq!(report(&machine, "build debian13"), text, "{script:?}");
        // The logs stay for the operator, until prune.
        let logs = ["installer", "serial"].map(|log| format!("log {LOGS}-{log}.log"));
        assert_eq!(machine.everything(), logs, "{script:?}");
        machine.tpl("prune").unwrap();
        assert_eq!(machine.everything(), [""; 0], "{script:?}");
    }
}

#[test]
fn a_failed_installation_is_kept_on_request() {
    let machine = Machine::prepared();
    machine.state().script = Script::FailedStep;
    let text = report(&machine, "build debian13 --keep-failed");
    assert_eq!(text.lines().last(), Some("the VM debian13.20261121-031100 is kept, as you asked; `tpl prune` removes it"));
    let volumes = ["-build", "-initrd", "-kernel"].map(|suffix| format!("volume debian13.20261121-031100{suffix}"));
    let mut everything = vec!["domain debian13.20261121-031100".to_owned()];
    everything.extend(volumes);
    everything.extend(["installer", "serial"].map(|log| format!("log {LOGS}-{log}.log")));
    assert_eq!(machine.everything(), everything);
    assert_eq!(machine.tpl("prune").unwrap().data, "build debian13@20261121-031100 (building) removed\n");
    assert_eq!(machine.everything(), [""; 0]);
}

#[test]
fn no_kvm_is_said_once_and_the_template_is_emulated() {
    let machine = Machine::prepared();
    machine.state().kvm = false;
    let notes = machine.tpl("build debian13").unwrap().notes;
    let warning = "warning: KVM does not work here, so VMs are emulated, which is slow; `tpl doctor` says more";
    assert_eq!(notes.lines().filter(|line| line.starts_with("warning")).collect::<Vec<_>>(), [warning]);
    let xml = machine.inventory().templates[0].domain.xml.clone();
    assert!(xml.starts_with("<domain type='qemu'>"), "{xml}");
}

#[test]
fn a_boot_test_that_is_never_ready_publishes_nothing() {
    let machine = Machine::prepared();
    machine.state().ready = false;
    let text = report(&machine, "build debian13");
    assert!(text.contains(": not ready after 600 s: no answer at 192.0.2."), "{text}");
    let advice = "what is done is kept: `tpl build debian13 --resume` goes on from sealed, `tpl prune` removes it";
    assert_eq!(text.lines().last(), Some(advice));
    assert_eq!(machine.current(), None);
    machine.state().ready = true;
    machine.tpl("build debian13 --resume").unwrap();
    assert_eq!(machine.current().as_deref(), Some("debian13@20261121-031100"));
    assert_eq!(machine.leftovers(), [""; 0]);
}
