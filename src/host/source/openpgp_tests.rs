//! Every key here is made on the spot: none of them can be mistaken for somebody's.

use std::{
    io::Write as _,
    time::{Duration, SystemTime},
};

use proptest::prelude::{ProptestConfig, any, proptest};
use sequoia_openpgp::{
    Packet,
    armor::Kind,
    cert::CertBuilder,
    packet::{
        Key, UserID,
        key::{Key4, PrimaryRole, SecretParts},
        signature::SignatureBuilder,
    },
    serialize::{
        Serialize as _, SerializeInto as _,
        stream::{Armorer, Message, Signer},
    },
    types::{Curve, KeyFlags, ReasonForRevocation, SignatureType},
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
    let flags = KeyFlags::empty().set_signing();
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

fn sign_detached(cert: &Cert, armoured: bool, text: &[u8]) -> Vec<u8> {
    let pair = cert.keys().secret().last().unwrap().key().clone().into_keypair().unwrap();
    let mut bytes = Vec::new();
    let message = Message::new(&mut bytes);
    let message = if armoured { Armorer::new(message).kind(Kind::Signature).build().unwrap() } else { message };
    let mut message = Signer::new(message, pair).unwrap().detached().build().unwrap();
    message.write_all(text).unwrap();
    message.finalize().unwrap();
    bytes
}

/// Bound to its user by a SHA-1 signature alone, as the key of CentOS 7 is.
fn bound_by_sha1() -> Cert {
    let key: Key<_, _> = Key4::generate_ecc(true, Curve::Ed25519).unwrap().into();
    let mut pair = Key::<SecretParts, PrimaryRole>::clone(&key).into_keypair().unwrap();
    let cert = Cert::try_from(vec![Packet::from(key)]).unwrap();
    let user = UserID::from("Old <old@vendor.example>");
    let binding = SignatureBuilder::new(SignatureType::PositiveCertification)
        .set_hash_algo(HashAlgorithm::SHA1)
        .set_key_flags(KeyFlags::empty().set_certification().set_signing())
        .unwrap();
    let binding = user.bind(&mut pair, &cert, binding).unwrap();
    cert.insert_packets([Packet::from(user), binding.into()]).unwrap().0
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
    assert_eq!(Keyring::read(&path).unwrap().certs.len(), 1);
}

#[test]
fn a_signature_beside_the_text_counts_like_one_in_it() {
    let (good, unknown, old) = (archive(), archive(), expired());
    let revoked = revoked(&good, ReasonForRevocation::KeyCompromised);
    let ring = keyring(&[&good, &old]);
    for armoured in [false, true] {
        let sign = |cert| sign_detached(cert, armoured, TEXT.as_bytes());
        let verified = ring.verify_detached(&sign(&good), TEXT.as_bytes()).unwrap();
        assert_eq!((verified.text.as_str(), verified.fingerprint), (TEXT, hex(&good)));
        let error = ring.verify_detached(&sign(&good), b"another text").unwrap_err();
        assert!(error.starts_with(&format!("the signature of key {} is bad: ", hex(&good))), "{error}");
        let error = ring.verify_detached(&sign(&unknown), TEXT.as_bytes());
        assert_eq!(error, Err(format!("key {} is not in the keyring", subkey_hex(&unknown))));
        let error = ring.verify_detached(&sign(&old), TEXT.as_bytes()).unwrap_err();
        let expected = format!("key {} cannot be trusted: The primary key is not live: Expired on ", hex(&old));
        assert!(error.starts_with(&expected), "{error}");
        let error = keyring(&[&revoked]).verify_detached(&sign(&good), TEXT.as_bytes());
        assert_eq!(error, Err(format!("key {} cannot be trusted: it is revoked", hex(&good))));
    }
    // No signature: nothing, a text, the text itself, a key.
    for bytes in [b"".to_vec(), b"<html>".to_vec(), TEXT.into(), good.armored().to_vec().unwrap()] {
        let error = ring.verify_detached(&bytes, TEXT.as_bytes()).unwrap_err();
        assert!(error.starts_with("its OpenPGP signature cannot be read: "), "{error}");
    }
    let error = ring.verify_detached(&sign_detached(&good, true, b"\xff"), b"\xff");
    assert_eq!(error, Err("the signed text is no UTF-8".to_owned()));
}

#[test]
fn fingerprints_say_which_keys_count() {
    let (good, other) = (archive(), archive());
    let ring = |fingerprints: &[&str]| {
        let fingerprints: Vec<String> = fingerprints.iter().map(|text| (*text).to_owned()).collect();
        keyring(&[&good, &other]).only(&fingerprints)
    };
    let message = sign(&[&good], SystemTime::now(), TEXT);
    let detached = sign_detached(&good, true, TEXT.as_bytes());
    let spaced = hex(&good).to_lowercase().as_bytes().chunks(4).map(|c| str::from_utf8(c).unwrap()).collect::<Vec<_>>().join(" ");
    for fingerprints in [vec![], vec![hex(&good)], vec![spaced], vec![hex(&other), hex(&good)], vec!["0".repeat(40), hex(&good)]]
    {
        let ring = ring(&fingerprints.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
        assert_eq!(ring.verify(&message).unwrap().fingerprint, hex(&good), "{fingerprints:?}");
        assert_eq!(ring.verify_detached(&detached, TEXT.as_bytes()).unwrap().fingerprint, hex(&good), "{fingerprints:?}");
    }
    let not_among = Err(format!("key {} is in the keyring, and not among the fingerprints that count", hex(&good)));
    let of_other = ring(&[&hex(&other)]).unwrap();
    assert_eq!(of_other.verify(&message), not_among);
    assert_eq!(of_other.verify_detached(&detached, TEXT.as_bytes()), not_among);
    let absent = "0".repeat(40);
    assert_eq!(ring(&[&absent]).err(), Some(format!("the keyring holds no key {absent}")));
    let short = &hex(&good)[24..];
    assert_eq!(ring(&[short]).err(), Some(format!("\"{short}\" is no fingerprint: 40 hexadecimal digits are expected")));
}

#[test]
fn a_key_bound_by_sha1_counts_where_its_fingerprint_is_named() {
    let old = bound_by_sha1();
    let message = sign(&[&old], SystemTime::now(), TEXT);
    let error = keyring(&[&old]).verify(&message).unwrap_err();
    assert!(error.starts_with(&format!("key {} cannot be trusted: ", hex(&old))) && error.contains("SHA1"), "{error}");
    let pinned = keyring(&[&old]).only(&[hex(&old)]).unwrap();
    assert_eq!(pinned.verify(&message).unwrap().fingerprint, hex(&old));
    // A list that is signed with SHA-1 is not believed even so.
    let pair = old.primary_key().key().clone().parts_into_secret().unwrap().into_keypair().unwrap();
    let mut weak = Vec::new();
    let signer = Signer::new(Message::new(&mut weak), pair).unwrap().hash_algo(HashAlgorithm::SHA1).unwrap();
    let mut signer = signer.cleartext().build().unwrap();
    signer.write_all(TEXT.as_bytes()).unwrap();
    signer.finalize().unwrap();
    let error = pinned.verify(&weak).unwrap_err();
    assert!(error.contains(&hex(&old)) || error.contains("malformed"), "{error}");
}

#[test]
fn a_keyring_may_hold_several_armoured_blocks() {
    let (first, second) = (archive(), archive());
    let file = tempfile::NamedTempFile::new().unwrap();
    let text =
        [b"# first\n".to_vec(), first.armored().to_vec().unwrap(), b"\n# second\n".to_vec(), second.armored().to_vec().unwrap()];
    std::fs::write(file.path(), text.concat()).unwrap();
    let ring = Keyring::read(file.path()).unwrap();
    for cert in [&first, &second] {
        assert_eq!(ring.verify(&sign(&[cert], SystemTime::now(), TEXT)).unwrap().fingerprint, hex(cert));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>(), text in any::<Vec<u8>>()) {
        let ring = Keyring { certs: BTreeMap::new(), only: None };
        let message = [CLEARSIGNED, b"\nHash: SHA256\n\n", &bytes].concat();
        assert!(ring.verify(&message).is_err());
        assert!(ring.verify_detached(&bytes, &text).is_err());
        let armoured = [b"-----BEGIN PGP SIGNATURE-----\n\n", bytes.as_slice()].concat();
        assert!(ring.verify_detached(&armoured, &text).is_err());
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), [ARMOUR, b"\n\n", &bytes].concat()).unwrap();
        let _ = Keyring::read(file.path());
        std::fs::write(file.path(), &bytes).unwrap();
        let _ = Keyring::read(file.path());
    }
}
