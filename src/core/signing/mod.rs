//! Signatures of published versions: ed25519 in the form of minisign, which anybody can check with `minisign -V`.
//!
//! What is signed is [`content::signed_bytes`], the part of a manifest that never changes. A signature travels with the public key
//! that it was made with, so that it can be told a good one of a stranger from a bad one; whether that key is *trusted* is the
//! operator's to say, and nothing that travels with it.

pub mod content;

use std::{fmt, io::Cursor, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use super::{manifest::Manifest, quoted::quoted};

/// The lines of a signature, in the order of its file.
const UNTRUSTED: &str = "untrusted comment: ";
const TRUSTED: &str = "trusted comment: ";
/// Algorithm (2 bytes), key id (8), signature (64).
const SIGNATURE: usize = 74;
/// A signature of ed25519 alone.
const GLOBAL: usize = 64;
/// More than any comment of tpl's needs; a manifest is not the place for more.
const MAX_TEXT: usize = 2048;

/// A public key as minisign prints it: `RWQ…`, 56 characters of base64.
#[derive(Clone)]
pub struct PublicKey(minisign::PublicKey);

/// What a key is called by: 16 upper-case hexadecimal digits. Chosen at random when a key is made, and no proof of anything.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct KeyId(String);

impl KeyId {
    /// Of the eight bytes in a key or a signature, which minisign prints as a little-endian number.
    fn of(bytes: &[u8]) -> Self {
        Self(bytes.iter().rev().map(|byte| format!("{byte:02X}")).collect())
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl PublicKey {
    /// The key of a pair.
    pub fn new(key: minisign::PublicKey) -> Self {
        Self(key)
    }

    /// The public half of a secret key.
    ///
    /// # Errors
    /// It is still encrypted.
    pub fn of_secret(key: &minisign::SecretKey) -> Result<Self, String> {
        minisign::PublicKey::from_secret_key(key).map(Self).map_err(|error| error.to_string())
    }

    /// Its id.
    pub fn id(&self) -> KeyId {
        KeyId::of(self.0.keynum())
    }

    /// Reads the text of a `.pub` file: a comment, then the key. The key alone will do.
    ///
    /// # Errors
    /// It holds anything else.
    pub fn parse_file(text: &str) -> Result<Self, String> {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with(UNTRUSTED.trim_end()));
        match (lines.next(), lines.next()) {
            (Some(key), None) => key.parse(),
            _ => Err("no public key of minisign: one line with a key is expected, and a comment before it".to_owned()),
        }
    }

    /// The text of its `.pub` file.
    pub fn to_file(&self) -> String {
        format!("{UNTRUSTED}minisign public key {}\n{self}\n", self.id())
    }
}

impl PartialEq for PublicKey {
    fn eq(&self, other: &Self) -> bool {
        // With the id: minisign compares the key alone.
        self.0.to_bytes() == other.0.to_bytes()
    }
}

impl Eq for PublicKey {}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0.to_base64())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PublicKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{} is no public key of minisign: 56 characters are expected, RW first", quoted(text));
        let bytes = STANDARD.decode(text).map_err(|_| wrong())?;
        if bytes.len() != 42 || !bytes.starts_with(b"Ed") {
            return Err(wrong());
        }
        minisign::PublicKey::from_bytes(&bytes).map(Self).map_err(|_| wrong())
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// A signature as a manifest holds it. Text only: what somebody has spoilt must still be readable, to be called bad.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// The public key that it was made with, by its own word.
    pub key: String,
    /// The four lines of a `.minisig` file.
    pub minisig: String,
}

impl Signature {
    /// The key that it says it was made with: nobody has checked that.
    pub fn claimed(&self) -> Option<KeyId> {
        self.key.parse::<PublicKey>().ok().map(|key| key.id())
    }
}

/// What a signature is worth.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// There is none.
    Unsigned,
    /// It is good, and the operator trusts the key.
    Trusted(KeyId),
    /// It is good, and nobody has said that the key is to be trusted.
    Stranger(PublicKey),
    /// It is no signature of this manifest: why, as the end of "the signature".
    Bad(String),
}

impl Standing {
    /// The key that made a good signature.
    pub fn key_id(&self) -> Option<KeyId> {
        match self {
            Self::Trusted(id) => Some(id.clone()),
            Self::Stranger(key) => Some(key.id()),
            Self::Unsigned | Self::Bad(_) => None,
        }
    }

    /// The word that JSON documents say for it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Unsigned => "none",
            Self::Trusted(_) => "trusted",
            Self::Stranger(_) => "untrusted",
            Self::Bad(_) => "bad",
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsigned => f.write_str("none"),
            Self::Trusted(id) => write!(f, "good, by key {id}, which is trusted"),
            Self::Stranger(key) => write!(f, "good, by key {}, which is not trusted", key.id()),
            Self::Bad(why) => write!(f, "BAD: it {why}"),
        }
    }
}

/// What the trusted comment says: it is signed too, and `minisign -V` prints it.
pub fn comment(manifest: &Manifest) -> String {
    format!("tpl {} sha256:{}", manifest.id(), manifest.digest.as_deref().unwrap_or("none"))
}

/// Judges a manifest's signature.
///
/// A signature that names the id of a trusted key must be good by that very key: else anybody could choose this id.
pub fn judge(manifest: &Manifest, trusted: &[PublicKey]) -> Standing {
    let Some(signature) = &manifest.signature else { return Standing::Unsigned };
    match check(manifest, signature, trusted) {
        Ok(standing) => standing,
        Err(why) => Standing::Bad(why),
    }
}

fn check(manifest: &Manifest, signature: &Signature, trusted: &[PublicKey]) -> Result<Standing, String> {
    let minisig = parse(&signature.minisig)?;
    let id = KeyId::of(minisig.keynum());
    let known: Vec<&PublicKey> = trusted.iter().filter(|key| key.id() == id).collect();
    let bytes = content::signed_bytes(manifest);
    let good = |key: &PublicKey| minisign::verify(&key.0, &minisig, Cursor::new(&bytes), true, false, false).is_ok();
    let stranger = match known.as_slice() {
        [] => Some(signature.key.parse::<PublicKey>().map_err(|error| format!("is by key {id}, and comes without it: {error}"))?),
        _ => None,
    };
    let candidates: Vec<&PublicKey> = known.iter().copied().chain(stranger.as_ref()).collect();
    if !candidates.into_iter().any(good) {
        return Err(format!("does not fit what it stands under; it names key {id}"));
    }
    let said = minisig.trusted_comment().map_err(|_| "has no trusted comment".to_owned())?;
    if said != comment(manifest) {
        return Err(format!("is of something else: its comment says {}", quoted(&said)));
    }
    Ok(stranger.map_or(Standing::Trusted(id), Standing::Stranger))
}

/// Reads a signature. Its shape is checked here: the crate takes a global signature of any length, and trips over a short one.
fn parse(text: &str) -> Result<minisign::SignatureBox, String> {
    let wrong = || "is none of minisign".to_owned();
    let lines: Vec<&str> = text.lines().collect();
    let [untrusted, signature, trusted, global] = lines.as_slice() else { return Err(wrong()) };
    if text.len() > MAX_TEXT || !untrusted.starts_with(UNTRUSTED) || !trusted.starts_with(TRUSTED) {
        return Err(wrong());
    }
    for (line, length) in [(signature, SIGNATURE), (global, GLOBAL)] {
        if STANDARD.decode(line).ok().is_none_or(|bytes| bytes.len() != length) {
            return Err(wrong());
        }
    }
    minisign::SignatureBox::from_string(text).map_err(|_| wrong())
}

#[cfg(test)]
mod tests;
