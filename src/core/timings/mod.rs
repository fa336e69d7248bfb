//! How long each stage of each VM took: as JSON lines and as CSV, and what can be told from it.

mod csv;
mod read;
mod summary;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use read::parse;
pub use summary::{Slow, StageTotal, Summary, summarise};

/// The fields, in the order of CSV's columns. The last one is there where a call had several hypervisors.
const FIELDS: [&str; 7] = ["vm", "template", "stage", "seconds", "outcome", "started", "hypervisor"];
/// The fields that are always there.
const ALWAYS: usize = 6;

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
    /// Where the VM is, if the call had several hypervisors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hypervisor: Option<String>,
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
            let several = timings.iter().any(|timing| timing.hypervisor.is_some());
            let count = if several { FIELDS.len() } else { ALWAYS };
            let heading = csv::line(&FIELDS.map(str::to_owned)[..count]);
            std::iter::once(heading).chain(timings.iter().map(|timing| csv::line(&cells(timing)[..count]))).collect()
        }
    }
}

#[expect(clippy::expect_used, reason = "plain values always serialise")]
fn json_line(timing: &Timing) -> String {
    serde_json::to_string(timing).expect("a timing serialises") + "\n"
}

fn cells(timing: &Timing) -> [String; 7] {
    let Timing { vm, template, stage, seconds, outcome, started, hypervisor } = timing;
    let (outcome, started) = (outcome.as_str().to_owned(), started.to_string());
    // Milliseconds: as exact as waiting for a machine can be.
    let seconds = format!("{seconds:.3}");
    [vm.clone(), template.clone(), stage.clone(), seconds, outcome, started, hypervisor.clone().unwrap_or_default()]
}

#[cfg(test)]
mod tests;
