//! Templates from the media of other installers. No vendor's medium can be had everywhere, so `tests/medium` makes small ones that
//! keep the same contract: see its README.md.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

use crate::e2e::lab::{Ended, folder, left, pipeline, seen_in_clone, tpl, virsh};

/// A family's installer: its medium, and the pipeline that the tests begin with.
struct Family {
    kind: &'static str,
    pipeline: &'static str,
    answers: &'static str,
}

const UBUNTU: Family = Family { kind: "ubuntu", pipeline: "pipelines/ubuntu22.toml", answers: "autoinstall/ubuntu.yaml" };
const ROCKY: Family = Family { kind: "anaconda", pipeline: "pipelines/rocky9.toml", answers: "kickstart/redhat.ks" };

/// Where a medium is. The first test that asks makes both, one after the other: they share most of their parts.
fn medium(kind: &str) -> PathBuf {
    static MADE: OnceLock<Option<()>> = OnceLock::new();
    let path = |kind: &str| folder().join(format!("{kind}.iso"));
    let made = MADE.get_or_init(|| ["ubuntu", "anaconda"].iter().try_for_each(|kind| make(kind, &path(kind))));
    made.expect("the media could not be made; the first test that needed them says why");
    path(kind)
}

fn make(kind: &str, iso: &Path) -> Option<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let made =
        Command::new(root.join("tests/medium/make")).arg(kind).arg(iso).current_dir(root).stdin(Stdio::null()).output().ok()?;
    if !made.status.success() {
        eprintln!("{}{}", String::from_utf8_lossy(&made.stdout), String::from_utf8_lossy(&made.stderr));
        return None;
    }
    Some(())
}

/// Writes a pipeline with the family's own as its base; keys of `changes` are replaced or, in their table, added.
fn prepare(family: &Family, name: &str, changes: &[(&str, &str, &str)]) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let answers = folder().join(family.answers);
    fs::create_dir_all(answers.parent().unwrap()).unwrap();
    fs::copy(root.join(family.answers), answers).unwrap();
    let mut table: toml::Table = fs::read_to_string(root.join(family.pipeline)).unwrap().parse().unwrap();
    // What is on the medium is all there is; the locale is one that need not be made, which takes minutes where VMs are emulated.
    let always = [
        ("answers", "locale", "\"C.UTF-8\""),
        ("answers", "mirror", "\"\""),
        ("install", "disk", "\"4G\""),
        ("install", "memory", "\"1GiB\""),
        ("install", "deadline", "\"45m\""),
        ("install", "boot_deadline", "\"25m\""),
        ("clone", "user", "\"debian\""),
        ("clone", "memory", "\"512MiB\""),
    ];
    for (section, key, value) in always.iter().chain(changes) {
        let value: toml::Table = format!("x = {value}").parse().unwrap();
        table[*section].as_table_mut().unwrap().insert((*key).to_owned(), value["x"].clone());
    }
    let file = pipeline(name);
    fs::write(&file, table.to_string()).unwrap();
    file
}

fn build(family: &Family, name: &str, changes: &[(&str, &str, &str)]) -> Ended {
    let iso = medium(family.kind);
    let file = prepare(family, name, changes);
    tpl(&["build", &file, "--iso", iso.to_str().unwrap(), "--output", "json"])
}

/// A build that must be published; a clone of it that must answer; its domain's definition while it is a template. What `look`
/// prints in the clone is returned.
fn published(family: &Family, name: &str, changes: &[(&str, &str, &str)], look: &str) -> (String, String) {
    let report = build(family, name, changes).json();
    let id = format!("{name}@{}", report["version"].as_str().unwrap());
    let xml = virsh(&["dumpxml", "--inactive", &id.replace('@', ".")]);
    let seen = seen_in_clone(&id, &format!("{name}-vm"), look);
    tpl(&["rm", &id]).ok();
    assert_eq!(left(&format!("{name}.")), Vec::<String>::new());
    (xml, seen)
}

#[test]
fn ubuntus_medium_makes_a_template_that_boots_by_uefi() {
    let changes = [
        ("install", "firmware", "\"uefi\""),
        ("answers", "users", "[{ name = \"ops\", sudo = true }]"),
        ("answers", "late_commands", "[\"echo \\\"it's %end {{ x }}\\\" >/etc/late\"]"),
    ];
    let look = "hostname; findmnt -no FSTYPE /; test -d /sys/firmware/efi && echo efi; cat /etc/late; id -un ops; df --output=size -m / | tail -1";
    let (xml, seen) = published(&UBUNTU, "tpl-e2e-ubuntu", &changes, look);
    let lines: Vec<_> = seen.lines().collect();
    assert_eq!(lines[..5], ["tpl-e2e-ubuntu-vm", "ext4", "efi", "it's %end {{ x }}", "ops"], "{seen}");
    let size: u64 = lines[5].trim().parse().unwrap();
    assert!(size > 8 << 10, "the root has grown into the clone's disk: {size} MiB");
    assert!(!xml.contains("cdrom") && !xml.contains("<kernel>") && xml.contains("firmware='efi'"), "{xml}");
}

#[test]
fn anacondas_medium_makes_a_template_on_a_volume_group() {
    let changes = [("answers", "layout", "\"lvm\""), ("answers", "swap", "\"64MiB\"")];
    let look = "hostname; findmnt -no SOURCE,FSTYPE /; awk 'NR > 1 {print $3}' /proc/swaps; df --output=size -m / | tail -1";
    let (xml, seen) = published(&ROCKY, "tpl-e2e-rocky", &changes, look);
    let lines: Vec<_> = seen.lines().collect();
    assert_eq!(lines[0], "tpl-e2e-rocky-vm");
    assert_eq!(lines[1].split_whitespace().collect::<Vec<_>>(), ["/dev/mapper/vg0-root", "xfs"], "{seen}");
    let numbers: Vec<u64> = lines[2..].iter().map(|line| line.trim().parse().unwrap()).collect();
    assert!(numbers[0] > 60 << 10 && numbers[1] > 8 << 10, "swap is there, and the root has grown: {seen}");
    assert!(!xml.contains("cdrom") && !xml.contains("<os firmware="), "{xml}");
}

/// An installation that must fail, and leave nothing; its error.
fn failed(family: &Family, name: &str, changes: &[(&str, &str, &str)]) -> String {
    let ended = build(family, name, changes);
    assert_eq!((ended.code, ended.stdout.as_str()), (1, ""), "{ended:#?}");
    assert_eq!(left(&format!("{name}.")), Vec::<String>::new());
    ended.stderr
}

fn fails_saying(family: &Family, name: &str, changes: &[(&str, &str, &str)], parts: &[&str]) {
    let said = failed(family, name, changes);
    for part in parts {
        assert!(said.contains(part), "{part:?} in {said}");
    }
}

#[test]
fn a_question_of_another_installer_is_shown() {
    let question = [("install", "arguments", "[\"tpl.fail=question\"]")];
    let waits = "the installer waits for an answer to this question:";
    fails_saying(&UBUNTU, "tpl-e2e-asks-u", &question, &[waits, "Continue with autoinstall? (yes|no)", "--keep-failed"]);
    fails_saying(&ROCKY, "tpl-e2e-asks-r", &question, &[waits, "Please make a selection from the above", "--keep-failed"]);
}

#[test]
fn a_disk_that_gets_full_is_told() {
    let full = [("install", "arguments", "[\"tpl.fail=full\"]")];
    fails_saying(&ROCKY, "tpl-e2e-full", &full, &["the build disk is too small", "No space left on device", "install.disk"]);
}

#[test]
fn a_power_off_and_a_reboot_at_the_wrong_time_are_told() {
    let off = [("install", "arguments", "[\"tpl.fail=off\"]")];
    fails_saying(&UBUNTU, "tpl-e2e-off", &off, &["the VM went off before the installation was complete"]);
    let reboot = [("install", "arguments", "[\"tpl.fail=reboot\"]")];
    fails_saying(&ROCKY, "tpl-e2e-reboot", &reboot, &["the installer has rebooted the machine", "`poweroff`"]);
}

#[test]
fn an_installer_that_hangs_meets_its_deadline() {
    let hang = [("install", "arguments", "[\"tpl.fail=hang\"]"), ("install", "deadline", "\"2m\"")];
    fails_saying(&UBUNTU, "tpl-e2e-hang", &hang, &["was not done after 2m00s, its deadline"]);
}

#[test]
fn a_medium_of_another_family_is_refused() {
    let file = prepare(&ROCKY, "tpl-e2e-other", &[]);
    let refused = tpl(&["build", &file, "--iso", medium("ubuntu").to_str().unwrap()]);
    assert_eq!(refused.code, 3, "{refused:#?}");
    assert!(refused.stderr.contains("Anaconda") && refused.stderr.contains("subiquity"), "{refused:#?}");
    assert_eq!(left("tpl-e2e-other."), Vec::<String>::new());
}
