//! What an installer's two logs say: how far it is, whether it is done, whether it sits at a question.
//!
//! debian-installer with its text frontend writes dialogs and percentages to the console (`Installing the base system  ...
//! 40%... 50%`), and its own syslog, where `main-menu` names each step, to a second serial port. Both are untrusted bytes.

use std::{collections::VecDeque, time::Duration};

/// How many lines of each log are kept for a report.
const TAIL: usize = 25;
/// A line longer than this is cut: an installer gone wild must not eat the memory.
const LONGEST: usize = 4096;
/// A prompt without any further output for so long is one that waits for a human.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A step of the installer's main menu: its item, what to call it, and the percentage of the whole at which it begins, as
/// measured on an installation of a minimal server.
type Step = (&'static str, &'static str, u8);

const STEPS: [Step; 12] = [
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

/// Watches an installation through its logs, fed as they grow.
#[derive(Debug, Default)]
pub struct Watch {
    console: Log,
    installer: Log,
    step: usize,
    seen: bool,
    /// The percentage inside the step.
    inside: u8,
    /// The highest percentage of the whole so far: a step may show several dialogs, each counting from 0.
    highest: u8,
    complete: bool,
    failed: Option<String>,
}

/// The lines of one log.
#[derive(Debug, Default)]
struct Log {
    lines: VecDeque<String>,
    open: Vec<u8>,
}

impl Log {
    /// Takes bytes in; calls `each` with every line that ended.
    fn feed(&mut self, bytes: &[u8], mut each: impl FnMut(&str)) {
        for byte in bytes {
            if *byte == b'\n' {
                let line = clean(&self.open);
                self.open.clear();
                if !line.is_empty() {
                    each(&line);
                    self.lines.push_back(line);
                }
                if self.lines.len() > TAIL {
                    self.lines.pop_front();
                }
            } else if self.open.len() < LONGEST {
                self.open.push(*byte);
            }
        }
    }

    fn tail(&self) -> Vec<String> {
        let open = clean(&self.open);
        self.lines.iter().cloned().chain((!open.is_empty()).then_some(open)).collect()
    }
}

/// A line without escape sequences, control characters and the status line that the installer's terminal multiplexer draws
/// each minute.
fn clean(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            if chars.next_if_eq(&'[').is_some() {
                while chars.next_if(|c| !c.is_ascii_alphabetic()).is_some() {}
                chars.next();
            } else {
                chars.next();
            }
        } else if !c.is_control() {
            plain.push(c);
        }
    }
    while let Some(range) = status_line(&plain) {
        plain.replace_range(range, "");
    }
    plain.trim().to_owned()
}

/// Where the multiplexer's status line stands: `[   (1*installer)  2 shell  4- log   ][ Nov 21  7:40 ]`.
fn status_line(text: &str) -> Option<std::ops::Range<usize>> {
    let clock = text.find("][ ")?;
    let start = text[..clock].rfind("[   ")?;
    let end = text[clock + 1..].find(']')?;
    Some(start..clock + 1 + end + 1)
}

/// The last percentage on a line: `Loading additional components  ... 25%... 50%` → 50.
fn percentage(line: &str) -> Option<u8> {
    let (before, _) = line.rsplit_once('%')?;
    let digits = before.rsplit(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok().filter(|percent| *percent <= 100)
}

impl Watch {
    /// Takes in what the console has printed since the last call.
    pub fn console(&mut self, bytes: &[u8]) {
        self.console.feed(bytes, |_| {});
        let percent = if self.console.open.is_empty() {
            self.console.lines.back().and_then(|line| percentage(line))
        } else {
            percentage(&clean(&self.console.open))
        };
        if let Some(percent) = percent {
            self.inside = percent;
        }
        self.highest = self.highest.max(self.estimate().1);
    }

    /// Takes in what the installer has logged since the last call.
    pub fn installer(&mut self, bytes: &[u8]) {
        let (mut step, mut inside, mut seen) = (self.step, self.inside, self.seen);
        let mut failed = None;
        self.installer.feed(bytes, |line| {
            let Some((_, message)) = line.split_once("main-menu[").and_then(|(_, rest)| rest.split_once("Menu item '")) else {
                return;
            };
            let Some((item, outcome)) = message.split_once('\'') else { return };
            if outcome.trim() == "failed." {
                failed = Some(item.to_owned());
                return;
            }
            let known = STEPS.iter().position(|known| known.0 == item);
            if let Some(index) = known {
                (step, inside, seen) = (index, 0, true);
            }
        });
        (self.step, self.inside, self.seen) = (step, inside, seen);
        self.failed = failed.or(self.failed.take());
        self.highest = self.highest.max(self.estimate().1);
        self.complete = self.seen && self.step == STEPS.len() - 1 && self.failed.is_none();
    }

    /// What the installer does now, and the percentage of the whole that is done; it only rises.
    pub fn progress(&self) -> (&'static str, u8) {
        (self.estimate().0, self.highest)
    }

    fn estimate(&self) -> (&'static str, u8) {
        if !self.seen {
            return ("booting the installer", 0);
        }
        let (_, label, start) = STEPS[self.step];
        let end = STEPS.get(self.step + 1).map_or(100, |next| next.2);
        let inside = u32::from(end - start) * u32::from(self.inside) / 100;
        (label, start + u8::try_from(inside).unwrap_or(0))
    }

    /// The step of the installer's that failed, if one did: then it sits at its menu.
    pub fn failed(&self) -> Option<&str> {
        self.failed.as_deref()
    }

    /// Whether the installer reached its last step and nothing failed: a power-off before that is a failure.
    pub fn complete(&self) -> bool {
        self.complete
    }

    /// The dialog on the console, if it ends with a prompt. It waits for a human when it is still the same after [`PATIENCE`]:
    /// silence is no sign, for the status line's clock goes on.
    pub fn question(&self) -> Option<String> {
        let tail = self.console.tail();
        // What comes behind a prompt is the cursor's: nothing, or what was typed.
        let prompt = tail.iter().rposition(|line| line.starts_with("Prompt:"))?;
        if tail.len() - prompt > 2 {
            return None;
        }
        let begins = tail[..prompt].iter().rposition(|line| percentage(line).is_some()).map_or(0, |index| index + 1);
        Some(tail[begins..=prompt].join("\n"))
    }

    /// The last lines of the console and of the installer's log.
    pub fn tails(&self) -> (Vec<String>, Vec<String>) {
        (self.console.tail(), self.installer.tail())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUESTION: &[u8] = include_bytes!("../../tests/fixtures/debian-installer-question.console");

    #[test]
    fn the_question_is_told_from_progress() {
        let mut watch = Watch::default();
        watch.console(QUESTION);
        let question = watch.question().unwrap();
        assert!(question.contains("Select your location\n--------------------\nThe selected location will"), "{question}");
        assert!(question.ends_with("4: Atlantic Ocean,      8: Indian Ocean,\nPrompt: '?' for help>"), "{question}");
        assert!(!question.contains("installer"), "{question}");
        watch.console(b"\r\nLoading additional components  ... 25%\r\nx\r\n");
        assert_eq!(watch.question(), None);
    }

    #[test]
    fn progress_comes_from_both_logs() {
        let mut watch = Watch::default();
        assert_eq!(watch.progress(), ("booting the installer", 0));
        watch.installer(b"Nov 21 07:47:03 main-menu[1905]: INFO: Menu item 'bootstrap-base' selected\n");
        assert_eq!(watch.progress(), ("installing the base system", 19));
        watch.console(b"Installing the base system  ... 0%... 25%.");
        watch.console(b".. 50%");
        assert_eq!(watch.progress(), ("installing the base system", 43));
        watch.installer(b"Nov 21 07:47:03 main-menu[1905]: INFO: Menu item 'unheard-of' selected\n");
        assert_eq!(watch.progress(), ("installing the base system", 43));
        watch.console(b"\r\nAnother dialog  ... 0%");
        assert_eq!(watch.progress().1, 43);
        assert!(!watch.complete());
        watch.installer(b"Nov 21 07:59:03 main-menu[1905]: INFO: Menu item 'finish-inst");
        watch.installer(b"all' selected\n");
        assert!(watch.complete());
        watch.installer(b"Nov 21 08:04:28 main-menu[1905]: WARNING **: Menu item 'finish-install' failed.\n");
        assert_eq!((watch.complete(), watch.failed()), (false, Some("finish-install")));
    }

    #[test]
    fn steps_go_up() {
        assert!(STEPS.windows(2).all(|pair| pair[0].2 < pair[1].2));
    }

    #[test]
    fn any_bytes_are_taken() {
        let mut watch = Watch::default();
        let mut state = 1u32;
        for _ in 0..200 {
            let bytes: Vec<u8> = (0..500)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    [b"\x1b[]%'\n(".as_slice(), &state.to_le_bytes()].concat()[(state >> 24) as usize % 11]
                })
                .collect();
            watch.console(&bytes);
            watch.installer(&bytes);
            watch.question();
            assert!(watch.progress().1 <= 100);
        }
    }
}
