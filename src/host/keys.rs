//! The operator's signing key, and the keys that the operator trusts: files of minisign.

use std::{
    fs::{self, File},
    io::{Cursor, ErrorKind, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Error, Result, anyhow, ensure};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use minisign::{KeyPair, SecretKey, SecretKeyBox};
use tempfile::NamedTempFile;

use crate::core::{
    config::Signing,
    error::{Invalid, Refusal, UndoIncomplete},
    secret::Secret,
    signing::{PublicKey, Signature},
};

/// A key's file has two lines.
const MAX_FILE: u64 = 64 << 10;
/// Where in an encoded secret key stands how it is encrypted, and what stands there.
const ENCRYPTED: (usize, &[u8]) = (2, b"Sc");
/// Where its checksum stands, which is the end of it.
const CHECKSUM: usize = 126;

/// A key that counts, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedKey {
    /// The key.
    pub key: PublicKey,
    /// Whether it is the operator's own.
    pub own: bool,
    /// Where it was found: a file, or the configuration.
    pub from: String,
}

/// The keys of whoever runs tpl.
pub trait Keys: Sync {
    /// The public half of the key that would sign; none where there is no key. All that signing needs has been looked at then.
    ///
    /// # Errors
    /// There is one, and it cannot be used.
    fn signer(&self) -> Result<Option<PublicKey>>;
    /// Signs bytes; none where there is no key. `comment` is signed too.
    ///
    /// # Errors
    /// As for [`Keys::signer`].
    fn sign(&self, bytes: &[u8], comment: &str) -> Result<Option<Signature>>;
    /// The keys whose signatures count: those of the configuration, of `trusted.d`, and the operator's own.
    ///
    /// # Errors
    /// A file among them is no key, or cannot be read.
    fn trusted(&self) -> Result<Vec<TrustedKey>>;
}

/// Keys in files.
#[derive(Debug, Clone)]
pub struct KeyFiles(Signing);

/// A pair of keys that has been written.
#[derive(Debug)]
pub struct Written {
    /// The public key.
    pub key: PublicKey,
    /// The file of the secret one.
    pub secret_file: PathBuf,
    /// The file of the public one.
    pub public_file: PathBuf,
    /// Whether a passphrase is needed to use it.
    pub encrypted: bool,
}

impl KeyFiles {
    /// The keys that a configuration names.
    pub fn new(signing: Signing) -> Self {
        Self(signing)
    }

    /// The file of the secret key.
    pub fn secret_file(&self) -> &Path {
        &self.0.key
    }

    fn passphrase(&self) -> Result<Option<String>> {
        if let Some(text) = &self.0.passphrase {
            return Ok(Some(text.expose().clone()));
        }
        let Some(path) = &self.0.passphrase_file else { return Ok(None) };
        let text = read_private(path).with_context(|| format!("reading the passphrase in {}", path.display()))?;
        Ok(Some(text.expose().lines().next().unwrap_or_default().to_owned()))
    }

    /// The file of the public key beside it: `tpl.pub` for `tpl.key`.
    pub fn public_file(&self) -> PathBuf {
        match self.0.key.extension() {
            Some(extension) if extension == "key" => self.0.key.with_extension("pub"),
            _ => {
                let mut name = self.0.key.clone().into_os_string();
                name.push(".pub");
                name.into()
            }
        }
    }

    /// Makes sure that a new pair of keys would take nobody's place.
    ///
    /// # Errors
    /// [`Refusal`]: there is a file already.
    pub fn ensure_free(&self) -> Result<()> {
        let there: Vec<PathBuf> =
            [self.0.key.clone(), self.public_file()].into_iter().filter(|path| path.symlink_metadata().is_ok()).collect();
        if there.is_empty() {
            return Ok(());
        }
        let reasons = there.iter().map(|path| format!("{} is there already", path.display())).collect();
        let advice = "what the old key has signed can be checked only by those who keep its public half; --force writes over it";
        Err(Refusal { reasons, advice: Some(advice.to_owned()) }.into())
    }

    /// Makes a pair of keys, and writes it. `replace`: over what is there.
    ///
    /// # Errors
    /// As for [`KeyFiles::ensure_free`]; else a file cannot be written, and none of the two has been.
    pub fn generate(&self, replace: bool) -> Result<Written> {
        if !replace {
            self.ensure_free()?;
        }
        let passphrase = self.passphrase()?;
        ensure!(passphrase.as_ref().is_none_or(|text| !text.is_empty()), "the passphrase is empty");
        let encrypted = passphrase.is_some();
        let pair = match passphrase {
            Some(text) => KeyPair::generate_encrypted_keypair(Some(text)),
            None => KeyPair::generate_unencrypted_keypair(),
        };
        let pair = pair.map_err(plain).context("making a key")?;
        let key = PublicKey::new(pair.pk);
        let text = pair.sk.to_box(Some(&format!("tpl secret key {}", key.id()))).map_err(plain).context("making a key")?;
        let (secret_file, public_file) = (self.0.key.clone(), self.public_file());
        // Both are on the disk before the first of them gets its name.
        let secret = stage(&secret_file, text.into_string().as_bytes(), 0o600)?;
        let public = stage(&public_file, key.to_file().as_bytes(), 0o644)?;
        name(secret, &secret_file, replace)?;
        if let Err(error) = name(public, &public_file, replace) {
            // A key whose public half nobody has is none.
            return Err(match fs::remove_file(&secret_file) {
                Ok(()) => error,
                Err(left) => {
                    let left = Error::new(left).context(format!("removing {}", secret_file.display()));
                    UndoIncomplete::new(error, vec![left]).into()
                }
            });
        }
        Ok(Written { key, secret_file, public_file, encrypted })
    }

    /// The text of the secret key's file; none where there is none.
    fn text(&self) -> Result<Option<Secret<String>>> {
        match read_private(&self.0.key) {
            Err(error) if error.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == ErrorKind::NotFound) => Ok(None),
            other => other.map(Some).with_context(|| format!("reading the signing key {}", self.0.key.display())),
        }
    }

    /// Makes sure that the secret key's file, if there is one, can be read and is its owner's alone. It is not opened: with a
    /// passphrase that takes seconds, and much memory.
    ///
    /// # Errors
    /// [`Refusal`]: others may read it. Else it cannot be read.
    pub fn ensure_private(&self) -> Result<()> {
        self.text().map(drop)
    }

    /// The secret key; none where there is none.
    fn open(&self) -> Result<Option<SecretKey>> {
        let Some(text) = self.text()? else { return Ok(None) };
        parse(text.expose(), || self.passphrase())
            .map(Some)
            .with_context(|| format!("reading the signing key {}", self.0.key.display()))
    }
}

/// Reads the text of a secret key's file.
fn parse(text: &str, passphrase: impl FnOnce() -> Result<Option<String>>) -> Result<SecretKey> {
    let encoded = text.lines().nth(1).unwrap_or_default();
    let bytes = Secret::new(STANDARD.decode(encoded.trim()).map_err(|_| anyhow!("it is no secret key of minisign"))?);
    let (at, mark) = ENCRYPTED;
    let held = SecretKeyBox::from(text.to_owned());
    if !bytes.expose().get(at..).is_some_and(|rest| rest.starts_with(mark)) {
        let key =
            if unchecked(bytes.expose()) { SecretKey::from_bytes(bytes.expose()) } else { held.into_unencrypted_secret_key() };
        return key.ok().filter(works).context("it is no secret key of minisign, or damaged");
    }
    let advice =
        "TPL_SIGNING_PASSPHRASE, or the file that TPL_SIGNING_PASSPHRASE_FILE or the key signing_passphrase_file names, has it";
    // Never without one: minisign would ask on the terminal.
    let passphrase = passphrase()?.with_context(|| format!("it is encrypted, and there is no passphrase\n{advice}"))?;
    held.into_secret_key(Some(passphrase)).map_err(|_| anyhow!("the passphrase does not fit, or it is damaged"))
}

/// Whether an encoded key has no checksum: `minisign -G -W` writes zeros in its place.
fn unchecked(bytes: &[u8]) -> bool {
    bytes.get(CHECKSUM..).is_some_and(|sum| sum == [0; 32])
}

/// Whether what a key signs is good by its own public half.
fn works(key: &SecretKey) -> bool {
    let Ok(public) = minisign::PublicKey::from_secret_key(key) else { return false };
    let signed = minisign::sign(None, key, &b""[..], Some(""), None);
    signed.is_ok_and(|signature| minisign::verify(&public, &signature, Cursor::new(b""), true, false, false).is_ok())
}

/// minisign's errors hold nothing but what went wrong; their type is not one to keep.
fn plain(error: minisign::PError) -> Error {
    anyhow!("{error}")
}

/// Reads a small file that nobody else may read.
fn read_private(path: &Path) -> Result<Secret<String>> {
    let file = File::open(path)?;
    let data = file.metadata()?;
    ensure!(data.is_file(), "it is no file");
    if data.mode() & 0o077 != 0 {
        let reason = format!("{} can be read by others: its mode is {:04o}", path.display(), data.mode() & 0o7777);
        return Err(Refusal::new(reason).advise(format!("`chmod 600 {}` keeps it to its owner", path.display())).into());
    }
    read_text(file).map(Secret::new)
}

fn read_text(file: File) -> Result<String> {
    let mut text = String::new();
    let length = file.take(MAX_FILE + 1).read_to_string(&mut text)?;
    ensure!(length as u64 <= MAX_FILE, "it is larger than any key is");
    Ok(text)
}

/// Writes a file that has no lasting name yet.
fn stage(path: &Path, bytes: &[u8], mode: u32) -> Result<NamedTempFile> {
    let write = || -> Result<NamedTempFile> {
        let folder = super::folder_of(path);
        fs::create_dir_all(folder)?;
        // Made for its owner alone, and opened to others only as far as `mode` says.
        let mut file = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o600)).tempfile_in(folder)?;
        file.write_all(bytes)?;
        file.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
        file.as_file().sync_all()?;
        Ok(file)
    };
    write().with_context(|| format!("writing {}", path.display()))
}

/// Gives a file its name: who reads it sees the old one or the new one.
fn name(file: NamedTempFile, path: &Path, replace: bool) -> Result<()> {
    let named = if replace { file.persist(path) } else { file.persist_noclobber(path) };
    named.map(drop).map_err(|error| error.error).with_context(|| format!("writing {}", path.display()))
}

fn read_public(path: &Path) -> Result<PublicKey> {
    let text = File::open(path).map_err(Error::from).and_then(read_text);
    let text = text.with_context(|| format!("reading the public key {}", path.display()))?;
    PublicKey::parse_file(&text).map_err(|why| Invalid::file(&path.display().to_string(), why).into())
}

/// The `*.pub` files of a folder, by name. A folder that is not there has none.
fn public_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => {
            entries.and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>())
        }
    };
    let mut files = entries.with_context(|| format!("reading the folder {}", folder.display()))?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "pub"));
    files.sort();
    Ok(files)
}

impl Keys for KeyFiles {
    fn signer(&self) -> Result<Option<PublicKey>> {
        let Some(secret) = self.open()? else { return Ok(None) };
        PublicKey::of_secret(&secret).map(Some).map_err(Error::msg)
    }

    fn sign(&self, bytes: &[u8], comment: &str) -> Result<Option<Signature>> {
        let Some(secret) = self.open()? else { return Ok(None) };
        let key = PublicKey::of_secret(&secret).map_err(Error::msg)?;
        let untrusted = format!("signature of tpl, key {}", key.id());
        let signed = minisign::sign(None, &secret, bytes, Some(comment), Some(&untrusted)).map_err(plain).context("signing")?;
        Ok(Some(Signature { key: key.to_string(), minisig: signed.to_string() }))
    }

    fn trusted(&self) -> Result<Vec<TrustedKey>> {
        let mut found = Vec::new();
        let public = self.public_file();
        if public.exists() {
            found.push(TrustedKey { key: read_public(&public)?, own: true, from: public.display().to_string() });
        }
        let listed =
            self.0.trusted.iter().map(|key| TrustedKey { key: key.clone(), own: false, from: "trusted_keys".to_owned() });
        found.extend(listed);
        for folder in &self.0.folders {
            for file in public_files(folder)? {
                found.push(TrustedKey { key: read_public(&file)?, own: false, from: file.display().to_string() });
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests;
