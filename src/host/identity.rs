//! Keys and hashes that are made at random, for one machine each.

use std::io::Write as _;

use anyhow::{Context as _, Result, anyhow, ensure};
use sha_crypt::{PasswordHasher as _, ShaCrypt};
use ssh_key::{
    Algorithm, HashAlg, LineEnding, PrivateKey,
    rand_core::{OsRng, RngCore as _},
};
use tempfile::NamedTempFile;

use crate::core::{digest::hex, names::VmName, secret::Secret};

/// The salt's length in bytes: 16 characters of base64, the most that crypt(3) reads. With more, which is sha-crypt's own
/// default, it computes another hash than ours.
const SALT: usize = 12;
/// 192 bits.
const PASSWORD: usize = 24;

/// A machine's SSH host key.
#[derive(Debug)]
pub struct HostKey {
    /// The private half in OpenSSH's PEM form.
    pub private: Secret<String>,
    /// The public half as one line: type, base64, `root@NAME`.
    pub public: String,
    /// What an SSH client shows of it: `SHA256:…`.
    pub fingerprint: String,
}

impl HostKey {
    /// Makes an Ed25519 key.
    ///
    /// # Errors
    /// The kernel's random numbers cannot be had.
    pub fn generate(name: &VmName) -> Result<Self> {
        make(name).map_err(|error| anyhow!(error).context(format!("making the SSH host key of {name}")))
    }
}

/// A key to log in with, once.
#[derive(Debug)]
pub struct LoginKey {
    private: Secret<String>,
    /// The public half as one line.
    pub public: String,
}

impl LoginKey {
    /// Makes an Ed25519 key.
    ///
    /// # Errors
    /// The kernel's random numbers cannot be had.
    pub fn generate() -> Result<Self> {
        let make = || -> ssh_key::Result<Self> {
            let key = PrivateKey::random(&mut OsRng, Algorithm::Ed25519)?;
            Ok(Self { private: Secret::new(key.to_openssh(LineEnding::LF)?.to_string()), public: key.public_key().to_openssh()? })
        };
        make().map_err(|error| anyhow!(error).context("making a login key"))
    }

    /// The private half in a file that only its owner can read, as SSH clients want it; gone when dropped.
    ///
    /// # Errors
    /// No file can be made.
    pub fn file(&self) -> Result<NamedTempFile> {
        let mut file = NamedTempFile::new().context("making a file for the login key")?;
        file.write_all(self.private.expose().as_bytes()).context("writing the login key")?;
        Ok(file)
    }
}

fn make(name: &VmName) -> ssh_key::Result<HostKey> {
    let mut key = PrivateKey::random(&mut OsRng, Algorithm::Ed25519)?;
    key.set_comment(format!("root@{name}"));
    Ok(HostKey {
        private: Secret::new(key.to_openssh(LineEnding::LF)?.to_string()),
        public: key.public_key().to_openssh()?,
        fingerprint: key.fingerprint(HashAlg::Sha256).to_string(),
    })
}

/// The crypt(3) hash, SHA-512, of a password that nobody knows: for installers that insist on one.
///
/// # Errors
/// The kernel's random numbers cannot be had.
pub fn random_password_hash() -> Result<Secret<String>> {
    let (mut password, mut salt) = ([0; PASSWORD], [0; SALT]);
    for bytes in [&mut password[..], &mut salt[..]] {
        OsRng.try_fill_bytes(bytes).map_err(|error| anyhow!("making a random password: {error}"))?;
    }
    // Printable, for whatever reads it: crypt(3) stops at a NUL.
    let password = hex(&password);
    password_hash(&password, &salt)
}

/// Bytes of chance, for a key.
///
/// # Errors
/// The system's source of them fails.
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    OsRng.try_fill_bytes(&mut bytes).map_err(|error| anyhow!("making a random key: {error}"))?;
    Ok(bytes)
}

fn password_hash(password: &str, salt: &[u8]) -> Result<Secret<String>> {
    ensure!(salt.len() == SALT, "hashing a password: the salt has {} bytes, not {SALT}", salt.len());
    let hash = ShaCrypt::SHA512.hash_password_with_salt(password.as_bytes(), salt);
    hash.map(|hash| Secret::new(hash.to_string())).map_err(|error| anyhow!("hashing a password: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::ssh_key::PublicKey;

    #[test]
    fn a_host_key_is_whole_and_hidden() {
        let key = HostKey::generate(&"web01".parse().unwrap()).unwrap();
        let private = PrivateKey::from_openssh(key.private.expose()).unwrap();
        assert_eq!(private.public_key().to_openssh().unwrap(), key.public);
        assert_eq!(key.public.parse::<PublicKey>().unwrap().comment(), "root@web01");
        assert_eq!(private.fingerprint(HashAlg::Sha256).to_string(), key.fingerprint);
        assert!(key.fingerprint.starts_with("SHA256:"));
        let shown = format!("{key:?}");
        assert!(shown.contains("private: [secret]") && !shown.contains("PRIVATE KEY"), "{shown}");
        assert_ne!(HostKey::generate(&"web01".parse().unwrap()).unwrap().public, key.public);
    }

    #[test]
    fn a_hash_is_what_crypt_makes() {
        // `openssl passwd -6 -salt .2U.1EE/4Q.07ck0 password`, and crypt(3) itself with the number of rounds.
        let hash = password_hash("password", &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]).unwrap();
        assert_eq!(
            hash.expose(),
            "$6$rounds=5000$.2U.1EE/4Q.07ck0$nhIO0nC1Sn27.1Ut/sRtkSTuY1cvT4DWVELyrwlaC1DUDlGWz3FaLHjV32NLxcA4Huz.4.GWUAzmqsugIpT4B."
        );
    }

    #[test]
    fn no_two_hashes_are_the_same() {
        let (one, two) = (random_password_hash().unwrap(), random_password_hash().unwrap());
        assert_ne!(one, two);
        let parts: Vec<_> = one.expose().split('$').collect();
        assert_eq!((parts[1], parts[parts.len() - 2].len(), parts[parts.len() - 1].len()), ("6", 16, 86));
    }
}
