//! A file that is being downloaded: it grows, goes on where an earlier download broke off, and is one process's at a time.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail};
use reqwest::blocking::Response;

use super::{
    cache::Watch,
    hash::{BUFFER, Hasher, hash_rest},
    http::{Fault, Http, Reply, Validator, patiently},
};
use crate::core::{
    source::{Algorithm, Digest},
    units::ByteSize,
};

/// A server that never stops sending must not fill the disk. The largest media, Red Hat's DVDs, have 12 GiB.
const MAX_FILE: u64 = 16 << 30;
/// Between two looks at whether another process is done with a download.
const LOCK_PAUSE: Duration = Duration::from_millis(200);

/// A file that grows, locked against other processes until it is dropped. `hasher` has seen its first `length` bytes, which
/// are all it has.
pub struct Partial {
    path: PathBuf,
    file: File,
    algorithm: Algorithm,
    hasher: Hasher,
    length: u64,
}

impl Partial {
    /// Opens and locks it, waiting for whoever has it, and reads what is there.
    ///
    /// # Errors
    /// It cannot be made, locked or read.
    pub fn lock(path: PathBuf, algorithm: Algorithm, http: &Http, watch: &mut dyn Watch) -> Result<Self> {
        let mut file = locked(&path, http, watch).with_context(|| format!("locking {}", path.display()))?;
        let mut hashers = [Hasher::new(algorithm)];
        let read = hash_rest(&mut file, &mut hashers, &mut |_| ());
        let length = read.with_context(|| format!("reading {}", path.display()))?;
        let [hasher] = hashers;
        Ok(Self { path, file, algorithm, hasher, length })
    }

    /// Whether nothing has come yet.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The digest of what is there.
    pub fn digest(&self) -> Digest {
        self.hasher.clone().finish()
    }

    /// Downloads until the file has that digest.
    ///
    /// # Errors
    /// It cannot be had, or has another digest twice.
    pub fn download_checked(&mut self, http: &Http, url: &str, wanted: Digest, watch: &mut dyn Watch) -> Result<()> {
        let mut found = self.digest();
        if self.length > 0 && found == wanted {
            return Ok(());
        }
        // Twice: what was wrong may be the beginning that an earlier download left, or one bad answer.
        for _ in 0..2 {
            patiently(|| self.download(http, url, watch))?;
            found = self.digest();
            if found == wanted {
                return Ok(());
            }
            self.restart()?;
        }
        bail!("its {} is {found}, and {wanted} was expected", self.algorithm.name())
    }

    /// Downloads a file of which nothing is known, from its beginning in each try: the rest may be that of another file. What it
    /// is called by then, or nothing if the server says that it is still the one that `known` is about.
    ///
    /// # Errors
    /// It cannot be had.
    pub fn download_unknown(
        &mut self,
        http: &Http,
        url: &str,
        known: Option<&Validator>,
        watch: &mut dyn Watch,
    ) -> Result<Option<Validator>> {
        patiently(|| {
            self.restart().map_err(Fault::Lasting)?;
            let Some(response) = http.open_unless(url, known)? else { return Ok(None) };
            let validator = Validator::of(&response);
            self.append(http, response, watch)?;
            Ok(Some(validator))
        })
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
            Reply::Rest(response) => self.append(http, response, watch),
            Reply::Whole(response) => {
                self.restart().map_err(Fault::Lasting)?;
                self.append(http, response, watch)
            }
            Reply::NothingThere => Err(Fault::Lasting(anyhow!("the server answers with ranges that nobody asked for"))),
        }
    }

    fn append(&mut self, http: &Http, mut response: Response, watch: &mut dyn Watch) -> Result<(), Fault> {
        let rest = response.content_length();
        let total = rest.map(|rest| self.length.saturating_add(rest));
        if total.is_some_and(|total| total > MAX_FILE) {
            return Err(too_large());
        }
        self.room(rest.unwrap_or(0)).map_err(Fault::Lasting)?;
        let mut buffer = vec![0; BUFFER];
        loop {
            http.go_on().map_err(Fault::Lasting)?;
            let count = match response.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(Fault::Passing(anyhow!(error).context("receiving it"))),
            };
            self.length += count as u64;
            if self.length > MAX_FILE {
                self.restart().map_err(Fault::Lasting)?;
                return Err(too_large());
            }
            self.hasher.update(&buffer[..count]);
            self.file.write_all(&buffer[..count]).map_err(|error| Fault::Lasting(self.writing(error)))?;
            watch.bytes(self.length, total);
        }
    }

    /// Better said now than after ten minutes of downloading.
    fn room(&self, rest: u64) -> Result<()> {
        let free =
            rustix::fs::fstatvfs(&self.file).with_context(|| format!("asking how much room {} has", self.path.display()))?;
        let folder = self.path.parent().unwrap_or(&self.path);
        enough(free.f_bavail.saturating_mul(free.f_frsize), rest, folder)
    }

    fn restart(&mut self) -> Result<()> {
        self.file.set_len(0).and_then(|()| self.file.seek(SeekFrom::Start(0))).map_err(|error| self.writing(error))?;
        self.hasher = Hasher::new(self.algorithm);
        self.length = 0;
        Ok(())
    }

    fn writing(&self, error: io::Error) -> anyhow::Error {
        anyhow!(error).context(format!("writing {}", self.path.display()))
    }

    /// Throws it away.
    ///
    /// # Errors
    /// It cannot be removed.
    pub fn discard(self) -> Result<()> {
        fs::remove_file(&self.path).with_context(|| format!("removing {}", self.path.display()))
    }

    /// Gives it the name under which it counts as whole.
    ///
    /// # Errors
    /// It cannot be written down or renamed.
    pub fn keep(self, path: &Path) -> Result<()> {
        // The bytes before the name: after a power cut a name must not stand for a file that is not there.
        self.file.sync_all().context("syncing it")?;
        fs::rename(&self.path, path).context("renaming it")?;
        let folder = path.parent().context("a cached file is in a folder")?;
        File::open(folder).and_then(|folder| folder.sync_all()).context("syncing its folder")?;
        Ok(())
    }
}

fn too_large() -> Fault {
    Fault::Lasting(anyhow!("larger than {} GiB, which no medium is", MAX_FILE >> 30))
}

fn enough(available: u64, rest: u64, folder: &Path) -> Result<()> {
    if rest <= available {
        return Ok(());
    }
    let (free, folder) = (ByteSize(available), folder.display());
    bail!(
        "{folder} has {free} free, and {} are still to come\n`tpl cache prune` removes what was not used for long; the \
         configuration's `cache` names another folder",
        ByteSize(rest)
    )
}

/// Opens and locks a partial file. The one who had the lock before may have renamed or removed the file that was waited for;
/// then the lock is on a file that is no longer there under this name, and it takes another round.
fn locked(path: &Path, http: &Http, watch: &mut dyn Watch) -> Result<File> {
    let mut told = false;
    loop {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                if !told {
                    watch.waits();
                }
                told = true;
                http.go_on()?;
                thread::sleep(LOCK_PAUSE);
                continue;
            }
            Err(TryLockError::Error(error)) => return Err(error.into()),
        }
        if is_still(&file, path)? {
            return Ok(file);
        }
    }
}

/// Whether the file under that name is the one that was opened.
///
/// # Errors
/// One of them cannot be looked at.
pub fn is_still(file: &File, path: &Path) -> io::Result<bool> {
    let held = file.metadata()?;
    match fs::metadata(path) {
        Ok(named) => Ok((named.dev(), named.ino()) == (held.dev(), held.ino())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_refused_before_it_comes() {
        let folder = Path::new("/var/cache/tpl");
        for (available, rest) in [(0, 0), (10, 10), (u64::MAX, 1)] {
            assert!(enough(available, rest, folder).is_ok(), "{available} {rest}");
        }
        let error = enough(1 << 30, 3 << 30, folder).unwrap_err().to_string();
        let advice = "`tpl cache prune` removes what was not used for long; the configuration's `cache` names another folder";
        assert_eq!(error, format!("/var/cache/tpl has 1 GiB free, and 3 GiB are still to come\n{advice}"));
    }
}
