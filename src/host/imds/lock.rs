//! Who has the rules and addresses of this network namespace: one service, or nobody.

use std::{
    fs::{self, File, TryLockError},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::Path,
};

use anyhow::{Context as _, Result};

/// Where the locks are: nobody but root gets in there. The unit's RuntimeDirectory.
const FOLDER: &str = "/run/tpl-metadata";

/// A lock that is held. Both processes of a service have it, and it is free when both have ended.
#[derive(Debug)]
pub struct Lock(pub File);

impl Lock {
    /// Takes it; none where a service has it.
    ///
    /// # Errors
    /// It cannot be asked for: by somebody who is not root.
    pub fn take() -> Result<Option<Self>> {
        let make = || -> Result<File> {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(FOLDER)?;
            let namespace = fs::metadata("/proc/self/ns/net")?.ino();
            let path = Path::new(FOLDER).join(format!("{namespace}.lock"));
            Ok(fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)?)
        };
        let file = make().with_context(|| format!("looking in {FOLDER} whether a metadata service runs"))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error).context("locking the metadata service"),
        }
    }
}
