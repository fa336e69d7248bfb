//! Hosts files of a dnsmasq: one for all hosts, which it reads again at a SIGHUP, or a folder with a file for each, which it
//! watches. Files that go away from the folder are noticed by dnsmasq from 2.87 on; an older one wants the SIGHUP there as well.

use std::{
    fs::{self, File, TryLockError},
    io::ErrorKind,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use rustix::{
    io::Errno,
    process::{Pid, Signal, kill_process},
};

use super::{DnsProvider, Outcome};
use crate::{
    core::{
        dns::{
            Host,
            config::{HostsFile, HostsPlace},
            hosts_file::Entry,
        },
        error::{Advised, Invalid, Refusal},
        vm_spec::DomainName,
    },
    host::whole_file::{self, sync_folder},
};

/// How long another process may take to write its host.
const PATIENCE: Duration = Duration::from_secs(10);

/// Hosts files of a dnsmasq.
pub(super) struct HostsFiles {
    name: String,
    config: HostsFile,
}

impl HostsFiles {
    pub(super) fn new(name: &str, config: &HostsFile) -> Self {
        Self { name: name.to_owned(), config: config.clone() }
    }

    fn entry(&self, host: &Host) -> Entry {
        Entry::new(host, self.config.domain.as_ref())
    }

    /// The file that the entry belongs into, symbolic links followed: people keep such files in a repository of their own.
    fn file(&self, entry: &Entry) -> PathBuf {
        match &self.config.place {
            HostsPlace::File(file) => fs::canonicalize(file).unwrap_or_else(|_| file.clone()),
            HostsPlace::Folder(folder) => folder.join(entry.canonical()),
        }
    }

    /// The files that dnsmasq reads, in the order of their names.
    fn files(&self) -> Result<Vec<PathBuf>> {
        let folder = match &self.config.place {
            HostsPlace::File(file) => return Ok(vec![file.clone()]),
            HostsPlace::Folder(folder) => folder,
        };
        let reading = || format!("reading the folder {}", folder.display());
        let mut files = Vec::new();
        for found in fs::read_dir(folder).with_context(reading)? {
            let found = found.with_context(reading)?;
            // As dnsmasq does: editors' and programs' temporary files are none of its hosts files.
            let name = found.file_name().to_string_lossy().into_owned();
            let temporary = name.starts_with('.') || name.ends_with('~') || (name.starts_with('#') && name.ends_with('#'));
            if !temporary && found.path().is_file() {
                files.push(found.path());
            }
        }
        files.sort();
        Ok(files)
    }

    /// What answers already, and whether it is an older entry of tpl's in the file where the new one goes.
    fn found(&self, entry: &Entry) -> Result<Vec<(String, bool)>> {
        let own = self.file(entry);
        let mut lines = Vec::new();
        for file in self.files()? {
            let replaced = file == own || matches!(self.config.place, HostsPlace::File(_));
            let found = entry.taken(&read(&file)?.unwrap_or_default());
            lines.extend(
                found
                    .into_iter()
                    .map(|found| (format!("{}:{}: {}", file.display(), found.line, found.text), found.older && replaced)),
            );
        }
        Ok(lines)
    }

    /// The folder whose lock keeps other calls out. The file itself is replaced, so a lock on it would be on the old one.
    fn lock(&self, file: &Path) -> Result<File> {
        let folder = file.parent().unwrap_or(Path::new("/"));
        let lock = File::open(folder).with_context(|| format!("opening the folder {}", folder.display()))?;
        let end = Instant::now() + PATIENCE;
        loop {
            match lock.try_lock() {
                Ok(()) => return Ok(lock),
                Err(TryLockError::WouldBlock) if Instant::now() < end => thread::sleep(Duration::from_millis(20)),
                Err(TryLockError::WouldBlock) => bail!("the folder {} is locked by another process", folder.display()),
                Err(TryLockError::Error(error)) => {
                    return Err(error).with_context(|| format!("locking the folder {}", folder.display()));
                }
            }
        }
    }

    /// The process of dnsmasq; none where no file is named that tells it.
    fn dnsmasq(&self) -> Result<Option<Result<Pid, Advised>>> {
        let Some(file) = &self.config.pid_file else { return Ok(None) };
        let not_running = |why: &str| {
            let cause = anyhow::anyhow!("dnsmasq cannot be told: {} {why}", file.display());
            Advised::new(cause, format!("start dnsmasq, or set pid_file of [dns.{}] to the file that it writes", self.name))
        };
        let text = match fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Some(Err(not_running("is not there")))),
            Err(error) => return Err(error).with_context(|| format!("reading {}", file.display())),
        };
        // Not the first process, and not a negative number, which would be a whole group.
        let Some(pid) = text.trim().parse().ok().filter(|pid| *pid > 1).and_then(Pid::from_raw) else {
            return Ok(Some(Err(not_running("holds no number of a process"))));
        };
        // The number of one that is gone may be another's by now.
        let comm = fs::read_to_string(format!("/proc/{}/comm", pid.as_raw_nonzero())).unwrap_or_default();
        Ok(Some(if comm.trim_end() == "dnsmasq" { Ok(pid) } else { Err(not_running("names a process that is no dnsmasq")) }))
    }
}

impl DnsProvider for HostsFiles {
    fn name(&self) -> &str {
        &self.name
    }

    fn domain(&self) -> Option<&DomainName> {
        self.config.domain.as_ref()
    }

    fn taken(&self, host: &Host) -> Result<Vec<String>> {
        let mut reasons: Vec<String> = self.found(&self.entry(host))?.into_iter().map(|(line, _)| line).collect();
        // Nobody would be told: that is better known before anything is made.
        if let Some(Err(not_running)) = self.dnsmasq()? {
            reasons.push(format!("{:#}", not_running.cause));
        }
        Ok(reasons)
    }

    fn add(&self, host: &Host) -> Result<Outcome> {
        let entry = self.entry(host);
        let file = self.file(&entry);
        // Before anything is written: a file that nobody reads is no registration.
        let dnsmasq = self.dnsmasq()?.transpose()?;
        let lock = self.lock(&file)?;
        let reasons: Vec<String> =
            self.found(&entry)?.into_iter().filter_map(|(line, replaced)| (!replaced).then_some(line)).collect();
        if !reasons.is_empty() {
            return Err(Refusal { reasons, advice: Some(format!("{} is not registered over them", entry.canonical())) }.into());
        }
        let outcome = change(&file, |text| entry.put_into(text)).with_context(|| format!("writing {}", file.display()))?;
        drop(lock);
        // Also where nothing has changed: a call before this one may have been killed between the two.
        dnsmasq.map_or(Ok(()), reload)?;
        Ok(outcome)
    }

    fn remove(&self, host: &Host) -> Result<()> {
        let entry = self.entry(host);
        let file = self.file(&entry);
        if !file.parent().is_some_and(Path::exists) {
            return Ok(());
        }
        let lock = self.lock(&file)?;
        let empty_goes = matches!(self.config.place, HostsPlace::Folder(_));
        let changed = if empty_goes && read(&file)?.is_some_and(|text| !text.is_empty() && entry.take_out_of(&text).is_empty()) {
            fs::remove_file(&file).and_then(|()| sync_folder(&file))
        } else {
            change(&file, |text| entry.take_out_of(text)).map(|_| ())
        };
        changed.with_context(|| format!("writing {}", file.display()))?;
        drop(lock);
        // A dnsmasq that does not run has nothing to forget.
        match self.dnsmasq()? {
            Some(Ok(dnsmasq)) => reload(dnsmasq),
            Some(Err(_)) | None => Ok(()),
        }
    }
}

fn reload(dnsmasq: Pid) -> Result<()> {
    match kill_process(dnsmasq, Signal::HUP) {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        Err(error) => Err(error).context("telling dnsmasq to read its hosts files again"),
    }
}

fn read(file: &Path) -> Result<Option<String>> {
    // Opening a pipe would wait for somebody at its other end.
    if fs::metadata(file).is_ok_and(|metadata| !metadata.is_file()) {
        return Err(Invalid::file(&file.display().to_string(), "this is no file that hosts could stand in").into());
    }
    match fs::read_to_string(file) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {}", file.display())),
    }
}

/// Replaces the file whole, with its mode and owner: a reader sees the old one or the new one. One that is not there is made,
/// unless there is nothing to write.
fn change(file: &Path, edit: impl Fn(&str) -> String) -> std::io::Result<Outcome> {
    let old = match fs::metadata(file) {
        Ok(metadata) if !metadata.is_file() => return Err(ErrorKind::InvalidInput.into()),
        Ok(_) => fs::read_to_string(file)?,
        Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    let text = edit(&old);
    if text == old {
        return Ok(Outcome::Unchanged);
    }
    // For all to read: dnsmasq is another user. Names and addresses are no secret.
    whole_file::replace(file, &text)?;
    Ok(Outcome::Added)
}
