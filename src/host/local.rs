//! The machine on which tpl itself runs: its clock, and locks that end with the process that holds them.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{Read as _, Seek as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use uuid::Uuid;

use super::imds::left::{self, Left};
use crate::core::{digest::hex, manifest::Run};

/// How long a run on another machine, whose lock cannot be seen from here, is taken to be alive.
const FOREIGN_RUN_HOURS: i64 = 12;

/// The clock, and what is exclusive on this machine.
pub trait Local: Sync {
    /// The time.
    fn now(&self) -> Timestamp;
    /// Waits.
    fn sleep(&self, time: Duration);
    /// Whether to go on. Long waits ask it each time around, so that an interrupt is undone like any other failure.
    ///
    /// # Errors
    /// The operator, or the system, has asked for the end.
    fn go_on(&self) -> Result<()> {
        Ok(())
    }
    /// This invocation. Its lock file is held until the process ends, however it ends.
    fn run(&self) -> &Run;
    /// Whether an invocation may still be at work.
    ///
    /// # Errors
    /// The lock folder cannot be read.
    fn is_alive(&self, run: &Run) -> Result<bool>;
    /// What a metadata service has left on this machine that was killed. Nothing for those who could not take it away.
    ///
    /// # Errors
    /// The kernel cannot be asked.
    fn left_by_service(&self) -> Result<Vec<Left>> {
        Ok(Vec::new())
    }
    /// Takes that away. What is not there is no error.
    ///
    /// # Errors
    /// The kernel refuses.
    fn take_away(&self, _left: &Left) -> Result<()> {
        Ok(())
    }
    /// Takes the lock called `name`, waiting for it up to `patience`. Inside: what its holder wrote about itself.
    ///
    /// # Errors
    /// The lock folder cannot be written to.
    fn lock(&self, name: &str, patience: Duration) -> Result<Result<Lock, String>>;
}

/// A lock, held until dropped.
pub struct Lock {
    _held: Box<dyn Send>,
}

impl Lock {
    /// A lock that is held as long as this is.
    pub fn held_by(held: impl Send + 'static) -> Self {
        Self { _held: Box::new(held) }
    }
}

/// Whether the operator, or the system, has asked for the end.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Whether to go on.
    ///
    /// # Errors
    /// The end has been asked for.
    pub fn go_on(&self) -> Result<()> {
        ensure!(!self.0.load(Ordering::Relaxed), "interrupted");
        Ok(())
    }
}

impl From<Arc<AtomicBool>> for Stop {
    fn from(asked: Arc<AtomicBool>) -> Self {
        Self(asked)
    }
}

/// The real machine.
pub struct ThisMachine {
    folder: PathBuf,
    run: Run,
    stop: Stop,
    _held: File,
}

impl ThisMachine {
    /// Registers this invocation. Root's locks are in `/run/tpl`, another user's in `$XDG_RUNTIME_DIR/tpl` or, without that, in
    /// `~/.local/state/tpl`: always where nobody else can put anything.
    ///
    /// # Errors
    /// There is no such folder, or it is somebody else's.
    pub fn register() -> Result<Self> {
        let uid = rustix::process::getuid().as_raw();
        let folder = own_folder(uid).context("finding a folder for locks: neither XDG_RUNTIME_DIR nor HOME is set")?;
        private_folder(&folder, uid).with_context(|| format!("making the lock folder {}", folder.display()))?;
        let run = Run { id: Uuid::new_v4(), host: machine_of(uid), since: Timestamp::now() };
        let held = open(&folder.join(run_file(&run)))?;
        held.lock().context("locking this run's own file")?;
        sweep(&folder);
        Ok(Self { folder, run, stop: watch_signals()?, _held: held })
    }
}

/// The first interrupt sets the flag; the second ends the process, as if nobody had caught it.
fn watch_signals() -> Result<Stop> {
    let flag = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // In this order: the second interrupt finds the flag already set.
        let second = signal_hook::flag::register_conditional_default(signal, Arc::clone(&flag));
        second.and_then(|_| signal_hook::flag::register(signal, Arc::clone(&flag))).context("catching interrupts")?;
    }
    Ok(flag.into())
}

/// The signals of a service: its end, and whether it is to read its files again, which is told once for each time.
///
/// # Errors
/// They cannot be caught.
pub fn service_signals() -> Result<(Stop, impl Fn() -> bool)> {
    let (end, reload) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    for (signal, flag) in [(SIGINT, &end), (SIGTERM, &end), (SIGHUP, &reload)] {
        signal_hook::flag::register(signal, Arc::clone(flag)).context("catching signals")?;
    }
    Ok((end.into(), move || reload.swap(false, Ordering::Relaxed)))
}

/// A user of this machine and the user's group, by number; none where `/etc/passwd` has no such user.
///
/// # Errors
/// It cannot be read.
pub fn user(name: &str) -> Result<Option<(u32, u32)>> {
    let passwd = fs::read_to_string("/etc/passwd").context("reading /etc/passwd")?;
    let numbers = |line: &str| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then_some(())?;
        let (uid, gid) = (fields.nth(1)?, fields.next()?);
        Some((uid.parse().ok()?, gid.parse().ok()?))
    };
    Ok(passwd.lines().find_map(numbers))
}

/// What this machine calls itself.
pub fn host_name() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").map_or_else(|_| "localhost".to_owned(), |name| name.trim().to_owned())
}

impl ThisMachine {
    /// For what waits without asking [`Local`].
    pub fn stop(&self) -> Stop {
        self.stop.clone()
    }
}

impl Drop for ThisMachine {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.folder.join(run_file(&self.run)));
    }
}

/// The folder of the locks, for sockets of this user's runs.
///
/// # Errors
/// As for [`ThisMachine::register`].
pub(super) fn runtime_folder() -> Result<PathBuf> {
    let uid = rustix::process::getuid().as_raw();
    let folder = own_folder(uid).context("finding a folder for sockets: neither XDG_RUNTIME_DIR nor HOME is set")?;
    private_folder(&folder, uid).with_context(|| format!("making the folder {}", folder.display()))?;
    Ok(folder)
}

/// Another folder, made sure of in the same way.
///
/// # Errors
/// It is not one that only we can write to.
pub(super) fn private(folder: PathBuf) -> Result<PathBuf> {
    private_folder(&folder, rustix::process::getuid().as_raw())
        .with_context(|| format!("making the folder {}", folder.display()))?;
    Ok(folder)
}

fn own_folder(uid: u32) -> Option<PathBuf> {
    // Of the process, not of the environment: a user must not send root's locks elsewhere.
    if uid == 0 {
        return Some(PathBuf::from("/run/tpl"));
    }
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").filter(|folder| !folder.is_empty());
    runtime.map(|folder| PathBuf::from(folder).join("tpl")).or_else(|| Some(std::env::home_dir()?.join(".local/state/tpl")))
}

/// Makes the folder, or makes sure that it is ours alone.
fn private_folder(folder: &Path, uid: u32) -> Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let data = fs::symlink_metadata(folder)?;
    ensure!(data.is_dir() && data.uid() == uid && data.mode() & 0o022 == 0, "it is not a folder that only we can write to");
    Ok(())
}

/// Where a run is: whose locks can be seen from here. Another user's are in another folder, as if on another machine.
fn machine_of(uid: u32) -> String {
    let host = host_name();
    if uid == 0 { host } else { format!("{host} (user {uid})") }
}

fn run_file(run: &Run) -> String {
    format!("run-{}", run.id)
}

fn open(path: &Path) -> Result<File> {
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path);
    opened.with_context(|| format!("opening the lock {}", path.display()))
}

/// Removes the files of runs that were killed. One that is held is in use; a fresh one may be about to be.
fn sweep(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let old = entry
            .metadata()
            .and_then(|data| data.modified())
            .is_ok_and(|time| time.elapsed().is_ok_and(|age| age.as_secs() > 60));
        let is_run = entry.file_name().to_string_lossy().starts_with("run-");
        if old && is_run && File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

impl Local for ThisMachine {
    fn now(&self) -> Timestamp {
        Timestamp::now()
    }

    fn sleep(&self, time: Duration) {
        thread::sleep(time);
    }

    fn go_on(&self) -> Result<()> {
        self.stop.go_on()
    }

    fn run(&self) -> &Run {
        &self.run
    }

    fn left_by_service(&self) -> Result<Vec<Left>> {
        left::find().context("looking for what metadata services have left that are gone")
    }

    fn take_away(&self, left: &Left) -> Result<()> {
        left::take_away(left)
    }

    fn is_alive(&self, run: &Run) -> Result<bool> {
        if run.id == self.run.id {
            return Ok(true);
        }
        if run.host != self.run.host {
            let age = self.now().duration_since(run.since);
            return Ok(age.as_hours() < FOREIGN_RUN_HOURS);
        }
        match File::open(self.folder.join(run_file(run))) {
            Ok(file) => Ok(matches!(file.try_lock(), Err(TryLockError::WouldBlock))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error).context("looking for another run's lock"),
        }
    }

    fn lock(&self, name: &str, patience: Duration) -> Result<Result<Lock, String>> {
        // Names hold URIs: a digest has no slash in it.
        let digest = hex(&Sha256::digest(name)[..12]);
        let mut file = open(&self.folder.join(format!("lock-{digest}")))?;
        let step = Duration::from_millis(50);
        let mut waited = Duration::ZERO;
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => return Err(error).with_context(|| format!("locking {name}")),
                Err(TryLockError::WouldBlock) if waited >= patience => {
                    let mut holder = String::new();
                    file.read_to_string(&mut holder).with_context(|| format!("reading the lock {name}"))?;
                    return Ok(Err(holder));
                }
                Err(TryLockError::WouldBlock) => thread::sleep(step),
            }
            waited += step;
        }
        let written = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| {
            write!(file, "process {} since {}", std::process::id(), self.run.since.strftime("%Y-%m-%dT%H:%M:%SZ"))
        });
        written.with_context(|| format!("writing the lock {name}"))?;
        Ok(Ok(Lock::held_by(file)))
    }
}
