//! Anaconda in text mode: what it does is on the console, and in its logs, which the answer file sends to the second serial port.

use super::{
    Steps,
    signs::{ANSWERS, DISK, GIVEN_UP, MEDIUM, PACKAGES, Sign, Weight},
};

/// What it says when a step begins.
pub(super) const STEPS: Steps = &[
    ("Starting installer, one moment", "starting the installer", 2),
    ("Running pre-installation scripts", "reading the answers", 4),
    ("Starting automated install", "reading the answers", 5),
    ("Checking storage configuration", "checking the answers", 6),
    ("Setting up the installation environment", "preparing the installation", 8),
    ("Creating disklabel on", "partitioning", 9),
    ("Starting package installation process", "installing packages", 12),
    ("Performing post-installation setup tasks", "setting packages up", 78),
    ("Installing boot loader", "installing the boot loader", 82),
    ("Configuring installed system", "configuring the system", 85),
    ("Generating initramfs", "making the initrd", 88),
    ("Storing configuration files", "storing the configuration", 94),
    ("Running post-installation scripts", "running the last scripts", 95),
    ("Installation complete", "finishing the installation", 99),
];

pub(super) const SIGNS: &[Sign] = &[
    Sign {
        words: "The following problem occurred on line",
        weight: Weight::Fatal,
        says: "the installer does not take its answers: {}",
        advice: ANSWERS,
    },
    Sign {
        words: "An error occurred during reading the kickstart file",
        weight: Weight::Fatal,
        says: "the installer does not take its answers",
        advice: ANSWERS,
    },
    Sign {
        words: "There was an error running the kickstart script",
        weight: Weight::Fatal,
        says: "a script of the answer file failed: {}",
        advice: ANSWERS,
    },
    Sign {
        words: "The following error occurred while",
        weight: Weight::Fatal,
        says: "the installer has given up: {}",
        advice: "",
    },
    Sign {
        words: "An unknown error has occurred",
        weight: Weight::Fatal,
        says: "the installer has a fault of its own",
        advice: "",
    },
    Sign { words: "The installation was stopped due to an error", weight: Weight::Fatal, says: GIVEN_UP, advice: "" },
    Sign { words: "Pane is dead", weight: Weight::Fatal, says: "the installer has ended by itself", advice: "" },
    Sign { words: "[anaconda root@", weight: Weight::Fatal, says: "the installer has ended with a shell", advice: "" },
    Sign {
        words: "Warning: /dev/root does not exist",
        weight: Weight::Fatal,
        says: "the installer does not find the rest of itself",
        advice: MEDIUM,
    },
    Sign {
        words: "Entering emergency mode",
        weight: Weight::Fatal,
        says: "the installer does not find the rest of itself",
        advice: MEDIUM,
    },
    Sign {
        words: "dracut-initqueue timeout",
        weight: Weight::Cause(1),
        says: "it has waited in vain for its medium, or for the network",
        advice: MEDIUM,
    },
    Sign { words: "Warning: can't find", weight: Weight::Cause(2), says: "its answers are not there: {}", advice: ANSWERS },
    Sign { words: "No match for argument", weight: Weight::Cause(3), says: "a package cannot be had: {}", advice: PACKAGES },
    Sign { words: "no such package", weight: Weight::Cause(3), says: "a package cannot be had: {}", advice: PACKAGES },
    Sign {
        words: "Failed to download metadata",
        weight: Weight::Cause(2),
        says: "the mirror cannot be reached: {}",
        advice: PACKAGES,
    },
    Sign {
        words: "Error setting up software source",
        weight: Weight::Cause(2),
        says: "the mirror cannot be reached: {}",
        advice: PACKAGES,
    },
    Sign {
        words: "torage configuration failed",
        weight: Weight::Cause(2),
        says: "the disk cannot be laid out: {}",
        advice: DISK,
    },
    Sign {
        words: "Not enough space in file systems",
        weight: Weight::Cause(4),
        says: "the build disk is too small: {}",
        advice: DISK,
    },
];

/// What stands before an error where nobody can be asked.
pub(super) const DETAIL: &str = "The exact error message is";

/// What its prompts hold: the last line of its console, or the one before where the last goes on.
const PROMPTS: [&str; 7] = [
    "Please make a selection from the above",
    "Please respond 'yes' or 'no'",
    "Would you like to ignore this and continue",
    "Press ENTER to ",
    "Password:",
    "Password (confirm):",
    "Please make your choice from above",
];

/// A line of its logs without what stands before the text: `16:26:06,950 ERR errors: The following error…`.
pub(super) fn text(line: &str) -> &str {
    let stamped = line
        .get(..13)
        .is_some_and(|stamp| stamp.ends_with(' ') && stamp[..12].bytes().all(|b| b.is_ascii_digit() || b":,".contains(&b)));
    let text = stamped.then(|| line.split_once(": ").map_or("", |(_, text)| text));
    text.unwrap_or(line).trim()
}

/// Whether an error's line says that the next one has the detail.
pub(super) fn goes_on(line: &str) -> bool {
    line.ends_with(':') || line.ends_with("will be aborted.")
}

/// The step that a line begins.
pub(super) fn step(line: &str) -> Option<usize> {
    STEPS.iter().rposition(|step| line.contains(step.0))
}

/// How many of its packages are there, in percent: `Installing zlib.x86_64 (12/330)`.
pub(super) fn packages(line: &str) -> Option<u8> {
    let at = line.find("Installing ").or_else(|| line.find("Installed: "))?;
    let (_, counts) = line[at..].strip_suffix(')')?.rsplit_once('(')?;
    let (done, all) = counts.split_once('/')?;
    let (done, all) = (done.trim().parse::<u64>().ok()?, all.trim().parse::<u64>().ok()?);
    u8::try_from(done.checked_mul(100)?.checked_div(all)?).ok().filter(|percent| *percent <= 100)
}

/// What stands on the console from the last rule, if it ends with a prompt.
pub(super) fn question(tail: &[String]) -> Option<String> {
    let recent = tail.len().saturating_sub(2);
    let prompt = tail[recent..].iter().any(|line| PROMPTS.iter().any(|prompt| line.contains(prompt)));
    let rule = |line: &String| line.len() >= 20 && line.bytes().all(|byte| byte == b'=');
    let begins = tail.iter().rposition(rule).map_or(0, |index| index + 1);
    prompt.then(|| tail[begins..].join("\n")).filter(|question| !question.is_empty())
}
