//! What an installer's two logs say: how far it is, whether it is done, whether it has given up or sits at a question.
//!
//! The console is what a person in front of the machine would see; the installer's own log comes out of a second serial port.
//! Both are untrusted bytes: nothing that they say is more than a text for people, or the end of a build.

mod anaconda;
mod debian;
mod log;
mod signs;
mod subiquity;
#[cfg(test)]
mod tests;

use std::time::Duration;

use super::pipeline::AnswersKind;
use log::{Log, percentage};
pub use signs::Fault;
use signs::{ANSWERS, COMMON, Sign, Weight};

/// A prompt without any further output for so long is one that waits for a human.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// What an installer that has given up still writes: the rest of its report, and its commands for that case.
pub const GRACE: Duration = Duration::from_secs(5);

/// What our answer files write to the second serial port as the last thing.
const COMPLETE: &str = "tpl: installation complete";
/// What they write there when the installer tells them that it has failed.
const FAILED: &str = "tpl: installation failed";
/// What a kernel says when it reboots the machine, at a level that reaches every console: `kernel/reboot.c`.
const RESTARTS: &str = "reboot: Restarting system";

/// The steps of an installer: what its logs call one, what to call it for people, and the percentage of the whole at which it
/// begins.
type Steps = &'static [(&'static str, &'static str, u8)];

/// Which log a line is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Console,
    Installer,
}

/// How many lines of detail an error has at most.
const DETAILS: u8 = 3;

/// Watches an installation through its logs, fed as they grow.
#[derive(Debug)]
pub struct Watch {
    kind: AnswersKind,
    console: Log,
    installer: Log,
    step: Option<usize>,
    /// The percentage inside the step.
    inside: u8,
    /// The highest percentage of the whole so far: a step may show several dialogs, each counting from 0.
    highest: u8,
    finished: bool,
    rebooted: bool,
    failed: Option<Fault>,
    /// The best explanation for a failure so far, and how good it is.
    cause: Option<(u8, Fault)>,
    /// How many lines of which log may still be added to what the failure says.
    detail: Option<(Source, u8)>,
    /// The event of subiquity's that failed last.
    event: Option<String>,
}

impl Watch {
    /// Watches an installer that reads such answers.
    pub fn new(kind: AnswersKind) -> Self {
        Self {
            kind,
            console: Log::default(),
            installer: Log::default(),
            step: None,
            inside: 0,
            highest: 0,
            finished: false,
            rebooted: false,
            failed: None,
            cause: None,
            detail: None,
            event: None,
        }
    }

    fn steps(&self) -> Steps {
        match self.kind {
            AnswersKind::Preseed => debian::STEPS,
            AnswersKind::Autoinstall => subiquity::STEPS,
            AnswersKind::Kickstart => anaconda::STEPS,
        }
    }

    fn signs(&self) -> &'static [Sign] {
        match self.kind {
            AnswersKind::Preseed => debian::SIGNS,
            AnswersKind::Autoinstall => subiquity::SIGNS,
            AnswersKind::Kickstart => anaconda::SIGNS,
        }
    }

    /// Takes in what the console has printed since the last call.
    pub fn console(&mut self, bytes: &[u8]) {
        let mut log = std::mem::take(&mut self.console);
        log.feed(bytes, |line| {
            self.rebooted |= line.contains(RESTARTS);
            // Its own log has the steps, and the console dialogs about them.
            if self.kind != AnswersKind::Preseed {
                self.event(line);
            }
            self.line(line, Source::Console);
        });
        // A prompt ends no line.
        self.signs_of(&log.open());
        if self.kind == AnswersKind::Preseed
            && let Some(percent) = log.last().as_deref().and_then(percentage)
        {
            self.inside = percent;
        }
        self.console = log;
        self.highest = self.highest.max(self.estimate().1);
    }

    /// Takes in what the installer has logged since the last call.
    pub fn installer(&mut self, bytes: &[u8]) {
        let mut log = std::mem::take(&mut self.installer);
        log.feed(bytes, |line| {
            self.event(line);
            self.line(line, Source::Installer);
            match line {
                COMPLETE => self.finished = true,
                FAILED => self.fail(Fault { says: signs::GIVEN_UP.to_owned(), advice: "" }),
                _ => {}
            }
        });
        self.installer = log;
        self.highest = self.highest.max(self.estimate().1);
    }

    fn fail(&mut self, fault: Fault) {
        self.failed.get_or_insert(fault);
    }

    /// Takes a step's beginning or end from a line.
    fn event(&mut self, line: &str) {
        match self.kind {
            AnswersKind::Preseed => match debian::step(line) {
                // Its steps may be taken again.
                Some(Ok(step)) => (self.step, self.inside) = (Some(step), 0),
                Some(Err(fault)) => self.fail(fault),
                None => {}
            },
            AnswersKind::Autoinstall => {
                self.reach(subiquity::step(line));
                if let Some((event, fault)) = subiquity::failure(line, self.event.as_deref()) {
                    self.cause = self.cause.take().filter(|(weight, _)| *weight > 1).or(Some((1, fault)));
                    self.event = Some(event);
                }
                if subiquity::failed_event(line).is_some_and(subiquity::is_fatal) {
                    self.fail(Fault { says: signs::GIVEN_UP.to_owned(), advice: "" });
                }
            }
            AnswersKind::Kickstart => {
                self.reach(anaconda::step(line));
                self.inside = anaconda::packages(line).unwrap_or(self.inside);
            }
        }
    }

    /// Where events have others inside, the furthest step counts.
    fn reach(&mut self, step: Option<usize>) {
        if step > self.step {
            (self.step, self.inside) = (step, 0);
        }
    }

    fn line(&mut self, line: &str, source: Source) {
        if self.kind != AnswersKind::Kickstart {
            return self.signs_of(line);
        }
        // Its errors have several lines: the first says that there is one, the others which.
        let (text, known) = (anaconda::text(line), self.failed.is_some());
        if let (Some((of, left)), Some(fault)) = (self.detail, &mut self.failed)
            && of == source
            && !text.is_empty()
        {
            let colon = if fault.says.ends_with([':', '.']) { "" } else { ":" };
            fault.says = format!("{}{colon} {}", fault.says, signs::cut(text));
            self.detail = (left > 1 && anaconda::goes_on(text)).then_some((of, left - 1));
        }
        self.signs_of(text);
        let bare = self.failed.as_ref().is_some_and(|fault| fault.says == signs::GIVEN_UP);
        if self.failed.is_some() && anaconda::goes_on(text) && (!known || bare && text.starts_with(anaconda::DETAIL)) {
            self.detail = Some((source, DETAILS));
        }
    }

    fn signs_of(&mut self, line: &str) {
        let signs = self.signs().iter().chain(&COMMON);
        for sign in signs.filter(|sign| line.contains(sign.words)) {
            match sign.weight {
                Weight::Fatal => self.fail(sign.fault(line)),
                Weight::Cause(weight) if self.cause.as_ref().is_none_or(|(known, _)| *known < weight) => {
                    self.cause = Some((weight, sign.fault(line)));
                }
                Weight::Cause(_) => {}
            }
        }
    }

    /// What the installer does now, and the percentage of the whole that is done; it only rises.
    pub fn progress(&self) -> (&'static str, u8) {
        (self.estimate().0, self.highest)
    }

    fn estimate(&self) -> (&'static str, u8) {
        let steps = self.steps();
        let Some((step, (_, label, start))) = self.step.and_then(|step| Some((step, steps.get(step)?))) else {
            return ("booting the installer", 0);
        };
        let end = steps.get(step + 1).map_or(100, |next| next.2);
        let inside = u32::from(end.saturating_sub(*start)) * u32::from(self.inside.min(100)) / 100;
        (label, start + u8::try_from(inside).unwrap_or(0))
    }

    /// Why the installer has given up, if it has: it sits there then, or powers the machine off.
    pub fn failed(&self) -> Option<Fault> {
        self.failed.as_ref().map(|fault| self.explained(fault.clone()))
    }

    /// A fault with what may have led to it.
    pub fn explained(&self, fault: Fault) -> Fault {
        match &self.cause {
            Some((_, cause)) if !fault.says.contains(&cause.says) => {
                let advice = if cause.advice.is_empty() { fault.advice } else { cause.advice };
                Fault { says: format!("{}: {}", fault.says, cause.says), advice }
            }
            _ => fault,
        }
    }

    /// Whether the installer reached its end and nothing failed: a power-off before that is a failure.
    pub fn complete(&self) -> bool {
        let reached = match self.kind {
            AnswersKind::Preseed => self.step == Some(debian::STEPS.len() - 1),
            AnswersKind::Autoinstall | AnswersKind::Kickstart => self.finished,
        };
        reached && self.failed.is_none() && !self.rebooted
    }

    /// Why a machine that went off is not installed.
    pub fn off_early(&self) -> Fault {
        if let Some(fault) = self.failed() {
            return fault;
        }
        if self.rebooted {
            let says = "the installer has rebooted the machine, where it should have powered it off".to_owned();
            let advice = match self.kind {
                AnswersKind::Preseed => "the answer file must say `d-i debian-installer/exit/poweroff boolean true`",
                AnswersKind::Autoinstall => "the answer file must say `shutdown: poweroff`",
                AnswersKind::Kickstart => "the answer file must say `poweroff`",
            };
            return self.explained(Fault { says, advice });
        }
        let says = "the VM went off before the installation was complete".to_owned();
        let advice = match self.kind {
            AnswersKind::Preseed => "",
            AnswersKind::Autoinstall | AnswersKind::Kickstart => {
                "an answer file must end with a command that writes the line `tpl: installation complete` to /dev/ttyS1"
            }
        };
        self.explained(Fault { says, advice })
    }

    /// The question on the console, if there is one. It waits for a human when it is still the same after [`PATIENCE`].
    pub fn question(&self) -> Option<String> {
        let tail = self.console.tail();
        match self.kind {
            AnswersKind::Preseed => debian::question(&tail),
            AnswersKind::Autoinstall => subiquity::question(&tail),
            AnswersKind::Kickstart => anaconda::question(&tail),
        }
    }

    /// The fault of an installer that waits for a human.
    pub fn waits(&self, question: &str) -> Fault {
        let lines: String = question.lines().map(|line| format!("  {line}\n")).collect();
        let cause = self.cause.as_ref().map(|(_, cause)| cause);
        let why = cause.map(|cause| format!("{}\n", cause.says)).unwrap_or_default();
        let advice = cause.map(|cause| cause.advice).filter(|advice| !advice.is_empty()).unwrap_or(ANSWERS);
        Fault { says: format!("the installer waits for an answer to this question:\n\n{lines}\n{why}"), advice }
    }

    /// The last lines of the console and of the installer's log.
    pub fn tails(&self) -> (Vec<String>, Vec<String>) {
        (self.console.tail(), self.installer.tail())
    }
}
