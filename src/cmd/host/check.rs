//! `tpl host check`: whether hypervisors still are as they were made. Nothing is changed.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use serde::Serialize;

use super::{bootstrap, connect, reached::Reached, register};
use crate::{
    cli::{CheckArgs, Global, LoginArgs, Output},
    cmd::parallel,
    core::{
        bootstrap::{
            Item, PHASES, Phase, Reboot, State, Wish,
            record::{self, RECORD},
        },
        config::HypervisorName,
        error::{Invalid, Refusal},
        machine_target::MachineTarget,
        units::Span,
    },
    host::{
        local::{Stop, ThisMachine},
        machine::{Machine, journal::Journal},
    },
    ui,
};

/// What was found of one hypervisor.
#[derive(Debug, Serialize)]
pub struct Checked {
    /// What it is called.
    pub host: String,
    /// Why it could not be asked.
    pub error: Option<String>,
    /// All that was looked at.
    pub items: Vec<Entry>,
}

/// One thing that was looked at.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    /// The phase that it belongs to.
    pub phase: Phase,
    /// What it is.
    pub item: String,
    /// How it stands.
    pub state: Standing,
    /// What it is, where that is not what it should be; why it is not known.
    pub is: Option<String>,
    /// What it should be, where it is something else.
    pub should: Option<String>,
}

/// How something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// As it should be.
    Ok,
    /// It is something else.
    Drifted,
    /// The machine does not tell.
    Unknown,
}

/// Runs `tpl host check`.
///
/// # Errors
/// As for [`report`]; a name that the configuration does not know.
pub fn run(global: &Global, args: &CheckArgs, output: Output) -> Result<()> {
    let all = if args.names.is_empty() { Reached::each(global)? } else { named(global, &args.names)? };
    if all.is_empty() {
        return Err(Invalid::argument(
            "the configuration has no hypervisor that is reached by SSH\n`tpl host bootstrap USER@HOST` makes one",
        )
        .into());
    }
    let (login, stop) = (args.login.clone(), ThisMachine::register()?.stop());
    report(&checked(all, args.timeout, move |reached| of_one(reached, &login, &stop)), output)
}

fn named(global: &Global, names: &[HypervisorName]) -> Result<Vec<Reached>> {
    names.iter().map(|name| Reached::of(global, &MachineTarget::Named(name.clone()))).collect()
}

/// Looks at all of them at once. One that does not answer in time is told of, and not waited for.
fn checked(
    all: Vec<Reached>,
    timeout: Span,
    look: impl Fn(&Reached) -> Result<Vec<Entry>> + Send + Sync + 'static,
) -> Vec<Checked> {
    let names: Vec<String> = all.iter().map(|reached| reached.name.clone()).collect();
    let answers = parallel::answers(all, timeout.0, move |reached| look(&reached));
    let checked = names.into_iter().zip(answers).map(|(host, answer)| match answer {
        Some(Ok(items)) => Checked { host, error: None, items },
        Some(Err(error)) => Checked { host, error: Some(format!("{error:#}")), items: Vec::new() },
        None => Checked { host, error: Some(format!("no answer within {timeout}")), items: Vec::new() },
    });
    checked.collect()
}

fn of_one(reached: &Reached, login: &LoginArgs, stop: &Stop) -> Result<Vec<Entry>> {
    let machine = connect::connect(&reached.place(), login, None, &Arc::new(Journal::none()), stop)?;
    let kept = bootstrap::kept(&machine.ask(&[record::probe()])?)?.ok_or_else(|| {
        let reason = format!("{} was never made a hypervisor by tpl: there is no {RECORD}", reached.name);
        Refusal::new(reason).advise("`tpl host bootstrap` makes it one")
    })?;
    let wish = Wish { user: Some(reached.user.clone()), key: None, reboot: Reboot::WhenNeeded, device: None, record: kept };
    let registered = register::item(reached);
    look(machine.as_ref(), &wish, registered)
}

/// Looks at a machine, phase by phase; `registered` is what is known of it here.
///
/// # Errors
/// It does not answer. What a phase refuses is something that has drifted.
pub fn look(machine: &dyn Machine, wish: &Wish, registered: Item) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for phase in PHASES.into_iter().filter(|phase| *phase != Phase::Register) {
        let asking = || format!("asking for {phase}");
        let facts = machine.ask(&phase.probes(wish)).with_context(asking)?;
        match phase.items(&facts, wish) {
            Ok(items) => entries.extend(items.into_iter().map(|item| entry(phase, item))),
            Err(refusal) => entries.push(refused(phase, &refusal)),
        }
    }
    entries.push(entry(Phase::Register, registered));
    // Several phases look at the record.
    let mut seen = false;
    entries.retain(|entry| entry.item != RECORD || !std::mem::replace(&mut seen, true));
    Ok(entries)
}

fn entry(phase: Phase, item: Item) -> Entry {
    let (state, is, should) = match item.state {
        State::Ok => (Standing::Ok, None, None),
        State::Drifted { is, should } => (Standing::Drifted, Some(is), Some(should)),
        State::Unknown(why) => (Standing::Unknown, Some(why), None),
    };
    Entry { phase, item: item.what, state, is, should }
}

fn refused(phase: Phase, refusal: &Refusal) -> Entry {
    let is = Some(refusal.reasons.join("; "));
    // What would have to be done is advice, and nothing that it should be.
    let is = is.map(|is| refusal.advice.as_ref().map_or(is.clone(), |advice| format!("{is}: {advice}")));
    Entry { phase, item: phase.to_string(), state: Standing::Drifted, is, should: None }
}

/// Prints what was found, and says whether all is as it should be.
///
/// # Errors
/// [`Refusal`]: something has drifted, or a machine could not be asked.
pub fn report(all: &[Checked], output: Output) -> Result<()> {
    match output {
        Output::Json => ui::json(&all)?,
        Output::Text => ui::data(&all.iter().map(text).collect::<String>())?,
    }
    let drifted = |checked: &&Checked| checked.items.iter().any(|entry| entry.state == Standing::Drifted);
    let mut reasons = Vec::new();
    for checked in all {
        if let Some(error) = &checked.error {
            reasons.push(format!("{} could not be checked: {error}", checked.host));
        }
    }
    for checked in all.iter().filter(drifted) {
        let count = checked.items.iter().filter(|entry| entry.state == Standing::Drifted).count();
        reasons.push(format!("{}: {count} of {} have drifted", checked.host, checked.items.len()));
    }
    if reasons.is_empty() {
        return Ok(());
    }
    Err(Refusal { reasons, advice: Some("`tpl host bootstrap NAME` mends what has drifted; --dry-run shows how".to_owned()) }
        .into())
}

fn text(checked: &Checked) -> String {
    if let Some(error) = &checked.error {
        return format!("{}: not checked: {error}\n", checked.host);
    }
    let row = |entry: &Entry| {
        let (state, told) = match (entry.state, &entry.is, &entry.should) {
            (Standing::Ok, ..) => ("ok", String::new()),
            (Standing::Drifted, Some(is), Some(should)) => ("DRIFTED", format!("is {is}, should be {should}")),
            (Standing::Drifted, is, _) => ("DRIFTED", is.clone().unwrap_or_default()),
            (Standing::Unknown, is, _) => ("unknown", is.clone().unwrap_or_default()),
        };
        vec![entry.phase.to_string(), entry.item.clone(), state.to_owned(), told]
    };
    format!("{}\n{}", checked.host, ui::table(&["PHASE", "ITEM", "STATE", ""], checked.items.iter().map(row)))
}
