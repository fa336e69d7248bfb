//! How long each stage of each VM took: as JSON lines and as CSV, and what can be told from it.

mod csv;
mod read;
mod summary;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use read::parse;
pub use summary::{Slow, StageTotal, Summary, summarise};

/// The fields, in the order of CSV's columns.
const FIELDS: [&str; 6] = ["vm", "template", "stage", "seconds", "outcome", "started"];

/// How one stage of one VM went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timing {
    /// The VM.
    pub vm: String,
    /// Its template: `NAME@VERSION`.
    pub template: String,
    /// The stage.
    pub stage: String,
    /// How long it took.
    pub seconds: f64,
    /// How it ended.
    pub outcome: Outcome,
    /// When it began.
    pub started: Timestamp,
}

/// How a stage ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Well.
    Ok,
    /// With an error.
    Failed,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Failed => "failed",
        }
    }
}

/// How timings are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    JsonLines,
    /// Comma-separated values, with a heading.
    Csv,
}

impl Format {
    /// The format for a file, by its name: CSV for `*.csv`, else JSON lines.
    pub fn of(file: &str) -> Self {
        if file.to_ascii_lowercase().ends_with(".csv") { Self::Csv } else { Self::JsonLines }
    }
}

/// Writes timings: the whole text of a file.
pub fn write(format: Format, timings: &[Timing]) -> String {
    match format {
        Format::JsonLines => timings.iter().map(json_line).collect(),
        Format::Csv => {
            let heading = csv::line(&FIELDS.map(str::to_owned));
            std::iter::once(heading).chain(timings.iter().map(|timing| csv::line(&cells(timing)))).collect()
        }
    }
}

#[expect(clippy::expect_used, reason = "plain values always serialise")]
fn json_line(timing: &Timing) -> String {
    serde_json::to_string(timing).expect("a timing serialises") + "\n"
}

fn cells(timing: &Timing) -> [String; 6] {
    let Timing { vm, template, stage, seconds, outcome, started } = timing;
    let (outcome, started) = (outcome.as_str().to_owned(), started.to_string());
    // Milliseconds: as exact as waiting for a machine can be.
    [vm.clone(), template.clone(), stage.clone(), format!("{seconds:.3}"), outcome, started]
}

#[cfg(test)]
mod tests;
