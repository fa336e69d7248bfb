//! Installations that do not end well: what the operator is told, and what stays.

use std::{
    fs,
    sync::{Arc, Mutex},
};

use tpl::core::error::exit_code;

use super::{
    faults::Case,
    machine::{Machine, Pool, Script},
    medium,
    run::Step,
};

const LOGS: &str = "/var/log/libvirt/qemu/debian13.20261121-031100";

/// The whole error of a build with this installer.
fn report(machine: &Machine, command: &str) -> String {
    let error = machine.tpl(command).unwrap_err();
    assert_eq!(exit_code(&error), 1);
    format!("{error:#}")
}

fn expected(fault: &str, console: &[&str], installer: &[&str], advice: &str) -> String {
    let lines = |lines: &[&str]| lines.iter().map(|line| format!("  {line}\n")).collect::<String>();
    let advice = if advice.is_empty() { String::new() } else { format!("{advice}\n") };
    format!(
        "building debian13@20261121-031100: install: {fault}\n\nthe console's last lines:\n{}\nthe installer's log, last lines:\n{}\n\
         logs: {LOGS}-serial.log and {LOGS}-installer.log\n{advice}--keep-failed keeps the VM of a failed installation",
        lines(console),
        lines(installer),
    )
}

const BASE: &str = "Installing the base system  ... 50%";
const MENU: &str = "Nov 21 03:11:00 main-menu[9]: INFO: Menu item 'bootstrap-base' selected";
const EXTRACT: &str = "start: cmd-install/stage-extract/builtin/cmd-extract: curtin command extract";
const ZLIB: &str = "Installing zlib.x86_64 (1/4)";
const ZLIB_LOG: &str = "INF packaging: Installing zlib.x86_64 (1/4)";

const ANSWERS: &str = "the answer file, which answers.file in the pipeline names, must be mended";
const DISK: &str = "install.disk in the pipeline makes the build disk larger; an installer that holds all in its memory needs more install.memory";
const MARK: &str = "an answer file must end with a command that writes the line `tpl: installation complete` to /dev/ttyS1";
const SILENT: &str = "the installer was not done after 1h00m, its deadline, and its logs have said nothing for the last 59m59s";
const OFF: &str = "the VM went off before the installation was complete";
const REBOOTED: &str = "the installer has rebooted the machine, where it should have powered it off";
const HALTED: &str = "the emulator has stopped the VM: its disk could not be written, or KVM could not carry out an instruction";
const WHICH: &str = "the VM's log in libvirt's folder and the free space of the pool tell which";
const DOWN: &str = "[   99.9] reboot: Power down";
const RESTARTS: &str = "[   99.9] reboot: Restarting system";

/// An installation that ends with this script tells of it in these words, and leaves nothing but its logs.
fn ends(prepare: fn() -> Machine, script: Script, text: &str) {
    let machine = prepare();
    machine.state().script = script;
    assert_eq!(report(&machine, "build debian13"), text, "{script:?}");
    // The logs stay for the operator, until prune.
    let logs = ["installer", "serial"].map(|log| format!("log {LOGS}-{log}.log"));
    assert_eq!(machine.everything(), logs, "{script:?}");
    machine.tpl("prune").unwrap();
    assert_eq!(machine.everything(), [""; 0], "{script:?}");
}

fn waits(question: &str) -> String {
    format!("the installer waits for an answer to this question:\n\n{question}\n")
}

#[test]
fn each_bad_end_of_debians_installer_is_told_with_both_logs() {
    let question = [BASE, "Select your location", "1: Africa", "Prompt: '?' for help>"];
    let failed = "Nov 21 03:11:00 main-menu[9]: INFO: Menu item 'grub-installer' failed.";
    let pkgsel = "Nov 21 03:11:00 main-menu[9]: INFO: Menu item 'pkgsel' failed.";
    let full = "cp: No space left on device";
    let asked = waits("  Select your location\n  1: Africa\n  Prompt: '?' for help>\n");
    let too_small = format!("the installer's step pkgsel failed: the build disk is too small: {full}");
    let poweroff = "the answer file must say `d-i debian-installer/exit/poweroff boolean true`";
    let table = [
        (Script::Question, expected(&asked, &question, &[MENU], ANSWERS)),
        (Script::Off, expected(OFF, &[BASE, DOWN], &[MENU], "")),
        (Script::Reboot, expected(REBOOTED, &[BASE, RESTARTS], &[MENU], poweroff)),
        (Script::FailedStep, expected("the installer's step grub-installer failed", &[BASE], &[MENU, failed], "")),
        (Script::Full, expected(&too_small, &[BASE], &[MENU, full, pkgsel], DISK)),
        (Script::Halts, expected(HALTED, &[BASE], &[MENU], WHICH)),
        (Script::Stuck, expected(SILENT, &[BASE], &[MENU], "")),
    ];
    for (script, text) in table {
        ends(Machine::prepared, script, &text);
    }
}

fn ubuntu() -> Machine {
    let machine = Machine::prepared();
    machine.install_from_medium("autoinstall", &medium::image("CASPER", "VMLINUZ", "INITRD"));
    machine
}

fn redhat() -> Machine {
    let machine = Machine::prepared();
    machine.install_from_medium("kickstart", &medium::image("ISOLINUX", "VMLINUZ", "INITRD.IMG"));
    machine
}

#[test]
fn each_bad_end_of_ubuntus_installer_is_told_with_both_logs() {
    let prompt = "Continue with autoinstall? (yes|no)";
    let shell = "An error occurred. Press enter to start a shell";
    let late = "finish: subiquity/Late/run/command_1: FAIL: x";
    let (full, failed) = ("cp: No space left on device", "tpl: installation failed");
    let step = "the installer has given up: its step subiquity/Late/run/command_1 failed";
    let too_small = format!("the installer has given up: the build disk is too small: {full}");
    let table = [
        (Script::Question, expected(&waits(&format!("  {prompt}\n")), &[prompt], &[EXTRACT], ANSWERS)),
        (Script::Off, expected(OFF, &[DOWN], &[EXTRACT], MARK)),
        (Script::Reboot, expected(REBOOTED, &[RESTARTS], &[EXTRACT], "the answer file must say `shutdown: poweroff`")),
        (Script::FailedStep, expected(step, &[shell], &[EXTRACT, late], ANSWERS)),
        (Script::Full, expected(&too_small, &[], &[EXTRACT, full, failed], DISK)),
        (Script::Stuck, expected(SILENT, &[], &[EXTRACT], "")),
    ];
    for (script, text) in table {
        ends(ubuntu, script, &text);
    }
}

#[test]
fn each_bad_end_of_anaconda_is_told_with_both_logs() {
    let rule = "====================";
    let hub = ["Installation", "Please make a selection from the above ['b' to begin installation,", "'r' to refresh]:"];
    let asked = waits(&hub.map(|line| format!("  {line}\n")).concat());
    let script = "There was an error running the kickstart script at line 9.";
    let (stopped, full) = ("The following error occurred while installing.", "ERR No space left on device");
    let failed = format!("a script of the answer file failed: {script}");
    let too_small = format!("the installer has given up: {stopped}: the build disk is too small: {full}");
    let table = [
        (Script::Question, expected(&asked, &[&[ZLIB, rule], hub.as_slice()].concat(), &[ZLIB_LOG], ANSWERS)),
        (Script::Off, expected(OFF, &[ZLIB, DOWN], &[ZLIB_LOG], MARK)),
        (Script::Reboot, expected(REBOOTED, &[ZLIB, RESTARTS], &[ZLIB_LOG], "the answer file must say `poweroff`")),
        (Script::FailedStep, expected(&failed, &[ZLIB, script, "Press ENTER to exit:"], &[ZLIB_LOG], ANSWERS)),
        (Script::Full, expected(&too_small, &[ZLIB, stopped], &[ZLIB_LOG, full], DISK)),
        (Script::Stuck, expected(SILENT, &[ZLIB], &[ZLIB_LOG], "")),
    ];
    for (script, text) in table {
        ends(redhat, script, &text);
    }
}

#[test]
fn media_are_installed_from_and_leave_nothing() {
    for (prepare, cmdline, answers) in [
        (ubuntu as fn() -> Machine, "autoinstall fsck.mode=skip console=ttyS0,115200 ---", true),
        (redhat, "inst.ks=file:/ks.cfg inst.stage2=hd:LABEL=LABEL inst.text console=ttyS0,115200", false),
    ] {
        let machine = prepare();
        let run = machine.run();
        let (before, seen) = (machine.clone(), Arc::new(Mutex::new(None)));
        let note = Arc::clone(&seen);
        // Right before the installer's first look at its state: what it runs with.
        run.before(Step::ReadLog, move || *note.lock().unwrap() = Some(before.state().clone()));
        run.tpl("build debian13").unwrap();
        let state = seen.lock().unwrap().take().unwrap();
        let name = "debian13.20261121-031100";
        let xml = &state.domains[name].xml;
        assert!(xml.contains(&format!("<cmdline>{cmdline}</cmdline>")), "{xml}");
        let volume = |suffix: &str| state.volumes.get(&format!("{name}{suffix}")).map(|volume| volume.bytes.clone());
        assert_eq!(volume("-medium").unwrap(), fs::read(machine.folder.path().join("medium.iso")).unwrap());
        assert_eq!(volume("-kernel").unwrap().len(), 2048);
        let initrd = volume("-initrd").unwrap();
        let text = b"d-i passwd/root-password-crypted password $6$";
        let holds = |bytes: &[u8]| bytes.windows(text.len()).any(|part| part == text);
        assert!(initrd.starts_with(b"070701 ini"));
        assert_eq!(holds(&initrd), !answers, "the answers are in the initrd, or on a volume");
        assert_eq!(volume("-answers").is_some_and(|bytes| holds(&bytes)), answers);
        for drive in ["-medium", "-answers"].iter().filter(|drive| answers || **drive == "-medium") {
            assert!(
                xml.contains(&format!("device='cdrom'><driver name='qemu' type='raw'/><source file='/pool/{name}{drive}'/>"))
            );
        }
        // The template knows nothing of it.
        let template = &machine.inventory().templates[0];
        assert!(!template.domain.xml.contains("cdrom") && !template.domain.xml.contains("cmdline"), "{}", template.domain.xml);
        assert_eq!(machine.leftovers(), [""; 0]);
    }
}

#[test]
fn a_medium_of_another_family_is_refused_before_anything_is_made() {
    let machine = Machine::prepared();
    let table = [
        (
            medium::image("CASPER", "VMLINUZ", "INITRD"),
            "building debian13@TIME: install: https://v.example/medium.iso cannot be installed from: it is a medium of subiquity, \
             Ubuntu's installer, and the pipeline's answers are for Anaconda, the Red Hat family's installer\n\
             --iso, or source.url in the pipeline, must name a medium of the answers' family",
        ),
        (
            medium::image("ISOLINUX", "VMLINUZ", "README"),
            "building debian13@TIME: install: https://v.example/medium.iso cannot be installed from: it holds no kernel with an initrd \
             beside it\nsource.kernel and source.initrd in the pipeline say where on the medium they are",
        ),
        (
            b"<html>Not found</html>".to_vec(),
            "building debian13@TIME: install: https://v.example/medium.iso cannot be installed from: it is no ISO 9660 image\n\
             another medium may be whole: --iso names one",
        ),
    ];
    for (minute, (bytes, text)) in (11..).zip(table) {
        machine.install_from_medium("kickstart", &bytes);
        let error = machine.tpl("build debian13").unwrap_err();
        assert_eq!(format!("{error:#}"), text.replace("TIME", &format!("20261121-03{minute}00")));
        assert_eq!(exit_code(&error), 3);
        assert_eq!(machine.everything(), [""; 0]);
    }
}

#[test]
fn logs_that_begin_anew_are_followed() {
    for prepare in [Machine::prepared as fn() -> Machine, ubuntu, redhat] {
        let machine = prepare();
        machine.state().script = Script::RollsOver;
        machine.tpl("build debian13").unwrap();
        assert_eq!(machine.leftovers(), [""; 0]);
    }
}

#[test]
fn uefi_leaves_no_variables() {
    let machine = Machine::prepared();
    machine.edit_pipeline("deadline = \"60m\"", "deadline = \"60m\"\nfirmware = \"uefi\"");
    machine.state().uefi = false;
    let error = machine.tpl("build debian13").unwrap_err();
    let text = "install.firmware is uefi, and the emulator has no such firmware: Debian and Ubuntu have it in the package ovmf, \
                the Red Hat family in edk2-ovmf\n`tpl doctor` checks this host and says what to do";
    assert_eq!((format!("{error:#}").as_str(), exit_code(&error)), (text, 3));
    machine.state().uefi = true;
    machine.state().script = Script::FailedStep;
    machine.tpl("build debian13 --keep-failed").unwrap_err();
    assert!(machine.everything().contains(&"variables debian13.20261121-031200".to_owned()));
    machine.tpl("prune").unwrap();
    assert_eq!(machine.everything(), [""; 0]);
    machine.state().script = Script::Good;
    machine.tpl("build debian13").unwrap();
    assert_eq!(machine.leftovers(), [""; 0]);
}

/// Builds that fail or are killed at any step, of the kinds that the other tests do not run.
#[test]
fn an_installation_from_a_medium_is_undone_and_pruned_at_any_step() {
    fn ubuntu_again(pool: Pool) -> Machine {
        let machine = Machine::template_in(pool).apart();
        machine.install_from_medium("autoinstall", &medium::image("CASPER", "VMLINUZ", "INITRD"));
        machine
    }
    for pool in Pool::ALL {
        let case = Case { machine: ubuntu_again, pool, command: "build debian13" };
        case.fails_once(|call| !matches!(call.0, Step::ReadGuest | Step::WriteGuest), &|_, _, _| {});
        case.is_killed();
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
