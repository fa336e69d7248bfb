//! Where the time went: each stage over all VMs, and the VMs that took longest.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Outcome, Timing};

/// What can be told from timings. All times are seconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Summary {
    /// How many VMs there are.
    pub vms: usize,
    /// Each stage, in the order in which they first occur.
    pub stages: Vec<StageTotal>,
    /// The VMs that took longest, the slowest first.
    pub slowest: Vec<Slow>,
}

/// One stage over all VMs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StageTotal {
    /// The stage.
    pub stage: String,
    /// How often it ran.
    pub count: usize,
    /// How often it failed.
    pub failed: usize,
    /// All of it together.
    pub total: f64,
    /// The one in the middle; of an even number, half-way between the two in the middle.
    pub median: f64,
    /// 95 of 100 took no longer, by nearest rank.
    pub p95: f64,
    /// The longest.
    pub max: f64,
}

/// A VM that took long.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Slow {
    /// The VM.
    pub vm: String,
    /// Its template.
    pub template: String,
    /// All its stages together.
    pub seconds: f64,
    /// The stage that took longest.
    pub stage: String,
    /// How long that one took.
    pub stage_seconds: f64,
    /// Whether one of its stages failed.
    pub failed: bool,
}

/// Sums up; of the VMs, the `most` that took longest.
pub fn summarise(timings: &[Timing], most: usize) -> Summary {
    let mut slowest = vms(timings);
    let vms = slowest.len();
    // The name decides between equals: the same input gives the same output.
    slowest.sort_by(|a, b| b.seconds.total_cmp(&a.seconds).then_with(|| a.vm.cmp(&b.vm)));
    slowest.truncate(most);
    Summary { vms, stages: stages(timings), slowest }
}

fn stages(timings: &[Timing]) -> Vec<StageTotal> {
    let mut found: Vec<(&str, Vec<&Timing>)> = Vec::new();
    let mut places = BTreeMap::new();
    for timing in timings {
        let place = *places.entry(timing.stage.as_str()).or_insert_with(|| {
            found.push((&timing.stage, Vec::new()));
            found.len() - 1
        });
        found[place].1.push(timing);
    }
    let total = |(stage, timings): (&str, Vec<&Timing>)| {
        let mut seconds: Vec<f64> = timings.iter().map(|timing| timing.seconds).collect();
        seconds.sort_by(f64::total_cmp);
        let count = seconds.len();
        StageTotal {
            stage: stage.to_owned(),
            count,
            failed: timings.iter().filter(|timing| timing.outcome == Outcome::Failed).count(),
            total: seconds.iter().sum(),
            median: f64::midpoint(seconds[(count - 1) / 2], seconds[count / 2]),
            p95: seconds[(count * 95).div_ceil(100) - 1],
            max: seconds[count - 1],
        }
    };
    found.into_iter().map(total).collect()
}

fn vms(timings: &[Timing]) -> Vec<Slow> {
    let mut found: BTreeMap<&str, Slow> = BTreeMap::new();
    for timing in timings {
        let slow = found.entry(&timing.vm).or_insert_with(|| Slow {
            vm: timing.vm.clone(),
            template: timing.template.clone(),
            seconds: 0.0,
            stage: timing.stage.clone(),
            stage_seconds: timing.seconds,
            failed: false,
        });
        slow.seconds += timing.seconds;
        slow.failed |= timing.outcome == Outcome::Failed;
        if timing.seconds > slow.stage_seconds {
            (slow.stage, slow.stage_seconds) = (timing.stage.clone(), timing.seconds);
        }
    }
    found.into_values().collect()
}
