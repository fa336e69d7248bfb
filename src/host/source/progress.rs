//! Downloads as parts of one stage.

use super::{Resolved, cache::Watch};
use crate::core::{progress::Progress, source::Role};

/// How much of the stage each file is.
pub struct Meters(Vec<(String, u64)>);

impl Meters {
    /// The usual shares: of a netboot installer, the kernel makes up about a fifth; media dwarf both.
    pub fn of(resolved: &Resolved) -> Self {
        let share = |role| match role {
            Role::Kernel => 1,
            Role::Initrd => 4,
            Role::Medium | Role::Image => 95,
        };
        let name = |location: &str| location.rsplit('/').next().unwrap_or_default().to_owned();
        Self(resolved.files.iter().map(|(role, wanted)| (name(&wanted.location()), share(*role))).collect())
    }

    /// The meter of one file.
    pub fn meter<'a>(&'a self, progress: &'a dyn Progress, index: usize) -> Meter<'a> {
        let total: u64 = self.0.iter().map(|(_, share)| share).sum::<u64>().max(1);
        let before: u64 = self.0.iter().take(index).map(|(_, share)| share).sum();
        let (name, share) = self.0.get(index).map_or(("", 0), |(name, share)| (name.as_str(), *share));
        Meter::new(progress, name, before * 100 / total, (before + share) * 100 / total)
    }
}

/// Shows one download as a part of the stage; says each percent once.
pub struct Meter<'a> {
    progress: &'a dyn Progress,
    name: &'a str,
    from: u64,
    to: u64,
    last: Option<(&'static str, u8)>,
}

impl<'a> Meter<'a> {
    /// A meter for what is between `from` and `to` percent.
    pub fn new(progress: &'a dyn Progress, name: &'a str, from: u64, to: u64) -> Self {
        Self { progress, name, from, to, last: None }
    }

    fn say(&mut self, verb: &'static str, done: u64, total: u64) {
        let total = total.max(done).max(1);
        let part = u128::from(self.to - self.from) * u128::from(done) / u128::from(total);
        let Ok(percent) = u8::try_from(u128::from(self.from) + part) else { return };
        if Some((verb, percent)) != self.last {
            self.last = Some((verb, percent));
            self.progress.update(&format!("{verb} {}", self.name), Some(percent));
        }
    }
}

impl Watch for Meter<'_> {
    fn bytes(&mut self, done: u64, total: Option<u64>) {
        self.say("fetching", done, total.unwrap_or(0));
    }

    fn checked(&mut self, done: u64, total: u64) {
        self.say("checking", done, total);
    }

    fn waits(&mut self) {
        self.progress.note(&format!("waiting for another tpl that fetches {} just now", self.name));
    }
}
