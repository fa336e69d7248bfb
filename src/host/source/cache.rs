//! Downloaded files, by digest: `sha256/ab/abcdef…`. A file under such a name is whole and is never written again.
//!
//! ```text
//! abcdef….partial, locked → bytes are appended, hashed as they come → fsync → rename → abcdef…
//!        ↑ goes on where an earlier download broke off          ↓ wrong digest: emptied, once more
//! ```

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Seek as _, SeekFrom, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow, bail};
use reqwest::blocking::Response;
use sha2::{Digest as _, Sha256};

use super::{
    Wanted,
    http::{Fault, Http, Reply, patiently},
};
use crate::core::sha256::Sha256Digest;

const BUFFER: usize = 64 << 10;
/// A mirror that never stops sending must not fill the disk. Debian's largest initrd has 120 MiB.
const MAX_FILE: u64 = 1 << 30;

/// A folder of files that are named by their digests. Any number of processes may share it.
pub struct Cache(PathBuf);

/// Hears of a download: the bytes that are there and the size of the whole, where the server tells it; and of waiting.
pub trait Watch {
    /// So many bytes are there.
    fn bytes(&mut self, done: u64, total: Option<u64>);
    /// Another process downloads the same file.
    fn waits(&mut self);
}

impl Cache {
    /// A cache in that folder, which is made when something is to be kept.
    pub fn new(folder: PathBuf) -> Self {
        Self(folder)
    }

    /// The wanted file: from the cache if it is there and whole, else downloaded.
    ///
    /// # Errors
    /// It cannot be had, has a wrong digest twice, or cannot be kept.
    pub fn get(&self, http: &Http, wanted: &Wanted, watch: &mut dyn Watch) -> Result<PathBuf> {
        let path = self.path(wanted.sha256);
        // A whole file is never written again, so looking at it needs no lock.
        if is_whole(&path, wanted.sha256)? {
            return Ok(path);
        }
        let folder = path.parent().context("a cached file is in a folder")?;
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        let mut partial = Partial::lock(folder.join(format!("{}.partial", wanted.sha256)), watch)?;
        // Whoever held the lock may have been busy with just this file.
        if is_whole(&path, wanted.sha256)? {
            partial.discard()?;
            return Ok(path);
        }
        if path.try_exists().with_context(|| format!("looking for {}", path.display()))? {
            fs::remove_file(&path).with_context(|| format!("throwing the damaged {} away", path.display()))?;
        }
        if let Err(error) = partial.download_checked(http, wanted, watch) {
            if partial.length == 0 {
                // Nothing to go on with. The download's error counts more than one about an empty file.
                let _ = partial.discard();
            }
            return Err(error).with_context(|| format!("fetching {}", wanted.url));
        }
        partial.keep(&path).with_context(|| format!("keeping {}", path.display()))?;
        Ok(path)
    }

    /// Where the file with a digest is, or would be.
    pub fn path(&self, digest: Sha256Digest) -> PathBuf {
        let name = digest.to_string();
        self.0.join("sha256").join(&name[..2]).join(name)
    }
}

/// Reads the whole file: a disk that lost power may hold a file of the right name and size, full of zeros.
fn is_whole(path: &Path, digest: Sha256Digest) -> Result<bool> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error).with_context(|| format!("opening {}", path.display())),
    };
    let mut hasher = Sha256::new();
    hash_rest(&mut file, &mut hasher).with_context(|| format!("reading {}", path.display()))?;
    Ok(finish(hasher) == digest)
}

fn hash_rest(file: &mut File, hasher: &mut Sha256) -> io::Result<u64> {
    let mut buffer = vec![0; BUFFER];
    let mut length = 0;
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(length),
            count => {
                hasher.update(&buffer[..count]);
                length += count as u64;
            }
        }
    }
}

fn finish(hasher: Sha256) -> Sha256Digest {
    Sha256Digest(hasher.finalize().into())
}

/// A file that grows, locked against other processes until it is dropped. `hasher` has seen its first `length` bytes, which
/// are all it has.
struct Partial {
    path: PathBuf,
    file: File,
    hasher: Sha256,
    length: u64,
}

impl Partial {
    fn lock(path: PathBuf, watch: &mut dyn Watch) -> Result<Self> {
        let mut file = locked(&path, watch).with_context(|| format!("locking {}", path.display()))?;
        let mut hasher = Sha256::new();
        let length = hash_rest(&mut file, &mut hasher).with_context(|| format!("reading {}", path.display()))?;
        Ok(Self { path, file, hasher, length })
    }

    fn download_checked(&mut self, http: &Http, wanted: &Wanted, watch: &mut dyn Watch) -> Result<()> {
        let mut found = self.digest();
        if self.length > 0 && found == wanted.sha256 {
            return Ok(());
        }
        // Twice: what was wrong may be the beginning that an earlier download left, or one bad answer.
        for _ in 0..2 {
            patiently(|| self.download(http, &wanted.url, watch))?;
            found = self.digest();
            if found == wanted.sha256 {
                return Ok(());
            }
            self.restart()?;
        }
        bail!("its SHA-256 is {found}, and {} was expected", wanted.sha256)
    }

    fn digest(&self) -> Sha256Digest {
        finish(self.hasher.clone())
    }

    /// One request, from where the file ends. What has come stays, whatever happens then.
    fn download(&mut self, http: &Http, url: &str, watch: &mut dyn Watch) -> Result<(), Fault> {
        let reply = match http.open(url, self.length)? {
            Reply::NothingThere => {
                self.restart().map_err(Fault::Lasting)?;
                http.open(url, 0)?
            }
            reply => reply,
        };
        match reply {
            Reply::Rest(response) => self.append(response, watch),
            Reply::Whole(response) => {
                self.restart().map_err(Fault::Lasting)?;
                self.append(response, watch)
            }
            Reply::NothingThere => Err(Fault::Lasting(anyhow!("the server answers with ranges that nobody asked for"))),
        }
    }

    fn append(&mut self, mut response: Response, watch: &mut dyn Watch) -> Result<(), Fault> {
        let total = response.content_length().map(|rest| self.length.saturating_add(rest));
        let mut buffer = vec![0; BUFFER];
        loop {
            let count = match response.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Fault::Passing(anyhow!(error).context("receiving it"))),
            };
            self.length += count as u64;
            if self.length > MAX_FILE {
                self.restart().map_err(Fault::Lasting)?;
                return Err(Fault::Lasting(anyhow!("larger than {} MiB, which no installer is", MAX_FILE >> 20)));
            }
            self.hasher.update(&buffer[..count]);
            self.file.write_all(&buffer[..count]).map_err(|error| Fault::Lasting(self.writing(error)))?;
            watch.bytes(self.length, total);
        }
    }

    fn restart(&mut self) -> Result<()> {
        self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0))).map_err(|error| self.writing(error))?;
        self.hasher = Sha256::new();
        self.length = 0;
        Ok(())
    }

    fn writing(&self, error: io::Error) -> anyhow::Error {
        anyhow!(error).context(format!("writing {}", self.path.display()))
    }

    fn discard(self) -> Result<()> {
        fs::remove_file(&self.path).with_context(|| format!("removing {}", self.path.display()))
    }

    fn keep(self, path: &Path) -> Result<()> {
        // The bytes before the name: after a power cut a name must not stand for a file that is not there.
        self.file.sync_all().context("syncing it")?;
        fs::rename(&self.path, path).context("renaming it")?;
        let folder = path.parent().context("a cached file is in a folder")?;
        File::open(folder).and_then(|folder| folder.sync_all()).context("syncing its folder")?;
        Ok(())
    }
}

/// Opens and locks a partial file. The one who had the lock before may have renamed or removed the file that was waited for;
/// then the lock is on a file that is no longer there under this name, and it takes another round.
fn locked(path: &Path, watch: &mut dyn Watch) -> io::Result<File> {
    loop {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                watch.waits();
                file.lock()?;
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let held = file.metadata()?;
        match fs::metadata(path) {
            Ok(named) if (named.dev(), named.ino()) == (held.dev(), held.ino()) => return Ok(file),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
}
