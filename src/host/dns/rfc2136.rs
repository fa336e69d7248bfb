//! A server of DNS that takes updates, RFC 2136.

use std::{fs::File, io::Read as _, os::unix::fs::PermissionsExt as _, path::Path};

use anyhow::{Context as _, Result, anyhow};

use super::{
    DnsProvider, Outcome,
    wire::{Answer, Peer},
};
use crate::core::{
    dns::{
        Host,
        config::Rfc2136,
        tsig::{TsigKey, parse_key},
        update::{Entry, entries},
    },
    error::{Invalid, Refusal, UndoIncomplete},
    vm_spec::DomainName,
};

/// More than any key file has.
const LONGEST_KEY_FILE: u64 = 64 * 1024;

/// A server, and what it is told.
pub(super) struct Server {
    name: String,
    config: Rfc2136,
    peer: Peer,
}

impl Server {
    /// # Errors
    /// [`Invalid`]: the key file is not there, others can read it, or it holds no key.
    pub(super) fn open(name: &str, config: &Rfc2136) -> Result<Self> {
        let key = read_key(&config.key_file)?;
        Ok(Self { name: name.to_owned(), config: config.clone(), peer: Peer::new(config.server, &key)? })
    }

    fn entries(&self, host: &Host) -> Result<Vec<Entry>> {
        entries(host, &self.config).map_err(|message| Invalid::argument(format!("[dns.{}]: {message}", self.name)).into())
    }

    fn add_entry(&self, entry: &Entry) -> Result<Outcome> {
        if self.peer.update(&entry.claim(), self.config.ttl)? == Answer::Done {
            return Ok(Outcome::Added);
        }
        if self.peer.update(&entry.repeat(), self.config.ttl)? == Answer::Done {
            return Ok(Outcome::Unchanged);
        }
        Err(Refusal { reasons: self.describe(entry)?, advice: Some("these records are not tpl's to replace".to_owned()) }.into())
    }

    fn withdraw(&self, entry: &Entry) -> Result<()> {
        let Err(error) = self.peer.update(&entry.withdraw(), self.config.ttl) else { return Ok(()) };
        // A key that may change nothing has added nothing: a call that fails for that must not leave its VMs behind.
        if matches!(self.peer.update(&entry.ask_free(), self.config.ttl), Ok(Answer::Done)) {
            return Ok(());
        }
        Err(error.context(format!("removing the records of {}", entry.name)))
    }

    /// What the name of an entry has, a line each.
    fn describe(&self, entry: &Entry) -> Result<Vec<String>> {
        let records = self.peer.records(&entry.name)?;
        if records.is_empty() {
            // It may be of a kind that this key is not shown.
            return Ok(vec![format!("{} is in use on {}", entry.name, self.config.server)]);
        }
        Ok(records.iter().map(|record| format!("{} has {record} on {}", entry.name, self.config.server)).collect())
    }

    /// Takes back what has been added before `cause`, and says how that went.
    fn take_back(&self, added: &[&Entry], cause: anyhow::Error) -> anyhow::Error {
        if added.is_empty() {
            return cause;
        }
        let left: Vec<anyhow::Error> = added.iter().rev().filter_map(|entry| self.withdraw(entry).err()).collect();
        if left.is_empty() {
            let names: Vec<&str> = added.iter().map(|entry| entry.name.as_str()).collect();
            return cause.context(format!("the records of {} are taken back", names.join(", ")));
        }
        UndoIncomplete::new(cause, left).into()
    }
}

impl DnsProvider for Server {
    fn name(&self) -> &str {
        &self.name
    }

    fn domain(&self) -> Option<&DomainName> {
        Some(&self.config.zone)
    }

    fn taken(&self, host: &Host) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        for entry in self.entries(host)? {
            // Asked by updates that change nothing: a query would also be answered by a wildcard, which takes no name.
            let asking = || format!("asking whether {} is free", entry.name);
            let mut free = false;
            for question in [entry.ask_free(), entry.ask_unchanged()] {
                free = free || self.peer.update(&question, self.config.ttl).with_context(asking)? == Answer::Done;
            }
            if !free {
                lines.extend(self.describe(&entry).with_context(asking)?);
            }
        }
        Ok(lines)
    }

    fn add(&self, host: &Host) -> Result<Outcome> {
        let entries = self.entries(host)?;
        let mut added = Vec::new();
        for entry in &entries {
            match self.add_entry(entry) {
                Ok(Outcome::Added) => added.push(entry),
                Ok(Outcome::Unchanged) => {}
                Err(cause) => {
                    let cause = cause.context(format!("adding the records of {}", entry.name));
                    return Err(self.take_back(&added, cause));
                }
            }
        }
        Ok(if added.is_empty() { Outcome::Unchanged } else { Outcome::Added })
    }

    fn remove(&self, host: &Host) -> Result<()> {
        // With fingerprints, also where they are not told any more: they may have been when the host was registered.
        let config = Rfc2136 { sshfp: true, ..self.config.clone() };
        let entries = entries(host, &config).map_err(|message| anyhow!("[dns.{}]: {message}", self.name))?;
        // All of them, and then the first error: one zone's fault is no reason to leave records in another.
        let results: Vec<Result<()>> = entries.iter().map(|entry| self.withdraw(entry)).collect();
        results.into_iter().collect()
    }
}

fn read_key(file: &Path) -> Result<TsigKey> {
    let shown = file.display().to_string();
    let invalid = |message: &str| Invalid::file(&shown, message);
    let opened = File::open(file).map_err(|error| invalid(&format!("this key file cannot be read: {error}")))?;
    // Of the file that is open, not of the one that its name leads to a moment later.
    let metadata = opened.metadata().with_context(|| format!("reading {shown}"))?;
    if !metadata.is_file() {
        return Err(invalid("this is no file").into());
    }
    if metadata.permissions().mode() & 0o007 != 0 {
        return Err(invalid(&format!("this key is open to every user: chmod o= {shown}")).into());
    }
    let mut text = String::new();
    opened.take(LONGEST_KEY_FILE).read_to_string(&mut text).map_err(|_| invalid("this key file is no text"))?;
    Ok(parse_key(&text).map_err(|message| invalid(&message))?)
}
