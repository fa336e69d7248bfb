//! Asking every hypervisor at once, under one deadline.
//!
//! libvirt waits in C, where nothing can interrupt it: each hypervisor is asked on a thread of its own, which is left behind if it
//! does not come back in time, and ends with the process.

use anyhow::{Result, anyhow};
use serde::Serialize;

use crate::{
    cli::Output,
    cmd::{parallel, seen::Seen, world},
    core::{config::Config, units::Span},
    host::{pool::Pool, shell},
    ui,
};

/// What came of asking one hypervisor, as `--output json` prints it.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Answer<T> {
    /// Its name in the configuration; else its connection.
    hypervisor: String,
    uri: String,
    /// Why there is no answer.
    error: Option<String>,
    /// The answer, under a name that says what it is.
    #[serde(flatten)]
    found: T,
}

/// Asks all of them, prints what those have answered that did, and fails if one did not. `ask` puts into its list what is to be
/// said besides; `text` is all that was found, for people.
///
/// # Errors
/// Names each that failed or did not answer in time, and why.
pub fn run<T: Serialize + Default + Send + 'static>(
    all: Vec<Config>,
    timeout: Span,
    output: Output,
    ask: impl Fn(Seen<'_>, &Config, &mut Vec<String>) -> Result<T> + Send + Sync + 'static,
    text: impl Fn(&[(&str, &T)]) -> String,
) -> Result<()> {
    let (answers, notes) = gather(all, timeout, move |config, notes| {
        let hypervisor = world::connect(config)?;
        let shell = shell::of(config);
        let storage = Pool::new(&hypervisor, shell.as_ref(), &config.pool, config.thin_pool.clone());
        ask(Seen { hypervisor: &hypervisor, storage: &storage }, config, notes)
    });
    notes.iter().for_each(|note| ui::note(note));
    match output {
        Output::Json => ui::json(&answers)?,
        Output::Text => {
            let answered = answers.iter().filter(|answer| answer.error.is_none());
            ui::data(&text(&answered.map(|answer| (answer.hypervisor.as_str(), &answer.found)).collect::<Vec<_>>()))?;
        }
    }
    verdict(&answers)
}

/// A table with the rows of all of them, each with its hypervisor in front; without any, `nothing`.
pub fn table<'a, R: 'a>(
    heading: &[&str],
    rows: impl Iterator<Item = (&'a str, &'a R)>,
    cells: impl Fn(&R) -> Vec<String>,
    nothing: &str,
) -> String {
    let heading: Vec<&str> = std::iter::once("HYPERVISOR").chain(heading.iter().copied()).collect();
    let rows = rows.map(|(hypervisor, row)| std::iter::once(hypervisor.to_owned()).chain(cells(row)).collect());
    ui::table_or(nothing, &heading, rows)
}

/// Asks all of them; the answers are in the order of the hypervisors, whoever is first. The notes name theirs.
fn gather<T: Default + Send + 'static>(
    all: Vec<Config>,
    timeout: Span,
    ask: impl Fn(&Config, &mut Vec<String>) -> Result<T> + Send + Sync + 'static,
) -> (Vec<Answer<T>>, Vec<String>) {
    let found = parallel::answers(all.clone(), timeout.0, move |config| {
        let mut notes = Vec::new();
        // The connection is closed before the answer is given: only who is stuck is still at work when the process ends.
        let found = ask(&config, &mut notes);
        (found, notes)
    });
    let mut notes = Vec::new();
    let answers = all.into_iter().zip(found).map(|(config, found)| {
        let hypervisor = config.hypervisor().to_owned();
        let (result, own) = found.unwrap_or_else(|| (Err(anyhow!("no answer within {timeout}")), Vec::new()));
        notes.extend(own.into_iter().map(|note| format!("{hypervisor}: {note}")));
        let (error, found) = match result {
            Ok(found) => (None, found),
            Err(error) => (Some(reason(&error)), T::default()),
        };
        Answer { hypervisor, uri: config.uri, error, found }
    });
    (answers.collect(), notes)
}

/// An error in one line, without the advice behind it: that is for who has asked this one alone.
fn reason(error: &anyhow::Error) -> String {
    let lines: Vec<String> = error.chain().map(|cause| cause.to_string().lines().next().unwrap_or_default().to_owned()).collect();
    lines.join(": ")
}

fn verdict<T>(answers: &[Answer<T>]) -> Result<()> {
    let failed: Vec<(&Answer<T>, &String)> =
        answers.iter().filter_map(|answer| answer.error.as_ref().map(|error| (answer, error))).collect();
    let [first, ..] = failed.as_slice() else { return Ok(()) };
    let lines: Vec<String> = failed.iter().map(|(answer, error)| format!("\n  {}: {error}", answer.hypervisor)).collect();
    let flag = if first.0.hypervisor == first.0.uri { "--connect" } else { "--on" };
    let advice = format!("`tpl doctor {flag} {}` checks one of them and says what to do", first.0.hypervisor);
    Err(anyhow!("{} of {} hypervisors did not answer:{}\n{advice}", failed.len(), answers.len(), lines.concat()))
}
