//! `tpl push` and `tpl pull`: a version from one hypervisor to others.

use anyhow::{Context as _, Error, Result, anyhow};
use serde::Serialize;

use crate::{
    cli::{Output, PullArgs, PushArgs},
    cmd::{
        transfer::{self, Outcome, Side, Wish, rate, seconds},
        world::Opened,
    },
    core::{
        config::Config,
        error::{Invalid, Refusal, UndoIncomplete, exit_code},
        names::TemplateRef,
        units::ByteSize,
    },
    ui,
};

/// Runs `tpl push`.
///
/// # Errors
/// The worst of the targets': see [`transfer::one`].
pub fn push(source: &Config, targets: &[Config], args: &PushArgs, output: Output) -> Result<()> {
    let wish = Wish { template: &args.template, allow_unsigned: args.allow_unsigned, dry_run: args.dry_run };
    targets.iter().try_for_each(|target| distinct(source, target))?;
    let opened = Opened::new(source)?;
    opened.with(|world| {
        let from = Side { world, config: source };
        let to_one = |config: &Config| {
            // Each target listens for interrupts anew: one that came before is the source's to tell of.
            world.local.go_on()?;
            Opened::new(config)?.with(|world| transfer::one(from, Side { world, config }, wish))
        };
        let results = targets.iter().map(|config| (config.hypervisor().to_owned(), to_one(config))).collect();
        report(&args.template, results, args.dry_run, output)
    })
}

/// Runs `tpl pull`.
///
/// # Errors
/// As for [`transfer::one`].
pub fn pull(sources: &[Config], target: &Config, args: &PullArgs, output: Output) -> Result<()> {
    let wish = Wish { template: &args.template, allow_unsigned: args.allow_unsigned, dry_run: args.dry_run };
    let source = sources.first().context("no hypervisor is named")?;
    distinct(source, target)?;
    let (here, there) = (Opened::new(target)?, Opened::new(source)?);
    let result = here.with(|to| {
        let to = Side { world: to, config: target };
        there.with(|from| transfer::one(Side { world: from, config: source }, to, wish))
    });
    report(&args.template, vec![(target.hypervisor().to_owned(), result)], args.dry_run, output)
}

/// A version is in one place of a hypervisor: its domain has its name.
fn distinct(source: &Config, target: &Config) -> Result<(), Invalid> {
    if source.uri != target.uri {
        return Ok(());
    }
    let (source, target) = (source.hypervisor(), target.hypervisor());
    Err(Invalid::argument(format!("{source} and {target} are the same hypervisor, and a version is there once")))
}

/// What came of one target, as `--output json` prints it.
#[derive(Debug, Serialize)]
struct Entry {
    hypervisor: String,
    /// `sent`, `resumed`, `unchanged`, `would-send`, `refused` or `failed`.
    outcome: &'static str,
    error: Option<String>,
    name: String,
    version: Option<String>,
    digest: Option<String>,
    base: Option<String>,
    bytes_sent: Option<ByteSize>,
    bytes_total: Option<ByteSize>,
    virtual_size: Option<ByteSize>,
    seconds: Option<f64>,
    current: Option<bool>,
    signed_by: Option<String>,
}

impl Entry {
    fn of(asked: &TemplateRef, hypervisor: &str, result: &Result<Outcome>, dry_run: bool) -> Self {
        let done = result.as_ref().ok();
        let outcome = match result {
            Ok(done) if done.unchanged => "unchanged",
            Ok(_) if dry_run => "would-send",
            Ok(done) if done.resumed => "resumed",
            Ok(_) => "sent",
            Err(error) if exit_code(error) == 3 => "refused",
            Err(_) => "failed",
        };
        Self {
            hypervisor: hypervisor.to_owned(),
            outcome,
            error: result.as_ref().err().map(|error| format!("{error:#}")),
            name: done.map_or(&asked.name, |done| &done.id.name).to_string(),
            version: done.map(|done| &done.id.version).or(asked.version.as_ref()).map(ToString::to_string),
            digest: done.map(|done| done.digest.clone()),
            base: done.and_then(|done| done.base.as_ref()).map(ToString::to_string),
            bytes_sent: done.map(|done| done.sent),
            bytes_total: done.map(|done| done.whole),
            virtual_size: done.map(|done| done.size),
            seconds: done.map(|done| done.took.as_secs_f64()),
            current: done.map(|done| done.current),
            signed_by: done.and_then(|done| done.standing.key_id()).map(|id| id.to_string()),
        }
    }
}

/// What came of it, for people.
fn told(hypervisor: &str, done: &Outcome, dry_run: bool) -> String {
    let (id, rank) = (&done.id, if done.current { "the current version" } else { "not the current version" });
    if done.unchanged {
        return format!("{hypervisor}: unchanged: {id} is there already, {rank}\n");
    }
    let how = match (&done.base, done.resumed) {
        (Some(base), _) => format!(" as a difference to {base}"),
        (None, true) => " going on with what was there".to_owned(),
        (None, false) => String::new(),
    };
    if dry_run {
        let most = if done.resumed { done.whole } else { done.sent };
        return format!("{hypervisor}: {id} would be sent{how}: at most {most} of {}; it would be {rank} there\n", done.size);
    }
    let speed = rate(done.sent.0, done.took);
    let took = seconds(done.took);
    format!(
        "{hypervisor}: {id} is there, {rank}\n  sent   {} of {}{how}, in {took}, {speed}\n  signed {}\n",
        done.sent, done.whole, done.standing
    )
}

fn report(asked: &TemplateRef, results: Vec<(String, Result<Outcome>)>, dry_run: bool, output: Output) -> Result<()> {
    match output {
        Output::Json => {
            let entries: Vec<Entry> = results.iter().map(|(name, result)| Entry::of(asked, name, result, dry_run)).collect();
            ui::json(&entries)?;
        }
        Output::Text => {
            let done = results.iter().filter_map(|(name, result)| result.as_ref().ok().map(|done| told(name, done, dry_run)));
            ui::data(&done.collect::<String>())?;
        }
    }
    let all = results.len();
    verdict(results.into_iter().filter_map(|(name, result)| result.err().map(|error| (name, error))).collect(), all)
}

/// One failure is told as it is; of several all are, and the worst decides on the exit code.
fn verdict(mut failed: Vec<(String, Error)>, all: usize) -> Result<()> {
    if all == 1 {
        return failed.pop().map_or(Ok(()), |(_, error)| Err(error));
    }
    let lines: Vec<String> = failed.iter().map(|(name, error)| format!("{name}: {error:#}")).collect();
    let codes: Vec<u8> = failed.iter().map(|(_, error)| exit_code(error)).collect();
    let heading = format!("{} of {all} hypervisors have it not", failed.len());
    if codes.is_empty() {
        return Ok(());
    }
    if codes.contains(&4) {
        let left =
            failed.into_iter().flat_map(|(_, error)| error.downcast::<UndoIncomplete>().map_or(vec![], |error| error.left));
        return Err(UndoIncomplete::new(anyhow!("{heading}:\n{}", lines.join("\n")), left.collect()).into());
    }
    if codes.iter().all(|code| *code == 3) {
        return Err(Refusal { reasons: lines, advice: None }.into());
    }
    Err(anyhow!("{heading}:\n{}", lines.join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_sent_has_a_name_too() {
        let asked: TemplateRef = "debian13@20261121-031100".parse().unwrap();
        let entry = Entry::of(&asked, "hv2", &Err(Refusal::new("no").into()), false);
        let told = serde_json::to_value(entry).unwrap();
        let of = |key: &str| told[key].as_str().unwrap_or_default().to_owned();
        assert_eq!(
            ["hypervisor", "outcome", "error", "name", "version", "digest"].map(of),
            ["hv2", "refused", "no", "debian13", "20261121-031100", ""]
        );
    }

    #[test]
    fn the_worst_decides() {
        let refused = || Error::new(Refusal::new("no"));
        let failed = || anyhow!("broken");
        let incomplete = || Error::new(UndoIncomplete::new(failed(), vec![anyhow!("removing a")]));
        type Make<'a> = &'a dyn Fn() -> Error;
        let table: [(&[Make<'_>], usize, u8, &str); 6] = [
            (&[&refused], 1, 3, "no"),
            (&[&failed], 1, 1, "broken"),
            (&[&refused], 2, 3, "hv0: no"),
            (&[&refused, &refused], 2, 3, "hv0: no\nhv1: no"),
            (&[&refused, &failed], 3, 1, "2 of 3 hypervisors have it not:\nhv0: no\nhv1: broken"),
            (
                &[&failed, &incomplete],
                2,
                4,
                "2 of 2 hypervisors have it not:\nhv0: broken\nhv1: broken\nwhile undoing: removing a\n\
                 `tpl prune` removes what stayed behind\nwhile undoing: removing a\n`tpl prune` removes what stayed behind",
            ),
        ];
        for (errors, all, code, text) in table {
            let failed = errors.iter().enumerate().map(|(index, make)| (format!("hv{index}"), make())).collect();
            let error = verdict(failed, all).unwrap_err();
            assert_eq!((exit_code(&error), format!("{error:#}").as_str()), (code, text));
        }
        assert!(verdict(Vec::new(), 1).is_ok() && verdict(Vec::new(), 2).is_ok());
    }
}
