//! SSH public keys as text: what may stand in `authorized_keys` of a clone.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// One public key: algorithm, base64, comment. Never with options: they would decide what runs at a login.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey {
    algorithm: &'static str,
    base64: String,
    comment: String,
}

/// The algorithms of today's OpenSSH. No DSA, which it has dropped, and no certificates, which are no keys.
const ALGORITHMS: [&str; 7] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];
/// A 16384-bit RSA key, the largest that OpenSSH takes, has less than 3,000 characters.
const MAX_LINE: usize = 8192;

impl PublicKey {
    /// The algorithm and the key, without the comment: what makes two keys the same, and what `known_hosts` holds.
    pub fn key(&self) -> String {
        format!("{} {}", self.algorithm, self.base64)
    }

    /// What its owner calls it; often empty.
    pub fn comment(&self) -> &str {
        &self.comment
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.algorithm, self.base64)?;
        if self.comment.is_empty() { Ok(()) } else { write!(f, " {}", self.comment) }
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

impl FromStr for PublicKey {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let line = line.trim_matches([' ', '\t']);
        if line.len() > MAX_LINE {
            return Err(format!("this is no public key: the line has {} characters", line.len()));
        }
        // A line break would begin a second line of authorized_keys, which nobody has checked.
        if let Some(c) = line.chars().find(|c| c.is_control() && *c != '\t') {
            return Err(format!("this is no public key: it holds {c:?}"));
        }
        let mut words = line.splitn(3, [' ', '\t']).map(str::trim);
        let (first, base64) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let Some(algorithm) = ALGORITHMS.into_iter().find(|known| *known == first) else {
            let shown: String = first.chars().take(40).collect();
            return Err(format!("{shown:?} is no key type that tpl takes: a line is 'type base64 comment', without options"));
        };
        let blob = decode_base64(base64).ok_or_else(|| format!("the {algorithm} key is no base64"))?;
        // RFC 4253, 6.6: the key begins with its own type, as a string with its length before it.
        let named = blob.split_first_chunk::<4>().and_then(|(length, rest)| rest.get(..u32::from_be_bytes(*length) as usize));
        if named != Some(algorithm.as_bytes()) || blob.len() < algorithm.len() + 4 + 32 {
            return Err(format!("the {algorithm} key is cut short, or of another type"));
        }
        Ok(Self { algorithm, base64: base64.to_owned(), comment: words.next().unwrap_or_default().to_owned() })
    }
}

/// Reads the lines of a `.pub` or `authorized_keys` file; empty lines and comments are passed over.
///
/// # Errors
/// Each line that is no public key, with its number.
pub fn parse_public_keys(text: &str) -> Result<Vec<PublicKey>, Vec<(usize, String)>> {
    let mut keys = Vec::new();
    let mut findings = Vec::new();
    if text.contains("-----BEGIN") {
        // Not a line of it may be shown.
        return Err(vec![(1, "this is a private key: name the public one, FILE.pub".to_owned())]);
    }
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        match line.parse() {
            Ok(key) => keys.push(key),
            Err(finding) => findings.push((index + 1, finding)),
        }
    }
    if findings.is_empty() { Ok(keys) } else { Err(findings) }
}

/// Decodes base64 with padding, RFC 4648, without line breaks.
pub(super) fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    if text.is_empty() || !text.len().is_multiple_of(4) || text.len() - digits.len() > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut count) = (0u32, 0);
    for digit in digits.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    // Bits that are left over must be zero, or two texts would be the same key.
    (bits == 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

    #[test]
    fn a_line_is_type_base64_comment() {
        let table = [
            (format!("ssh-ed25519 {KEY}"), Ok(format!("ssh-ed25519 {KEY}"))),
            (format!("  ssh-ed25519 {KEY} a b  "), Ok(format!("ssh-ed25519 {KEY} a b"))),
            (
                format!("command=\"id\" ssh-ed25519 {KEY}"),
                Err(r#""command=\"id\"" is no key type that tpl takes: a line is 'type base64 comment', without options"#
                    .to_owned()),
            ),
            (format!("ssh-ed25519 {KEY} a\nssh-ed25519 {KEY}"), Err(r"this is no public key: it holds '\n'".to_owned())),
            (format!("ssh-ed25519 {KEY} \u{1b}[2J"), Err(r"this is no public key: it holds '\u{1b}'".to_owned())),
            (format!("ssh-rsa {KEY}"), Err("the ssh-rsa key is cut short, or of another type".to_owned())),
            (format!("ssh-ed25519 {}", &KEY[..32]), Err("the ssh-ed25519 key is cut short, or of another type".to_owned())),
            (format!("ssh-ed25519 {}", &KEY[..31]), Err("the ssh-ed25519 key is no base64".to_owned())),
            ("ssh-ed25519".to_owned(), Err("the ssh-ed25519 key is no base64".to_owned())),
            ("ssh-ed25519 AAAA'; rm".to_owned(), Err("the ssh-ed25519 key is no base64".to_owned())),
            (
                "-----BEGIN OPENSSH PRIVATE KEY-----".to_owned(),
                Err(r#""-----BEGIN" is no key type that tpl takes: a line is 'type base64 comment', without options"#.to_owned()),
            ),
            (format!("ssh-ed25519 {}", "A".repeat(9000)), Err("this is no public key: the line has 9012 characters".to_owned())),
        ];
        for (line, expected) in table {
            assert_eq!(line.parse::<PublicKey>().map(|key| key.to_string()), expected, "{line}");
        }
    }

    #[test]
    fn a_file_is_read_whole() {
        let text = format!("# mine\n\nssh-ed25519 {KEY} me@host\r\n");
        assert_eq!(parse_public_keys(&text).unwrap()[0].comment(), "me@host");
        let findings = parse_public_keys("\nssh-ed25519\nssh-ed25519 A\n").unwrap_err();
        assert_eq!(findings.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 3]);
    }

    #[test]
    fn base64_as_in_the_rfc() {
        let table: [(&str, Option<&[u8]>); 9] = [
            ("Zg==", Some(b"f")),
            ("Zm8=", Some(b"fo")),
            ("Zm9v", Some(b"foo")),
            ("Zm9vYg==", Some(b"foob")),
            ("Zh==", None),
            ("Zg=", None),
            ("====", None),
            ("Z===", None),
            ("Zm9 ", None),
        ];
        for (text, bytes) in table {
            assert_eq!(decode_base64(text).as_deref(), bytes, "{text}");
        }
    }
}
