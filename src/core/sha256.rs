//! A SHA-256 digest: 64 hexadecimal digits outside, 32 bytes inside.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// The SHA-256 digest of some file's bytes. Reads either case; prints, and serialises, in lower case.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256Digest(pub [u8; 32]);

impl FromStr for Sha256Digest {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = "no SHA-256 digest: 64 hexadecimal digits are expected";
        super::source::hex_bytes(text).map(Self).ok_or_else(|| wrong.to_owned())
    }
}

impl fmt::Display for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Sha256Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Sha256Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_64_hexadecimal_digits_and_nothing_else() {
        let good = "00ff".to_owned() + &"aB".repeat(30);
        let table = [
            (good.as_str(), Some(good.to_lowercase())),
            ("", None),
            (&good[1..], None),
            (&format!("{good}0"), None),
            (&good.replace("ff", "+f"), None),
            (&good.replace("ff", "fg"), None),
            // 64 bytes, and not 64 digits.
            (&"ä".repeat(32), None),
        ];
        for (text, expected) in table {
            assert_eq!(text.parse::<Sha256Digest>().ok().map(|digest| digest.to_string()), expected, "{text}");
        }
    }

    #[test]
    fn serialises_as_text() {
        let digest = Sha256Digest([7; 32]);
        let json = serde_json::to_string(&digest).unwrap();
        assert_eq!(json, format!("\"{}\"", "07".repeat(32)));
        assert_eq!(serde_json::from_str::<Sha256Digest>(&json).unwrap(), digest);
        assert!(serde_json::from_str::<Sha256Digest>("\"07\"").is_err());
    }
}
