//! subiquity, Ubuntu's installer: its events (`start: subiquity/…`, `finish: …: SUCCESS: …`) are on the console and in its debug log,
//! those of curtin, which writes the disk, in a log of their own. The answer file sends both logs to the second serial port.

use super::{
    Steps,
    signs::{ANSWERS, Fault, MEDIUM, PACKAGES, Sign, Weight, cut},
};

/// Events by a part of their names.
pub(super) const STEPS: Steps = &[
    ("subiquity/", "starting the installer", 2),
    ("subiquity/Early/", "reading the answers", 4),
    ("subiquity/Install/install", "preparing the installation", 6),
    ("cmd-install/stage-partitioning", "partitioning", 8),
    ("cmd-install/stage-extract", "installing the base system", 12),
    ("cmd-install/stage-curthooks", "installing the kernel", 40),
    ("cmd-curthooks/install-grub", "installing the boot loader", 65),
    ("/postinstall", "installing packages", 70),
    ("unattended_upgrades", "installing updates", 85),
    ("subiquity/Late/", "running the last commands", 94),
    ("subiquity/Shutdown/", "finishing the installation", 98),
];

pub(super) const SIGNS: &[Sign] = &[
    Sign {
        words: "An error occurred. Press enter to start a shell",
        weight: Weight::Fatal,
        says: "the installer has given up",
        advice: ANSWERS,
    },
    Sign {
        words: "Unable to find a medium containing a live file system",
        weight: Weight::Fatal,
        says: "the installer does not find its medium",
        advice: MEDIUM,
    },
    Sign {
        words: "Unable to find a live file system",
        weight: Weight::Fatal,
        says: "the installer does not find its medium",
        advice: MEDIUM,
    },
    Sign {
        words: "Malformed autoinstall",
        weight: Weight::Cause(3),
        says: "the installer does not take its answers: {}",
        advice: ANSWERS,
    },
    Sign {
        words: "Failed loading yaml",
        weight: Weight::Cause(3),
        says: "the installer cannot read its answers: {}",
        advice: ANSWERS,
    },
    Sign {
        words: "E: Unable to locate package",
        weight: Weight::Cause(2),
        says: "a package cannot be had: {}",
        advice: PACKAGES,
    },
    Sign {
        words: "has no installation candidate",
        weight: Weight::Cause(2),
        says: "a package cannot be had: {}",
        advice: PACKAGES,
    },
    Sign {
        words: "Temporary failure resolving",
        weight: Weight::Cause(2),
        says: "the mirror cannot be reached: {}",
        advice: PACKAGES,
    },
];

/// What stands at a question, of which some are screens that are drawn anew each time.
const QUESTIONS: [(&str, &str); 5] = [
    ("Continue with autoinstall? (yes|no)", "Continue with autoinstall? (yes|no)"),
    ("Continue in rich mode", "Continue in rich mode, or in basic mode? (the first screen of an installation by hand)"),
    ("Willkommen! Bienvenue!", "Please choose your preferred language (the first screen of an installation by hand)"),
    (
        "Please choose your preferred language",
        "Please choose your preferred language (the first screen of an installation by hand)",
    ),
    ("Use UP, DOWN and ENTER keys to select your language", "the first screen of an installation by hand: the language"),
];

/// The step that a line begins.
pub(super) fn step(line: &str) -> Option<usize> {
    // What stands behind the name is a text, of a command for example.
    let (_, event) = line.split_once("start: ")?;
    let event = event.split(':').next()?;
    STEPS.iter().rposition(|step| event.contains(step.0))
}

/// The event that failed: `finish: subiquity/Late/run/command_2: FAIL: …`.
pub(super) fn failed_event(line: &str) -> Option<&str> {
    let (_, event) = line.split_once("finish: ")?;
    event.split_once(": FAIL").map(|(event, _)| event)
}

/// What a failed event says. Outer events fail for the inner ones' sake, and behind them: those say nothing new.
pub(super) fn failure(line: &str, before: Option<&str>) -> Option<(String, Fault)> {
    let event = failed_event(line)?;
    if before.is_some_and(|before| before.starts_with(event) || before.ends_with(event)) {
        return None;
    }
    let decides = |part: &&&str| event.starts_with(**part);
    let advice = ["subiquity/Early", "subiquity/Late"].iter().find(decides).map_or("", |_| ANSWERS);
    Some((event.to_owned(), Fault { says: format!("its step {} failed", cut(event)), advice }))
}

/// Whether the installation cannot go on behind the failure of this event; others are tried again, or done without.
pub(super) fn is_fatal(event: &str) -> bool {
    let ends = ["cmd-install", "subiquity/Early/run", "subiquity/Late/run", "subiquity/Install/install"];
    let sections = ["/apply_autoinstall_config", "/load_autoinstall_data", "/load_autoinstall_config"];
    ends.contains(&event) || sections.iter().any(|section| event.ends_with(section))
}

pub(super) fn question(tail: &[String]) -> Option<String> {
    // A screen is some twenty lines.
    let recent = &tail[tail.len().saturating_sub(20)..];
    let asks = |words: &str| recent.iter().any(|line| line.contains(words));
    let (words, question) = QUESTIONS.iter().find(|(words, _)| asks(words))?;
    // What is printed behind a question in one line is a sign that it was answered.
    let answered = words.contains("(yes|no)") && !recent.last().is_some_and(|line| line.contains(words));
    (!answered).then(|| (*question).to_owned())
}
