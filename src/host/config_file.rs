//! The operator's configuration file, when tpl itself writes into it.

use std::{
    fs::{self, DirBuilder, File},
    io::ErrorKind,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::whole_file;

/// How long another process may take to write it.
const PATIENCE: Duration = Duration::from_secs(10);

/// What the file holds; nothing where it is not there.
///
/// # Errors
/// It cannot be read.
pub fn read(file: &Path) -> Result<String> {
    match fs::read_to_string(file) {
        Ok(text) => Ok(text),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error).with_context(|| format!("reading {}", file.display())),
    }
}

/// Replaces what the file holds by what `edit` makes of it, if that is anything; its folder is made where it is not there. Other calls
/// wait meanwhile. Whether it was written.
///
/// # Errors
/// Those of `edit`: nothing has changed then. Or the file cannot be written.
pub fn edit(file: &Path, edit: impl FnOnce(&str) -> Result<Option<String>>) -> Result<bool> {
    // People keep such files in a repository of their own.
    let file = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let folder: PathBuf = file.parent().unwrap_or(Path::new("/")).to_owned();
    let made = DirBuilder::new().recursive(true).mode(0o755).create(&folder);
    made.with_context(|| format!("making the folder {}", folder.display()))?;
    let _lock = lock(&folder)?;
    match edit(&read(&file)?)? {
        None => Ok(false),
        Some(text) => {
            whole_file::replace(&file, &text).with_context(|| format!("writing {}", file.display()))?;
            Ok(true)
        }
    }
}

/// The folder's lock: the file itself is replaced, so a lock on it would be on the old one.
fn lock(folder: &Path) -> Result<File> {
    let lock = File::open(folder).with_context(|| format!("opening the folder {}", folder.display()))?;
    let end = Instant::now() + PATIENCE;
    while lock.try_lock().is_err() {
        if Instant::now() >= end {
            bail!("the folder {} is locked by another process", folder.display());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(lock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_is_made_and_what_is_refused_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("new/tpl/config.toml");
        assert!(edit(&file, |text| Ok(Some(format!("{text}a")))).unwrap());
        assert!(edit(&file, |text| Ok(Some(format!("{text}b")))).unwrap());
        assert!(!edit(&file, |_| Ok(None)).unwrap());
        assert!(edit(&file, |_| bail!("no")).is_err());
        assert_eq!(read(&file).unwrap(), "ab");
        let link = folder.path().join("link.toml");
        std::os::unix::fs::symlink(&file, &link).unwrap();
        assert!(edit(&link, |_| Ok(Some("c".to_owned()))).unwrap());
        assert_eq!(read(&file).unwrap(), "c");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn calls_exclude_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.toml");
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..20).for_each(|_| assert!(edit(&file, |text| Ok(Some(format!("{text}x")))).unwrap())));
            }
        });
        assert_eq!(read(&file).unwrap().len(), 160);
    }
}
