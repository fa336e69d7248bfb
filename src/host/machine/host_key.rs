//! Whether a host is who it should be, before anything is sent to it: as SSH is configured, and by the operator's word where SSH does
//! not know it.

use std::{fs, io::Write as _, path::Path, time::Duration};

use anyhow::{Context as _, Result};
use tempfile::{NamedTempFile, TempPath};

use super::journal::Journal;
use crate::{
    core::{
        error::{Advised, Refusal},
        transport::{
            HostKeys, SshTarget,
            host_key::{ALGORITHMS, Fingerprint, Learned, Verdict, contradicts, is_not, is_unknown, verdict},
            login::Configured,
        },
    },
    host::{
        known_hosts, local,
        process::{self, Output, SSH},
        shell::{connection::configured, said},
    },
};

/// How long a host may take to show its key.
const KNOCK: Duration = Duration::from_secs(45);
/// What makes SSH show a host's key, and log nobody in.
const NOBODY: [&str; 5] =
    ["PreferredAuthentications=none", "ControlMaster=no", "ControlPath=none", "UpdateHostKeys=no", "VerifyHostKeyDNS=no"];

/// What the operator says of a key that is not known: none where nobody can be asked.
pub type Confirm<'a> = &'a dyn Fn(&Learned) -> Result<Option<bool>>;

/// Makes sure of the host, and returns whom to log in to from now on. What comes with it is a file of known hosts for this run alone,
/// which must live as long.
///
/// # Errors
/// [`Refusal`]: it is another one, or not known, and nobody confirms it. Nothing was sent to it then. Or it is not reached.
pub fn check(
    mut target: SshTarget,
    name: &str,
    expected: Option<&Fingerprint>,
    confirm: Confirm<'_>,
    journal: &Journal,
) -> Result<(SshTarget, Option<TempPath>)> {
    let ssh = match &target.command {
        Some(command) => command.clone(),
        None => SSH.path().context("ssh is not installed; `tpl doctor` says what to install")?,
    };
    // Whom the URI says to believe blindly is not asked after, unless somebody knows better.
    if expected.is_none() && target.host_keys != HostKeys::Known {
        return Ok((target, None));
    }
    let blind = target.host_keys == HostKeys::Any;
    target.host_keys = HostKeys::Known;
    let settings = configured(&ssh, &target)?;
    let host = Host { ssh: &ssh, target: &target, name };
    let known_as = settings.known_as();
    let verdict = host.verdict()?;
    journal.note(&format!("the host key of {name} ({known_as}): {verdict:?}"));
    if verdict == Verdict::Contradicts {
        return Err(contradicts(name, &known_as, &settings.user_files, host.learn(None)?.as_ref()).into());
    }
    if let (Verdict::Known, None) = (verdict, expected) {
        return Ok((target, None));
    }
    let learned = host.choose(expected)?;
    if verdict == Verdict::Known {
        return Ok((target, None));
    }
    if expected.is_none() {
        match confirm(&learned)? {
            Some(true) => {}
            Some(false) => return Err(Refusal::new(format!("the host key of {name} was not confirmed")).into()),
            None => return Err(is_unknown(name, &learned).into()),
        }
    }
    journal.note(&format!("{} {} is taken for the host key of {name}", learned.kind, learned.fingerprint));
    if !blind && remember(&settings, &learned)? {
        return Ok((target, None));
    }
    let pinned = pin(&learned)?;
    target.known_hosts = Some(pinned.to_str().context("the path of the known hosts is no UTF-8")?.to_owned());
    Ok((target, Some(pinned)))
}

struct Host<'a> {
    ssh: &'a Path,
    target: &'a SshTarget,
    name: &'a str,
}

impl Host<'_> {
    fn knock(&self, target: &SshTarget, settings: &[&str]) -> Result<Output> {
        let all: Vec<&str> = NOBODY.iter().chain(settings).copied().collect();
        let mut args = target.arguments(&all);
        args.push("true".to_owned());
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        process::output_of(self.ssh, &args, KNOCK).with_context(|| format!("reaching {} by SSH", self.name))
    }

    /// What SSH makes of its key, by what is known.
    fn verdict(&self) -> Result<Verdict> {
        let output = self.knock(self.target, &["StrictHostKeyChecking=yes"])?;
        // One that takes nobody's word for who logs in.
        if output.code == Some(0) {
            return Ok(Verdict::Known);
        }
        match verdict(&output.stderr) {
            Verdict::NotReached => Err(self.not_reached(&output)),
            told => Ok(told),
        }
    }

    fn not_reached(&self, output: &Output) -> anyhow::Error {
        let cause = anyhow::anyhow!("reaching {} by SSH: {}", self.name, said(&output.stderr));
        let port = self.target.port.map_or(String::new(), |port| format!("-p {port} "));
        Advised::new(cause, format!("`ssh {port}{} true` must find it", self.target.host)).into()
    }

    /// The key that it shows, of these algorithms where some are named; none where it has none of these.
    fn learn(&self, algorithms: Option<&str>) -> Result<Option<Learned>> {
        let file = private_file()?;
        let path = file.to_str().context("the path of the known hosts is no UTF-8")?;
        let target = SshTarget { known_hosts: Some(path.to_owned()), ..self.target.clone() };
        let wanted = algorithms.map(|algorithms| format!("HostKeyAlgorithms={algorithms}"));
        let mut settings =
            vec!["StrictHostKeyChecking=accept-new", "HashKnownHosts=no", "GlobalKnownHostsFile=/dev/null", "CheckHostIP=no"];
        settings.extend(wanted.as_deref());
        let output = self.knock(&target, &settings)?;
        let learned = Learned::parse(&fs::read_to_string(&file)?);
        if learned.is_none() && algorithms.is_none() {
            return Err(self.not_reached(&output));
        }
        Ok(learned)
    }

    /// The key that is expected, or the one that it shows where none is.
    fn choose(&self, expected: Option<&Fingerprint>) -> Result<Learned> {
        let first = self.learn(None)?.context("it shows no host key")?;
        let Some(expected) = expected else { return Ok(first) };
        let mut shown = vec![first];
        // It may have several, and show another one first.
        for algorithms in ALGORITHMS {
            if let Some(found) = shown.iter().position(|key| key.fingerprint == *expected) {
                return Ok(shown.swap_remove(found));
            }
            let known = shown.iter().any(|key| algorithms.starts_with(&key.kind));
            shown.extend(if known { None } else { self.learn(Some(algorithms))? });
        }
        match shown.iter().position(|key| key.fingerprint == *expected) {
            Some(found) => Ok(shown.swap_remove(found)),
            None => Err(is_not(self.name, expected, &shown).into()),
        }
    }
}

/// Puts the key among those that the operator's SSH knows. Whether it could be: SSH may be told to remember nobody.
fn remember(settings: &Configured, learned: &Learned) -> Result<bool> {
    let Some(file) = settings.user_files.first().map(Path::new).filter(|file| file.is_absolute()) else { return Ok(false) };
    if known_hosts::check(file).is_err() {
        return Ok(false);
    }
    known_hosts::append(file, std::slice::from_ref(&learned.line))?;
    Ok(true)
}

/// A file of known hosts with this key alone.
fn pin(learned: &Learned) -> Result<TempPath> {
    let path = private_file()?;
    fs::write(&path, format!("{}\n", learned.line))?;
    Ok(path)
}

fn private_file() -> Result<TempPath> {
    let mut file = NamedTempFile::with_prefix_in("hosts-", local::runtime_folder()?).context("making a file of known hosts")?;
    file.flush()?;
    Ok(file.into_temp_path())
}
