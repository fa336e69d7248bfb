//! The files that the wishes for a guest name: read, checked, and put together into what the guest is told.

use std::{
    fs,
    io::Read as _,
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Result, anyhow, ensure};

use crate::{
    core::{
        error::{Finding, Invalid},
        guest::{self, File, Guest, MAX_CONTENT, MAX_USER_DATA, PasswordHash, User, UserData},
        secret::Secret,
        ssh_key::PublicKey,
        vm_spec::{GuestFile, GuestSpec, GuestUser},
    },
    host::ssh_keys,
};

/// A crypt(3) hash has less than 400 characters.
const MAX_HASH_FILE: u64 = 4096;

/// Reads what a specification names. Relative paths are relative to `base`: the folder of the file that names them.
///
/// # Errors
/// [`Invalid`]: every fault of the specification and of its files at once.
pub fn resolve(spec: &GuestSpec, base: &Path) -> Result<Guest> {
    let mut reader = Reader { base, findings: guest::faults(spec).into_iter().map(finding).collect() };
    let guest = Guest {
        user: spec.user.clone(),
        keys: reader.keys(&spec.ssh_keys, &spec.ssh_key_files),
        password_hash: spec.password_hash_file.as_deref().and_then(|file| reader.hash(file)),
        users: spec.users.iter().map(|user| reader.user(user)).collect(),
        packages: spec.packages.clone(),
        timezone: spec.timezone.clone(),
        locale: spec.locale.clone(),
        apt_mirror: spec.apt_mirror.clone(),
        write_files: spec.write_files.iter().filter_map(|file| reader.file(file)).collect(),
        runcmd: spec.runcmd.clone(),
        user_data: spec.user_data.as_deref().and_then(|file| reader.user_data(file)),
    };
    let size = guest.content_size();
    if size > MAX_CONTENT {
        reader.findings.push(finding(format!(
            "{size} bytes of files, commands and user-data are more than the {MAX_CONTENT} that a guest can be told"
        )));
    }
    if reader.findings.is_empty() { Ok(guest) } else { Err(Invalid { findings: reader.findings }.into()) }
}

fn finding(message: String) -> Finding {
    Finding { file: None, at: None, message }
}

/// Reads files, and keeps what is wrong with them.
struct Reader<'a> {
    base: &'a Path,
    findings: Vec<Finding>,
}

impl Reader<'_> {
    /// A value, or nothing and a finding about the file.
    fn keep<T>(&mut self, file: &Path, outcome: Result<T>) -> Option<T> {
        match outcome {
            Ok(value) => return Some(value),
            Err(error) => match error.downcast::<Invalid>() {
                Ok(invalid) => self.findings.extend(invalid.findings),
                Err(error) => self.findings.extend(Invalid::file(&file.display().to_string(), format!("{error:#}")).findings),
            },
        }
        None
    }

    /// Each key once: those given, then those of the files.
    fn keys(&mut self, given: &[PublicKey], files: &[PathBuf]) -> Vec<PublicKey> {
        let mut keys: Vec<PublicKey> = Vec::new();
        let read = files.iter().filter_map(|file| {
            let path = self.base.join(file);
            let outcome = ssh_keys::read_file(&path);
            self.keep(&path, outcome)
        });
        for key in given.iter().cloned().chain(read.flatten()) {
            if !keys.iter().any(|held| held.key() == key.key()) {
                keys.push(key);
            }
        }
        keys
    }

    fn user(&mut self, user: &GuestUser) -> User {
        User {
            name: user.name.clone(),
            keys: self.keys(&user.ssh_keys, &user.ssh_key_files),
            password_hash: user.password_hash_file.as_deref().and_then(|file| self.hash(file)),
            groups: user.groups.clone(),
            sudo: user.sudo,
        }
    }

    fn hash(&mut self, file: &Path) -> Option<PasswordHash> {
        let path = self.base.join(file);
        let outcome = read_hash(&path);
        self.keep(&path, outcome)
    }

    fn file(&mut self, file: &GuestFile) -> Option<File> {
        let content = match (&file.content, &file.source) {
            (Some(text), _) => text.clone().into_bytes(),
            (None, Some(source)) => {
                let path = self.base.join(source);
                let outcome = read(&path, MAX_CONTENT as u64).map(|(bytes, _)| bytes);
                self.keep(&path, outcome)?
            }
            // A fault that has been found already.
            (None, None) => return None,
        };
        Some(File { path: file.path.clone(), content: Secret::new(content), mode: file.mode, owner: file.owner.clone() })
    }

    fn user_data(&mut self, file: &Path) -> Option<UserData> {
        let path = self.base.join(file);
        let name = path.display().to_string();
        let parse = |(bytes, _): (Vec<u8>, _)| Ok(UserData::parse(&name, &bytes)?);
        let outcome = read(&path, MAX_USER_DATA as u64).and_then(parse);
        self.keep(&path, outcome)
    }
}

/// The bytes of a file that a guest is told: one with a password's hash in it where it is `private`, else one with user-data.
///
/// # Errors
/// There is none, it is too long, or it is private and others can read it.
pub fn told(path: &Path, private: bool) -> Result<Vec<u8>> {
    if private { read_private(path) } else { Ok(read(path, MAX_USER_DATA as u64)?.0) }
}

fn read_private(path: &Path) -> Result<Vec<u8>> {
    let (bytes, mode) = read(path, MAX_HASH_FILE)?;
    // As ssh asks of private keys: a hash that others have read can be tried out at leisure.
    ensure!(mode & 0o077 == 0, "others than its owner can use it: mode {mode:04o}; chmod 600 it");
    Ok(bytes)
}

fn read_hash(path: &Path) -> Result<PasswordHash> {
    let bytes = read_private(path)?;
    let text = String::from_utf8(bytes).unwrap_or_default();
    text.trim_end_matches(['\r', '\n']).parse().map_err(|message: String| anyhow!(message))
}

/// The bytes of a regular file, and its permission bits.
fn read(path: &Path, limit: u64) -> Result<(Vec<u8>, u32)> {
    // A pipe of that name would hang tpl in open().
    let opened = fs::OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let metadata = opened.metadata()?;
    ensure!(metadata.is_file(), "it is no file");
    let mut bytes = Vec::new();
    // One more than may be there: it may grow while it is read.
    opened.take(limit + 1).read_to_end(&mut bytes)?;
    ensure!(bytes.len() as u64 <= limit, "it has more than {limit} bytes");
    Ok((bytes, metadata.permissions().mode() & 0o7777))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::error::exit_code;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    const HASH: &str = "$5$salt$Gcm6FsVtF/Qa77ZKD.iwsJlCVPY0XSMgLJL0Hnww/c1";

    fn spec(text: &str) -> GuestSpec {
        toml::from_str(text).unwrap()
    }

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &[u8], mode: u32| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        };
        write("keys", format!("{KEY} a\n{KEY} b\n").as_bytes(), 0o644);
        write("hash", format!("{HASH}\n").as_bytes(), 0o600);
        write("open", format!("{HASH}\n").as_bytes(), 0o640);
        write("password", b"correct horse\n", 0o600);
        write("bytes", &[0, 255], 0o644);
        write("large", &vec![b'x'; MAX_CONTENT + 1], 0o644);
        write("half", &vec![b'x'; MAX_CONTENT / 2 + 1], 0o644);
        write("user-data", b"#cloud-config\npackages: [a]\n", 0o644);
        write("list", b"#cloud-config\n- a\n", 0o644);
        folder
    }

    #[test]
    fn everything_named_is_read() {
        let folder = folder();
        let spec = spec(&format!(
            r#"
user = "admin"
ssh_keys = ["{KEY} mine"]
ssh_key_files = ["keys"]
password_hash_file = "hash"
users = [{{ name = "bob", ssh_key_files = ["keys"], password_hash_file = "hash", groups = ["adm"], sudo = true }}]
write_files = [{{ path = "/a", source = "bytes", mode = "0600" }}, {{ path = "/b", content = "ä" }}]
runcmd = ["ls"]
user_data = "user-data"
"#
        ));
        let guest = resolve(&spec, folder.path()).unwrap();
        assert_eq!(guest.keys.iter().map(ToString::to_string).collect::<Vec<_>>(), [format!("{KEY} mine")]);
        assert_eq!(guest.users[0].keys.iter().map(ToString::to_string).collect::<Vec<_>>(), [format!("{KEY} a")]);
        assert_eq!(guest.password_hash.as_ref().map(PasswordHash::expose), Some(HASH));
        assert_eq!(guest.users[0].password_hash, guest.password_hash);
        assert_eq!(*guest.write_files[0].content.expose(), [0, 255]);
        assert_eq!(*guest.write_files[1].content.expose(), "ä".as_bytes());
        assert_eq!(guest.user_data.as_ref().unwrap().text().expose(), "#cloud-config\npackages: [a]\n");
        let shown = format!("{guest:?}");
        assert!(!shown.contains("$5$") && !shown.contains("packages: [a]") && !shown.contains("[0, 255]"), "{shown}");
    }

    #[test]
    fn every_fault_is_named_at_once() {
        let folder = folder();
        let path = |name: &str| folder.path().join(name).display().to_string();
        let spec = spec(
            r#"
timezone = "../x"
ssh_key_files = ["none", "bytes"]
password_hash_file = "open"
users = [{ name = "bob", password_hash_file = "password" }]
write_files = [{ path = "/a", source = "large" }, { path = "/b", source = "." }, { path = "/c" }]
user_data = "list"
"#,
        );
        let error = resolve(&spec, folder.path()).unwrap_err();
        let expected = format!(
            "\"../x\" is no time zone, as in Europe/Vienna\n\
             /c needs one of the two: content, or the source that it is in\n\
             {}: No such file or directory (os error 2)\n\
             {}: stream did not contain valid UTF-8\n\
             {}: others than its owner can use it: mode 0640; chmod 600 it\n\
             {}: this is no password hash of crypt(3): $y$…, $6$…, $5$… or $2b$…, as `mkpasswd` or `openssl passwd -6` prints it\n\
             {}: it has more than 786432 bytes\n\
             {}: it is no file\n\
             {}:2:1: ",
            path("none"),
            path("bytes"),
            path("open"),
            path("password"),
            path("large"),
            path("."),
            path("list")
        );
        let message = error.to_string();
        assert_eq!(&message[..expected.len().min(message.len())], expected);
        assert_eq!(exit_code(&error), 2);
    }

    #[test]
    fn together_they_must_fit() {
        let folder = folder();
        let spec = spec(r#"write_files = [{ path = "/a", source = "half" }, { path = "/b", source = "half" }]"#);
        assert_eq!(
            resolve(&spec, folder.path()).unwrap_err().to_string(),
            "786434 bytes of files, commands and user-data are more than the 786432 that a guest can be told"
        );
    }
}
