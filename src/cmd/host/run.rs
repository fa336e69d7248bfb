//! Phases, run on a machine: each reads, mends what has drifted, and reads again.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Error, Result, anyhow};
use serde::Serialize;

use crate::{
    cmd::host::ssh,
    core::{
        bootstrap::{Facts, Item, Phase, Reboot, State, Step, Wish, steps},
        error::{Advised, Cut, UndoIncomplete},
    },
    host::machine::Machine,
    ui,
};

/// How often a phase reads and mends: what a step brings about may show the next thing that is to be done.
const ROUNDS: usize = 4;
/// A step that may take so many minutes is announced.
const LONG: u16 = 15;

/// What phases need of the world besides the machine itself.
pub trait Around {
    /// Says how far it is: to the operator, and in the log.
    fn say(&self, line: &str);
    /// Whether to go on.
    ///
    /// # Errors
    /// The operator has asked for the end.
    fn go_on(&self) -> Result<()>;
    /// Tells those who answer for names of the machine: what was told to whom.
    ///
    /// # Errors
    /// A name or an address is another's, or a provider cannot be told.
    fn name(&self, wish: &Wish, dry_run: bool) -> Result<Vec<String>>;
    /// Puts the hypervisor into tpl's configuration, and asks it for its capacity: what was changed.
    ///
    /// # Errors
    /// The configuration cannot be written, or the hypervisor does not answer.
    fn register(&self, wish: &Wish, dry_run: bool) -> Result<Vec<String>>;
}

/// What has become of a phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Something was mended.
    Changed,
    /// All was as it is to be.
    Unchanged,
    /// Something would be mended.
    WouldChange,
    /// It has come to no end.
    Failed,
}

/// A phase, as it is reported.
#[derive(Debug, Serialize)]
pub struct Done {
    /// Which.
    pub name: Phase,
    /// What has become of it.
    pub outcome: Outcome,
    /// How long it took.
    pub seconds: f64,
    /// What was done, or would be, a line each.
    pub changes: Vec<String>,
    /// What the machine does not tell, or what is left to the operator.
    pub notes: Vec<String>,
}

/// Phases on their way.
pub struct Runner<'a> {
    /// The machine.
    pub machine: &'a dyn Machine,
    /// The world besides.
    pub around: &'a dyn Around,
    /// What it all is to come to.
    pub wish: Wish,
    /// Whether nothing is changed.
    pub dry_run: bool,
}

impl Runner<'_> {
    /// Runs the phases, and tells of all that were begun; with the error that ended them.
    pub fn run(&mut self, phases: &[Phase]) -> (Vec<Done>, Result<()>) {
        let mut all = Vec::new();
        for phase in phases {
            let began = Instant::now();
            let mut done = Done { name: *phase, outcome: Outcome::Unchanged, seconds: 0.0, changes: vec![], notes: vec![] };
            self.around.say(&format!("{phase}: begins"));
            let result = self.around.go_on().and_then(|()| self.phase(*phase, &mut done));
            done.outcome = match (&result, done.changes.is_empty()) {
                (Err(_), _) => Outcome::Failed,
                (Ok(()), true) => Outcome::Unchanged,
                (Ok(()), false) if self.dry_run => Outcome::WouldChange,
                (Ok(()), false) => Outcome::Changed,
            };
            done.seconds = began.elapsed().as_secs_f64();
            self.around.say(&format!("{phase}: {} in {:.1} s", done.outcome.as_str(), done.seconds));
            done.notes.iter().for_each(|note| self.around.say(&format!("{phase}: {note}")));
            all.push(done);
            if let Err(error) = result {
                return (all, Err(self.explained(*phase, error)));
            }
        }
        (all, Ok(()))
    }

    /// Asks for all of it before anything changes: what one phase refuses must not be found when others are done.
    ///
    /// # Errors
    /// Those of a phase that is not begun.
    pub fn foresee(&self, phases: &[Phase]) -> Result<()> {
        for phase in phases.iter().filter(|phase| **phase != Phase::Register) {
            self.around.go_on()?;
            self.ask(*phase).map_err(|error| self.explained(*phase, error))?;
        }
        Ok(())
    }

    /// A phase's error, with what can be done about a connection that broke.
    fn explained(&self, phase: Phase, error: Error) -> Error {
        let cut = error.chain().any(|cause| cause.is::<Cut>());
        let error = error.context(format!("phase {phase} of {}", self.machine.name()));
        if cut { Advised::new(error, "run the same command again: it goes on where this has ended").into() } else { error }
    }

    fn phase(&mut self, phase: Phase, done: &mut Done) -> Result<()> {
        if phase == Phase::Register {
            done.changes = self.around.register(&self.wish, self.dry_run)?;
            return Ok(());
        }
        self.mend(phase, done)?;
        if phase == Phase::Hostname {
            let told = self.around.name(&self.wish, self.dry_run)?;
            // Whether a provider knows it already is seen when it is told.
            if self.dry_run { &mut done.notes } else { &mut done.changes }.extend(told);
        }
        Ok(())
    }

    fn ask(&self, phase: Phase) -> Result<(Facts, Vec<Item>)> {
        let facts = self.machine.ask(&phase.probes(&self.wish)).context("asking how it stands")?;
        let items = phase.items(&facts, &self.wish)?;
        Ok((facts, items))
    }

    fn mend(&mut self, phase: Phase, done: &mut Done) -> Result<()> {
        let before = phase.before();
        if !self.dry_run {
            self.perform(phase, &before)?;
        }
        let (first, mut items) = self.ask(phase)?;
        if self.dry_run {
            let all = steps(&items);
            let before = before.iter().filter(|_| !all.is_empty());
            done.changes = before.chain(&all).map(Step::describe).collect();
            done.notes = notes(&items);
            let by_hand = left(items.iter().filter(|item| item.mend.is_empty()));
            done.notes.extend(by_hand.into_iter().map(|line| format!("{line}; nothing that tpl would do mends it")));
            return Ok(());
        }
        for _ in 0..ROUNDS {
            let steps = steps(&items);
            if steps.is_empty() {
                break;
            }
            self.around.go_on()?;
            // Before they are done: a phase that fails half-way has changed something all the same.
            done.changes.extend(steps.iter().map(Step::summary));
            if let Err(cause) = self.steps_of(phase, &steps) {
                return Err(self.undone(phase, &first, cause));
            }
            items = self.ask(phase)?.1;
        }
        done.notes = notes(&items);
        match left(items.iter()) {
            lines if lines.is_empty() => Ok(()),
            lines => {
                let cause = anyhow!("it is not as it should be after all steps:\n{}", lines.join("\n"));
                let cause =
                    Advised::new(cause, "what says otherwise there must be mended by hand; then run the same command again");
                Err(self.undone(phase, &first, cause.into()))
            }
        }
    }

    fn steps_of(&mut self, phase: Phase, steps: &[Step]) -> Result<()> {
        if phase == Phase::Ssh {
            return ssh::mend(self.machine, &ssh::files(steps), &mut || self.perform(phase, steps));
        }
        self.perform(phase, steps)?;
        if steps.contains(&Step::Reboot) && self.wish.reboot == Reboot::Always {
            self.wish.reboot = Reboot::WhenNeeded;
        }
        Ok(())
    }

    fn perform(&self, phase: Phase, steps: &[Step]) -> Result<()> {
        for step in steps {
            if let Step::Run { minutes, .. } = step
                && *minutes >= LONG
            {
                self.around.say(&format!("{phase}: what comes now may take up to {minutes} minutes"));
            }
            perform(self.machine, step)?;
        }
        Ok(())
    }

    /// Takes a phase back that has failed, if it can be: both errors are told.
    fn undone(&self, phase: Phase, before: &Facts, cause: Error) -> Error {
        let undo = phase.undo(before);
        if undo.is_empty() {
            return cause;
        }
        // All of them: each puts back something of its own.
        let left: Vec<Error> = undo.iter().filter_map(|step| perform(self.machine, step).err()).collect();
        if left.is_empty() {
            return cause.context("it is as it was before, for this has failed");
        }
        UndoIncomplete::new(cause, left)
            .advise("run the same command again, or put it right by hand: the log has every command")
            .into()
    }
}

/// Does one step.
///
/// # Errors
/// As for the call of [`Machine`] that does it.
pub fn perform(machine: &dyn Machine, step: &Step) -> Result<()> {
    match step {
        Step::Write { path, mode, content } => {
            machine.write(path, *mode, content).with_context(|| format!("writing {path}"))?;
        }
        Step::Remove { path } => machine.remove(path).with_context(|| format!("removing {path}"))?,
        Step::Run { argv, minutes } => {
            let words: Vec<&str> = argv.iter().map(String::as_str).collect();
            machine.run(&words, Duration::from_secs(60 * u64::from(*minutes)))?;
        }
        Step::Reboot => {
            ui::note("rebooting, and waiting until it is back");
            machine.reboot().context("rebooting")?;
        }
    }
    Ok(())
}

/// What the machine does not tell.
fn notes(items: &[Item]) -> Vec<String> {
    let note = |item: &Item| match &item.state {
        State::Unknown(why) => Some(format!("{}: {why}", item.what)),
        State::Ok | State::Drifted { .. } => None,
    };
    items.iter().filter_map(note).collect()
}

/// What is not as it should be.
fn left<'a>(items: impl Iterator<Item = &'a Item>) -> Vec<String> {
    let line = |item: &Item| match &item.state {
        State::Drifted { is, should } => Some(format!("{}: is {is}, should be {should}", item.what)),
        State::Ok | State::Unknown(_) => None,
    };
    items.filter_map(line).collect()
}

impl Outcome {
    /// As it is printed.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::WouldChange => "would change",
            Self::Failed => "failed",
        }
    }
}
