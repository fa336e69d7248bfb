//! `tpl host bootstrap`: a machine that answers SSH becomes a hypervisor.

use std::{path::Path, sync::Arc};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use uuid::Uuid;

use crate::{
    cli::{BootstrapArgs, CreateVmArgs, Global, LoginArgs, Output},
    cmd::host::{
        connect, name,
        reached::Reached,
        register::Registering,
        report,
        run::{Around, Done, Runner},
    },
    core::{
        bootstrap::{
            Facts, PHASES, Phase, Probe, Reboot, Record, Wish,
            record::{self, Given, RECORD},
        },
        config::HypervisorName,
        error::Refusal,
        machine_target::MachineTarget,
        naming::Naming,
        vm_spec::GuestPath,
    },
    host::{
        local::{Local, ThisMachine},
        machine::{Machine, journal::Journal},
    },
    ui,
};

/// The question what the machine calls itself.
const CALLED: &str = "called";

/// What is asked for, from whatever command.
pub struct Request<'a> {
    /// Whom.
    pub target: &'a MachineTarget,
    /// What it is to be.
    pub given: Given,
    /// An empty device for its volume group.
    pub device: Option<GuestPath>,
    /// When it starts again.
    pub reboot: Reboot,
    /// The phases, in their order.
    pub phases: Vec<Phase>,
    /// Whether updates are left to whoever asks for them, where it is a hypervisor already.
    pub quick: bool,
    /// The operator's public key.
    pub ssh_key: Option<&'a Path>,
    /// How it is logged in to.
    pub login: &'a LoginArgs,
    /// Where commands are written down.
    pub log: Option<&'a Path>,
    /// Whether nothing is asked.
    pub yes: bool,
    /// Whether nothing is changed.
    pub dry_run: bool,
}

/// What has come of it.
pub struct Bootstrapped {
    /// What the hypervisor is called.
    pub host: String,
    /// Its phases.
    pub phases: Vec<Done>,
}

/// Runs `tpl host bootstrap`.
///
/// # Errors
/// A refusal changes nothing. After a failure the same command goes on where this one has ended.
pub fn run(global: &Global, args: &BootstrapArgs, output: Output) -> Result<()> {
    let dns_forwarder = match (args.dns_forwarder, args.no_dns_forwarder) {
        (false, false) => None,
        (wanted, _) => Some(wanted),
    };
    let reboot = match (args.reboot, args.no_reboot) {
        (true, _) => Reboot::Always,
        (_, true) => Reboot::Never,
        _ => Reboot::WhenNeeded,
    };
    let request = Request {
        target: &args.target,
        given: Given { name: args.name.clone(), domain: args.domain.clone(), dns_forwarder, vg: args.vg.clone() },
        device: args.pv.clone(),
        reboot,
        phases: chosen(&args.only, &args.skip),
        quick: false,
        ssh_key: args.ssh_key.as_deref(),
        login: &args.login,
        log: args.log.as_deref(),
        yes: args.yes,
        dry_run: args.dry_run,
    };
    let (done, result) = make(global, &request)?;
    report::print(&done, request.dry_run, output)?;
    result
}

/// The same for a command that needs a hypervisor: asks nothing, and leaves the updates of one that is a hypervisor already.
///
/// # Errors
/// As for [`run`].
pub fn quick(global: &Global, args: &CreateVmArgs, ssh_key: Option<&Path>) -> Result<Bootstrapped> {
    let request = Request {
        target: &args.hypervisor,
        given: Given { domain: Some(args.domain.clone()), ..Given::default() },
        device: None,
        reboot: Reboot::WhenNeeded,
        phases: PHASES.to_vec(),
        quick: true,
        ssh_key,
        login: &args.login,
        log: None,
        yes: true,
        dry_run: args.dry_run,
    };
    let (done, result) = make(global, &request)?;
    result.map(|()| done)
}

fn chosen(only: &[Phase], skip: &[Phase]) -> Vec<Phase> {
    PHASES.into_iter().filter(|phase| (only.is_empty() || only.contains(phase)) && !skip.contains(phase)).collect()
}

fn make(global: &Global, request: &Request<'_>) -> Result<(Bootstrapped, Result<()>)> {
    let local = ThisMachine::register()?;
    let reached = Reached::of(global, request.target)?;
    let key = connect::own_key(request.ssh_key)?;
    let journal = journal(&reached, request.log, local.now())?;
    let machine = connect::connect(&reached.place(), request.login, Some(&key), &journal, &local.stop())?;
    let _lock = if request.dry_run { None } else { Some(locked(machine.as_ref())?) };
    let (kept, called) = stands(machine.as_ref())?;
    let (wish, phases) = wish(request, &reached, kept, called, &key)?;
    let registering = Registering { reached: &reached, key: &key, sets_pool: request.given.vg.is_some() };
    if phases.contains(&Phase::Register) {
        registering.check(&wish)?;
    }
    if !request.yes && !request.dry_run {
        confirm(&reached, &wish, &phases)?;
    }
    let host = wish.record.name.to_string();
    let around = Outside { local: &local, global, registering, journal: &journal };
    let mut runner = Runner { machine: machine.as_ref(), around: &around, wish, dry_run: request.dry_run };
    if !request.dry_run {
        runner.foresee(&phases)?;
    }
    let (phases, result) = runner.run(&phases);
    Ok((Bootstrapped { host, phases }, result))
}

/// Where the commands of a call are written down: a file of the operator's choice, or one of its own.
pub(super) fn journal(reached: &Reached, file: Option<&Path>, now: Timestamp) -> Result<Arc<Journal>> {
    let journal = match file {
        Some(file) => Journal::at(file)?,
        None => Journal::of(&reached.name, now)?,
    };
    if let Some(path) = journal.path() {
        ui::note(&format!("every command is written down in {}", path.display()));
    }
    Ok(Arc::new(journal))
}

pub(super) fn locked(machine: &dyn Machine) -> Result<crate::host::local::Lock> {
    let lock = machine.lock().context("keeping other bootstraps away")?;
    let refused = |holder| {
        Refusal::new(format!("another bootstrap is at {}: {holder}", machine.name()))
            .advise("try again later; where that run has ended without a word, end its process there")
    };
    Ok(lock.map_err(refused)?)
}

/// What is kept on the machine of an earlier bootstrap, and what it calls itself.
fn stands(machine: &dyn Machine) -> Result<(Option<Record>, Option<HypervisorName>)> {
    let facts = machine.ask(&[record::probe(), Probe::new(CALLED, "uname -n")])?;
    Ok((kept(&facts)?, facts.get(CALLED).and_then(|name| name.split('.').next()?.parse().ok())))
}

/// The record among these facts.
///
/// # Errors
/// [`Refusal`]: it is there, and cannot be read: it may be of a newer tpl.
pub fn kept(facts: &Facts) -> Result<Option<Record>> {
    let refused = |why: String| {
        Refusal::new(format!("what this machine is to be cannot be read: {why}"))
            .advise(format!("mend {RECORD} there, or remove it"))
    };
    match facts.whole(record::PROBE) {
        Some(text) => Ok(Some(Record::parse(text).map_err(|error| refused(error.to_string()))?)),
        None if facts.why_not(record::PROBE) == "exit code 1" => Ok(None),
        None => Err(refused(facts.why_not(record::PROBE).to_owned()).into()),
    }
}

/// What it all is to come to, and by which phases.
fn wish(
    request: &Request<'_>,
    reached: &Reached,
    kept: Option<Record>,
    called: Option<HypervisorName>,
    key: &connect::OwnKey,
) -> Result<(Wish, Vec<Phase>)> {
    if request.quick && kept.is_none() && reached.known.is_some() {
        let reason = format!("{} is a hypervisor that tpl has not made: it would be hardened, named and patched", reached.name);
        return Err(Refusal::new(reason)
            .advise("`tpl host bootstrap` does that, and shows it with --dry-run; --no-bootstrap takes it as it is")
            .into());
    }
    // What is not in the configuration has not come to its end.
    let quick = request.quick && kept.is_some() && reached.known.is_some();
    let phases: Vec<Phase> = request.phases.iter().copied().filter(|phase| !quick || *phase != Phase::Patch).collect();
    // A machine whose name is left alone is called as it is.
    let called = called.filter(|_| !phases.contains(&Phase::Hostname));
    let called = match reached.known.clone().or(called) {
        Some(name) => name,
        None => random_name()?,
    };
    let given = Given {
        // What a hypervisor is said to be once, a command that only needs one does not change.
        domain: request.given.domain.clone().filter(|_| !quick),
        ..request.given.clone()
    };
    let wish = Wish {
        user: Some(reached.user.clone()),
        key: Some(key.public.clone()),
        reboot: request.reboot,
        device: request.device.clone(),
        record: Record::decide(&given, kept.as_ref(), called),
    };
    Ok((wish, phases))
}

/// Eight random letters.
fn random_name() -> Result<HypervisorName> {
    let names = Naming::Random(1).choose(&|_| None, &mut Uuid::new_v4)?;
    let name = names.first().context("no name was made")?;
    name.as_str().parse().map_err(anyhow::Error::msg)
}

fn confirm(reached: &Reached, wish: &Wish, phases: &[Phase]) -> Result<()> {
    let names: Vec<&str> = phases.iter().map(|phase| phase.as_str()).collect();
    let question = format!("{} becomes the hypervisor {}: {}. Go on?", reached.name, wish.record.full_name(), names.join(", "));
    match ui::confirm(&question)? {
        Some(true) => Ok(()),
        Some(false) => Err(Refusal::new("nothing was changed").into()),
        None => Err(Refusal::new("there is no terminal to ask at whether to go on")
            .advise("say --yes, or --dry-run to see what it would do")
            .into()),
    }
}

/// The real world besides the machine.
struct Outside<'a> {
    local: &'a dyn Local,
    global: &'a Global,
    registering: Registering<'a>,
    journal: &'a Journal,
}

impl Around for Outside<'_> {
    fn say(&self, line: &str) {
        ui::note(line);
        self.journal.note(line);
    }

    fn go_on(&self) -> Result<()> {
        self.local.go_on()
    }

    fn name(&self, wish: &Wish, dry_run: bool) -> Result<Vec<String>> {
        let reached = self.registering.reached;
        name::tell(&reached.config, &reached.ssh.host, wish, dry_run)
    }

    fn register(&self, wish: &Wish, dry_run: bool) -> Result<Vec<String>> {
        self.registering.run(self.global, wish, dry_run)
    }
}
