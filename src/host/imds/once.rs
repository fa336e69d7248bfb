//! What has been handed out once: a file for each, made before it goes out. In a folder and not in libvirt, for the domains that get
//! defaults are not tpl's to write into.

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io::ErrorKind,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use uuid::Uuid;

use crate::core::imds::defaults::Item;

/// The folder of those files.
#[derive(Debug)]
pub struct Once(PathBuf);

impl Once {
    /// In this folder, which is made where it is not there: for its owner alone.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn in_folder(folder: PathBuf) -> Result<Self> {
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.with_context(|| format!("making {}", folder.display()))?;
        let mode = fs::metadata(&folder)?.mode();
        ensure!(mode & 0o022 == 0, "{}: others could remove what is written down there; chmod 700 it", folder.display());
        Ok(Self(folder))
    }

    /// Whether this is the first time, or so long after it at most. Once it is said it is said, also after a power cut.
    ///
    /// # Errors
    /// It cannot be written down: then it must not be handed out.
    pub fn take(&self, instance: Uuid, item: Item, again: Duration) -> Result<bool> {
        let path = self.0.join(format!("{instance}.{}", item.as_str()));
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Ok(file) => {
                file.sync_all()?;
                File::open(&self.0)?.sync_all().with_context(|| format!("writing {}", path.display()))?;
                Ok(true)
            }
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let first = fs::metadata(&path)?.modified()?;
                // A clock that was put back has not seen the first time yet.
                Ok(first.elapsed().is_ok_and(|since| since < again))
            }
            Err(error) => Err(error).with_context(|| format!("writing {}", path.display())),
        }
    }

    /// Forgets instances that are not defined any more.
    ///
    /// # Errors
    /// The folder cannot be read, or a file not removed.
    pub fn keep_only(&self, defined: &BTreeSet<Uuid>) -> Result<()> {
        for entry in fs::read_dir(&self.0)? {
            let entry = entry?;
            let name = entry.file_name();
            let instance = name.to_str().and_then(|name| name.split_once('.')).and_then(|(uuid, _)| uuid.parse().ok());
            if instance.is_some_and(|instance: Uuid| !defined.contains(&instance)) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn once_is_once_until_the_domain_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let once = Once::in_folder(folder.path().join("a/b")).unwrap();
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let take = |instance, item| once.take(instance, item, Duration::ZERO).unwrap();
        assert!(take(one, Item::Keys) && take(one, Item::UserData));
        assert!(take(other, Item::Keys) && !take(one, Item::Keys));
        assert!(once.take(one, Item::Keys, Duration::from_secs(3600)).unwrap());
        fs::write(folder.path().join("a/b/notes"), "").unwrap();
        Once::in_folder(folder.path().join("a/b")).unwrap().keep_only(&[other].into()).unwrap();
        assert!(take(one, Item::Keys) && !take(other, Item::Keys));
        assert!(folder.path().join("a/b/notes").exists());
    }

    #[test]
    fn what_cannot_be_written_down_is_not_handed_out() {
        let folder = tempfile::tempdir().unwrap();
        let once = Once::in_folder(folder.path().join("x")).unwrap();
        fs::remove_dir(folder.path().join("x")).unwrap();
        assert!(once.take(Uuid::nil(), Item::Keys, Duration::ZERO).is_err());
    }
}
