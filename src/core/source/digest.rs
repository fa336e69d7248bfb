//! The digest that a vendor gives for a file: SHA-256 or SHA-512, as his list has it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

use crate::core::sha256::Sha256Digest;

/// How a digest is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// All of them, the preferred one first: SHA-256 is what manifests and most lists have.
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Sha512];

    /// One word, as in the name of a folder.
    pub fn word(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// The name that people know.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "SHA-256",
            Self::Sha512 => "SHA-512",
        }
    }

    /// How many hexadecimal digits a digest has.
    pub fn digits(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }
}

/// The digest of some file's bytes. Reads hexadecimal digits of either case, whose number tells which it is; prints lower case.
///
/// Serialises as an object with one key: `{"sha256": "…"}`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Digest {
    /// SHA-256.
    Sha256(Sha256Digest),
    /// SHA-512.
    Sha512([u8; 64]),
}

impl Digest {
    /// How it was made.
    pub fn algorithm(self) -> Algorithm {
        match self {
            Self::Sha256(_) => Algorithm::Sha256,
            Self::Sha512(_) => Algorithm::Sha512,
        }
    }
}

impl FromStr for Digest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.len() {
            64 => text.parse().map(Self::Sha256),
            128 => hex_bytes(text).map(Self::Sha512).ok_or(()).map_err(|()| wrong()),
            _ => Err(wrong()),
        }
    }
}

fn wrong() -> String {
    "no digest: 64 hexadecimal digits of a SHA-256 or 128 of a SHA-512 are expected".to_owned()
}

/// The bytes of exactly `2 * N` hexadecimal digits.
pub(in crate::core) fn hex_bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    // `char::to_digit` and not `u8::from_str_radix`, which would take a sign.
    let nibble = |byte: u8| char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok());
    if text.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
    }
    Some(bytes)
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sha256(digest) => digest.fmt(f),
            Self::Sha512(bytes) => bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}")),
        }
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Sha256Digest> for Digest {
    fn from(digest: Sha256Digest) -> Self {
        Self::Sha256(digest)
    }
}

/// The shape of the JSON.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Written {
    Sha256(Sha256Digest),
    Sha512(String),
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Sha256(digest) => Written::Sha256(*digest),
            Self::Sha512(_) => Written::Sha512(self.to_string()),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Written::deserialize(deserializer)? {
            Written::Sha256(digest) => Ok(Self::Sha256(digest)),
            Written::Sha512(text) => hex_bytes(&text).map(Self::Sha512).ok_or_else(|| D::Error::custom(wrong())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_digits_tells_which_it_is() {
        let (short, long) = ("aB".repeat(32), "0F".repeat(64));
        let table = [
            (short.clone(), Some((Algorithm::Sha256, short.to_lowercase()))),
            (long.clone(), Some((Algorithm::Sha512, long.to_lowercase()))),
            (String::new(), None),
            (long[1..].to_owned(), None),
            (long.replace("0F0F0F", "+F0F0F"), None),
            ("ä".repeat(64), None),
            ("a".repeat(40), None),
        ];
        for (text, expected) in table {
            let found = text.parse::<Digest>().ok().map(|digest| (digest.algorithm(), digest.to_string()));
            assert_eq!(found, expected, "{text}");
        }
    }

    #[test]
    fn serialises_under_its_name() {
        let table = [("sha256", "07".repeat(32)), ("sha512", "ab".repeat(64))];
        for (name, hex) in table {
            let digest: Digest = hex.parse().unwrap();
            let json = serde_json::to_string(&digest).unwrap();
            assert_eq!(json, format!("{{\"{name}\":\"{hex}\"}}"));
            assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), digest);
            assert_eq!((digest.algorithm().word(), digest.algorithm().digits()), (name, hex.len()));
        }
        for wrong in [format!("{{\"sha512\":\"{}\"}}", "07".repeat(32)), "{\"md5\":\"00\"}".to_owned()] {
            assert!(serde_json::from_str::<Digest>(&wrong).is_err(), "{wrong}");
        }
    }
}
