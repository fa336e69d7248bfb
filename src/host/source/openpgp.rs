//! The signature of a vendor's list, inside it or beside it, by any one key of a keyring.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::Read as _,
    path::Path,
};

use sequoia_openpgp::{
    Cert, Fingerprint, KeyHandle,
    cert::{CertParser, amalgamation::ValidAmalgamation as _},
    parse::{
        Parse as _,
        stream::{
            DetachedVerifierBuilder, GoodChecksum, MessageLayer, MessageStructure, VerificationError, VerificationHelper,
            VerifierBuilder,
        },
    },
    policy::{HashAlgoSecurity, StandardPolicy},
    types::{HashAlgorithm, RevocationStatus},
};

use crate::core::source::fingerprint;

const CLEARSIGNED: &[u8] = b"-----BEGIN PGP SIGNED MESSAGE-----";
const ARMOUR: &[u8] = b"-----BEGIN PGP PUBLIC KEY BLOCK-----";
/// Twice the largest keyring that a distribution has: that of all of Debian's developers.
const MAX_KEYRING: u64 = 64 << 20;

/// The certificates that are trusted, each with all that the keyring says about it.
pub struct Keyring {
    certs: BTreeMap<Fingerprint, Cert>,
    /// Those that count; none: all do.
    only: Option<BTreeSet<Fingerprint>>,
}

/// A text, and who vouches for it.
#[derive(Debug, PartialEq, Eq)]
pub struct Verified {
    /// The signed text and nothing else: what stands before, between and after in the message is not part of it.
    pub text: String,
    /// The fingerprint of the certificate whose key signed it.
    pub fingerprint: String,
}

impl Keyring {
    /// Reads a file of certificates, binary or armoured; several armoured blocks may follow each other.
    ///
    /// # Errors
    /// Why it cannot be used, as a clause: the caller decides whether that is a refusal.
    pub fn read(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let unreadable = |error: &dyn std::fmt::Display| format!("the keyring {shown} cannot be read: {error:#}");
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|file| file.take(MAX_KEYRING + 1).read_to_end(&mut bytes));
        read.map_err(|error| unreadable(&error))?;
        if bytes.len() as u64 > MAX_KEYRING {
            return Err(unreadable(&format!("larger than {} MiB, which no keyring is", MAX_KEYRING >> 20)));
        }
        let mut certs: BTreeMap<Fingerprint, Cert> = BTreeMap::new();
        for block in blocks(&bytes) {
            let parser = CertParser::from_bytes(block).map_err(|error| unreadable(&error))?;
            // One certificate that is too old to be understood must not spoil the others.
            for cert in parser.flatten() {
                // Two copies of a certificate are one: a revocation may stand in only one of them.
                let merged = match certs.remove(&cert.fingerprint()) {
                    Some(other) => other.merge_public(cert).map_err(|error| format!("the keyring {shown}: {error:#}"))?,
                    None => cert,
                };
                certs.insert(merged.fingerprint(), merged);
            }
        }
        if certs.is_empty() {
            return Err(format!("the keyring {shown} holds no OpenPGP key"));
        }
        Ok(Self { certs, only: None })
    }

    /// The same keyring, of which only the certificates with these fingerprints count; all, if there are none.
    ///
    /// # Errors
    /// One is no fingerprint, or the keyring holds none of them: as a clause.
    pub fn only(self, fingerprints: &[String]) -> Result<Self, String> {
        if fingerprints.is_empty() {
            return Ok(self);
        }
        let parse = |text: &String| fingerprint(text)?.parse::<Fingerprint>().map_err(|error| format!("{error:#}"));
        let only = fingerprints.iter().map(parse).collect::<Result<BTreeSet<_>, _>>()?;
        if !self.certs.keys().any(|held| only.contains(held)) {
            let wanted: Vec<_> = only.iter().map(Fingerprint::to_hex).collect();
            return Err(format!("the keyring holds no key {}", wanted.join(" or ")));
        }
        Ok(Self { only: Some(only), ..self })
    }

    /// Checks a cleartext-signed message.
    ///
    /// # Errors
    /// Why no signature on it is good, as a clause that names each signing key's fingerprint.
    pub fn verify(&self, message: &[u8]) -> Result<Verified, String> {
        // Other kinds of messages may be compressed, and so grow without a limit.
        if !message.starts_with(CLEARSIGNED) {
            return Err("it is no text with an OpenPGP signature".to_owned());
        }
        let policy = self.policy();
        let mut verifier = VerifierBuilder::from_bytes(message)
            .and_then(|builder| builder.with_policy(&policy, None, self.check(&policy)))
            .map_err(malformed)?;
        let mut text = Vec::new();
        verifier.read_to_end(&mut text).map_err(malformed)?;
        let fingerprint = verifier.into_helper().outcome()?;
        Ok(Verified { text: utf8(text)?, fingerprint })
    }

    /// Checks a text whose signature is in a file of its own, armoured or binary.
    ///
    /// # Errors
    /// As for [`Keyring::verify`].
    pub fn verify_detached(&self, signature: &[u8], text: &[u8]) -> Result<Verified, String> {
        let policy = self.policy();
        let mut verifier = DetachedVerifierBuilder::from_bytes(signature)
            .and_then(|builder| builder.with_policy(&policy, None, self.check(&policy)))
            .map_err(malformed)?;
        verifier.verify_bytes(text).map_err(malformed)?;
        let fingerprint = verifier.into_helper().outcome()?;
        Ok(Verified { text: utf8(text.to_vec())?, fingerprint })
    }

    fn policy(&self) -> StandardPolicy<'static> {
        let mut policy = StandardPolicy::new();
        if self.only.is_some() {
            // Some vendors' keys are bound by SHA-1 alone, that of CentOS 7 for one. Whoever names the fingerprint vouches for
            // the key himself. The signature of a list, which somebody else may have had a hand in, needs better in any case.
            policy.accept_hash_property(HashAlgorithm::SHA1, HashAlgoSecurity::SecondPreImageResistance);
        }
        policy
    }

    fn check<'a>(&'a self, policy: &'a StandardPolicy<'static>) -> Check<'a> {
        Check { keyring: self, policy, good: None, faults: Vec::new() }
    }
}

/// The armoured blocks of a keyring, or the whole of a binary one.
fn blocks(bytes: &[u8]) -> Vec<&[u8]> {
    let starts: Vec<usize> =
        bytes.windows(ARMOUR.len()).enumerate().filter(|(_, window)| *window == ARMOUR).map(|(at, _)| at).collect();
    if starts.is_empty() {
        return vec![bytes];
    }
    let ends = starts.iter().skip(1).copied().chain([bytes.len()]);
    starts.iter().zip(ends).map(|(start, end)| &bytes[*start..end]).collect()
}

fn malformed(error: impl std::fmt::Display) -> String {
    format!("its OpenPGP signature cannot be read: {error:#}")
}

fn utf8(text: Vec<u8>) -> Result<String, String> {
    String::from_utf8(text).map_err(|_| "the signed text is no UTF-8".to_owned())
}

/// Collects what became of each signature. It never fails, because an error from inside the verifier would lose the reasons;
/// `verify` lets no text out without a good one.
struct Check<'a> {
    keyring: &'a Keyring,
    policy: &'a StandardPolicy<'static>,
    good: Option<Fingerprint>,
    faults: Vec<String>,
}

impl Check<'_> {
    /// The certificate of a good signature, or what is wrong with those that there are.
    fn outcome(self) -> Result<String, String> {
        match self.good {
            Some(fingerprint) => Ok(fingerprint.to_hex()),
            None if self.faults.is_empty() => Err("it has no signature".to_owned()),
            None => Err(self.faults.join("; ")),
        }
    }

    /// The library judges the key at the time that the signature claims. Whoever stole a key can claim any time, so the key must
    /// be good today as well.
    fn usable_now(&self, good: &GoodChecksum<'_>) -> Result<Fingerprint, String> {
        let cert = good.ka.cert();
        if self.keyring.only.as_ref().is_some_and(|only| !only.contains(&cert.fingerprint())) {
            return Err(format!("key {} is in the keyring, and not among the fingerprints that count", cert.fingerprint()));
        }
        match fault_today(cert, &good.ka.key().fingerprint(), self.policy) {
            Some(fault) => Err(untrusted(cert, &fault)),
            None => Ok(cert.fingerprint()),
        }
    }
}

impl VerificationHelper for Check<'_> {
    fn get_certs(&mut self, ids: &[KeyHandle]) -> sequoia_openpgp::Result<Vec<Cert>> {
        let signed = |cert: &&Cert| cert.keys().any(|key| ids.iter().any(|id| id.aliases(key.key().key_handle())));
        Ok(self.keyring.certs.values().filter(signed).cloned().collect())
    }

    fn check(&mut self, structure: MessageStructure<'_>) -> sequoia_openpgp::Result<()> {
        for layer in structure {
            let MessageLayer::SignatureGroup { results } = layer else { continue };
            for result in results {
                match result.map_err(|error| fault(&error, self.policy)).and_then(|good| self.usable_now(&good)) {
                    Ok(fingerprint) => self.good = self.good.take().or(Some(fingerprint)),
                    Err(fault) => self.faults.push(fault),
                }
            }
        }
        Ok(())
    }
}

/// What is wrong with a certificate's signing key now.
fn fault_today(cert: &Cert, signing: &Fingerprint, policy: &StandardPolicy<'_>) -> Option<String> {
    let text = |error: anyhow::Error| format!("{error:#}");
    let valid = match cert.with_policy(policy, None) {
        Ok(valid) => valid,
        Err(error) => return Some(text(error)),
    };
    let Some(key) = valid.keys().find(|key| key.key().fingerprint() == *signing) else {
        return Some("its subkey is no longer bound to it".to_owned());
    };
    let revoked = [valid.revocation_status(), key.revocation_status()];
    if revoked.iter().any(|status| matches!(status, RevocationStatus::Revoked(_))) {
        return Some("it is revoked".to_owned());
    }
    valid.alive().and_then(|()| key.alive()).err().map(text)
}

fn untrusted(cert: &Cert, fault: &dyn std::fmt::Display) -> String {
    format!("key {} cannot be trusted: {fault}", cert.fingerprint())
}

fn fault(error: &VerificationError<'_>, policy: &StandardPolicy<'_>) -> String {
    match error {
        VerificationError::MissingKey { sig } => match sig.get_issuers().first() {
            Some(issuer) => format!("key {issuer:X} is not in the keyring"),
            None => "a signature names no key".to_owned(),
        },
        VerificationError::UnboundKey { cert, error, .. } => untrusted(cert, &format!("{error:#}")),
        VerificationError::BadKey { ka, error, .. } => {
            let today = fault_today(ka.cert(), &ka.key().fingerprint(), policy);
            untrusted(ka.cert(), &today.unwrap_or_else(|| format!("{error:#}")))
        }
        VerificationError::BadSignature { ka, error, .. } => {
            format!("the signature of key {} is bad: {error:#}", ka.cert().fingerprint())
        }
        _ => "a signature is malformed".to_owned(),
    }
}

#[cfg(test)]
#[path = "openpgp_tests.rs"]
mod tests;
