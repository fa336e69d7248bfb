//! `tpl capacity`: what is promised to VMs, and what is left.

use anyhow::Result;
use serde::Serialize;

use crate::{
    cli::Output,
    cmd::{all, seen::Seen, world::World},
    core::{
        capacity::{Axis, Capacity, Load, Overcommit, Policy},
        config::Config,
        units::Span,
    },
    ui,
};

/// How wide a bar is.
const BAR: u16 = 30;

/// What `--output json` prints.
#[derive(Debug, Serialize)]
struct Report {
    hypervisor: String,
    /// Whether that is its name in the configuration, and not the connection.
    #[serde(skip)]
    named: bool,
    pool: String,
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

/// What one hypervisor has; none where it does not answer.
#[derive(Debug, Default, Serialize)]
struct Found {
    capacity: Option<Report>,
}

/// Runs `tpl capacity`.
///
/// # Errors
/// The connection fails.
pub fn run(world: World<'_>, policy: Policy, output: Output) -> Result<()> {
    let report = report(world.seen(), policy)?;
    match output {
        Output::Json => ui::json(&report),
        Output::Text => ui::data(&text(&report, ui::is_terminal())),
    }
}

/// Runs `tpl capacity --all`.
///
/// # Errors
/// One of the hypervisors does not answer; the rest has been shown.
pub fn run_all(hypervisors: Vec<Config>, timeout: Span, output: Output) -> Result<()> {
    let ask = |seen: Seen<'_>, config: &Config, _: &mut Vec<String>| Ok(Found { capacity: Some(report(seen, config.policy)?) });
    all::run(hypervisors, timeout, output, ask, |found: &[(&str, &Found)]| {
        let reports: Vec<&Report> = found.iter().filter_map(|(_, found)| found.capacity.as_ref()).collect();
        text_of_all(&reports, ui::is_terminal())
    })
}

fn report(seen: Seen<'_>, policy: Policy) -> Result<Report> {
    let capacity = seen.capacity(policy)?;
    Ok(Report {
        hypervisor: seen.hypervisor.name().to_owned(),
        named: seen.hypervisor.name() != seen.hypervisor.uri(),
        pool: seen.storage.pool().to_owned(),
        axes: rows(&capacity),
        domains: capacity.domains(),
        templates: capacity.templates(),
        policy: capacity.policy(),
    })
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

const HEADING: [&str; 5] = ["AXIS", "TOTAL", "PLEDGED", "CAP", "FREE"];

/// The report for people, with bars or without.
fn text(report: &Report, bars: bool) -> String {
    let heading: Vec<&str> = HEADING.into_iter().chain(bars.then_some("")).collect();
    let called = if report.named { format!("hypervisor {}, ", report.hypervisor) } else { String::new() };
    ui::table(&heading, report.axes.iter().map(|row| cells(row, bars))) + &called + &summary(report)
}

/// The reports of several.
fn text_of_all(reports: &[&Report], bars: bool) -> String {
    let mut heading = HEADING.to_vec();
    heading.extend(bars.then_some(""));
    let rows = reports.iter().flat_map(|report| report.axes.iter().map(|row| (report.hypervisor.as_str(), row)));
    let summaries = reports.iter().map(|report| format!("{}: {}", report.hypervisor, summary(report)));
    all::table(&heading, rows, |row| cells(row, bars), "") + &summaries.collect::<String>()
}

fn cells(row: &Row, bars: bool) -> Vec<String> {
    let mut cells = vec![row.axis.label().to_owned()];
    cells.extend([row.total, row.pledged, row.cap, row.free].map(|amount| row.axis.amount(amount)));
    cells.extend(bars.then(|| ui::bar(row.pledged, row.cap, row.total, BAR)));
    cells
}

fn summary(report: &Report) -> String {
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
        let report =
            Report { hypervisor: "x".to_owned(), named: false, pool: "fast".to_owned(), axes, domains: 3, templates: 1, policy };
        let expected = "AXIS    TOTAL   PLEDGED  CAP    FREE\n\
                        vCPUs   12      6        10     4      [###############----------|----]\n\
                        memory  10 GiB  1 GiB    9 GiB  8 GiB  [###------------------------|--]\n\
                        pool fast; 3 domains, 1 template among them, pledging disk only; the cap is 90 % of the total \
                        with 1.5 vCPUs for each logical CPU\n";
        assert_eq!(text(&report, true), expected);
    }
}
