//! What goes wrong for real, without the shared template: these run while it is being installed.

use std::{env, fs, time::Duration};

use crate::e2e::lab::{Background, folder, left, other_pipeline, tpl};

#[test]
fn a_question_of_the_installers_ends_the_build_with_its_text() {
    let answers = fs::read_to_string(folder().join("preseed/debian.cfg")).unwrap();
    let without: String =
        answers.lines().filter(|line| !line.contains("debian-installer/locale")).map(|line| format!("{line}\n")).collect();
    fs::write(folder().join("preseed/question.cfg"), without).unwrap();
    let file = other_pipeline("tpl-e2e-question", |text| text.replace("preseed/debian.cfg", "preseed/question.cfg"));
    let failed = tpl(&["build", &file]);
    assert_eq!(failed.code, 1, "{failed:#?}");
    for part in [
        "the installer waits for an answer to this question:",
        "the console's last lines:",
        "the installer's log, last lines:",
        "-installer.log",
        "--keep-failed",
    ] {
        assert!(failed.stderr.contains(part), "{part:?} in {failed:#?}");
    }
    assert_eq!(left("tpl-e2e-question"), Vec::<String>::new());
}

#[test]
fn an_installation_that_is_killed_at_its_start_is_pruned() {
    let file = other_pipeline("tpl-e2e-scrap", |text| text);
    let mut build = Background::start("scrap", &["build", &file]);
    build.wait_for("install: booting the installer", Duration::from_secs(300));
    build.kill();
    assert!(!left("tpl-e2e-scrap").is_empty());
    let dry = tpl(&["prune", "--template", "tpl-e2e-scrap", "--dry-run"]).ok();
    assert!(dry.stdout.starts_with("build tpl-e2e-scrap@") && dry.stdout.ends_with(" (building) would be removed\n"), "{dry:#?}");
    tpl(&["prune", "--template", "tpl-e2e-scrap"]).ok();
    assert_eq!(left("tpl-e2e-scrap"), Vec::<String>::new());
}

#[test]
fn a_mirror_without_valid_signatures_is_refused_unless_allowed() {
    // The mirror that tests usually run against is not the one that Debian signed; a signed one has to be accepted.
    let file = other_pipeline("tpl-e2e-unsigned", |text| text.replace("keyring =", "# keyring ="));
    let refused = tpl(&["build", &file, "--allow-unsigned=false"]);
    assert_eq!(refused.code, 3, "{refused:#?}");
    assert!(refused.stderr.contains("no keyring") && refused.stderr.contains("--allow-unsigned"), "{refused:#?}");
    if env::var_os("TPL_ALLOW_UNSIGNED").is_some() {
        let file = other_pipeline("tpl-e2e-signed", |text| text);
        let refused = tpl(&["build", &file, "--allow-unsigned=false"]);
        assert_eq!(refused.code, 3, "{refused:#?}");
        assert!(refused.stderr.contains("SHA256SUMS") && refused.stderr.contains("was signed"), "{refused:#?}");
    }
    assert_eq!(left("tpl-e2e-unsigned"), Vec::<String>::new());
}

#[test]
fn doctor_finds_this_host_ready() {
    let checks = tpl(&["doctor", "--output", "json"]).json();
    let names: Vec<_> = checks.as_array().unwrap().iter().map(|check| check["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["qemu-img", "ssh", "keyring", "libvirt", "pool", "network", "kvm", "appliance"]);
    assert_eq!(left("tpl-kvm"), Vec::<String>::new());
}
