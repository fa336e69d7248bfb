//! Kernels and initrds as files, where a pool has no files.

use std::{
    fs::{self, File},
    io::{self, Read},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::Path,
};

use anyhow::{Context as _, Result, ensure};

/// Writes a file of exactly these bytes; its path. One that is there is somebody's at work: it stays, and that is an error.
pub(super) fn store(path: &Path, length: u64, bytes: &mut dyn Read) -> Result<String> {
    let what = || format!("writing {}", path.display());
    if let Some(folder) = path.parent() {
        // libvirt's packages make it; the emulator needs no more of it than to pass.
        fs::DirBuilder::new().recursive(true).mode(0o711).create(folder).with_context(what)?;
    }
    // The emulator gets its own access from libvirt, which hands it the file when it starts.
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path).with_context(what)?;
    let written = write(&mut file, length, bytes).with_context(what);
    if let Err(error) = written {
        // The caller takes a file that could not be written for none.
        let _ = fs::remove_file(path);
        return Err(error);
    }
    Ok(path.display().to_string())
}

/// The names of all that is in a folder, sorted.
pub(super) fn list(folder: &Path) -> io::Result<Vec<String>> {
    let entries: io::Result<Vec<_>> = fs::read_dir(folder)?.collect();
    // A name that is no text is none of tpl's.
    let mut names: Vec<String> = entries?.into_iter().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    Ok(names)
}

fn write(file: &mut File, length: u64, bytes: &mut dyn Read) -> Result<()> {
    let written = io::copy(&mut bytes.take(length.saturating_add(1)), file)?;
    ensure!(written == length, "{length} bytes were announced, and {written} or more came");
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt as _;

    use super::*;

    #[test]
    fn a_boot_file_is_whole_and_private_or_not_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("boot/a-kernel");
        let store = |length, mut bytes: &[u8]| store(&path, length, &mut bytes).map_err(|error| format!("{error:#}"));
        for (length, bytes) in [(5, b"1234".as_slice()), (3, b"1234".as_slice())] {
            let said = format!("writing {}: {length} bytes were announced, and 4 or more came", path.display());
            assert_eq!((store(length, bytes), path.exists()), (Err(said), false));
        }
        assert_eq!(store(4, b"1234"), Ok(path.display().to_string()));
        assert_eq!((fs::read(&path).unwrap(), path.metadata().unwrap().mode() & 0o777), (b"1234".to_vec(), 0o600));
        assert!(store(4, b"5678").unwrap_err().contains("File exists"));
        assert_eq!(fs::read(&path).unwrap(), b"1234");
    }

    #[test]
    fn what_is_in_a_folder_is_listed_by_name() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(list(folder.path()).unwrap(), [""; 0]);
        for name in ["b", "a"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        assert_eq!(list(folder.path()).unwrap(), ["a", "b"]);
        assert_eq!(list(&folder.path().join("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
