//! The signature of an `InRelease`: a cleartext signature by any one key of a keyring.

use std::{collections::BTreeMap, io::Read as _, path::Path};

use sequoia_openpgp::{
    Cert, Fingerprint, KeyHandle,
    cert::{CertParser, amalgamation::ValidAmalgamation as _},
    parse::{
        Parse as _,
        stream::{GoodChecksum, MessageLayer, MessageStructure, VerificationError, VerificationHelper, VerifierBuilder},
    },
    policy::StandardPolicy,
    types::RevocationStatus,
};

/// The certificates that are trusted, each with all that the keyring says about it.
pub struct Keyring(BTreeMap<Fingerprint, Cert>);

/// A text, and who vouches for it.
#[derive(Debug, PartialEq, Eq)]
pub struct Verified {
    /// The signed text and nothing else: what stands before, between and after in the message is not part of it.
    pub text: String,
    /// The fingerprint of the certificate whose key signed it.
    pub fingerprint: String,
}

impl Keyring {
    /// Reads a file of certificates, binary or armoured.
    ///
    /// # Errors
    /// Why it cannot be used, as a clause: the caller decides whether that is a refusal.
    pub fn read(path: &Path) -> Result<Self, String> {
        let shown = path.display();
        let parser = CertParser::from_file(path).map_err(|error| format!("the keyring {shown} cannot be read: {error:#}"))?;
        let mut certs: BTreeMap<Fingerprint, Cert> = BTreeMap::new();
        // One certificate that is too old to be understood must not spoil the others.
        for cert in parser.flatten() {
            // Two copies of a certificate are one: a revocation may stand in only one of them.
            let merged = match certs.remove(&cert.fingerprint()) {
                Some(other) => other.merge_public(cert).map_err(|error| format!("the keyring {shown}: {error:#}"))?,
                None => cert,
            };
            certs.insert(merged.fingerprint(), merged);
        }
        if certs.is_empty() {
            return Err(format!("the keyring {shown} holds no OpenPGP key"));
        }
        Ok(Self(certs))
    }

    /// Checks a cleartext-signed message.
    ///
    /// # Errors
    /// Why no signature on it is good, as a clause that names each signing key's fingerprint.
    pub fn verify(&self, message: &[u8]) -> Result<Verified, String> {
        // Other kinds of messages may be compressed, and so grow without a limit.
        if !message.starts_with(b"-----BEGIN PGP SIGNED MESSAGE-----") {
            return Err("it is no text with an OpenPGP signature".to_owned());
        }
        let malformed = |error: &dyn std::fmt::Display| format!("its OpenPGP signature cannot be read: {error}");
        let policy = StandardPolicy::new();
        let check = Check { keyring: self, policy: &policy, good: None, faults: Vec::new() };
        let mut verifier = VerifierBuilder::from_bytes(message)
            .and_then(|builder| builder.with_policy(&policy, None, check))
            .map_err(|error| malformed(&error))?;
        let mut text = Vec::new();
        verifier.read_to_end(&mut text).map_err(|error| malformed(&error))?;
        let Check { good, faults, .. } = verifier.into_helper();
        let fingerprint = match good {
            Some(fingerprint) => fingerprint.to_hex(),
            None if faults.is_empty() => return Err("it has no signature".to_owned()),
            None => return Err(faults.join("; ")),
        };
        let text = String::from_utf8(text).map_err(|_| "the signed text is no UTF-8".to_owned())?;
        Ok(Verified { text, fingerprint })
    }
}

/// Collects what became of each signature. It never fails, because an error from inside the verifier would lose the reasons;
/// `verify` lets no text out without a good one.
struct Check<'a> {
    keyring: &'a Keyring,
    policy: &'a StandardPolicy<'a>,
    good: Option<Fingerprint>,
    faults: Vec<String>,
}

impl VerificationHelper for Check<'_> {
    fn get_certs(&mut self, ids: &[KeyHandle]) -> sequoia_openpgp::Result<Vec<Cert>> {
        let signed = |cert: &&Cert| cert.keys().any(|key| ids.iter().any(|id| id.aliases(key.key().key_handle())));
        Ok(self.keyring.0.values().filter(signed).cloned().collect())
    }

    fn check(&mut self, structure: MessageStructure<'_>) -> sequoia_openpgp::Result<()> {
        for layer in structure {
            let MessageLayer::SignatureGroup { results } = layer else { continue };
            for result in results {
                match result.map_err(|error| fault(&error, self.policy)).and_then(|good| usable_now(&good, self.policy)) {
                    Ok(fingerprint) => self.good = self.good.take().or(Some(fingerprint)),
                    Err(fault) => self.faults.push(fault),
                }
            }
        }
        Ok(())
    }
}

/// The library judges the key at the time that the signature claims. Whoever stole a key can claim any time, so the key must
/// be good today as well.
fn usable_now(good: &GoodChecksum<'_>, policy: &StandardPolicy<'_>) -> Result<Fingerprint, String> {
    let cert = good.ka.cert();
    match fault_today(cert, &good.ka.key().fingerprint(), policy) {
        Some(fault) => Err(untrusted(cert, &fault)),
        None => Ok(cert.fingerprint()),
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
