//! The keys of hosts: what SSH says of them, and their fingerprints.

use std::{fmt, str::FromStr};

use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD},
};
use sha2::{Digest as _, Sha256};

use crate::core::{error::Refusal, quoted::quoted, ssh_key::PublicKey};

/// A key's fingerprint, as SSH shows it: `SHA256:` and 43 digits of base64.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// That of a public key.
    pub fn of(key: &PublicKey) -> Option<Self> {
        let key = key.key();
        let blob = BASE64_STANDARD.decode(key.split(' ').nth(1)?).ok()?;
        Some(Self(format!("SHA256:{}", BASE64_STANDARD_NO_PAD.encode(Sha256::digest(blob)))))
    }
}

impl FromStr for Fingerprint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.trim().strip_prefix("SHA256:").map(|digits| digits.trim_end_matches('='));
        let bytes = digits.and_then(|digits| BASE64_STANDARD_NO_PAD.decode(digits).ok());
        match (digits, bytes) {
            (Some(digits), Some(bytes)) if bytes.len() == 32 => Ok(Self(format!("SHA256:{digits}"))),
            _ => Err(format!("{} is no fingerprint of a host key: write it as `ssh-keygen -l` does, SHA256:…", quoted(text))),
        }
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What SSH makes of a host's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is the one that is known.
    Known,
    /// None is known.
    Unknown,
    /// Another one is known, or it is revoked.
    Contradicts,
    /// SSH has not come so far.
    NotReached,
}

/// Reads what SSH has said that was to believe known keys only, and to offer nothing to log in with.
pub fn verdict(said: &str) -> Verdict {
    if said.contains("HOST IDENTIFICATION HAS CHANGED") || said.contains("REVOKED HOST KEY") {
        Verdict::Contradicts
    } else if said.contains("host key is known for") {
        Verdict::Unknown
    } else if super::login::is_denied(said) {
        Verdict::Known
    } else {
        Verdict::NotReached
    }
}

/// A line that SSH has written for a host whose key it has learned, and the key in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Learned {
    /// The line.
    pub line: String,
    /// The key's type, for people: `ssh-ed25519`.
    pub kind: String,
    /// The key's fingerprint.
    pub fingerprint: Fingerprint,
}

impl Learned {
    /// Reads a file of known hosts that was empty before.
    pub fn parse(text: &str) -> Option<Self> {
        let line = text.lines().find(|line| !line.trim().is_empty())?.trim();
        let (_, key) = line.split_once(' ')?;
        let key: PublicKey = key.parse().ok()?;
        let fingerprint = Fingerprint::of(&key)?;
        Some(Self { line: line.to_owned(), kind: key.key().split(' ').next()?.to_owned(), fingerprint })
    }
}

/// The algorithms that a host may have keys of, to be asked for one by one.
pub const ALGORITHMS: [&str; 5] =
    ["ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "rsa-sha2-512,rsa-sha2-256"];

/// A host whose key is another one than those that are known of it.
pub fn contradicts(name: &str, known_as: &str, files: &[String], offered: Option<&Learned>) -> Refusal {
    let key = offered.map_or(String::new(), |offered| format!(", {} {}", offered.kind, offered.fingerprint));
    let reason = format!("{name} shows another host key than the one that is known{key}: it may be another machine that answers");
    let file = files.first().map_or(String::new(), |file| format!(" -f {file}"));
    Refusal::new(reason).advise(format!("if the machine was made anew, `ssh-keygen -R '{known_as}'{file}` forgets the old key"))
}

/// A host whose key is not the one that `--host-key` names.
pub fn is_not(name: &str, expected: &Fingerprint, offered: &[Learned]) -> Refusal {
    let shown: Vec<String> = offered.iter().map(|key| format!("{} {}", key.kind, key.fingerprint)).collect();
    let reason = format!("{name} has no host key {expected}: it shows {}", shown.join(" and "));
    Refusal::new(reason).advise("read the fingerprints at the machine itself: `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub`")
}

/// A host of which no key is known, where nobody can be asked.
pub fn is_unknown(name: &str, offered: &Learned) -> Refusal {
    let Learned { kind, fingerprint, .. } = offered;
    let reason = format!("the host key of {name} is not known: it shows {kind} {fingerprint}");
    Refusal::new(reason).advise(format!("if that is the machine's, say --host-key {fingerprint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    // As `ssh-keygen -lf` prints it.
    const FINGERPRINT: &str = "SHA256:T7SvZ2cslqpPj6nKzitCBHHlpVF3r3MvLwmFL0fk0IE";

    #[test]
    fn fingerprints_are_those_of_ssh_keygen() {
        assert_eq!(Fingerprint::of(&KEY.parse().unwrap()).unwrap().to_string(), FINGERPRINT);
        let read: Fingerprint = format!(" {FINGERPRINT}= ").parse().unwrap();
        assert_eq!(read.to_string(), FINGERPRINT);
        for bad in ["", "SHA256:", "SHA256:AAAA", "MD5:aa:bb", FINGERPRINT.trim_start_matches("SHA256:"), "SHA256:a b"] {
            assert!(bad.parse::<Fingerprint>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_ssh_says_of_a_host() {
        let table = [
            ("admin@hv1: Permission denied (publickey,password).", Verdict::Known),
            (
                "No ED25519 host key is known for [hv1]:2222 and you have requested strict checking.\nHost key verification failed.",
                Verdict::Unknown,
            ),
            ("@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\nHost key verification failed.", Verdict::Contradicts),
            ("ssh: connect to host hv1 port 22: Connection refused", Verdict::NotReached),
        ];
        for (said, expected) in table {
            assert_eq!(verdict(said), expected, "{said}");
        }
    }

    #[test]
    fn a_learned_line_has_its_key() {
        let learned = Learned::parse(&format!("[hv1]:2222 {KEY}\n")).unwrap();
        assert_eq!((learned.kind.as_str(), learned.fingerprint.to_string().as_str()), ("ssh-ed25519", FINGERPRINT));
        assert_eq!(learned.line, format!("[hv1]:2222 {KEY}"));
        assert_eq!(Learned::parse("\n"), None);
        assert_eq!(Learned::parse("hv1 ssh-ed25519 AAAA"), None);
    }
}
