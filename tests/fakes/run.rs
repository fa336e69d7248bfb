//! One invocation of tpl on a [`Machine`]: counts its calls to the outside, and fails or dies at the one that a test chose.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::{Result, anyhow, bail};
use jiff::Timestamp;
use tpl::{
    cmd::world::World,
    core::{
        domain::Accelerator,
        manifest::Run,
        signing::{PublicKey, Signature},
    },
    host::{
        dns::Directory,
        guest::Appliance,
        keys::{Keys, TrustedKey},
        local::{Local, Lock},
    },
};
use uuid::Uuid;

use super::{dns::FakeDns, machine::Machine};

/// The kinds of calls to the outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    ReadHost,
    ReadPool,
    ListDomains,
    ReadPledges,
    ReadState,
    Define,
    Undefine,
    Start,
    PowerOff,
    WriteMetadata,
    MarkReady,
    StoreSeed,
    ReadSeed,
    RemoveSeed,
    ListSeeds,
    ReadNetwork,
    ListNetworks,
    ReadLeases,
    ReserveAddress,
    ReleaseAddress,
    AddDnsHost,
    RemoveDnsHost,
    AskDns,
    AddDns,
    RemoveDns,
    ReadAddresses,
    ReadNeighbours,
    AskAgent,
    Snapshot,
    SetAutostart,
    ReadAutostart,
    ReadLog,
    ListLogs,
    StoreBootFile,
    RemoveBootFile,
    RemoveLog,
    RemoveVariables,
    CreateVolume,
    CopyVolume,
    StoreVolume,
    ProtectVolume,
    SettleVolume,
    DeleteVolume,
    CopyBytes,
    ReadBytes,
    WriteBytes,
    OpenImage,
    Export,
    TakeDisk,
    Digest,
    RunProgram,
    OpenGuest,
    ReadGuest,
    WriteGuest,
    CloseGuest,
    Resolve,
    Fetch,
    Knock,
    LogIn,
    IsAlive,
    Sign,
    Lock,
}

impl Step {
    /// Whether it takes something away.
    pub fn removes(self) -> bool {
        matches!(
            self,
            Self::DeleteVolume
                | Self::Undefine
                | Self::PowerOff
                | Self::RemoveLog
                | Self::RemoveSeed
                | Self::RemoveBootFile
                | Self::RemoveVariables
                | Self::ReleaseAddress
                | Self::RemoveDnsHost
                | Self::RemoveDns
        )
    }
}

/// What goes wrong, counted in calls from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The n-th call fails, once.
    Once(usize),
    /// The n-th call fails, and from then on nothing can be removed.
    AndUndo(usize),
    /// The process is killed right before the n-th call: nothing of it happens any more.
    Kill(usize),
    /// The n-th call of this kind fails, once.
    At(Step, usize),
    /// At the n-th call the operator asks for the end.
    Interrupt(usize),
}

type Hook = Box<dyn FnOnce() + Send>;

struct Inner {
    calls: Vec<(Step, String)>,
    fault: Option<Fault>,
    refused: usize,
    hook: Option<(Step, Hook)>,
}

impl Inner {
    /// Whether the process has been killed.
    fn is_dead(&self) -> bool {
        matches!(self.fault, Some(Fault::Kill(at)) if self.calls.len() > at)
    }
}

/// One invocation.
#[derive(Clone)]
pub struct FakeRun {
    pub machine: Machine,
    run: Run,
    inner: Arc<Mutex<Inner>>,
    /// Whose death is this one's too.
    with: Option<Arc<Mutex<Inner>>>,
    /// The other hypervisors of the call: time passes there too.
    beside: Arc<Mutex<Vec<Machine>>>,
    /// It is on a machine of its own, whose locks keep nobody else out, and time passes as it does.
    elsewhere: bool,
}

impl Machine {
    /// An invocation in which nothing goes wrong.
    pub fn run(&self) -> FakeRun {
        self.run_with(None)
    }

    /// An invocation in which this goes wrong.
    pub fn failing(&self, fault: Fault) -> FakeRun {
        self.run_with(Some(fault))
    }

    fn run_with(&self, fault: Option<Fault>) -> FakeRun {
        // Two invocations never begin in the same second: versions are times.
        let mut state = self.state();
        state.now += Duration::from_secs(60);
        let run = Run { id: Uuid::new_v4(), host: "here".to_owned(), since: state.now };
        state.alive.insert(run.id);
        drop(state);
        let inner = Inner { calls: Vec::new(), fault, refused: 0, hook: None };
        FakeRun {
            machine: self.clone(),
            run,
            inner: Arc::new(Mutex::new(inner)),
            with: None,
            beside: Arc::default(),
            elsewhere: false,
        }
    }
}

impl FakeRun {
    /// Does `hook` right before the first call of this kind.
    pub fn before(&self, step: Step, hook: impl FnOnce() + Send + 'static) {
        self.inner.lock().unwrap().hook = Some((step, Box::new(hook)));
    }

    /// The same process as another one's: killed when that is.
    pub fn dying_with(self, other: &Self) -> Self {
        Self { with: Some(Arc::clone(&other.inner)), ..self }
    }

    /// The same on a machine of its own.
    pub fn elsewhere(self) -> Self {
        Self { elsewhere: true, ..self }
    }

    /// All calls so far.
    pub fn calls(&self) -> Vec<(Step, String)> {
        self.inner.lock().unwrap().calls.clone()
    }

    /// How many removals were refused behind the fault.
    pub fn refused(&self) -> usize {
        self.inner.lock().unwrap().refused
    }

    /// Runs a command, and ends the process behind it.
    pub fn with<T>(&self, command: impl FnOnce(World<'_>) -> T) -> T {
        Self::with_each(&[self], |worlds| command(worlds[0]))
    }

    /// The same over several hypervisors. The process is the first one's.
    pub fn with_each<T>(runs: &[&Self], command: impl FnOnce(&[World<'_>]) -> T) -> T {
        let local = runs[0];
        *local.beside.lock().unwrap() = runs[1..].iter().map(|run| run.machine.clone()).collect();
        runs[1..].iter().for_each(|run| run.machine.state().alive.extend([local.run.id]));
        let directories: Vec<Directory> = runs.iter().map(|run| Directory::with(vec![Box::new(FakeDns::of(run))])).collect();
        let appliances: Vec<_> = runs.iter().map(|run| move |_: Accelerator| -> &dyn Appliance { *run }).collect();
        let each = runs.iter().zip(&directories).zip(&appliances);
        let worlds: Vec<World<'_>> = each
            .map(|((run, dns), appliance)| World {
                hypervisor: *run,
                storage: *run,
                bytes: *run,
                shell: *run,
                appliance,
                images: *run,
                source: *run,
                reach: *run,
                local,
                dns,
                keys: *run,
            })
            .collect();
        let result = command(&worlds);
        for run in runs {
            run.machine.state().alive.remove(&local.run.id);
            run.machine.state().alive.remove(&run.run.id);
        }
        result
    }

    /// Counts a call; an error if it is the one that fails. The message holds all that a test wants to see again.
    pub fn step(&self, step: Step, what: &str) -> Result<()> {
        let hook = self.inner.lock().unwrap().hook.take_if(|(at, _)| *at == step);
        if let Some((_, hook)) = hook {
            hook();
        }
        if self.with.as_ref().is_some_and(|other| other.lock().unwrap().is_dead()) {
            bail!("the process has been killed");
        }
        let mut inner = self.inner.lock().unwrap();
        let index = inner.calls.len();
        let earlier = inner.calls.iter().filter(|call| call.0 == step).count();
        inner.calls.push((step, what.to_owned()));
        let fails = match inner.fault {
            None => false,
            Some(Fault::Once(at)) => index == at,
            Some(Fault::Interrupt(_)) => false,
            Some(Fault::Kill(at)) => index >= at,
            Some(Fault::At(kind, at)) => kind == step && earlier == at,
            Some(Fault::AndUndo(at)) if index > at && step.removes() => {
                inner.refused += 1;
                bail!("the removal is refused: {step:?} {what}");
            }
            Some(Fault::AndUndo(at)) => index == at,
        };
        if fails {
            bail!("{}", fault_text(step, what));
        }
        Ok(())
    }
}

/// What the error of a call says that the operator has ended.
pub const INTERRUPTED: &str = "interrupted";

/// What the error of a call says that was made to fail.
pub fn fault_text(step: Step, what: &str) -> String {
    format!("a fault was put in: {step:?} {what}")
}

impl Local for FakeRun {
    fn now(&self) -> Timestamp {
        self.machine.state().now
    }

    fn sleep(&self, time: Duration) {
        if self.elsewhere {
            // The others get on meanwhile.
            return std::thread::sleep(Duration::from_millis(1));
        }
        let beside = self.beside.lock().unwrap();
        for machine in std::iter::once(&self.machine).chain(beside.iter()) {
            let mut state = machine.state();
            state.now += time;
            state.tick();
        }
    }

    fn go_on(&self) -> Result<()> {
        let inner = self.inner.lock().unwrap();
        match inner.fault {
            Some(Fault::Interrupt(at)) if inner.calls.len() > at => bail!(INTERRUPTED),
            _ => Ok(()),
        }
    }

    fn run(&self) -> &Run {
        &self.run
    }

    fn is_alive(&self, run: &Run) -> Result<bool> {
        self.step(Step::IsAlive, "")?;
        Ok(self.machine.state().alive.contains(&run.id))
    }

    fn lock(&self, name: &str, _: Duration) -> Result<Result<Lock, String>> {
        self.step(Step::Lock, name)?;
        if self.elsewhere {
            return Ok(Ok(Lock::held_by(())));
        }
        let mut state = self.machine.state();
        let holder = state.locks.get(name).copied();
        // As the real ones do, a lock ends with the process.
        if holder.is_some_and(|holder| holder != self.run.id && state.alive.contains(&holder)) {
            return Ok(Err("another process".to_owned()));
        }
        state.locks.insert(name.to_owned(), self.run.id);
        Ok(Ok(Lock::held_by(Held { machine: self.machine.clone(), name: name.to_owned() })))
    }
}

impl Keys for FakeRun {
    fn signer(&self) -> Result<Option<PublicKey>> {
        Ok(self.machine.state().key.as_ref().map(|pair| PublicKey::new(pair.pk.clone())))
    }

    fn sign(&self, bytes: &[u8], comment: &str) -> Result<Option<Signature>> {
        let Some(pair) = self.machine.state().key.clone() else { return Ok(None) };
        self.step(Step::Sign, comment)?;
        let minisig = minisign::sign(None, &pair.sk, bytes, Some(comment), None).map_err(|error| anyhow!("{error}"))?;
        Ok(Some(Signature { key: PublicKey::new(pair.pk).to_string(), minisig: minisig.to_string() }))
    }

    fn trusted(&self) -> Result<Vec<TrustedKey>> {
        let own = self.signer()?.map(|key| TrustedKey { key, own: true, from: "tpl.pub".to_owned() });
        let others = self.machine.state().trusted.clone();
        let others = others.into_iter().map(|key| TrustedKey { key, own: false, from: "trusted.d".to_owned() });
        Ok(own.into_iter().chain(others).collect())
    }
}

/// A lock of a process, until it is dropped.
struct Held {
    machine: Machine,
    name: String,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.machine.state().locks.remove(&self.name);
    }
}
