//! `tpl metadata install`: the service as a unit of systemd's.

use std::{
    env, fs,
    os::unix::fs::MetadataExt as _,
    path::{self, Path},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use serde::Serialize;

use crate::{
    cli::{Global, InstallArgs, Output, ServeArgs},
    cmd::{host::run::perform, settings},
    core::{
        bootstrap::{Item, Step, steps},
        config::Config,
        error::{Advised, Invalid, Refusal},
        imds::{
            gather::ensure_served,
            unit::{self, Place},
        },
    },
    host::{
        hypervisor::Hypervisor as _,
        libvirt::Libvirt,
        local::{Local as _, ThisMachine},
        machine::{Machine as _, journal::Journal, local::LocalMachine},
    },
    ui,
};

#[derive(Serialize)]
struct Report {
    dry_run: bool,
    outcome: &'static str,
    changes: Vec<String>,
}

/// Runs `tpl metadata install`.
///
/// # Errors
/// [`Refusal`]: not by root, no systemd, a program that others can change, or files that the service could not read. Else a step fails, or
/// the service does not stay up.
pub fn run(global: &Global, args: &InstallArgs, output: Output) -> Result<()> {
    let config = settings::load(global)?;
    let local = ThisMachine::register()?;
    if !args.dry_run && !rustix::process::geteuid().is_root() {
        return Err(Refusal::new("only root can install a service").advise("run it by sudo").into());
    }
    if !args.uninstall {
        let files = super::serve::check(&config, &args.serve)?;
        unit::ensure_readable(&files.iter().map(|file| way(file)).collect::<Result<Vec<_>>>()?)?;
        ensure_can_begin(&config, &args.serve)?;
    }
    let program = env::current_exe().context("finding tpl itself")?;
    let program = program.to_str().context("tpl's own path is no UTF-8")?;
    let machine = LocalMachine::new(Arc::new(Journal::none()));
    let arguments = arguments(&config, &args.serve)?;
    let items = || -> Result<Vec<Item>> {
        let facts = machine.ask(&unit::probes(program)).context("asking how it stands")?;
        Ok(if args.uninstall { unit::none(&facts)? } else { unit::items(&facts, program, &arguments, user_of(&args.serve))? })
    };
    let todo = steps(&items()?);
    let (outcome, changes) = match (todo.is_empty(), args.dry_run) {
        (true, _) => ("unchanged", Vec::new()),
        (false, true) => ("would-change", todo.iter().map(Step::describe).collect()),
        (false, false) => ("changed", todo.iter().map(Step::summary).collect()),
    };
    if !args.dry_run {
        for step in &todo {
            local.go_on()?;
            perform(&machine, step)?;
        }
        if !todo.is_empty() && !args.uninstall {
            // One that cannot begin says so at once.
            local.sleep(Duration::from_secs(2));
        }
        ensure_done(&items()?)?;
    }
    let report = Report { dry_run: args.dry_run, outcome, changes };
    match output {
        Output::Json => ui::json(&report),
        Output::Text => ui::data(&text(&report)),
    }
}

/// That it does not end at once for what it is told to serve, or as whom.
fn ensure_can_begin(config: &Config, args: &ServeArgs) -> Result<()> {
    if args.user.as_ref().is_some_and(|user| user.as_str() != unit::USER) {
        super::serve::user(args)?;
    }
    // A libvirt that does not answer yet is waited for by the service, too.
    let Ok(libvirt) = Libvirt::open(&config.uri, config.connect_timeout) else { return Ok(()) };
    Ok(ensure_served(&super::serve::served(args, config).0, &libvirt.networks()?)?)
}

/// Who is to answer guests.
fn user_of(args: &ServeArgs) -> &str {
    args.user.as_ref().map_or(unit::USER, |user| user.as_str())
}

/// A file and the folders on the way to it, by the name that is given and by its own: links lead from one to the other.
fn way(file: &Path) -> Result<Vec<Place>> {
    let named = path::absolute(file)?;
    let own = fs::canonicalize(file)?;
    let place = |path: &Path| {
        let found = fs::metadata(path)?;
        Ok(Place { path: path.to_owned(), user: found.uid(), group: found.gid(), mode: found.mode(), folder: found.is_dir() })
    };
    let places: Result<_> = named.ancestors().chain(own.ancestors()).map(place).collect();
    places.with_context(|| format!("looking at {}", file.display()))
}

fn text(report: &Report) -> String {
    let lines: String = report.changes.iter().map(|change| format!("  {}\n", change.trim_end())).collect();
    format!("tpl-metadata.service: {}\n{lines}", report.outcome)
}

fn ensure_done(items: &[Item]) -> Result<()> {
    let left: Vec<&str> = items.iter().filter(|item| item.has_drifted()).map(|item| item.what.as_str()).collect();
    if left.is_empty() {
        return Ok(());
    }
    let cause = anyhow!("it is not as it should be after all steps: {}", left.join(", "));
    let advice = "`journalctl -u tpl-metadata` says why; what was done stays: `tpl metadata install --uninstall` takes it away";
    Err(Advised::new(cause, advice).into())
}

/// What systemd is to run: this call's own settings, with nothing left to what the environment may say at that time.
fn arguments(config: &Config, args: &ServeArgs) -> Result<Vec<String>> {
    let mut words: Vec<String> = ["--connect", &config.uri, "metadata", "serve"].map(str::to_owned).to_vec();
    if args.state.as_path() != Path::new(unit::STATE) {
        return Err(Invalid::argument(format!("systemd gives the service {}, and no other folder", unit::STATE)).into());
    }
    let (networks, bridges) = super::serve::served(args, config);
    let mut add = |name: &str, value: String| words.push(format!("--{name}={value}"));
    networks.into_iter().for_each(|network| add("network", network));
    bridges.into_iter().for_each(|bridge| add("bridge", bridge));
    if let Some(file) = &args.config {
        let file = path::absolute(file).context("finding the file of --config")?;
        add("config", file.to_str().context("the path of --config is no UTF-8")?.to_owned());
    }
    add("hop-limit", args.hop_limit.to_string());
    add("status-port", args.status_port.to_string());
    add("user", user_of(args).to_owned());
    if args.require_token {
        words.push("--require-token".to_owned());
    }
    Ok(words)
}
