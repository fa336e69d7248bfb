//! What people see: data on stdout, progress on stderr.
//!
//! On a terminal, progress is live: one line for a build's stage, one for each VM of many ([`Lines`]). Elsewhere it is plain lines,
//! one for each step, so that a nightly job's log stays readable.

mod ask;
mod capture;
mod lines;

use std::{
    io::{self, ErrorKind, IsTerminal as _, Write as _},
    sync::Mutex,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::core::{progress::Progress, units::Span};
pub use ask::{confirm, secret};
use capture::capture;
pub use capture::{Captured, Inherited, captured, inherit};
pub use lines::{Lines, Outcome};

/// Writes to stdout. A reader that has gone away, as `head` does, is no failure.
///
/// # Errors
/// stdout cannot be written to.
pub fn data(text: &str) -> Result<()> {
    if capture(|captured| captured.data.push_str(text)) {
        return Ok(());
    }
    let write = || {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush())
    };
    match lines::undisturbed(write) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other.context("writing to standard output"),
    }
}

/// Writes one JSON document to stdout.
///
/// # Errors
/// stdout cannot be written to.
pub fn json(document: &impl serde::Serialize) -> Result<()> {
    let mut text = serde_json::to_string_pretty(document).context("writing JSON")?;
    text.push('\n');
    data(&text)
}

/// Whether progress can be live: stderr is a terminal, and nobody captures.
fn is_live() -> bool {
    io::stderr().is_terminal() && !capture(|_| {})
}

/// Writes a line to stderr, whatever becomes of it.
pub fn note(line: &str) {
    if !capture(|captured| captured.notes.extend([line, "\n"])) {
        let _ = lines::undisturbed(|| writeln!(io::stderr(), "{line}"));
    }
}

/// Columns for people, each as wide as its widest cell; without a heading where that has no cells.
pub fn table(heading: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let heading = (!heading.is_empty()).then(|| heading.iter().map(|cell| (*cell).to_owned()).collect());
    let rows: Vec<Vec<String>> = heading.into_iter().chain(rows).collect();
    let columns = rows.first().map_or(0, Vec::len);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            line.push_str(&format!("{cell:width$}  "));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// The same, or `nothing` where there are no rows.
pub fn table_or(nothing: &str, heading: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut rows = rows.into_iter().peekable();
    if rows.peek().is_none() { nothing.to_owned() } else { table(heading, rows) }
}

/// Whether data goes to a terminal, where a picture is worth its place.
pub fn is_terminal() -> bool {
    !capture(|_| {}) && io::stdout().is_terminal()
}

/// A bar of `width` places, for so much of a total; a `|` stands where the limit is.
pub fn bar(part: u64, limit: u64, total: u64, width: u16) -> String {
    let places = |amount: u64| {
        let share = u128::from(amount.min(total)) * u128::from(width) / u128::from(total.max(1));
        usize::try_from(share).unwrap_or(0)
    };
    // What is there at all can be seen.
    let filled = places(part).max(usize::from(part > 0));
    let mark = places(limit).min(usize::from(width).saturating_sub(1));
    let place = |index| match index {
        index if index == mark => '|',
        index if index < filled => '#',
        _ => '-',
    };
    format!("[{}]", (0..usize::from(width)).map(place).collect::<String>())
}

/// One stage of long work, shown on stderr while it lasts.
pub struct StageLine {
    name: String,
    started: Instant,
    bar: Option<ProgressBar>,
    last: Mutex<(String, u8)>,
}

impl StageLine {
    /// Begins to show a stage.
    pub fn begin(name: &str) -> Self {
        let bar = is_live().then(|| {
            let bar = ProgressBar::with_draw_target(Some(100), ProgressDrawTarget::stderr());
            let style = ProgressStyle::with_template("{prefix:10} [{bar:24}] {percent:>3} %  {elapsed_precise}  {wide_msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> "));
            bar.set_prefix(name.to_owned());
            bar.enable_steady_tick(Duration::from_millis(200));
            bar
        });
        if bar.is_none() {
            note(&format!("{name}: begins"));
        }
        Self { name: name.to_owned(), started: Instant::now(), bar, last: Mutex::new((String::new(), 0)) }
    }

    /// Whether it is seen while it changes: else each change is a line.
    pub fn is_live(&self) -> bool {
        self.bar.is_some()
    }

    /// Ends the stage well; how long it took.
    pub fn done(self) -> Duration {
        let elapsed = self.started.elapsed();
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        note(&format!("{}: done in {:.1} s", self.name, elapsed.as_secs_f64()));
        elapsed
    }
}

impl Drop for StageLine {
    fn drop(&mut self) {
        // After a failure the error follows on a line of its own.
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Progress for StageLine {
    fn update(&self, step: &str, percent: Option<u8>) {
        if let Some(bar) = &self.bar {
            bar.set_message(step.to_owned());
            if let Some(percent) = percent {
                bar.set_position(u64::from(percent));
            }
            return;
        }
        let Ok(mut last) = self.last.lock() else { return };
        let tenth = percent.unwrap_or(last.1 * 10) / 10;
        if last.0 != step || last.1 != tenth {
            let shown = percent.map_or(String::new(), |percent| format!(" {percent} %"));
            note(&format!("{}: {step}{shown} ({})", self.name, Span(self.started.elapsed())));
            *last = (step.to_owned(), tenth);
        }
    }

    fn note(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| note(line)),
            None => note(line),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_line_up() {
        let rows = [["a", "running"], ["longer", "x"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&["NAME", "STATE"], rows.clone()), "NAME    STATE\na       running\nlonger  x\n");
        assert_eq!(table(&[], rows), "a       running\nlonger  x\n");
    }

    #[test]
    fn bars_show_a_part_and_its_limit() {
        let table = [
            ((0, 90, 100, 10), "[---------|]"),
            ((1, 90, 100, 10), "[#--------|]"),
            ((55, 90, 100, 10), "[#####----|]"),
            ((100, 90, 100, 10), "[#########|]"),
            ((80, 50, 100, 10), "[#####|##--]"),
            ((u64::MAX, u64::MAX, u64::MAX, 4), "[###|]"),
            ((0, 0, 0, 4), "[|---]"),
            ((7, 0, 0, 4), "[|---]"),
            ((7, 7, 7, 0), "[]"),
        ];
        for ((part, limit, total, width), expected) in table {
            assert_eq!(bar(part, limit, total, width), expected, "{part} {limit} {total}");
        }
    }
}
