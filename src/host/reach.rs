//! Reaching a guest from outside: whether it answers SSH, and with the right host key.

mod elsewhere;

pub use elsewhere::Elsewhere;

use std::{
    io::{ErrorKind, Write as _},
    net::{IpAddr, SocketAddr, TcpStream},
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tempfile::NamedTempFile;

use super::process::{self, SSH};
use crate::core::names::UserName;

const PORT: u16 = 22;
const CONNECT: Duration = Duration::from_secs(2);
/// How long a knock may take: a guest under emulation takes its time for a key exchange.
const SESSION: Duration = Duration::from_secs(60);

/// What a knock at a guest's door showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Knock {
    /// It answers SSH with the expected host key.
    Ready,
    /// Not yet: what is missing.
    NotYet(String),
    /// It answers with another machine's host key.
    WrongKey,
}

/// Who runs a command in a guest, and for how long at most.
#[derive(Debug, Clone, Copy)]
pub struct Login<'a> {
    /// The user.
    pub user: &'a UserName,
    /// The file with the user's private key.
    pub key: &'a Path,
    /// When to give up.
    pub deadline: Duration,
}

/// Reaches guests.
pub trait Reach: Sync {
    /// Whether SSH answers at `address` with `host_key` (type and base64). Logs nobody in.
    ///
    /// # Errors
    /// The SSH client is missing or does not run.
    fn knock(&self, address: IpAddr, host_key: &str) -> Result<Knock>;
    /// What keeps a connection to a port from being made; none if something listens there.
    ///
    /// # Errors
    /// This machine cannot make connections.
    fn port(&self, address: IpAddr, port: u16) -> Result<Option<String>>;
    /// Runs a command in a guest. The host key is checked. Inside: what it printed, or why nobody could log in, yet.
    ///
    /// # Errors
    /// The command fails.
    fn command(&self, address: IpAddr, host_key: &str, login: &Login<'_>, command: &str) -> Result<Result<String, String>>;
}

/// Through the system's own SSH client.
pub struct OpenSsh;

/// Options that leave nothing to the user's configuration, agent or known hosts.
fn options(known_hosts: &Path) -> Vec<String> {
    let mut options = vec!["-F".to_owned(), "/dev/null".to_owned()];
    let settings = [
        "BatchMode=yes",
        "StrictHostKeyChecking=yes",
        "GlobalKnownHostsFile=/dev/null",
        "UpdateHostKeys=no",
        "IdentityAgent=none",
        "IdentitiesOnly=yes",
        "ConnectTimeout=10",
        "LogLevel=ERROR",
    ];
    for setting in settings {
        options.extend(["-o".to_owned(), setting.to_owned()]);
    }
    options.extend(["-o".to_owned(), format!("UserKnownHostsFile={}", known_hosts.display())]);
    options
}

fn known_hosts(address: IpAddr, host_key: &str) -> Result<NamedTempFile> {
    let mut file = NamedTempFile::new().context("making a file of known hosts")?;
    writeln!(file, "{address} {host_key}").context("writing a file of known hosts")?;
    Ok(file)
}

fn ssh(args: &[String], deadline: Duration) -> Result<process::Output> {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    process::output(SSH, &args, deadline)
}

impl Reach for OpenSsh {
    fn knock(&self, address: IpAddr, host_key: &str) -> Result<Knock> {
        if let Some(reason) = self.port(address, PORT)? {
            return Ok(Knock::NotYet(reason));
        }
        let hosts = known_hosts(address, host_key)?;
        let mut args = options(hosts.path());
        // With no way to log in, the client ends right after it has checked the host key.
        args.extend(["-o", "PreferredAuthentications=none", "--"].map(str::to_owned));
        args.extend([format!("tpl@{address}"), "true".to_owned()]);
        let output = ssh(&args, SESSION)?;
        // The client tells these apart by its words alone: its exit code is 255 for both.
        if output.stderr.contains("Permission denied") {
            return Ok(Knock::Ready);
        }
        if output.stderr.contains("Host key verification failed") {
            return Ok(Knock::WrongKey);
        }
        Ok(Knock::NotYet(output.stderr.trim().lines().last().unwrap_or("SSH does not answer").to_owned()))
    }

    fn port(&self, address: IpAddr, port: u16) -> Result<Option<String>> {
        let connected = TcpStream::connect_timeout(&SocketAddr::new(address, port), CONNECT);
        Ok(connected.err().map(|error| match error.kind() {
            ErrorKind::ConnectionRefused => format!("{address} refuses connections to port {port}"),
            _ => format!("no answer at {address} port {port}"),
        }))
    }

    fn command(&self, address: IpAddr, host_key: &str, login: &Login<'_>, command: &str) -> Result<Result<String, String>> {
        let user = login.user;
        let hosts = known_hosts(address, host_key)?;
        let mut args = options(hosts.path());
        args.extend(["-i".to_owned(), login.key.display().to_string(), "--".to_owned()]);
        args.extend([format!("{user}@{address}"), command.to_owned()]);
        let output = ssh(&args, login.deadline)?;
        match output.code {
            Some(0) => Ok(Ok(output.stdout)),
            // The client's own code; a command that ends with it is taken for a login that failed.
            Some(255) => Ok(Err(output.stderr.trim().to_owned())),
            _ => bail!("running a command at {address} as {user}: {}{}", output.stderr.trim(), output.stdout.trim()),
        }
    }
}
