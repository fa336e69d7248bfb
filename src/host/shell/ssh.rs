//! The programs of another machine, over SSH.
//!
//! One connection carries all of a command's calls: a `ssh` beside them holds it, through a socket in the user's own folder. It is made
//! for the first call, and made again when it has broken. What it runs over there is a `cat` whose input is a pipe of this
//! process: however this process ends, the pipe does, and `cat`, and with it the connection.

use std::{
    fs,
    io::{Read, Write},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use uuid::Uuid;

use super::{Output, Shell, said};
use crate::{
    core::{
        error::{Advised, Cut},
        transport::{SshTarget, command_line},
    },
    host::{
        gate::Gate,
        local,
        process::{
            self, SSH,
            streams::{self, Beside},
        },
    },
};

/// How long logging in may take: an emulated hypervisor takes its time for a key exchange.
const LOGIN: Duration = Duration::from_secs(45);
/// sshd carries ten sessions on a connection by default (MaxSessions), and one of them is `cat`'s.
const SESSIONS: usize = 9;
/// How long one that could not be made again is not tried again: else each step of an undo would wait for itself.
const GIVEN_UP: Duration = Duration::from_secs(60);
/// What ssh itself ends with when it cannot reach the host or its connection breaks.
const BROKEN: i32 = 255;
/// What `env` ends with when there is no such program.
const NOT_FOUND: i32 = 127;

/// The hypervisor is another machine.
pub struct SshShell {
    target: SshTarget,
    /// What operators call it.
    name: String,
    connection: Mutex<State>,
    /// The calls that are on their way.
    calls: Gate,
}

/// How it stands with the connection.
enum State {
    /// It was not needed yet.
    New,
    Open(Connection),
    /// It broke, and could not be made again.
    Lost(String, Instant),
}

/// What carries the calls.
struct Connection {
    master: Beside,
    path: PathBuf,
}

impl Drop for Connection {
    fn drop(&mut self) {
        // One that is ended from here leaves it.
        let _ = fs::remove_file(&self.path);
    }
}

impl SshShell {
    /// Reaches nobody yet.
    pub fn new(target: SshTarget, name: &str) -> Self {
        Self { target, name: name.to_owned(), connection: Mutex::new(State::New), calls: Gate::new(SESSIONS) }
    }

    /// The setting that names the connection's socket. Who comes while it is being made waits for it.
    fn socket(&self, ssh: &Path) -> Result<String> {
        let mut state = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *state {
            State::Open(open) => {
                if open.master.ended()?.is_none() {
                    return Ok(open.setting());
                }
            }
            State::Lost(why, when) if when.elapsed() < GIVEN_UP => return Err(Cut::new(why.clone()).into()),
            State::New | State::Lost(..) => {}
        }
        let reaching = || format!("reaching {} by SSH", self.name);
        match Connection::open(ssh, &self.target).with_context(reaching) {
            Ok(new) => {
                let setting = new.setting();
                *state = State::Open(new);
                Ok(setting)
            }
            Err(cause) if matches!(*state, State::New) => {
                let user = self.target.user.as_ref().map_or(String::new(), |user| format!("{user}@"));
                let advice = format!("`ssh {user}{} true` must work without a question", self.target.host);
                Err(Advised::new(cause, advice).into())
            }
            Err(cause) => {
                let why = format!("{cause:#}");
                *state = State::Lost(why.clone(), Instant::now());
                Err(Cut::new(why).into())
            }
        }
    }

    /// Makes a call: `call` gets the program and its arguments.
    fn call(&self, argv: &[&str], call: impl FnOnce(&Path, &[&str]) -> Result<Output>) -> Result<Output> {
        let program = argv.first().copied().context("no program is named")?;
        let ssh = match &self.target.command {
            Some(command) => command.clone(),
            None => SSH.path().context("ssh is not installed; `tpl doctor` says what to install")?,
        };
        let line = command_line(argv).map_err(|error| anyhow!("running {program} on {}: {error}", self.name))?;
        let _place = self.calls.enter();
        let socket = self.socket(&ssh)?;
        let mut args = self.target.arguments(&["ControlMaster=no", &socket]);
        args.push(line);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let output = call(&ssh, &args).with_context(|| format!("running {program} on {}", self.name))?;
        match output.code {
            // Ended by a signal, it was ssh that was, and not what runs over there.
            Some(BROKEN) | None => Err(Cut::new(format!("running {program} on {}: {}", self.name, ended(&output.stderr))).into()),
            // A shell, which every system has, ends so when a program that its script names is not there.
            Some(NOT_FOUND) if program != "sh" => bail!("{program} is not installed on {}", self.name),
            _ => Ok(output),
        }
    }
}

/// What ssh says of its end. A kill leaves it no time for it.
fn ended(stderr: &str) -> String {
    Some(said(stderr)).filter(|text| !text.is_empty()).unwrap_or_else(|| "the SSH connection broke".to_owned())
}

/// The path of a socket has room for 107 characters, of which ssh takes 17 while it makes it.
const LONGEST_SOCKET: usize = 107 - 17;

/// A path for a socket, where nobody else can put anything. The connection removes it when it ends by itself, however this process
/// has ended.
fn socket_path() -> Result<PathBuf> {
    let path = local::runtime_folder()?.join(format!("ssh-{}", Uuid::new_v4().simple()));
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte);
    let fits = path.to_str().is_some_and(|text| text.len() <= LONGEST_SOCKET && text.bytes().all(plain));
    ensure!(fits, "{} cannot be the path of a socket: set XDG_RUNTIME_DIR to a short folder", path.display());
    Ok(path)
}

impl Connection {
    fn open(ssh: &Path, target: &SshTarget) -> Result<Self> {
        let path = socket_path()?;
        let setting = format!("ControlPath={}", path.display());
        let mut args = target.arguments(&["ControlMaster=yes", "ControlPersist=no", &setting]);
        args.push("exec cat >/dev/null".to_owned());
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let mut master = Beside::start(ssh, &args)?;
        let end = Instant::now() + LOGIN;
        // ssh makes it once the user is logged in.
        while !path.exists() {
            if let Some(text) = master.ended()? {
                bail!("{}", said(&text));
            }
            if Instant::now() >= end {
                bail!("nobody is logged in after {} s", LOGIN.as_secs());
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(Self { master, path })
    }

    fn setting(&self) -> String {
        format!("ControlPath={}", self.path.display())
    }
}

impl Shell for SshShell {
    fn run(&self, argv: &[&str], deadline: Duration) -> Result<Output> {
        self.call(argv, |ssh, args| process::output_of(ssh, args, deadline))
    }

    fn feed(&self, argv: &[&str], input: &mut dyn Read) -> Result<Output> {
        self.call(argv, |ssh, args| streams::feed(ssh, args, input))
    }

    fn read(&self, argv: &[&str], sink: &mut dyn Write) -> Result<Output> {
        self.call(argv, |ssh, args| streams::read(ssh, args, sink))
    }
}
