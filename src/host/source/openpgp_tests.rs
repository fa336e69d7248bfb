//! Every key here is made on the spot: none of them can be mistaken for somebody's.

use std::{
    io::Write as _,
    time::{Duration, SystemTime},
};

use sequoia_openpgp::{
    cert::CertBuilder,
    serialize::{
        Serialize as _, SerializeInto as _,
        stream::{Message, Signer},
    },
    types::ReasonForRevocation,
};

use super::*;

const DAY: Duration = Duration::from_secs(86_400);
const TEXT: &str = "Codename: trixie\nSHA256:\n- dashes are escaped\n";

fn key() -> CertBuilder<'static> {
    CertBuilder::new().add_userid("Archive <archive@mirror.example>")
}

/// A certificate with a signing subkey, as Debian's archive keys have.
fn archive() -> Cert {
    key().add_signing_subkey().generate().unwrap().0
}

/// Valid for two days, ten days ago.
fn expired() -> Cert {
    let builder = key().set_creation_time(SystemTime::now() - 10 * DAY).set_validity_period(2 * DAY);
    builder.add_signing_subkey().generate().unwrap().0
}

/// With a validity of its own for the subkey.
fn expired_subkey() -> Cert {
    let flags = sequoia_openpgp::types::KeyFlags::empty().set_signing();
    let builder = key().set_creation_time(SystemTime::now() - 10 * DAY);
    builder.add_subkey(flags, 2 * DAY, None).generate().unwrap().0
}

fn revoked(cert: &Cert, reason: ReasonForRevocation) -> Cert {
    let mut primary = cert.primary_key().key().clone().parts_into_secret().unwrap().into_keypair().unwrap();
    let builder = sequoia_openpgp::cert::CertRevocationBuilder::new().set_reason_for_revocation(reason, b"test").unwrap();
    let revocation = builder.build(&mut primary, cert, None).unwrap();
    cert.clone().insert_packets([sequoia_openpgp::Packet::from(revocation)]).unwrap().0
}

fn sign(certs: &[&Cert], time: SystemTime, text: &str) -> Vec<u8> {
    let pair = |cert: &Cert| {
        let key = cert.keys().secret().map(|key| key.key().clone()).last().unwrap();
        key.into_keypair().unwrap()
    };
    let mut bytes = Vec::new();
    let signer = Signer::new(Message::new(&mut bytes), pair(certs[0])).unwrap();
    let signer = certs[1..].iter().fold(signer, |signer, cert| signer.add_signer(pair(cert)).unwrap());
    let mut message = signer.cleartext().creation_time(time).build().unwrap();
    message.write_all(text.as_bytes()).unwrap();
    message.finalize().unwrap();
    bytes
}

fn keyring(certs: &[&Cert]) -> Keyring {
    let file = tempfile::NamedTempFile::new().unwrap();
    for cert in certs {
        cert.serialize(&mut file.as_file()).unwrap();
    }
    Keyring::read(file.path()).unwrap()
}

fn hex(cert: &Cert) -> String {
    cert.fingerprint().to_hex()
}

fn subkey_hex(cert: &Cert) -> String {
    cert.keys().last().unwrap().key().fingerprint().to_hex()
}

#[test]
fn any_one_good_signature_counts() {
    let (good, other) = (archive(), archive());
    let now = SystemTime::now();
    let table = [
        (sign(&[&good], now, TEXT), vec![&good]),
        (sign(&[&good], now, TEXT), vec![&other, &good]),
        (sign(&[&other, &good], now, TEXT), vec![&good]),
        (sign(&[&good, &other], now, TEXT), vec![&good]),
    ];
    for (index, (message, certs)) in table.into_iter().enumerate() {
        let verified = keyring(&certs).verify(&message).unwrap();
        assert_eq!((verified.text.as_str(), verified.fingerprint), (TEXT, hex(&good)), "{index}");
    }
}

#[test]
fn bad_keys_are_refused_and_named() {
    let now = SystemTime::now();
    let (good, unknown) = (archive(), archive());
    let (old, old_subkey) = (expired(), expired_subkey());
    let (aged, _) = key().set_creation_time(now - 10 * DAY).add_signing_subkey().generate().unwrap();
    let compromised = revoked(&good, ReasonForRevocation::KeyCompromised);
    let retired = revoked(&aged, ReasonForRevocation::KeyRetired);
    let fault = |cert: &Cert, what: &str| format!("key {} cannot be trusted: {what}", hex(cert));
    let table = [
        (sign(&[&unknown], now, TEXT), vec![&good], format!("key {} is not in the keyring", subkey_hex(&unknown))),
        (sign(&[&good], now, TEXT), vec![&compromised], fault(&good, "it is revoked")),
        // The signature's date is before the revocation.
        (sign(&[&aged], now - 9 * DAY, TEXT), vec![&retired], fault(&aged, "it is revoked")),
        // One copy of the certificate knows of the revocation, and the other does not.
        (sign(&[&good], now, TEXT), vec![&good, &compromised], fault(&good, "it is revoked")),
        (sign(&[&good], now, TEXT), vec![&compromised, &good], fault(&good, "it is revoked")),
        (
            sign(&[&unknown, &good], now, TEXT),
            vec![&compromised],
            format!("{}; key {} is not in the keyring", fault(&good, "it is revoked"), subkey_hex(&unknown)),
        ),
    ];
    for (index, (message, certs, expected)) in table.into_iter().enumerate() {
        assert_eq!(keyring(&certs).verify(&message), Err(expected), "{index}");
    }
    assert_eq!(keyring(&[&aged]).verify(&sign(&[&aged], now - 9 * DAY, TEXT)).unwrap().fingerprint, hex(&aged));
    // Signed today, and signed with a date when the key was still good.
    for (cert, reason) in
        [(&old, "The primary key is not live: Expired on "), (&old_subkey, "The subkey is not live: Expired on ")]
    {
        for time in [now, now - 9 * DAY] {
            let error = keyring(&[cert]).verify(&sign(&[cert], time, TEXT)).unwrap_err();
            assert!(error.starts_with(&fault(cert, reason)), "{error}");
        }
    }
}

#[test]
fn a_changed_text_is_refused() {
    let good = archive();
    let ring = keyring(&[&good]);
    let message = String::from_utf8(sign(&[&good], SystemTime::now(), TEXT)).unwrap();
    let error = ring.verify(message.replace("trixie", "trixIe").as_bytes()).unwrap_err();
    assert!(error.starts_with(&format!("the signature of key {} is bad: ", hex(&good))), "{error}");
}

#[test]
fn what_is_not_signed_is_not_read() {
    let good = archive();
    let ring = keyring(&[&good]);
    let message = String::from_utf8(sign(&[&good], SystemTime::now(), TEXT)).unwrap();
    let not_signed = Err("it is no text with an OpenPGP signature".to_owned());
    assert_eq!(ring.verify(format!("Codename: evil\n{message}").as_bytes()), not_signed);
    assert_eq!(ring.verify(b"Codename: trixie\n"), not_signed);
    assert_eq!(ring.verify(b""), not_signed);
    let after = ring.verify(format!("{message}\nCodename: evil\n").as_bytes());
    assert!(after.is_err() || after.is_ok_and(|verified| verified.text.trim_end() == TEXT.trim_end()));
    // Cut anywhere it may be refused for any reason; it must never pass with another text, and never panic.
    for cut in (0..message.len()).step_by(7) {
        if let Ok(verified) = ring.verify(&message.as_bytes()[..cut]) {
            assert_eq!(verified.text.trim_end(), TEXT.trim_end(), "{cut}");
        }
    }
}

#[test]
fn keyrings() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("keyring");
    let shown = path.display();
    assert!(Keyring::read(&path).err().unwrap().starts_with(&format!("the keyring {shown} cannot be read: ")));
    for bytes in [b"".as_slice(), b"no keys", b"\x99\x01"] {
        std::fs::write(&path, bytes).unwrap();
        let error = Keyring::read(&path).err().unwrap();
        assert!(error.starts_with(&format!("the keyring {shown} ")), "{error}");
    }
    std::fs::write(&path, archive().armored().to_vec().unwrap()).unwrap();
    assert_eq!(Keyring::read(&path).unwrap().0.len(), 1);
}
