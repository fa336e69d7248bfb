//! The machine that tpl itself runs on.

use std::{sync::Arc, time::Duration};

use anyhow::Result;

use super::{Guard, Machine, journal::Journal, work::Work};
use crate::{
    core::{
        bootstrap::{Facts, Probe},
        error::Refusal,
    },
    host::{local::Lock, shell::LocalShell},
};

/// This machine, with the rights of whoever runs tpl. It can be asked, written to and run on, and no more.
pub struct LocalMachine {
    journal: Arc<Journal>,
}

impl LocalMachine {
    /// This machine; what is done on it goes into the journal.
    pub fn new(journal: Arc<Journal>) -> Self {
        Self { journal }
    }

    fn work(&self) -> Work<'_> {
        Work { shell: &LocalShell, name: self.name(), journal: &self.journal }
    }
}

/// What is for machines that are reached over SSH.
fn only_over_ssh(what: &str) -> anyhow::Error {
    Refusal::new(format!("this machine is not {what} by tpl that runs on it")).advise("name it by USER@HOST").into()
}

impl Machine for LocalMachine {
    fn name(&self) -> &str {
        "this machine"
    }

    fn ask(&self, probes: &[Probe]) -> Result<Facts> {
        self.work().ask(probes)
    }

    fn write(&self, path: &str, mode: u32, content: &str) -> Result<()> {
        self.work().write(path, mode, content)
    }

    fn remove(&self, path: &str) -> Result<()> {
        self.work().remove(path)
    }

    fn run(&self, argv: &[&str], deadline: Duration) -> Result<String> {
        self.work().run(argv, deadline)
    }

    fn reboot(&self) -> Result<()> {
        Err(only_over_ssh("started again"))
    }

    fn lock(&self) -> Result<Result<Lock, String>> {
        Err(only_over_ssh("locked"))
    }

    fn guard(&self, _: &[&str]) -> Result<Guard> {
        Err(only_over_ssh("guarded"))
    }

    fn release(&self, _: Guard) -> Result<()> {
        Err(only_over_ssh("guarded"))
    }
}

#[cfg(test)]
mod tests;
