//! The operator's own public keys.

use std::{
    env, fs,
    io::Read as _,
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Error, Result, bail, ensure};

use crate::core::{
    error::{Finding, Invalid},
    ssh_key::{PublicKey, parse_public_keys},
};

const MAX_FILE: u64 = 256 << 10;

/// The keys of a folder, and what could not be used of it.
#[derive(Debug, Default)]
pub struct FoundKeys {
    /// Each key once, in the order of the files' names.
    pub keys: Vec<PublicKey>,
    /// Files that were passed over, and why: worth a line to the operator, no more.
    pub skipped: Vec<(PathBuf, Error)>,
}

/// Where the operator's keys are: `~/.ssh`.
pub fn own_folder() -> Option<PathBuf> {
    env::var_os("HOME").filter(|home| !home.is_empty()).map(|home| Path::new(&home).join(".ssh"))
}

/// Reads the `*.pub` files of a folder. A folder that is not there holds no keys.
///
/// # Errors
/// The folder cannot be read.
pub fn read_folder(folder: &Path) -> Result<FoundKeys> {
    let context = || format!("reading the SSH keys in {}", folder.display());
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(FoundKeys::default()),
        Err(error) => return Err(error).with_context(context),
    };
    let mut files = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>().with_context(context)?;
    // A certificate is no key: the key it is for lies beside it.
    files.retain(|file| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        name.ends_with(".pub") && !name.ends_with("-cert.pub")
    });
    files.sort();
    let mut found = FoundKeys::default();
    for file in files {
        match read_file(&file) {
            Ok(keys) => keys.into_iter().for_each(|key| add(&mut found.keys, key)),
            Err(error) => found.skipped.push((file, error)),
        }
    }
    Ok(found)
}

/// Reads the public keys of a file that the operator named.
///
/// # Errors
/// [`Invalid`]: it cannot be read or holds no key, or has lines that are no public keys.
pub fn read_file(file: &Path) -> Result<Vec<PublicKey>> {
    let name = file.display().to_string();
    let text = read(file).map_err(|error| Invalid::file(&name, format!("{error:#}")))?;
    let keys = parse_public_keys(&text).map_err(|lines| Invalid {
        findings: lines
            .into_iter()
            .map(|(line, message)| Finding { file: Some(name.clone()), at: Some((line, 1)), message })
            .collect(),
    })?;
    if keys.is_empty() {
        bail!(Invalid::file(&name, "holds no public key"));
    }
    let mut unique = Vec::new();
    keys.into_iter().for_each(|key| add(&mut unique, key));
    Ok(unique)
}

fn read(file: &Path) -> Result<String> {
    // A pipe of that name would hang tpl in open().
    let opened = fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(file)?;
    let metadata = opened.metadata()?;
    ensure!(metadata.is_file(), "it is no file");
    ensure!(metadata.len() <= MAX_FILE, "{} bytes are more than a file of public keys has", metadata.len());
    let mut text = String::new();
    opened.take(MAX_FILE).read_to_string(&mut text)?;
    Ok(text)
}

fn add(keys: &mut Vec<PublicKey>, key: PublicKey) {
    if !keys.iter().any(|held| held.key() == key.key()) {
        keys.push(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

    #[test]
    fn a_folder_is_read_and_bad_files_are_passed_over() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("id_ed25519.pub", &format!("{KEY} me\n"));
        write("copy.pub", &format!("{KEY} again\n"));
        write("id_ed25519", "PRIVATE\n");
        write("id_ed25519-cert.pub", "ssh-ed25519-cert-v01@openssh.com AAAA\n");
        write("bad.pub", "command=\"id\" ssh-rsa AAAA\n");
        fs::create_dir(folder.path().join("folder.pub")).unwrap();
        let found = read_folder(folder.path()).unwrap();
        assert_eq!(found.keys.iter().map(ToString::to_string).collect::<Vec<_>>(), [format!("{KEY} again")]);
        let skipped: Vec<_> = found.skipped.iter().map(|(path, _)| path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(skipped, ["bad.pub", "folder.pub"]);
        assert!(read_folder(&folder.path().join("none")).unwrap().keys.is_empty());
    }

    #[test]
    fn a_named_file_must_be_right() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("keys");
        fs::write(&file, format!("{KEY}\nssh-rsa x\n")).unwrap();
        let error = read_file(&file).unwrap_err().downcast::<Invalid>().unwrap();
        assert_eq!(error.to_string(), format!("{}:2:1: the ssh-rsa key is no base64", file.display()));
        fs::write(&file, "# none\n").unwrap();
        let error = read_file(&file).unwrap_err();
        assert_eq!(error.to_string(), format!("{}: holds no public key", file.display()));
    }
}
