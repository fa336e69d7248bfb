//! Downloaded files, by digest. A file under such a name is whole and is never written again.
//!
//! ```text
//! sha256/ab/abcdef…          whole; who uses it holds a shared lock on it, so that nobody prunes it. Its time is that of its last use
//! sha256/ab/abcdef….partial  locked by the one who downloads it
//! sha512/…                   the same, for vendors whose lists have SHA-512
//! urls/…                     where each file came from: see `records`
//! lists/…                    lists and signatures, for builds without a network
//! unverified/….partial       a download of which no digest is known yet
//!
//! abcdef….partial, locked → bytes are appended, hashed as they come → fsync → rename → abcdef…
//!        ↑ goes on where an earlier download broke off          ↓ wrong digest: emptied, once more
//! ```

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::SystemTime,
};

use anyhow::{Context as _, Result};
use jiff::Timestamp;

use super::{
    hash::{Hasher, hash_rest, sha256},
    http::Http,
    partial::{Partial, is_still},
    records::Record,
};
use crate::core::source::{Algorithm, Digest};

/// A folder of files that are named by their digests. Any number of processes may share it.
pub struct Cache(PathBuf);

/// Hears of a download: the bytes that are there and the size of the whole, where the server tells it; and of waiting.
pub trait Watch {
    /// So many bytes are there.
    fn bytes(&mut self, done: u64, total: Option<u64>);
    /// So many bytes of a file that is there already have been checked.
    fn checked(&mut self, done: u64, total: u64);
    /// Another process downloads the same file.
    fn waits(&mut self);
}

/// A file of the cache that nobody prunes as long as this is held.
#[derive(Debug)]
pub struct Held {
    /// Where it is.
    pub path: PathBuf,
    /// Carries the lock.
    pub file: File,
}

impl Cache {
    /// A cache in that folder, which is made when something is to be kept.
    pub fn new(folder: PathBuf) -> Self {
        Self(folder)
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        &self.0
    }

    /// The wanted file: from the cache if it is there and whole, else downloaded.
    ///
    /// # Errors
    /// It cannot be had, has a wrong digest twice, or cannot be kept.
    pub fn get(&self, http: &Http, url: &str, digest: Digest, watch: &mut dyn Watch) -> Result<Held> {
        // A whole file is never written again, so looking at it needs no lock.
        if let Some(held) = self.whole(digest, watch)? {
            self.note_known(url, digest);
            return Ok(held);
        }
        let path = self.path(digest);
        let folder = path.parent().context("a cached file is in a folder")?;
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        let mut partial = Partial::lock(folder.join(format!("{digest}.partial")), digest.algorithm(), http, watch)?;
        // Whoever held the lock may have been busy with just this file.
        if let Some(held) = self.whole(digest, watch)? {
            partial.discard()?;
            return Ok(held);
        }
        if path.try_exists().with_context(|| format!("looking for {}", path.display()))? {
            fs::remove_file(&path).with_context(|| format!("throwing the damaged {} away", path.display()))?;
        }
        if let Err(error) = partial.download_checked(http, url, digest, watch) {
            if partial.is_empty() {
                // Nothing to go on with. The download's error counts more than one about an empty file.
                let _ = partial.discard();
            }
            return Err(error).with_context(|| format!("fetching {url}"));
        }
        let held = self.keep(partial, &path)?;
        self.note(&Record { url: url.to_owned(), digest, fetched_at: Timestamp::now(), validator: None })?;
        Ok(held)
    }

    /// The file behind a URL, of which no digest is known: downloaded, unless the server says that it is still the one that came
    /// from there the last time. Its SHA-256.
    ///
    /// # Errors
    /// It cannot be had, or cannot be kept.
    pub fn get_unknown(&self, http: &Http, url: &str, watch: &mut dyn Watch) -> Result<Digest> {
        let folder = self.0.join("unverified");
        fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
        let mut partial = Partial::lock(folder.join(format!("{}.partial", sha256(url))), Algorithm::Sha256, http, watch)?;
        let known = self.record(url).filter(|record| self.has(record.digest));
        let validator = known.as_ref().and_then(|record| record.validator.as_ref());
        let fetched = match partial.download_unknown(http, url, validator, watch) {
            Ok(fetched) => fetched,
            Err(error) => {
                // What came is of no use to the next one, who cannot know what it is the beginning of.
                let _ = partial.discard();
                return Err(error).with_context(|| format!("fetching {url}"));
            }
        };
        let record = match (fetched, known) {
            (None, Some(record)) => {
                partial.discard()?;
                Record { fetched_at: Timestamp::now(), ..record }
            }
            (validator, _) => {
                let digest = partial.digest();
                let path = self.path(digest);
                // It may be there already, from elsewhere; and a whole file is never written again.
                if self.whole(digest, watch)?.is_some() {
                    partial.discard()?;
                } else {
                    self.adopt(partial, &path)?;
                }
                Record { url: url.to_owned(), digest, fetched_at: Timestamp::now(), validator }
            }
        };
        self.note(&record)?;
        Ok(record.digest)
    }

    fn adopt(&self, partial: Partial, path: &Path) -> Result<Held> {
        let folder = path.parent().context("a cached file is in a folder")?;
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        self.keep(partial, path)
    }

    /// Whether a file of that digest is there; its bytes are not looked at.
    pub fn has(&self, digest: Digest) -> bool {
        self.path(digest).is_file()
    }

    /// Where the file with a digest is, or would be.
    pub fn path(&self, digest: Digest) -> PathBuf {
        let name = digest.to_string();
        self.0.join(digest.algorithm().word()).join(&name[..2]).join(name)
    }

    /// The file with a digest, held, if it is there and whole. The whole file is read: a disk that lost power may hold a file
    /// of the right name and size, full of zeros.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub fn whole(&self, digest: Digest, watch: &mut dyn Watch) -> Result<Option<Held>> {
        let path = self.path(digest);
        let Some(mut file) = held(&path).with_context(|| format!("opening {}", path.display()))? else { return Ok(None) };
        let reading = || format!("reading {}", path.display());
        let size = file.metadata().with_context(reading)?.len();
        let mut hashers = [Hasher::new(digest.algorithm())];
        hash_rest(&mut file, &mut hashers, &mut |done| watch.checked(done, size)).with_context(reading)?;
        let [hasher] = hashers;
        if hasher.finish() != digest {
            return Ok(None);
        }
        touch(&file);
        Ok(Some(Held { path, file }))
    }

    fn keep(&self, partial: Partial, path: &Path) -> Result<Held> {
        let keeping = || format!("keeping {}", path.display());
        partial.keep(path).with_context(keeping)?;
        let file = held(path).with_context(keeping)?.with_context(|| format!("{} was removed at once", path.display()))?;
        Ok(Held { path: path.to_owned(), file })
    }
}

/// Opens a whole file and holds it; none if it is not there. Whoever prunes may have taken it away between the two steps.
fn held(path: &Path) -> io::Result<Option<File>> {
    loop {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        file.lock_shared()?;
        if is_still(&file, path)? {
            return Ok(Some(file));
        }
    }
}

/// Notes the use of a file. In a cache that another user fills there is nothing to note it in.
pub(super) fn touch(file: &File) {
    let _ = file.set_modified(SystemTime::now());
}
