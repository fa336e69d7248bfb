//! debian-installer: with its text frontend it writes dialogs and percentages to the console (`Installing the base system  ...
//! 40%... 50%`), and its own syslog, where `main-menu` names each step, to a second serial port.

use super::{
    Steps,
    log::percentage,
    signs::{ANSWERS, Fault, PACKAGES, Sign, Weight},
};

/// As measured on an installation of a minimal server.
pub(super) const STEPS: Steps = &[
    ("localechooser", "starting the installer", 1),
    ("ethdetect", "detecting the network hardware", 2),
    ("netcfg", "configuring the network", 3),
    ("download-installer", "loading installer components", 5),
    ("user-setup-udeb", "setting up users", 12),
    ("disk-detect", "detecting disks", 13),
    ("partman-base", "partitioning", 14),
    ("bootstrap-base", "installing the base system", 19),
    ("apt-setup-udeb", "configuring the package manager", 68),
    ("pkgsel", "installing packages", 71),
    ("grub-installer", "installing the boot loader", 90),
    ("finish-install", "finishing the installation", 97),
];

pub(super) const SIGNS: &[Sign] = &[
    Sign {
        words: "E: Unable to locate package",
        weight: Weight::Cause(2),
        says: "a package cannot be had: {}",
        advice: PACKAGES,
    },
    Sign {
        words: "partman-auto: No such recipe",
        weight: Weight::Cause(2),
        says: "the disk cannot be laid out: {}",
        advice: ANSWERS,
    },
];

/// The step that a line of its syslog begins: `main-menu[1905]: INFO: Menu item 'pkgsel' selected`; or the one that failed.
pub(super) fn step(line: &str) -> Option<Result<usize, Fault>> {
    let (_, message) = line.split_once("main-menu[").and_then(|(_, rest)| rest.split_once("Menu item '"))?;
    let (item, outcome) = message.split_once('\'')?;
    if outcome.trim() == "failed." {
        return Some(Err(Fault { says: format!("the installer's step {} failed", super::signs::cut(item)), advice: "" }));
    }
    STEPS.iter().position(|known| known.0 == item).map(Ok)
}

/// The dialog at the console's end, if it ends with a prompt: silence is no sign, for the status line's clock goes on.
pub(super) fn question(tail: &[String]) -> Option<String> {
    // What comes behind a prompt is the cursor's: nothing, or what was typed.
    let prompt = tail.iter().rposition(|line| line.starts_with("Prompt:"))?;
    if tail.len() - prompt > 2 {
        return None;
    }
    let begins = tail[..prompt].iter().rposition(|line| percentage(line).is_some()).map_or(0, |index| index + 1);
    Some(tail[begins..=prompt].join("\n"))
}
