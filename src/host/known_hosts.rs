//! The operator's `known_hosts` file.

use std::{
    fs::{self, File, Permissions},
    io::{ErrorKind, Write as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

use crate::core::{error::Invalid, known_hosts::with_lines};

/// Whether a file was changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Lines were added.
    Changed,
    /// It held them all.
    Unchanged,
}

/// Adds those lines that the file does not hold yet. The file is replaced whole, with its mode and owner: a reader sees the
/// old one or the new one. One that is not there is made, for its owner alone.
///
/// # Errors
/// The file or its folder cannot be read or written.
pub fn append(file: &Path, lines: &[String]) -> Result<Outcome> {
    check(file)?;
    // Through a symbolic link: people keep such files in a repository of their own.
    let file = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    replace(&file, lines).with_context(|| format!("adding host keys to {}", file.display()))
}

/// Whether lines can be added: the file is a text file or not there yet. A device or a pipe would be replaced by a file.
///
/// # Errors
/// [`Invalid`]: it is something else.
pub fn check(file: &Path) -> Result<()> {
    let invalid = |message: &str| Err(Invalid::file(&file.display().to_string(), message).into());
    match (fs::symlink_metadata(file), fs::metadata(file)) {
        (Err(error), _) if error.kind() == ErrorKind::NotFound => Ok(()),
        (_, Ok(data)) if !data.is_file() => invalid("this is no file that host keys could be added to"),
        (_, Ok(_)) if fs::read_to_string(file).is_err() => invalid("this cannot be read as text"),
        (_, Ok(_)) => Ok(()),
        (_, Err(_)) => invalid("this leads nowhere, or cannot be read"),
    }
}

fn replace(file: &PathBuf, lines: &[String]) -> Result<Outcome> {
    let folder = super::folder_of(file);
    fs::create_dir_all(folder)?;
    // Two calls of tpl must not lose each other's lines. The folder is locked, for the file itself is replaced.
    let lock = File::open(folder)?;
    lock.lock()?;
    let (text, metadata) = match fs::metadata(file) {
        Ok(metadata) => (fs::read_to_string(file)?, Some(metadata)),
        Err(error) if error.kind() == ErrorKind::NotFound => (String::new(), None),
        Err(error) => return Err(error.into()),
    };
    let Some(text) = with_lines(&text, lines) else { return Ok(Outcome::Unchanged) };
    // Mode 0600 from the start.
    let mut new = tempfile::NamedTempFile::new_in(folder)?;
    new.write_all(text.as_bytes())?;
    if let Some(old) = metadata {
        let made = new.as_file().metadata()?;
        // Run through sudo, tpl would else take the file away from the operator.
        if (old.uid(), old.gid()) != (made.uid(), made.gid()) {
            fchown(new.as_file(), Some(old.uid()), Some(old.gid()))?;
        }
        new.as_file().set_permissions(Permissions::from_mode(old.mode() & 0o777))?;
    }
    new.as_file().sync_all()?;
    new.persist(file)?;
    Ok(Outcome::Changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(lines: &[&str]) -> Vec<String> {
        lines.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn lines_are_added_once_and_the_mode_stays() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ssh/known_hosts");
        let mode = || fs::metadata(&file).unwrap().mode() & 0o777;
        assert_eq!(append(&file, &lines(&["a k"])).unwrap(), Outcome::Changed);
        assert_eq!(mode(), 0o600);
        fs::set_permissions(&file, Permissions::from_mode(0o644)).unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert_eq!(append(&link, &lines(&["a k", "b k"])).unwrap(), Outcome::Changed);
        assert_eq!(append(&file, &lines(&["b k", "a k"])).unwrap(), Outcome::Unchanged);
        assert_eq!((fs::read_to_string(&file).unwrap().as_str(), mode()), ("a k\nb k\n", 0o644));
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(folder.path().join("ssh")).unwrap().count(), 1);
    }

    #[test]
    fn calls_at_once_lose_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("known_hosts");
        std::thread::scope(|scope| {
            for number in 0..8 {
                let file = &file;
                scope.spawn(move || append(file, &[format!("host{number} k")]).unwrap());
            }
        });
        assert_eq!(fs::read_to_string(&file).unwrap().lines().count(), 8);
    }
}
