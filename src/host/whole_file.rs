//! Files that are replaced whole: a reader sees the old one or the new one, also after a power cut.

use std::{
    fs::{self, File, Permissions},
    io::{ErrorKind, Result, Write as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown},
    path::Path,
};

/// Replaces a file, with its mode and owner; one that is not there is made, for all to read. A link is replaced too: who means what it
/// leads to says so.
///
/// # Errors
/// It cannot be written, or is no file: then nothing has changed.
pub fn replace(file: &Path, text: &str) -> Result<()> {
    let old = match fs::metadata(file) {
        Ok(metadata) if !metadata.is_file() => return Err(ErrorKind::InvalidInput.into()),
        Ok(metadata) => Some(metadata),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    // With a dot at its beginning it is none of those that programs read in such a folder.
    let mut new = tempfile::Builder::new().prefix(".tpl-").tempfile_in(file.parent().unwrap_or(Path::new("/")))?;
    new.write_all(text.as_bytes())?;
    if let Some(old) = &old {
        let made = new.as_file().metadata()?;
        if (old.uid(), old.gid()) != (made.uid(), made.gid()) {
            fchown(new.as_file(), Some(old.uid()), Some(old.gid()))?;
        }
    }
    let mode = old.map_or(0o644, |old| old.mode() & 0o7777);
    new.as_file().set_permissions(Permissions::from_mode(mode))?;
    new.as_file().sync_all()?;
    new.persist(file)?;
    sync_folder(file)
}

/// Makes a renaming or removal of this file last.
///
/// # Errors
/// Its folder cannot be read.
pub fn sync_folder(file: &Path) -> Result<()> {
    File::open(file.parent().unwrap_or(Path::new("/")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mode_and_content() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("f");
        let mode = || fs::metadata(&file).unwrap().mode() & 0o7777;
        replace(&file, "a").unwrap();
        assert_eq!((fs::read_to_string(&file).unwrap().as_str(), mode()), ("a", 0o644));
        fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
        replace(&file, "b").unwrap();
        assert_eq!((fs::read_to_string(&file).unwrap().as_str(), mode()), ("b", 0o640));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        assert!(replace(folder.path(), "c").is_err());
    }
}
