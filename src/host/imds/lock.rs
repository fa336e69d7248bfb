//! Who has the rules and addresses of this network namespace: one service, or nobody.

use std::{
    fs::{self, File, TryLockError},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result};

/// Where the locks are: nobody but root gets in there. The unit's RuntimeDirectory.
const FOLDER: &str = "/run/tpl-metadata";

/// How long to wait between two looks.
const PAUSE: Duration = Duration::from_millis(100);

/// A lock that is held. Both processes of a service have it, and it is free when both have ended.
#[derive(Debug)]
pub struct Lock {
    /// Whoever has it open holds the lock.
    pub file: File,
    path: PathBuf,
}

impl Lock {
    /// Takes it; none where a service has it.
    ///
    /// # Errors
    /// It cannot be asked for: by somebody who is not root.
    pub fn take() -> Result<Option<Self>> {
        let make = || -> Result<Self> {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(FOLDER)?;
            let namespace = fs::metadata("/proc/self/ns/net")?.ino();
            let path = Path::new(FOLDER).join(format!("{namespace}.lock"));
            let file = fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path)?;
            Ok(Self { file, path })
        };
        loop {
            let lock = make().with_context(|| format!("looking in {FOLDER} whether a metadata service runs"))?;
            match lock.file.try_lock() {
                Ok(()) if lock.is_in_place()? => return Ok(Some(lock)),
                // Whoever had it before has removed the file meanwhile: others make a new one.
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Ok(None),
                Err(TryLockError::Error(error)) => return Err(error).context("locking the metadata service"),
            }
        }
    }

    /// Takes it as soon as it is free: whoever looks for what a killed service has left holds it for a moment, and so does a service that
    /// ends. None where it is not free in that time.
    ///
    /// # Errors
    /// As for [`Lock::take`].
    pub fn wait(patience: Duration) -> Result<Option<Self>> {
        let began = Instant::now();
        loop {
            let taken = Self::take()?;
            if taken.is_some() || began.elapsed() >= patience {
                return Ok(taken);
            }
            thread::sleep(PAUSE);
        }
    }

    /// Whether the file is still the one that others would lock.
    fn is_in_place(&self) -> Result<bool> {
        let own = self.file.metadata()?;
        Ok(fs::metadata(&self.path).is_ok_and(|found| (found.dev(), found.ino()) == (own.dev(), own.ino())))
    }

    /// Gives it up, and removes its file: network namespaces come and go, and each would leave one. For when no other process has it.
    pub fn end(self) {
        // What stays is empty, and the next one's.
        if self.is_in_place().unwrap_or_default() {
            let _ = fs::remove_file(&self.path);
        }
    }
}
