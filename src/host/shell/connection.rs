//! The connection that carries a shell's calls.

use std::{
    env, fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use uuid::Uuid;

use super::{
    access::{AskPass, Credentials},
    said,
};
use crate::{
    core::{
        error::{Advised, Refusal},
        transport::{
            HostKeys, SshTarget, Way,
            login::{Configured, is_denied, may_take_password},
        },
    },
    host::{
        local,
        process::{self, streams::Beside},
    },
};

/// How long logging in may take: an emulated hypervisor takes its time for a key exchange.
const LOGIN: Duration = Duration::from_secs(45);
/// How long SSH may take to read its configuration.
const CONFIGURED: Duration = Duration::from_secs(15);

/// What carries the calls.
pub struct Connection {
    master: Beside,
    path: PathBuf,
}

impl Drop for Connection {
    fn drop(&mut self) {
        // One that is ended from here leaves it.
        let _ = fs::remove_file(&self.path);
    }
}

/// The ways in which somebody has got in, by what it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proven {
    /// By what SSH finds by itself.
    Keys,
    /// By the one key.
    Key,
    /// By the password.
    Password,
}

/// How SSH is configured for a host.
///
/// # Errors
/// SSH does not say.
pub fn configured(ssh: &Path, target: &SshTarget) -> Result<Configured> {
    let mut args = vec!["-G".to_owned()];
    args.extend(target.arguments(&[]));
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let output = process::output_of(ssh, &args, CONFIGURED)?;
    ensure!(output.code == Some(0), "reading how SSH is configured for {}: {}", target.host, said(&output.stderr));
    Ok(Configured::parse(&output.stdout))
}

/// The setting for a connection that carries much. Where this machine's processor has instructions for AES the hypervisor's is taken to
/// have them, too: few that run guests have none.
pub fn quick_cipher(ssh: &Path, target: &SshTarget) -> Option<String> {
    let processors = fs::read_to_string("/proc/cpuinfo").ok()?;
    let has_aes = processors.split_whitespace().any(|word| word == "aes");
    if has_aes { configured(ssh, target).ok()?.aes_first() } else { None }
}

/// Logs in by the first of the ways that works: the one that has worked before, then keys before the password.
///
/// # Errors
/// None works, or the host is not reached.
pub fn by_any_way(
    ssh: &Path,
    target: &SshTarget,
    credentials: &Credentials,
    proven: Option<Proven>,
) -> Result<(Connection, Proven)> {
    // What SSH tries by itself is not tried again: who fails too often is not listened to for a while.
    let key = credentials.key.as_deref().filter(|key| !is_tried(ssh, target, key));
    let mut ways: Vec<(Proven, Way<'_>)> = vec![(Proven::Keys, Way::Keys)];
    ways.extend(key.map(|key| (Proven::Key, Way::Key(key))));
    ways.sort_by_key(|(way, _)| Some(*way) != proven);
    let mut denied = String::new();
    for (proven, way) in ways {
        match Connection::open(ssh, &target.arguments_by(way, strictly(target)), &[]) {
            Ok(open) => return Ok((open, proven)),
            Err(error) if is_denied(&format!("{error:#}")) => denied = format!("{error:#}"),
            Err(error) => return Err(error),
        }
    }
    if !may_take_password(&denied) {
        bail!("{denied}");
    }
    // A machine that was reached before is not one to be asked about again.
    if proven.is_some() && !credentials.password.is_known() {
        bail!("{denied}");
    }
    Ok((by_password(ssh, target, credentials).with_context(|| denied)?, Proven::Password))
}

/// Whether SSH tries a key by itself, among so few that it comes to it: six are too many for a host.
fn is_tried(ssh: &Path, target: &SshTarget, key: &Path) -> bool {
    let Ok(configured) = configured(ssh, target) else { return false };
    let home = env::home_dir().unwrap_or_default();
    let path = |identity: &String| identity.strip_prefix("~/").map_or_else(|| PathBuf::from(identity), |rest| home.join(rest));
    let files: Vec<PathBuf> = configured.identities.iter().map(path).collect();
    files.iter().any(|file| file == key)
        && files.iter().filter(|file| file.exists()).count() < 3
        && env::var_os("SSH_AUTH_SOCK").is_none()
}

/// What keeps SSH to known host keys, also where the user's configuration does not.
pub fn strictly(target: &SshTarget) -> &'static [&'static str] {
    if target.host_keys == HostKeys::Known { &["StrictHostKeyChecking=yes"] } else { &[] }
}

fn by_password(ssh: &Path, target: &SshTarget, credentials: &Credentials) -> Result<Connection> {
    check_known(target)?;
    let askpass = AskPass::new()?;
    if configured(ssh, target)?.sends(askpass.variable()) {
        let reason = format!("SSH is configured to send every variable of the environment to {}, a password too", target.host);
        return Err(Refusal::new(reason).advise("take the pattern out of SendEnv in ~/.ssh/config").into());
    }
    let password = credentials.password.get()?;
    let args = target.arguments_by(Way::Password, &[]);
    Connection::open(ssh, &args, &askpass.environment(&password)?).map_err(|error| {
        if is_denied(&format!("{error:#}")) {
            return Advised::new(error.context("the password is not taken"), "is it the user's on that machine?").into();
        }
        error
    })
}

/// That a password goes to nobody whose host key counts for nothing.
///
/// # Errors
/// [`Refusal`].
pub fn check_known(target: &SshTarget) -> Result<()> {
    if target.host_keys != HostKeys::Any {
        return Ok(());
    }
    let reason = format!("a password is needed, and any host key of {} would be believed", target.host);
    Err(Refusal::new(reason).advise("name its fingerprint by --host-key, or take no_verify out of its URI").into())
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
    /// Makes one, by these arguments of SSH's and with these variables in its environment.
    ///
    /// # Errors
    /// The host is not reached, or takes nothing of what it is offered; what SSH says of that.
    pub fn open(ssh: &Path, arguments: &[String], variables: &[(&str, &str)]) -> Result<Self> {
        let path = socket_path()?;
        let setting = format!("ControlPath={}", path.display());
        let mut args: Vec<&str> = ["ControlMaster=yes", "ControlPersist=no", &setting].iter().flat_map(|s| ["-o", s]).collect();
        args.extend(arguments.iter().map(String::as_str));
        args.push("exec cat >/dev/null");
        let mut master = Beside::start_with(ssh, &args, variables, &[])?;
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

    /// The setting of SSH's that makes a call go through it.
    pub fn setting(&self) -> String {
        format!("ControlPath={}", self.path.display())
    }

    /// Whether it stands.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn stands(&mut self) -> Result<bool> {
        Ok(self.master.ended()?.is_none())
    }
}
