//! Answer files: what is wrong with the template, and, once that is rendered, with what the installer gets.

use super::{Fault, autoinstall, kickstart, preseed, template};
use crate::core::{
    answers::{self, Variables},
    error::{Finding, Invalid},
    pipeline::AnswersKind,
};

/// Checks an answer file, and renders it. `file` names it in errors.
///
/// # Errors
/// [`Invalid`]: everything that is wrong, at its place in the template.
pub fn check(file: &str, text: &str, kind: AnswersKind, variables: &Variables<'_>) -> Result<String, Invalid> {
    let undefined = template::undefined(text, variables);
    let rendered = match answers::render(file, text, variables) {
        Ok(rendered) if undefined.is_empty() => rendered,
        Ok(_) => return Err(invalid(file, undefined)),
        Err(fault) => return Err(with(fault, file, undefined)),
    };
    let faults = of_rendered(kind, &rendered);
    if faults.is_empty() {
        return Ok(rendered);
    }
    let origins = origins(file, text, variables, &rendered);
    Err(invalid(file, faults.into_iter().map(|fault| in_template(fault, text, &rendered, origins.as_deref())).collect()))
}

/// What is wrong with a text that an installer is to read.
fn of_rendered(kind: AnswersKind, rendered: &str) -> Vec<Fault> {
    let mut faults = match kind {
        AnswersKind::Preseed => preseed::check(rendered),
        AnswersKind::Autoinstall => autoinstall::check(rendered),
        AnswersKind::Kickstart => kickstart::check(rendered),
    };
    faults.sort();
    faults
}

/// Which line of the template made each line; none where that cannot be told.
fn origins(file: &str, text: &str, variables: &Variables<'_>, rendered: &str) -> Option<Vec<usize>> {
    let marked = answers::render(file, &template::marked(text), variables).ok()?;
    let (unmarked, origins) = template::origins(&marked);
    (unmarked == rendered).then_some(origins)
}

/// A fault in the rendered text as one in the template.
fn in_template(fault: Fault, template: &str, rendered: &str, origins: Option<&[usize]>) -> Fault {
    let Some(line) = origins.and_then(|origins| origins.get(fault.line - 1)) else {
        return Fault::at(1, 1, format!("{} (line {} of what the installer gets)", fault.message, fault.line));
    };
    let written = template.lines().nth(line - 1).unwrap_or_default();
    let made = rendered.lines().nth(fault.line - 1).unwrap_or_default();
    if written == made {
        return Fault { line: *line, ..fault };
    }
    // What stands before the first thing that was filled in stands where it stood.
    let common = written.chars().zip(made.chars()).take_while(|(a, b)| a == b).count();
    let column = if fault.column <= common { fault.column } else { 1 };
    Fault::at(*line, column, format!("{} (line {} of what the installer gets)", fault.message, fault.line))
}

fn finding(file: &str, fault: Fault) -> Finding {
    Finding { file: Some(file.to_owned()), at: Some((fault.line, fault.column)), message: fault.message }
}

fn invalid(file: &str, faults: Vec<Fault>) -> Invalid {
    Invalid { findings: faults.into_iter().map(|fault| finding(file, fault)).collect() }
}

/// What rendering stumbled over, and every variable besides that there is none of.
fn with(mut fault: Invalid, file: &str, undefined: Vec<Fault>) -> Invalid {
    let others: Vec<Finding> = undefined.into_iter().map(|fault| finding(file, fault)).collect();
    // The first undefined variable that is met is one of those that are known to be.
    fault.findings.retain(|one| !(others.iter().any(|other| line(other) == line(one)) && one.message.starts_with("undefined")));
    fault.findings.extend(others);
    fault.findings.sort_by_key(|finding| finding.at);
    fault
}

fn line(finding: &Finding) -> Option<usize> {
    finding.at.map(|(line, _)| line)
}

#[cfg(test)]
mod tests;
