//! `tpl host cap`: the ceiling alone, on this machine or another.

use std::sync::Arc;

use anyhow::Result;

use super::{
    bootstrap::{self, Bootstrapped},
    connect::{self, Place},
    reached::Reached,
    report,
    run::{Around, Runner},
};
use crate::{
    cli::{CapArgs, Global, Output},
    core::{
        bootstrap::{Phase, Reboot, Record, Wish},
        error::Refusal,
    },
    host::{
        local::{Local, ThisMachine},
        machine::journal::Journal,
    },
    ui,
};

/// Runs `tpl host cap`.
///
/// # Errors
/// As for a bootstrap.
pub fn run(global: &Global, args: &CapArgs, output: Output) -> Result<()> {
    let local = ThisMachine::register()?;
    let place = match &args.target {
        Some(target) => Reached::of(global, target)?.place(),
        None => Place::here(),
    };
    let journal = Arc::new(Journal::none());
    let machine = connect::connect(&place, &args.login, None, &journal, &local.stop())?;
    // Nothing of the record concerns the ceiling: it is neither read nor written.
    let record = Record { name: "unnamed".parse().map_err(anyhow::Error::msg)?, domain: None, dns_forwarder: false, vg: None };
    let wish = Wish { user: None, key: None, reboot: Reboot::Never, device: None, record };
    let around = Alone(&local);
    let _lock = if args.dry_run || args.target.is_none() { None } else { Some(bootstrap::locked(machine.as_ref())?) };
    let mut runner = Runner { machine: machine.as_ref(), around: &around, wish, dry_run: args.dry_run };
    let (phases, result) = runner.run(&[Phase::Ceiling]);
    let unknown = phases.iter().flat_map(|phase| phase.notes.clone()).collect::<Vec<_>>();
    report::print(&Bootstrapped { host: machine.name().to_owned(), phases }, args.dry_run, output)?;
    result?;
    if unknown.is_empty() { Ok(()) } else { Err(Refusal { reasons: unknown, advice: None }.into()) }
}

/// A phase that concerns the machine alone.
struct Alone<'a>(&'a dyn Local);

impl Around for Alone<'_> {
    fn say(&self, line: &str) {
        ui::note(line);
    }

    fn go_on(&self) -> Result<()> {
        self.0.go_on()
    }

    fn name(&self, _: &Wish, _: bool) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn register(&self, _: &Wish, _: bool) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
}
