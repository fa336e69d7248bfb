//! What the types let pass and cannot be meant: all of it, each with its key.

use super::{Answers, AnswersKind, CloneSettings, Install, Source, SourceKind};
use crate::core::{
    check::{document::Document, smallest_disk},
    units::ByteSize,
};

/// A key with its table, and what is wrong there.
type Fault = (String, String);

/// The parts of a pipeline that can be read: what is wrong in one of them says nothing of the others.
pub(super) struct Parts {
    source: Option<Source>,
    answers: Option<Answers>,
    /// Whether the table is there, whatever is in it.
    has_answers: bool,
    install: Option<Install>,
    has_install: bool,
    clone: Option<CloneSettings>,
    keep: Option<usize>,
}

impl Parts {
    pub(super) fn of(document: &Document<'_>) -> Self {
        let install = if document.has("install") { document.part("install") } else { Some(Install::default()) };
        Self {
            source: document.whole_part("source"),
            answers: document.part("answers"),
            has_answers: document.has("answers"),
            install,
            has_install: document.has("install"),
            clone: document.part("clone"),
            keep: document.part("keep"),
        }
    }

    /// All that is wrong.
    pub(super) fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        if let Some(source) = &self.source {
            faults.extend(in_table("source", source.faults(source.arch)));
            faults.extend(self.together(source));
        }
        if let Some(answers) = &self.answers {
            faults.extend(in_table("answers", answers.faults()));
        }
        if let Some(install) = &self.install {
            faults.extend(in_table("install", of_machine(install)));
            faults.extend(self.room(install));
        }
        if let Some(clone) = &self.clone {
            faults.extend(in_table("clone", of_clone(clone)));
        }
        if self.keep == Some(0) {
            faults.push(("keep".to_owned(), "keep must be at least 1: the version just built is one".to_owned()));
        }
        faults
    }

    /// Source and answers must be for each other.
    fn together(&self, source: &Source) -> Option<Fault> {
        let low = |key: &str, message: &str| Some((key.to_owned(), message.to_owned()));
        match (self.has_answers, source.kind) {
            (true, SourceKind::Image) => low("source.kind", "an image is installed already: [answers] means nothing for it"),
            (false, SourceKind::Netboot | SourceKind::Iso) => low("source.kind", "an installer needs [answers]"),
            _ => {
                let other = self.answers.as_ref().is_some_and(|answers| answers.kind != AnswersKind::Preseed);
                (source.suite.is_some() && source.kind == SourceKind::Netboot && other)
                    .then(|| ("answers.kind".to_owned(), "a Debian archive's installer reads a preseed".to_owned()))
            }
        }
    }

    /// The build disk must have room for the layout.
    fn room(&self, install: &Install) -> Option<Fault> {
        let (least, parts) = smallest_disk(self.answers.as_ref()?, install.firmware);
        // One that is smaller than any has been noted.
        if install.disk < ByteSize::mib(1024) || install.disk >= least {
            return None;
        }
        // Where the disk has its default size, the layout is what can be seen.
        let key = if self.has_install { "install.disk" } else { "answers.layout" };
        let message = format!("{} are too small for the layout, which needs at least {least}: {parts}", install.disk);
        Some((key.to_owned(), message))
    }
}

fn of_machine(install: &Install) -> Vec<(&'static str, String)> {
    let mut faults = Vec::new();
    let mut low = |wrong: bool, key, message: &str| faults.extend(wrong.then(|| (key, message.to_owned())));
    let disks = ByteSize::mib(1024)..=ByteSize(64 << 40);
    low(!disks.contains(&install.disk), "disk", "a build disk needs at least 1 GiB, and cannot have more than 64 TiB");
    low(install.deadline.0.as_secs() < 60, "deadline", "a deadline needs at least a minute");
    low(install.boot_deadline.0.as_secs() < 30, "boot_deadline", "the boot test's deadline needs at least 30 seconds");
    low(install.memory < ByteSize::mib(256), "memory", "an installer needs at least 256 MiB of memory");
    low(!(1..=512).contains(&install.vcpus), "vcpus", "vcpus must be 1 to 512");
    faults
}

fn of_clone(clone: &CloneSettings) -> Vec<(&'static str, String)> {
    let mut faults = Vec::new();
    if clone.memory < ByteSize::mib(128) {
        faults.push(("memory", "a clone needs at least 128 MiB of memory".to_owned()));
    }
    if !(1..=512).contains(&clone.vcpus) {
        faults.push(("vcpus", "vcpus must be 1 to 512".to_owned()));
    }
    faults
}

fn in_table<K: std::fmt::Display>(table: &str, faults: Vec<(K, String)>) -> impl Iterator<Item = Fault> {
    faults.into_iter().map(move |(key, message)| (format!("{table}.{key}"), message))
}
