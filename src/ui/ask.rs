//! Questions to whoever sits at the terminal. They go to stderr: stdout is data.

use std::{
    env,
    io::{self, IsTerminal as _, Write as _},
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, Result};
use console::Term;

use crate::core::secret::Secret;

/// Asks whether to go on. None where there is nobody to ask.
///
/// # Errors
/// The terminal cannot be read.
pub fn confirm(question: &str) -> Result<Option<bool>> {
    let Some(terminal) = terminal() else { return Ok(None) };
    let _turn = ASKING.lock().unwrap_or_else(PoisonError::into_inner);
    prompt(&terminal, &format!("{question} [y/N] "))?;
    let answer = terminal.read_line().context("reading the answer")?;
    Ok(Some(matches!(answer.trim(), "y" | "Y" | "yes")))
}

/// Asks for something that is not shown while it is typed. None where there is nobody to ask.
///
/// # Errors
/// The terminal cannot be read.
pub fn secret(question: &str) -> Result<Option<Secret<String>>> {
    let Some(terminal) = terminal() else { return Ok(None) };
    let _turn = ASKING.lock().unwrap_or_else(PoisonError::into_inner);
    prompt(&terminal, &format!("{question}: "))?;
    Ok(Some(Secret::new(terminal.read_secure_line().context("reading the answer")?)))
}

/// One question at a time: several machines may be logged in to at once.
static ASKING: Mutex<()> = Mutex::new(());

fn terminal() -> Option<Term> {
    let dumb = env::var_os("TERM").is_some_and(|kind| kind == "dumb");
    (io::stdin().is_terminal() && io::stderr().is_terminal() && !dumb).then(Term::stderr)
}

fn prompt(mut terminal: &Term, question: &str) -> Result<()> {
    write!(terminal, "{question}").and_then(|()| terminal.flush()).context("asking at the terminal")
}
