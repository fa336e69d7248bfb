//! What the cache remembers of URLs: which file came from where, and the lists and signatures that builds without a network
//! need. None of it is believed: files are checked by their digests, lists by their signatures, each time.

use std::{
    fs::{self, File, Permissions},
    io::{self, Read as _, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    cache::{Cache, touch},
    hash::sha256,
    http::{MAX_LIST, Validator},
};
use crate::core::source::Digest;

/// No record is near this size.
const MAX_RECORD: u64 = 64 << 10;

/// Where a file of the cache came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Where it came from.
    pub url: String,
    /// Which file it is.
    #[serde(flatten)]
    pub digest: Digest,
    /// When it came.
    pub fetched_at: Timestamp,
    /// What the server called this state of the file, for downloads whose digest nobody vouches for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validator: Option<Validator>,
}

impl Cache {
    /// What is known about a URL; nothing where the record is damaged.
    pub fn record(&self, url: &str) -> Option<Record> {
        let record: Record = read(&self.record_path(url), MAX_RECORD).ok()??;
        // Named after another URL, it was put there by something else.
        (record.url == url).then_some(record)
    }

    /// Writes a record.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn note(&self, record: &Record) -> Result<()> {
        let json = serde_json::to_vec(record).with_context(|| format!("describing {}", record.url))?;
        write(&self.record_path(&record.url), &json)
    }

    /// Notes that a file that is in the cache already is behind this URL as well. In a cache that another user fills, it is not.
    pub fn note_known(&self, url: &str, digest: Digest) {
        if self.record(url).is_none_or(|record| record.digest != digest) {
            let _ = self.note(&Record { url: url.to_owned(), digest, fetched_at: Timestamp::now(), validator: None });
        }
    }

    /// All records, in no order; damaged ones are passed over.
    pub fn records(&self) -> Vec<(PathBuf, Record)> {
        let Ok(entries) = fs::read_dir(self.folder().join("urls")) else { return Vec::new() };
        let record = |path: PathBuf| Some((path.clone(), read::<Record>(&path, MAX_RECORD).ok()??));
        entries.flatten().filter_map(|entry| record(entry.path())).collect()
    }

    /// Keeps a list or a signature; none stands for a file that the server does not have.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn keep_list(&self, url: &str, bytes: Option<&[u8]>) -> Result<()> {
        write(&self.list_path(url), bytes.unwrap_or_default())
    }

    /// A list or a signature as it was kept; inside, none where the server did not have it.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub fn list(&self, url: &str) -> Result<Option<Option<Vec<u8>>>> {
        let path = self.list_path(url);
        let bytes = bytes(&path, MAX_LIST).with_context(|| format!("reading {}", path.display()))?;
        Ok(bytes.map(|bytes| if bytes.is_empty() { None } else { Some(bytes) }))
    }

    fn record_path(&self, url: &str) -> PathBuf {
        self.folder().join("urls").join(format!("{}.json", sha256(url)))
    }

    fn list_path(&self, url: &str) -> PathBuf {
        self.folder().join("lists").join(sha256(url).to_string())
    }
}

fn read<T: for<'de> Deserialize<'de>>(path: &Path, limit: u64) -> io::Result<Option<T>> {
    Ok(bytes(path, limit)?.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

/// A small file; none if it is not there.
fn bytes(path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    touch(&file);
    let mut bytes = Vec::new();
    file.take(limit).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// Under its name there is always a whole file: another build may read it just now.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let writing = || format!("writing {}", path.display());
    let folder = path.parent().with_context(writing)?;
    fs::create_dir_all(folder).with_context(writing)?;
    let mut builder = tempfile::Builder::new();
    let mut file = builder.permissions(Permissions::from_mode(0o644)).tempfile_in(folder).with_context(writing)?;
    file.write_all(bytes).with_context(writing)?;
    file.persist(path).with_context(writing)?;
    Ok(())
}
