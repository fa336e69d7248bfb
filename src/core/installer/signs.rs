//! Words in an installer's logs that tell why it will not come to its end.

/// What a line with such words in it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Weight {
    /// What may have led to a failure that shows later, if one shows; the better sign is the larger number.
    Cause(u8),
    /// The installer has given up.
    Fatal,
}

/// Words, and what they mean.
#[derive(Debug)]
pub(super) struct Sign {
    /// What the line holds.
    pub words: &'static str,
    /// How much it means.
    pub weight: Weight,
    /// What to say; the line itself is put in the place of `{}`.
    pub says: &'static str,
    /// What an operator can do about it.
    pub advice: &'static str,
}

/// A fault that was found in a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What is wrong.
    pub says: String,
    /// What an operator can do about it; may be empty.
    pub advice: &'static str,
}

/// A line in an error is cut behind so many characters.
const LONGEST: usize = 200;

/// Where nothing better is known.
pub(super) const GIVEN_UP: &str = "the installer has given up";

pub(super) const MEMORY: &str = "install.memory in the pipeline gives the installer more";
pub(super) const DISK: &str = "install.disk in the pipeline makes the build disk larger; an installer that holds all in its memory needs more install.memory";
pub(super) const ANSWERS: &str = "the answer file, which answers.file in the pipeline names, must be mended";
pub(super) const PACKAGES: &str =
    "answers.packages must name packages that the vendor, the medium or answers.mirror has, and these must be reachable";
pub(super) const MEDIUM: &str = "another medium may be whole: --iso names one";

/// What installers of every kind, and the kernels that they run on, say.
pub(super) const COMMON: [Sign; 6] = [
    Sign {
        words: "Kernel panic - not syncing",
        weight: Weight::Fatal,
        says: "the installer's kernel has given up: {}",
        advice: MEMORY,
    },
    Sign {
        words: "Initramfs unpacking failed",
        weight: Weight::Cause(3),
        says: "the installer's initrd could not be unpacked: {}",
        advice: MEMORY,
    },
    Sign {
        words: "Out of memory: Killed",
        weight: Weight::Cause(3),
        says: "the installer's machine ran out of memory: {}",
        advice: MEMORY,
    },
    Sign {
        words: "Out of memory and no",
        weight: Weight::Cause(3),
        says: "the installer's machine ran out of memory: {}",
        advice: MEMORY,
    },
    Sign { words: "No space left on device", weight: Weight::Cause(4), says: "the build disk is too small: {}", advice: DISK },
    Sign {
        words: "Traceback (most recent call last)",
        weight: Weight::Cause(0),
        says: "the installer has a fault of its own",
        advice: "",
    },
];

impl Sign {
    /// The fault that a line with this sign tells of.
    pub fn fault(&self, line: &str) -> Fault {
        Fault { says: self.says.replace("{}", &cut(line)), advice: self.advice }
    }
}

/// A line that is no longer than a line of an error should be.
pub(super) fn cut(line: &str) -> String {
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}
