//! `tpl cache`: what was downloaded for builds.

use anyhow::{Context as _, Result, anyhow};
use jiff::Timestamp;
use serde::Serialize;

use crate::{
    cli::{CacheCommand, CacheFetchArgs, CachePruneArgs, Output},
    cmd::{build, pipelines},
    core::{
        build_plan::{BuildPlan, Choices},
        config::Config,
        error::{Invalid, Refusal},
        names::{TemplateId, Version},
        source::{Request, Role},
        trust::Trust,
        units::ByteSize,
    },
    host::{
        local::Stop,
        source::{
            Access, Source, Sources,
            cache::Cache,
            stock::{Fate, Stored},
        },
    },
    ui::{self, StageLine},
};

/// A file of the cache, as `--output json` prints it.
#[derive(Debug, Serialize)]
struct Row {
    algorithm: Option<&'static str>,
    digest: Option<String>,
    size: ByteSize,
    partial: bool,
    used_at: Timestamp,
    fetched_at: Option<Timestamp>,
    urls: Vec<String>,
}

/// A file that was fetched.
#[derive(Debug, Serialize)]
struct FetchedRow {
    pipeline: String,
    role: &'static str,
    url: String,
    algorithm: &'static str,
    digest: String,
    path: String,
    trust: Trust,
}

/// What a prune came to.
#[derive(Debug, Serialize)]
struct Pruned {
    removed: Vec<String>,
    in_use: Vec<String>,
    bytes: ByteSize,
    dry_run: bool,
}

/// Runs `tpl cache`.
///
/// # Errors
/// The cache cannot be read or written; a source cannot be verified or had.
pub fn run(config: &Config, command: &CacheCommand, output: Output) -> Result<()> {
    match command {
        CacheCommand::List => list(&Cache::new(config.cache.clone()), output),
        CacheCommand::Fetch(args) => {
            let source = Sources::new(config.cache.clone(), Stop::default()).context("preparing downloads")?;
            fetch(&source, &requests(config, args)?, output)
        }
        CacheCommand::Prune(args) => prune(&Cache::new(config.cache.clone()), args, output),
    }
}

/// What the named pipelines are made of; all pipelines', if none is named.
fn requests(config: &Config, args: &CacheFetchArgs) -> Result<Vec<(String, Request)>> {
    let names = if args.pipelines.is_empty() { pipelines::names(config)? } else { args.pipelines.clone() };
    let request = |name: String| {
        let loaded = pipelines::load(&name, config)?;
        let (mirror, mirror_named) = build::debian_mirror(args.mirror.clone(), &loaded, config);
        let allow_unsigned = args.allow_unsigned;
        let arch = args.arch;
        let choices = Choices { mirror, mirror_named, security_mirror: None, allow_unsigned, arch, iso: None, image: None };
        // The same plan as a build's: then the build finds what it asks for.
        let id = TemplateId { name: loaded.name, version: Version::of(Timestamp::now()) };
        let plan = BuildPlan::new(id, loaded.pipeline, loaded.digest, config, &choices)?;
        let request = plan.request().context("the plan has no files")?;
        Ok((name, request.clone()))
    };
    names.into_iter().map(request).collect()
}

/// Fetches everything that can be had; what cannot does not keep the rest back.
fn fetch(source: &dyn Source, requests: &[(String, Request)], output: Output) -> Result<()> {
    let mut rows = Vec::new();
    let mut failed: Vec<(&str, anyhow::Error)> = Vec::new();
    for (name, request) in requests {
        match fetch_one(source, name, request) {
            Ok(fetched) => rows.extend(fetched),
            Err(error) => failed.push((name, error)),
        }
    }
    if !failed.is_empty() {
        return Err(all_of(failed));
    }
    match output {
        Output::Json => ui::json(&rows),
        Output::Text => {
            let heading = ["PIPELINE", "ROLE", "TRUST", "URL"];
            let cells = rows.into_iter().map(|row| vec![row.pipeline, row.role.to_owned(), row.trust.to_string(), row.url]);
            ui::data(&ui::table(&heading, cells))
        }
    }
}

fn fetch_one(source: &dyn Source, name: &str, request: &Request) -> Result<Vec<FetchedRow>> {
    let line = StageLine::begin(name);
    let resolved = source.resolve(request, Access::Online, &line)?;
    let fetched = source.fetch(&resolved, Access::Online, &line)?;
    line.done();
    let path = |role: Role| fetched.path(role).map(|path| path.display().to_string());
    let row = |(role, wanted): &(Role, crate::host::source::Wanted)| {
        Ok(FetchedRow {
            pipeline: name.to_owned(),
            role: role.as_str(),
            url: wanted.location(),
            algorithm: wanted.digest().algorithm().word(),
            digest: wanted.digest().to_string(),
            path: path(*role)?,
            trust: resolved.trust.clone(),
        })
    };
    resolved.files.iter().map(row).collect()
}

/// One error for several pipelines: a failure if there is one among them, else bad input, else a refusal.
fn all_of(mut failed: Vec<(&str, anyhow::Error)>) -> anyhow::Error {
    if failed.len() == 1
        && let Some((name, error)) = failed.pop()
    {
        return error.context(format!("fetching the sources of {name}"));
    }
    let lines: Vec<String> = failed.iter().map(|(name, error)| format!("{name}: {error:#}")).collect();
    if failed.iter().all(|(_, error)| error.is::<Refusal>()) {
        return Refusal { reasons: lines, advice: None }.into();
    }
    if failed.iter().all(|(_, error)| error.is::<Refusal>() || error.is::<Invalid>()) {
        let findings = lines.into_iter().flat_map(|line| Invalid::argument(line).findings).collect();
        return Invalid { findings }.into();
    }
    anyhow!("{}", lines.join("\n"))
}

fn list(cache: &Cache, output: Output) -> Result<()> {
    let stock = cache.stock()?;
    let now = Timestamp::now();
    match output {
        Output::Json => ui::json(&stock.into_iter().map(row).collect::<Vec<_>>()),
        Output::Text if stock.is_empty() => {
            ui::data(&format!("{} is empty: `tpl build` and `tpl cache fetch` fill it\n", cache.folder().display()))
        }
        Output::Text => {
            let heading = ["DIGEST", "SIZE", "UNUSED", "URL"];
            let cells = stock.iter().map(|stored| {
                let partial = if stored.partial { " (partial)" } else { "" };
                let from = stored.urls.first().map_or("-", String::as_str);
                vec![short(stored), format!("{}{partial}", ByteSize(stored.size)), stored.idle(now).to_string(), from.to_owned()]
            });
            let total = ByteSize(stock.iter().map(|stored| stored.size).sum());
            let table = ui::table(&heading, cells);
            ui::data(&format!("{table}{total} in {}\n", cache.folder().display()))
        }
    }
}

/// `sha256:0123456789ab`.
fn short(stored: &Stored) -> String {
    let digest = |digest: crate::core::source::Digest| format!("{}:{:.12}", digest.algorithm().word(), digest.to_string());
    stored.digest.map_or_else(|| "unknown".to_owned(), digest)
}

fn row(stored: Stored) -> Row {
    Row {
        algorithm: stored.digest.map(|digest| digest.algorithm().word()),
        digest: stored.digest.map(|digest| digest.to_string()),
        size: ByteSize(stored.size),
        partial: stored.partial,
        used_at: stored.used_at,
        fetched_at: stored.fetched_at,
        urls: stored.urls,
    }
}

fn prune(cache: &Cache, args: &CachePruneArgs, output: Output) -> Result<()> {
    let now = Timestamp::now();
    let mut pruned = Pruned { removed: Vec::new(), in_use: Vec::new(), bytes: ByteSize(0), dry_run: args.dry_run };
    let mut failed = Vec::new();
    for stored in cache.stock()? {
        // Nobody goes on with the beginning of a file unless he builds again: then it comes again.
        if !stored.partial && stored.idle(now) < args.older_than {
            continue;
        }
        match cache.remove(&stored, args.dry_run) {
            Ok(Fate::Removed) => {
                pruned.bytes.0 += stored.size;
                pruned.removed.push(stored.path.display().to_string());
            }
            Ok(Fate::InUse) => pruned.in_use.push(stored.path.display().to_string()),
            Err(error) => failed.push(error),
        }
    }
    if !args.dry_run {
        let since = jiff::SignedDuration::try_from(args.older_than.0).ok().and_then(|age| now.checked_sub(age).ok());
        cache.forget(since.unwrap_or(Timestamp::MIN));
    }
    pruned.in_use.iter().for_each(|path| ui::note(&format!("left alone: {path} is in use")));
    report(&pruned, output)?;
    match failed.into_iter().reduce(|first, next| anyhow!("{first:#}\n{next:#}")) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

fn report(pruned: &Pruned, output: Output) -> Result<()> {
    if output == Output::Json {
        return ui::json(pruned);
    }
    if pruned.removed.is_empty() {
        return ui::data("nothing to remove\n");
    }
    let verb = if pruned.dry_run { "would remove" } else { "removed" };
    let lines: String = pruned.removed.iter().map(|path| format!("{verb} {path}\n")).collect();
    ui::data(&format!("{lines}{verb} {}\n", pruned.bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::error::exit_code;

    #[test]
    fn several_failures_are_one_error_with_the_gravest_exit_code() {
        let refusal = || anyhow::Error::from(Refusal::new("no keyring"));
        let invalid = || anyhow::Error::from(Invalid::argument("no suite"));
        let table = [
            (vec![("a", refusal())], 3, "fetching the sources of a: no keyring"),
            (vec![("a", refusal()), ("b", refusal())], 3, "a: no keyring\nb: no keyring"),
            (vec![("a", refusal()), ("b", invalid())], 2, "a: no keyring\nb: no suite"),
            (vec![("a", refusal()), ("b", anyhow!("down"))], 1, "a: no keyring\nb: down"),
        ];
        for (failed, code, text) in table {
            let error = all_of(failed);
            assert_eq!((exit_code(&error), format!("{error:#}").as_str()), (code, text));
        }
    }
}
