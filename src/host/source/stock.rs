//! What the cache holds, and what of it can go.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;

use super::{cache::Cache, partial::is_still, records::Record};
use crate::core::source::{Age, Algorithm, Digest};

/// A file of the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Where it is.
    pub path: PathBuf,
    /// Which file it is, or is to become; none for the beginning of a file of which nothing is known.
    pub digest: Option<Digest>,
    /// Whether it is only the beginning.
    pub partial: bool,
    /// Its size in bytes.
    pub size: u64,
    /// When it was last used; when the last bytes came, for a beginning.
    pub used_at: Timestamp,
    /// When it came, where that is known.
    pub fetched_at: Option<Timestamp>,
    /// Where it came from, sorted.
    pub urls: Vec<String>,
}

impl Stored {
    /// How long it was not used.
    pub fn idle(&self, now: Timestamp) -> Age {
        Age(now.duration_since(self.used_at).try_into().unwrap_or_default())
    }
}

/// What became of a file that could go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It is gone; in a dry run, it could be.
    Removed,
    /// Somebody uses it.
    InUse,
}

impl Cache {
    /// All files, the most recently used first. What tpl has not put there is not among them.
    ///
    /// # Errors
    /// A folder cannot be read.
    pub fn stock(&self) -> Result<Vec<Stored>> {
        let mut records: BTreeMap<Digest, Vec<Record>> = BTreeMap::new();
        for (_, record) in self.records() {
            records.entry(record.digest).or_default().push(record);
        }
        if self.folder().exists() && !self.folder().is_dir() {
            bail!("{} is no folder, and so it is no cache", self.folder().display());
        }
        let mut stock = Vec::new();
        for algorithm in Algorithm::ALL {
            for folder in entries(&self.folder().join(algorithm.word()))? {
                for path in entries(&folder)? {
                    stock.extend(self.stored(path, &records)?);
                }
            }
        }
        for path in entries(&self.folder().join("unverified"))? {
            if path.extension().is_some_and(|extension| extension == "partial") {
                stock.extend(describe(path, None, true, &[])?);
            }
        }
        stock.sort_by(|a, b| b.used_at.cmp(&a.used_at).then_with(|| a.path.cmp(&b.path)));
        Ok(stock)
    }

    fn stored(&self, path: PathBuf, records: &BTreeMap<Digest, Vec<Record>>) -> Result<Option<Stored>> {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let (digest, partial) = match name.strip_suffix(".partial") {
            Some(digest) => (digest, true),
            None => (name.as_str(), false),
        };
        let Ok(digest) = digest.parse::<Digest>() else { return Ok(None) };
        // Under its own name, in its own folder; else it is not one that tpl would find.
        if self.path(digest).parent() != path.parent() {
            return Ok(None);
        }
        describe(path, Some(digest), partial, records.get(&digest).map_or(&[], Vec::as_slice))
    }

    /// Removes a file, unless somebody uses it: holds it, or downloads it.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn remove(&self, stored: &Stored, dry_run: bool) -> Result<Fate> {
        let path = &stored.path;
        let removing = || format!("removing {}", path.display());
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Fate::Removed),
            Err(error) => return Err(error).with_context(removing),
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(Fate::InUse),
            Err(TryLockError::Error(error)) => return Err(error).with_context(removing),
        }
        // Somebody may have finished it, or begun another, between the two steps.
        if !is_still(&file, path).with_context(removing)? {
            return Ok(Fate::InUse);
        }
        if !dry_run {
            fs::remove_file(path).with_context(removing)?;
        }
        Ok(Fate::Removed)
    }

    /// Forgets URLs whose file is gone, and lists that were not used since `since`. Small things, of which nobody has to hear.
    pub fn forget(&self, since: Timestamp) {
        let mut gone: BTreeSet<PathBuf> =
            self.records().into_iter().filter(|(_, record)| !self.has(record.digest)).map(|(path, _)| path).collect();
        let old = |path: &PathBuf| used_at(path).is_ok_and(|used| used < since);
        gone.extend(entries(&self.folder().join("lists")).unwrap_or_default().into_iter().filter(old));
        gone.iter().for_each(|path| {
            let _ = fs::remove_file(path);
        });
    }
}

fn describe(path: PathBuf, digest: Option<Digest>, partial: bool, records: &[Record]) -> Result<Option<Stored>> {
    let data = match fs::symlink_metadata(&path) {
        Ok(data) if data.is_file() => data,
        Ok(_) => return Ok(None),
        // Finished or removed since the folder was read.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("looking at {}", path.display())),
    };
    let used_at = data.modified().ok().and_then(|time| Timestamp::try_from(time).ok()).unwrap_or_default();
    let mut urls: Vec<String> = records.iter().map(|record| record.url.clone()).collect();
    urls.sort();
    let fetched_at = records.iter().map(|record| record.fetched_at).min();
    Ok(Some(Stored { path, digest, partial, size: data.len(), used_at, fetched_at, urls }))
}

fn used_at(path: &Path) -> io::Result<Timestamp> {
    let time = fs::metadata(path)?.modified()?;
    Timestamp::try_from(time).map_err(io::Error::other)
}

/// What is in a folder; nothing where there is none.
fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let reading = || format!("reading {}", folder.display());
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(Vec::new()),
        Err(error) => return Err(error).with_context(reading),
    };
    entries.map(|entry| Ok(entry.with_context(reading)?.path())).collect()
}
