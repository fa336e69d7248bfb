//! A machine over SSH.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;
use tempfile::TempPath;
use uuid::Uuid;

use super::{
    Guard, Machine,
    guard::{ARM, LOCK, PUT_BACK, RELEASE, WATCH},
    journal::Journal,
    work::Work,
};
use crate::{
    core::{
        bootstrap::{Facts, Probe},
        error::{Advised, Cut},
        transport::{SshTarget, login::is_denied},
    },
    host::{
        local::{Lock, Stop},
        process::streams::Beside,
        shell::{SshShell, access::Credentials},
    },
};

/// How long a guard waits for a new login.
const GUARDED: &str = "60";
/// How long nobody may listen when it is logged in to anew.
const ANEW: Duration = Duration::from_secs(30);
/// How long a machine may take to start again.
const REBOOT: Duration = Duration::from_secs(600);
/// How often it is tried meanwhile.
const EVERY: Duration = Duration::from_secs(3);
/// How long the lock may take to answer: a guard of another run may have to end first.
const LOCKED: Duration = Duration::from_secs(160);
const QUICK: Duration = Duration::from_secs(30);
/// Another one for each start of a machine.
const BOOT_ID: [&str; 2] = ["cat", "/proc/sys/kernel/random/boot_id"];

/// A machine that somebody logs in to who may become root there.
pub struct SshMachine {
    name: String,
    shell: SshShell,
    /// The private key that must open it anew, once passwords do not.
    key: Option<PathBuf>,
    journal: Arc<Journal>,
    stop: Stop,
    /// What holds the machine's lock, if somebody here has it.
    held: Arc<Mutex<Option<Beside>>>,
    /// The file with its host key, where that one is known to this run alone.
    _pinned: Option<TempPath>,
}

/// What is needed of a machine before it is spoken to.
pub struct Reach {
    /// What operators call it.
    pub name: String,
    /// Who logs in where.
    pub target: SshTarget,
    /// What with, beyond what SSH finds by itself.
    pub credentials: Credentials,
    /// Where all that is done is written down.
    pub journal: Arc<Journal>,
    /// Whether to go on.
    pub stop: Stop,
    /// A file that the target names and that goes with this run.
    pub pinned: Option<TempPath>,
}

impl SshMachine {
    /// Logs in, and makes sure that whoever does may become root.
    ///
    /// # Errors
    /// Nobody gets in, or becomes root.
    pub fn connect(reach: Reach) -> Result<Self> {
        let Reach { name, target, credentials, journal, stop, pinned } = reach;
        let key = credentials.key.clone();
        let shell = SshShell::for_root(target, &name, Arc::new(credentials));
        let held = Arc::new(Mutex::new(None));
        let machine = Self { name, shell, key, journal, stop, held, _pinned: pinned };
        machine.work().run(&["true"], QUICK)?;
        Ok(machine)
    }

    fn work(&self) -> Work<'_> {
        Work { shell: &self.shell, name: &self.name, journal: &self.journal }
    }

    fn boot_id(&self) -> Result<String> {
        Ok(self.work().run(&BOOT_ID, QUICK)?.trim().to_owned())
    }

    /// Waits until it answers as another start of it.
    fn await_boot(&self, before: &str) -> Result<()> {
        let end = Instant::now() + REBOOT;
        loop {
            self.shell.hang_up();
            let pause = Instant::now() + EVERY;
            while Instant::now() < pause {
                self.stop.go_on()?;
                thread::sleep(Duration::from_millis(100));
            }
            let why = match self.boot_id() {
                Ok(now) if now != before => return Ok(()),
                // It still goes down.
                Ok(_) => "it has not gone down".to_owned(),
                Err(error) => format!("{error:#}"),
            };
            if Instant::now() >= end {
                bail!("{} is not back after {} minutes: {why}", self.name, REBOOT.as_secs() / 60);
            }
        }
    }

    /// Takes the machine's lock. Inside: who has it.
    fn take(&self) -> Result<Result<Beside, String>> {
        let began = Instant::now();
        let me = format!("{} since {}", whoami(), Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ"));
        let mut beside = self.shell.beside(&["sh", "-c", LOCK, "sh", &me])?;
        let said = beside.heard(LOCKED).unwrap_or_default();
        self.journal.done("took the lock", began, &said);
        if said == "locked" {
            return Ok(Ok(beside));
        }
        if let Some(holder) = said.strip_prefix("held ") {
            return Ok(Err(holder.replace(char::is_control, " ")));
        }
        match beside.ended()? {
            Some(why) if !why.trim().is_empty() => bail!("locking {}: {}", self.name, why.trim()),
            _ => bail!("locking {}: it does not answer", self.name),
        }
    }

    fn again(&self) -> Result<()> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.take().is_some() {
            *held = Some(self.take()?.map_err(|holder| anyhow::anyhow!("{} was locked meanwhile by {holder}", self.name))?);
        }
        Ok(())
    }
}

/// Whether a new login has come to an end: the key is not taken, or somebody was there.
fn is_decided(error: &anyhow::Error) -> bool {
    let text = format!("{error:#}");
    is_denied(&text) || !text.contains("by SSH: ")
}

/// Who has a lock here, for whoever comes next: `process 42 on host`.
fn whoami() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("process {} on {}", std::process::id(), host.trim())
}

/// The lock on the machine, until this is dropped.
struct Held(Arc<Mutex<Option<Beside>>>);

impl Drop for Held {
    fn drop(&mut self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Machine for SshMachine {
    fn name(&self) -> &str {
        &self.name
    }

    fn ask(&self, probes: &[Probe]) -> Result<Facts> {
        self.work().ask(probes)
    }

    fn write(&self, path: &str, mode: u32, content: &str) -> Result<()> {
        self.work().write(path, mode, content)
    }

    fn remove(&self, path: &str) -> Result<()> {
        self.work().remove(path)
    }

    fn run(&self, argv: &[&str], deadline: Duration) -> Result<String> {
        self.work().run(argv, deadline)
    }

    fn reboot(&self) -> Result<()> {
        let before = self.boot_id()?;
        let script = "if [ -d /run/systemd/system ]; then exec systemctl reboot; else exec shutdown -r now; fi";
        match self.work().run(&["sh", "-c", script], QUICK) {
            // Its sshd may go before it has answered.
            Err(error) if !error.chain().any(|cause| cause.is::<Cut>()) => return Err(error.context("rebooting")),
            _ => {}
        }
        self.await_boot(&before)?;
        self.again()
    }

    fn lock(&self) -> Result<Result<Lock, String>> {
        Ok(self.take()?.map(|beside| {
            *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(beside);
            Lock::held_by(Held(Arc::clone(&self.held)))
        }))
    }

    fn guard(&self, files: &[&str]) -> Result<Guard> {
        let token = Uuid::new_v4().simple().to_string();
        let arguments: Vec<&str> = [token.as_str(), GUARDED].into_iter().chain(files.iter().copied()).collect();
        let what = format!("armed the guard {token} for {}", files.join(" "));
        let armed = self.work().script(&what, ARM, &arguments, WATCH);
        armed.with_context(|| format!("guarding sshd's files on {}", self.name))?;
        Ok(Guard(token))
    }

    fn release(&self, guard: Guard) -> Result<()> {
        let Some(key) = &self.key else { bail!("there is no key that {} could be logged in to with", self.name) };
        let logging_in = || format!("logging in to {} anew with the key {}", self.name, key.display());
        let shell = self.shell.afresh(key)?;
        let work = Work { shell: &shell, name: &self.name, journal: &self.journal };
        let end = Instant::now() + ANEW;
        let released = loop {
            let what = format!("released the guard {} by a new login", guard.0);
            match work.script(&what, RELEASE, &[&guard.0], "") {
                // While sshd reads its files, nobody listens: a forwarded port is closed again then, and not refused.
                Err(error) if !is_decided(&error) && Instant::now() < end => {
                    self.stop.go_on()?;
                    thread::sleep(Duration::from_millis(500));
                }
                done => break done,
            }
        };
        released.with_context(logging_in).map(drop).map_err(|error| {
            let advice = "a key with a passphrase must be in the agent: `ssh-add`";
            Advised::new(error, advice).into()
        })
    }

    fn put_back(&self, guard: Guard) -> Result<()> {
        let done = self.work().script(&format!("made the guard {} put back", guard.0), PUT_BACK, &[&guard.0], "");
        done.map(drop).with_context(|| format!("putting sshd's files back on {}", self.name))
    }
}
