//! The programs of another machine, over SSH.
//!
//! One connection carries all of a command's calls: a `ssh` beside them holds it, through a socket in the user's own folder. It is made
//! for the first call, and made again when it has broken. What it runs over there is a `cat` whose input is a pipe of this
//! process: however this process ends, the pipe does, and `cat`, and with it the connection.

use std::{
    io::{Cursor, Read, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Error, Result, anyhow, bail};
use uuid::Uuid;

use super::{
    Output, Shell,
    access::Credentials,
    connection::{Connection, Proven, by_any_way, check_known, quick_cipher, strictly},
    said,
};
use crate::{
    core::{
        error::{Advised, Cut, Refusal},
        secret::Secret,
        transport::{
            Rights, SshTarget, Way, command_line_with,
            login::{Sudo, sudo_said},
        },
    },
    host::{
        gate::Gate,
        process::{
            self, SSH,
            streams::{self, Beside},
        },
    },
};

/// sshd carries ten sessions on a connection by default (MaxSessions), and one of them is `cat`'s.
const SESSIONS: usize = 9;
/// How long one that could not be made again is not tried again: else each step of an undo would wait for itself.
const GIVEN_UP: Duration = Duration::from_secs(60);
/// How long sudo may take: a wrong password makes it wait.
const SUDO: Duration = Duration::from_secs(60);
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
    /// What is run is run by root.
    root: Option<Root>,
    /// The one key that opens it, for who must get in by that.
    only: Option<PathBuf>,
}

/// How somebody becomes root.
struct Root {
    credentials: Arc<Credentials>,
    rights: OnceLock<Rights>,
}

/// How it stands with the connection.
enum State {
    /// It was not needed yet.
    New,
    Open(Connection, Proven),
    /// It broke, and could not be made again.
    Lost(String, Instant, Proven),
}

/// The input of a call: whether there is one, and what comes before it.
struct Head {
    mark: Option<String>,
    bytes: Secret<Vec<u8>>,
}

impl SshShell {
    /// Reaches nobody yet.
    pub fn new(target: SshTarget, name: &str) -> Self {
        let (connection, calls) = (Mutex::new(State::New), Gate::new(SESSIONS));
        Self { target, name: name.to_owned(), connection, calls, root: None, only: None }
    }

    /// The same with root's rights, and with a password where it takes one. One more session is left for a lock.
    pub fn for_root(target: SshTarget, name: &str, credentials: Arc<Credentials>) -> Self {
        let root = Some(Root { credentials, rights: OnceLock::new() });
        Self { root, calls: Gate::new(SESSIONS - 1), ..Self::new(target, name) }
    }

    /// The same machine once more, by a connection of its own that this key alone opens.
    ///
    /// # Errors
    /// This one is not for root.
    pub fn afresh(&self, key: &Path) -> Result<Self> {
        let root = self.root.as_ref().context("this shell is nobody's")?;
        // Whoever logs in there becomes root in the same way.
        let root = Root { credentials: Arc::clone(&root.credentials), rights: root.rights.clone() };
        Ok(Self { only: Some(key.to_owned()), root: Some(root), ..Self::new(self.target.clone(), &self.name) })
    }

    /// Ends the connection. The next call makes another one.
    pub fn hang_up(&self) {
        *self.connection.lock().unwrap_or_else(PoisonError::into_inner) = State::New;
    }

    /// Who is logged in to.
    pub fn target(&self) -> &SshTarget {
        &self.target
    }

    fn ssh(&self) -> Result<PathBuf> {
        match &self.target.command {
            Some(command) => Ok(command.clone()),
            None => SSH.path().context("ssh is not installed; `tpl doctor` says what to install"),
        }
    }

    fn connect(&self, ssh: &Path, proven: Option<Proven>) -> Result<(Connection, Proven)> {
        match (&self.root, &self.only) {
            (_, Some(key)) => {
                let arguments = self.target.arguments_by(Way::Key(key), strictly(&self.target));
                Ok((Connection::open(ssh, &arguments, &[])?, Proven::Key))
            }
            (Some(root), None) => by_any_way(ssh, &self.target, &root.credentials, proven),
            // It carries volumes.
            (None, None) => {
                let cipher = quick_cipher(ssh, &self.target);
                let further: Vec<&str> = cipher.as_deref().into_iter().collect();
                Ok((Connection::open(ssh, &self.target.arguments(&further), &[])?, Proven::Keys))
            }
        }
    }

    /// The setting that names the connection's socket. Who comes while it is being made waits for it.
    fn socket(&self, ssh: &Path) -> Result<String> {
        let mut state = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let proven = match &mut *state {
            State::Open(open, proven) => {
                if open.stands()? {
                    return Ok(open.setting());
                }
                Some(*proven)
            }
            State::Lost(why, when, _) if when.elapsed() < GIVEN_UP => return Err(Cut::new(why.clone()).into()),
            State::Lost(.., proven) => Some(*proven),
            State::New => None,
        };
        let reaching = || format!("reaching {} by SSH", self.name);
        match (self.connect(ssh, proven).with_context(reaching), proven) {
            (Ok((new, proven)), _) => {
                let setting = new.setting();
                *state = State::Open(new, proven);
                Ok(setting)
            }
            (Err(cause), Some(proven)) => {
                let why = format!("{cause:#}");
                *state = State::Lost(why.clone(), Instant::now(), proven);
                Err(Cut::new(why).into())
            }
            (Err(cause), None) => Err(self.advised(cause)),
        }
    }

    /// What is wrong with a first login, and what must work.
    fn advised(&self, cause: Error) -> Error {
        if self.only.is_some() || cause.is::<Refusal>() || cause.is::<Advised>() {
            return cause;
        }
        let user = self.target.user.as_ref().map_or(String::new(), |user| format!("{user}@"));
        let port = self.target.port.map_or(String::new(), |port| format!("-p {port} "));
        let advice = match self.root {
            None => format!("`ssh {user}{} true` must work without a question", self.target.host),
            Some(_) => format!("`ssh {port}{user}{} true` must work", self.target.host),
        };
        Advised::new(cause, advice).into()
    }

    /// The arguments of SSH for a command over there, through the connection.
    fn words(&self, socket: &str, line: String) -> Vec<String> {
        let mut args = self.target.arguments(&["ControlMaster=no", socket]);
        args.push(line);
        args
    }

    /// With whose rights programs run. Asked once.
    fn rights(&self, ssh: &Path, socket: &str) -> Result<Rights> {
        let Some(root) = &self.root else { return Ok(Rights::Own) };
        if let Some(known) = root.rights.get() {
            return Ok(*known);
        }
        let becoming = || format!("becoming root on {}", self.name);
        let found = self.become_root(ssh, socket, &root.credentials).with_context(becoming)?;
        Ok(*root.rights.get_or_init(|| found))
    }

    fn become_root(&self, ssh: &Path, socket: &str, credentials: &Credentials) -> Result<Rights> {
        let run = |argv: &[&str], rights: Rights, input: &[u8]| -> Result<Output> {
            let line = command_line_with(rights, None, argv).map_err(Error::msg)?;
            let args = self.words(socket, line);
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            let output = process::output_with(ssh, &args, input, SUDO)?;
            if matches!(output.code, Some(BROKEN) | None) {
                return Err(Cut::new(ended(&output.stderr)).into());
            }
            Ok(output)
        };
        if run(&["id", "-u"], Rights::Own, &[])?.stdout.trim() == "0" {
            return Ok(Rights::Own);
        }
        // With -k: what sudo remembers of another session may be forgotten by the next call.
        let asked = run(&["sudo", "-k", "-n", "--", "/usr/bin/env", "true"], Rights::Own, &[])?;
        match asked.code {
            Some(0) => return Ok(Rights::Sudo),
            Some(NOT_FOUND) => bail!(self.no_sudo("there is no sudo")),
            _ => {}
        }
        match sudo_said(&asked.stderr) {
            Sudo::NotAllowed => bail!(self.no_sudo(&said(&asked.stderr))),
            Sudo::Other => bail!("sudo: {}", said(&asked.stderr)),
            Sudo::AsksPassword | Sudo::WrongPassword => {}
        }
        check_known(&self.target)?;
        let password = credentials.password.get().context("sudo asks for a password")?;
        let tried = run(&["true"], Rights::SudoWithPassword, first_line(&password).expose())?;
        match (tried.code, sudo_said(&tried.stderr)) {
            (Some(0), _) => Ok(Rights::SudoWithPassword),
            (_, Sudo::NotAllowed) => Err(self.no_sudo(&said(&tried.stderr)).into()),
            (_, Sudo::WrongPassword) => {
                let cause = anyhow!("sudo does not take the password");
                Err(Advised::new(cause, "is it the user's on that machine?").into())
            }
            _ => bail!("sudo: {}", said(&tried.stderr)),
        }
    }

    fn no_sudo(&self, why: &str) -> Refusal {
        let user = self.target.user.as_deref().unwrap_or("the user");
        let reason = format!("{user} may not become root on {}: {why}", self.name);
        Refusal::new(reason).advise("log in as a user who may use sudo for everything")
    }

    /// Makes a call: `call` gets the program, its arguments, and what its input begins with.
    fn call(&self, argv: &[&str], fed: bool, call: impl FnOnce(&Path, &[&str], Head) -> Result<Output>) -> Result<Output> {
        let program = argv.first().copied().context("no program is named")?;
        let ssh = self.ssh()?;
        let _place = self.calls.enter();
        let socket = self.socket(&ssh)?;
        let rights = self.rights(&ssh, &socket)?;
        let head = self.head(rights, fed)?;
        let line = command_line_with(rights, head.mark.as_deref(), argv);
        let line = line.map_err(|error| anyhow!("running {program} on {}: {error}", self.name))?;
        let args = self.words(&socket, line);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let output = call(&ssh, &args, head).with_context(|| format!("running {program} on {}", self.name))?;
        match output.code {
            // Ended by a signal, it was ssh that was, and not what runs over there.
            Some(BROKEN) | None => Err(Cut::new(format!("running {program} on {}: {}", self.name, ended(&output.stderr))).into()),
            // A shell, which every system has, ends so when a program that its script names is not there.
            Some(NOT_FOUND) if program != "sh" => bail!("{program} is not installed on {}", self.name),
            _ => Ok(output),
        }
    }

    /// What the input of a call begins with: the password and a mark behind it, for a sudo that asks.
    fn head(&self, rights: Rights, fed: bool) -> Result<Head> {
        let (Rights::SudoWithPassword, Some(root)) = (rights, &self.root) else {
            return Ok(Head { mark: None, bytes: Secret::new(Vec::new()) });
        };
        let mut bytes = first_line(&root.credentials.password.get()?).expose().clone();
        let mark = fed.then(|| Uuid::new_v4().simple().to_string());
        if let Some(mark) = &mark {
            bytes.extend(mark.bytes());
            bytes.push(b'\n');
        }
        Ok(Head { mark, bytes: Secret::new(bytes) })
    }

    /// Starts a program that runs beside the calls, with root's rights where the shell has them, until what is returned is dropped
    /// or the connection ends. Its input stays open as long.
    ///
    /// # Errors
    /// The machine cannot be reached.
    pub fn beside(&self, argv: &[&str]) -> Result<Beside> {
        let ssh = self.ssh()?;
        let socket = self.socket(&ssh)?;
        let rights = self.rights(&ssh, &socket)?;
        let head = self.head(rights, true)?;
        let line = command_line_with(rights, head.mark.as_deref(), argv).map_err(Error::msg)?;
        let args = self.words(&socket, line);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        Beside::start_with(&ssh, &args, &[], head.bytes.expose())
    }
}

/// A password as sudo reads it.
fn first_line(password: &Secret<String>) -> Secret<Vec<u8>> {
    Secret::new(format!("{}\n", password.expose()).into_bytes())
}

/// What ssh says of its end. A kill leaves it no time for it.
fn ended(stderr: &str) -> String {
    Some(said(stderr)).filter(|text| !text.is_empty()).unwrap_or_else(|| "the SSH connection broke".to_owned())
}

impl Shell for SshShell {
    fn run(&self, argv: &[&str], deadline: Duration) -> Result<Output> {
        self.call(argv, false, |ssh, args, head| process::output_with(ssh, args, head.bytes.expose(), deadline))
    }

    fn feed(&self, argv: &[&str], input: &mut dyn Read) -> Result<Output> {
        self.call(argv, true, |ssh, args, head| streams::feed(ssh, args, &mut Cursor::new(head.bytes.expose()).chain(input)))
    }

    fn read(&self, argv: &[&str], sink: &mut dyn Write) -> Result<Output> {
        // Nobody reads a stream as root: what is fed here has no place for a password.
        anyhow::ensure!(self.root.is_none(), "a root shell passes nothing on");
        self.call(argv, false, |ssh, args, _| streams::read(ssh, args, sink))
    }
}
