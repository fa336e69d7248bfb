//! `tpl capacity`: what is promised to VMs, and what is left.

use anyhow::Result;
use serde::Serialize;

use crate::{
    cli::Output,
    cmd::world::World,
    core::capacity::{Axis, Capacity, Load, Overcommit, Policy},
    ui,
};

/// How wide a bar is.
const BAR: u16 = 30;

/// What `--output json` prints.
#[derive(Debug, Serialize)]
struct Report<'a> {
    hypervisor: &'a str,
    pool: &'a str,
    axes: Vec<Row>,
    /// Templates among them.
    domains: usize,
    templates: usize,
    policy: Policy,
}

/// One axis; amounts are in its unit.
#[derive(Debug, Serialize)]
struct Row {
    axis: Axis,
    unit: &'static str,
    total: u64,
    pledged: u64,
    cap: u64,
    free: u64,
}

/// Runs `tpl capacity`.
///
/// # Errors
/// The connection fails.
pub fn run(world: World<'_>, policy: Policy, output: Output) -> Result<()> {
    let capacity = world.capacity(policy)?;
    let report = Report {
        hypervisor: world.hypervisor.uri(),
        pool: world.storage.pool(),
        axes: rows(&capacity),
        domains: capacity.domains(),
        templates: capacity.templates(),
        policy: capacity.policy(),
    };
    match output {
        Output::Json => ui::json(&report),
        Output::Text => ui::data(&text(&report, ui::is_terminal())),
    }
}

fn rows(capacity: &Capacity) -> Vec<Row> {
    let row = |load: &Load| Row {
        axis: load.axis,
        unit: load.axis.unit(),
        total: load.total,
        pledged: load.pledged,
        cap: load.cap(),
        free: load.free(),
    };
    capacity.loads().iter().map(row).collect()
}

/// The report for people, with bars or without.
fn text(report: &Report<'_>, bars: bool) -> String {
    let heading = ["AXIS", "TOTAL", "PLEDGED", "CAP", "FREE"].map(str::to_owned).to_vec();
    let cells = report.axes.iter().map(|row| {
        let mut cells = vec![row.axis.label().to_owned()];
        cells.extend([row.total, row.pledged, row.cap, row.free].map(|amount| row.axis.amount(amount)));
        if bars {
            cells.push(ui::bar(row.pledged, row.cap, row.total, BAR));
        }
        cells
    });
    let mut rows: Vec<_> = std::iter::once(heading).chain(cells).collect();
    if bars {
        rows[0].push(String::new());
    }
    ui::table(&rows) + &summary(report)
}

fn summary(report: &Report<'_>) -> String {
    let Policy { cap, cpu_overcommit } = report.policy;
    let count = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    let templates = match report.templates {
        0 => String::new(),
        number => format!(", {} among them, pledging disk only", count(number, "template")),
    };
    let overcommit = match cpu_overcommit {
        Overcommit::NONE => String::new(),
        factor => format!(" with {factor} vCPUs for each logical CPU"),
    };
    let domains = count(report.domains, "domain");
    format!("pool {}; {domains}{templates}; the cap is {} % of the total{overcommit}\n", report.pool, cap.percent())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{capacity::PolicyFile, toml_text};

    #[test]
    fn on_a_terminal_each_axis_has_its_bar() {
        let policy = Policy::of(toml_text::parse::<PolicyFile>("c", "cpu_overcommit = 1.5").unwrap());
        let row = |axis: Axis, total, pledged, cap| Row { axis, unit: axis.unit(), total, pledged, cap, free: cap - pledged };
        let axes = vec![row(Axis::Cpu, 12, 6, 10), row(Axis::Memory, 10 << 30, 1 << 30, 9 << 30)];
        let report = Report { hypervisor: "x", pool: "fast", axes, domains: 3, templates: 1, policy };
        let expected = "AXIS    TOTAL   PLEDGED  CAP    FREE\n\
                        vCPUs   12      6        10     4      [###############----------|----]\n\
                        memory  10 GiB  1 GiB    9 GiB  8 GiB  [###------------------------|--]\n\
                        pool fast; 3 domains, 1 template among them, pledging disk only; the cap is 90 % of the total \
                        with 1.5 vCPUs for each logical CPU\n";
        assert_eq!(text(&report, true), expected);
    }
}
