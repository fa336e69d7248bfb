//! Timings from a file that anybody may have written.

use super::{ALWAYS, FIELDS, Outcome, Timing, csv};
use crate::core::{
    error::{Finding, Invalid},
    quoted::quoted,
};

/// A text with more faults than these is likely something else altogether.
const MOST_FAULTS: usize = 20;

/// No stage takes longer than a year.
const LONGEST: f64 = 366.0 * 86_400.0;

/// Reads timings of either format: JSON lines where the text begins with `{`, else CSV. `file` names the text in errors.
///
/// # Errors
/// [`Invalid`]: what is wrong, by line, the first 20 times.
pub fn parse(file: &str, text: &str) -> Result<Vec<Timing>, Invalid> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).replace("\r\n", "\n");
    let lines = if text.trim_start().starts_with('{') { json_lines(&text) } else { csv_lines(&text) };
    let (mut timings, mut findings) = (Vec::new(), Vec::new());
    for (line, timing) in lines {
        match timing.and_then(checked) {
            Ok(timing) => timings.push(timing),
            Err((column, message)) => findings.push(Finding { file: Some(file.to_owned()), at: Some((line, column)), message }),
        }
    }
    if findings.is_empty() {
        return Ok(timings);
    }
    let more = findings.len().saturating_sub(MOST_FAULTS);
    findings.truncate(MOST_FAULTS);
    if more > 0 {
        findings.push(Finding { file: Some(file.to_owned()), at: None, message: format!("and {more} more faults") });
    }
    Err(Invalid { findings })
}

/// A line's number and its timing; or the column and what is wrong.
type Line = (usize, Result<Timing, (usize, String)>);

fn json_lines(text: &str) -> Vec<Line> {
    let read = |line: &str| {
        serde_json::from_str(line).map_err(|error| {
            // The message ends with its place, which is counted within this line.
            let message = error.to_string();
            let place = format!(" at line {} column {}", error.line(), error.column());
            (error.column().max(1), message.strip_suffix(&place).unwrap_or(&message).to_owned())
        })
    };
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines.map(|(index, line)| (index + 1, read(line))).collect()
}

fn csv_lines(text: &str) -> Vec<Line> {
    let mut records = csv::records(text).into_iter();
    let Some((line, heading)) = records.next() else { return Vec::new() };
    let Some(columns) = heading.ok().filter(|heading| heading == &FIELDS[..ALWAYS] || heading == &FIELDS) else {
        let message = format!("these are no timings: JSON objects are expected, or the heading {}", FIELDS[..ALWAYS].join(","));
        return vec![(line, Err((1, message)))];
    };
    let read = |record: Result<Vec<String>, &str>| from_fields(record.map_err(str::to_owned)?, columns.len());
    records.map(|(line, record)| (line, read(record).map_err(|message| (1, message)))).collect()
}

fn from_fields(mut fields: Vec<String>, columns: usize) -> Result<Timing, String> {
    let count = fields.len();
    let wrong = || format!("{count} fields where {columns} are expected: {}", FIELDS[..columns].join(","));
    if count != columns {
        return Err(wrong());
    }
    let hypervisor = fields.drain(ALWAYS..).next().filter(|name| !name.is_empty());
    let [vm, template, stage, seconds, outcome, started] = <[String; ALWAYS]>::try_from(fields).map_err(|_| wrong())?;
    let outcome = match outcome.as_str() {
        "ok" => Outcome::Ok,
        "failed" => Outcome::Failed,
        _ => return Err(format!("{} is no outcome: there are ok and failed", quoted(&outcome))),
    };
    Ok(Timing {
        seconds: seconds.parse().map_err(|_| format!("{} is no number of seconds", quoted(&seconds)))?,
        started: started.parse().map_err(|_| format!("{} is no time, as in 2026-11-21T03:10:00Z", quoted(&started)))?,
        vm,
        template,
        stage,
        outcome,
        hypervisor,
    })
}

/// What can be printed and reckoned with.
fn checked(timing: Timing) -> Result<Timing, (usize, String)> {
    let names = [("VM", &timing.vm), ("template", &timing.template), ("stage", &timing.stage)];
    for (what, text) in names.into_iter().chain(timing.hypervisor.as_ref().map(|name| ("hypervisor", name))) {
        if text.is_empty() || text.len() > 200 || text.chars().any(char::is_control) {
            return Err((1, format!("{} is no name of a {what}: 1 to 200 characters, none that controls", quoted(text))));
        }
    }
    // A comparison that NaN fails too.
    if !(0.0..=LONGEST).contains(&timing.seconds) {
        return Err((1, format!("{:?} is no number of seconds", timing.seconds)));
    }
    Ok(timing)
}
