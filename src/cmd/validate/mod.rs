//! `tpl validate`: everything that can be said of pipelines and their answer files without building anything. No hypervisor is
//! asked, and nothing is fetched.

mod render;

use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::Serialize;

use crate::{
    cli::{Output, ValidateArgs},
    cmd::pipelines::{self, Found, Loaded},
    core::{
        build_plan::{BuildPlan, Choices},
        check,
        config::Config,
        error::{Finding, Invalid},
        fleet,
        names::{TemplateId, Version},
        source::{Arch, Location, Request},
    },
    ui,
};

/// Stands for the Debian mirror where nobody has named one: which one it is, is found when something is built.
const SOME_MIRROR: &str = "http://mirror.example/debian";
/// Stands for the version that a build would have.
const SOME_VERSION: &str = "00000000-000000";

/// A pipeline that could be built, with all that follows from it.
struct Checked {
    loaded: Loaded,
    text: String,
    plan: BuildPlan,
    /// The answers as the installer gets them, with a fixed text for the password's hash.
    answers: Option<String>,
}

/// What is printed of one pipeline.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    file: Option<String>,
    ok: bool,
    findings: Vec<Place>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rendered: Option<String>,
}

/// A finding, as JSON has it.
#[derive(Debug, Serialize)]
struct Place {
    file: Option<String>,
    line: Option<usize>,
    column: Option<usize>,
    message: String,
}

/// Runs `tpl validate`.
///
/// # Errors
/// [`Invalid`]: all that is wrong in all of them. Otherwise a file cannot be read or written.
pub fn run(config: &Config, args: &ValidateArgs, output: Output) -> Result<()> {
    let wanted = if args.pipelines.is_empty() { pipelines::names(config)? } else { args.pipelines.clone() };
    let mut rows = Vec::new();
    let mut findings = Vec::new();
    for wanted in &wanted {
        let (row, found) = one(wanted, config, args, &rows)?;
        rows.push(row);
        findings.extend(found);
    }
    match output {
        Output::Json => ui::json(&serde_json::json!({ "pipelines": rows }))?,
        Output::Text => ui::data(&text(&rows))?,
    }
    // An answer file that several pipelines share has its faults once.
    let mut seen = Vec::new();
    findings.retain(|finding| {
        let fresh = !seen.contains(finding);
        seen.extend(fresh.then(|| finding.clone()));
        fresh
    });
    if findings.is_empty() { Ok(()) } else { Err(Invalid { findings }.into()) }
}

fn text(rows: &[Row]) -> String {
    let good = rows.iter().filter(|row| row.ok);
    good.map(|row| format!("ok {} {}\n", row.name, row.file.as_deref().unwrap_or_default())).collect()
}

/// Looks at one pipeline, and renders it where that is wanted.
fn one(wanted: &str, config: &Config, args: &ValidateArgs, before: &[Row]) -> Result<(Row, Vec<Finding>)> {
    let mut row = Row { name: wanted.to_owned(), file: None, ok: false, findings: Vec::new(), rendered: None };
    let found = match findings_of(pipelines::find(wanted, config))? {
        Ok(found) => found,
        Err(findings) => return Ok((row.with(&findings), findings)),
    };
    (row.name, row.file) = (found.name.to_string(), Some(found.file.clone()));
    let checked = match findings_of(check(found, config, args.arch))? {
        Ok(checked) => checked,
        Err(findings) => return Ok((row.with(&findings), findings)),
    };
    if let Some(folder) = &args.render {
        let folder = folder.join(checked.loaded.name.as_str());
        let place = folder.display().to_string();
        if let Some(other) = before.iter().find(|other| other.rendered.as_ref() == Some(&place) && other.file != row.file) {
            let message = format!("{} has been rendered into {place} just now", other.file.as_deref().unwrap_or_default());
            let findings = vec![Finding { file: row.file.clone(), at: None, message }];
            return Ok((row.with(&findings), findings));
        }
        render::write(&folder, &checked)?;
        row.rendered = Some(place);
    }
    row.ok = true;
    Ok((row, Vec::new()))
}

impl Row {
    fn with(mut self, findings: &[Finding]) -> Self {
        let place = |finding: &Finding| Place {
            file: finding.file.clone(),
            line: finding.at.map(|(line, _)| line),
            column: finding.at.map(|(_, column)| column),
            message: finding.message.clone(),
        };
        self.findings = findings.iter().map(place).collect();
        self
    }
}

/// What is wrong apart from what failed.
fn findings_of<T>(outcome: Result<T>) -> Result<std::result::Result<T, Vec<Finding>>> {
    match outcome {
        Ok(value) => Ok(Ok(value)),
        Err(error) => error.downcast::<Invalid>().map(|invalid| Err(invalid.findings)),
    }
}

/// Everything that a build would look at before it touches anything.
fn check(found: Found, config: &Config, arch: Option<Arch>) -> Result<Checked> {
    let (file, text, built_in) = (found.file.clone(), found.text.clone(), found.is_built_in());
    if fleet::is_one(&text) {
        return Err(Invalid::file(&file, "this is a fleet, not a pipeline: `tpl apply FILE --dry-run` looks at it").into());
    }
    let loaded = found.load()?;
    let mirror = loaded.pipeline.source.mirror.as_ref().map(|mirror| mirror.as_str().to_owned());
    let mirror = mirror.or_else(|| config.debian_mirror.clone());
    let choices = Choices {
        mirror_named: mirror.is_some(),
        mirror: mirror.or_else(|| Some(SOME_MIRROR.to_owned())),
        security_mirror: config.debian_security_mirror.clone(),
        allow_unsigned: false,
        arch,
        iso: None,
        image: None,
    };
    let version: Version = SOME_VERSION.parse().map_err(Invalid::argument)?;
    let id = TemplateId { name: loaded.name.clone(), version };
    let plan = BuildPlan::new(id, loaded.pipeline.clone(), loaded.digest.clone(), config, &choices)
        .map_err(|invalid| in_file(invalid, &file))?;
    let mut findings = Vec::new();
    if !built_in {
        findings.extend(plan.request().into_iter().flat_map(missing_files).map(|missing| {
            let message = format!("{} does not exist", missing.display());
            Finding { file: Some(file.clone()), at: place_of(&text, &missing), message }
        }));
    }
    let answers = match (plan.installation(), &loaded.answers) {
        (Some(install), Some(answers)) => {
            let variables = install.variables(plan.arch, plan.machine.firmware);
            check::answers::check(&answers.path, &answers.text, install.answers.kind, &variables)
                .map_err(|invalid| findings.extend(invalid.findings))
                .ok()
        }
        _ => None,
    };
    if !findings.is_empty() {
        return Err(Invalid { findings }.into());
    }
    Ok(Checked { loaded, text, plan, answers })
}

fn in_file(mut invalid: Invalid, file: &str) -> Invalid {
    for finding in &mut invalid.findings {
        finding.file.get_or_insert_with(|| file.to_owned());
    }
    invalid
}

/// The files on this machine that a source names and that are not here.
fn missing_files(request: &Request) -> impl Iterator<Item = PathBuf> {
    let files = match request {
        Request::Files(request) => request.files.as_slice(),
        Request::Archive(_) => &[],
    };
    files.iter().filter_map(|(_, place)| match place {
        Location::File(path) if !path.exists() => Some(path.clone()),
        _ => None,
    })
}

/// The line of `[source]` that names a file; one that was filled in stands there otherwise.
fn place_of(text: &str, path: &Path) -> Option<(usize, usize)> {
    let path = path.to_str()?;
    let (index, line) = text.lines().enumerate().find(|(_, line)| line.contains(&format!("\"{path}\"")))?;
    Some((index + 1, line[..line.find(path)?].chars().count()))
}
