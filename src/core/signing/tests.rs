use minisign::KeyPair;

use super::{content::signed_bytes, *};
use crate::core::{manifest::Metadata, metadata};

fn pair() -> KeyPair {
    KeyPair::generate_unencrypted_keypair().unwrap()
}

/// A manifest with everything in it that XML or JSON have to write otherwise than it is.
fn manifest() -> Manifest {
    serde_json::from_str(include_str!("../../../tests/fixtures/manifest.json")).unwrap()
}

fn sign(manifest: &mut Manifest, pair: &KeyPair) {
    let said = comment(manifest);
    let minisig = minisign::sign(None, &pair.sk, &signed_bytes(manifest)[..], Some(&said), None).unwrap();
    manifest.signature = Some(Signature { key: PublicKey::new(pair.pk.clone()).to_string(), minisig: minisig.to_string() });
}

fn public(pair: &KeyPair) -> PublicKey {
    PublicKey::new(pair.pk.clone())
}

#[test]
fn the_bytes_are_what_the_encoding_says() {
    let expected = include_str!("../../../tests/fixtures/manifest-signed.json");
    assert_eq!(String::from_utf8(signed_bytes(&manifest())).unwrap(), expected.trim_end());
}

#[test]
fn the_bytes_survive_the_way_through_a_domain() {
    let mut one = manifest();
    sign(&mut one, &pair());
    let xml = format!("<domain><metadata>{}</metadata></domain>", metadata::element(&Metadata::Template(Box::new(one.clone()))));
    let Some(Metadata::Template(read)) = metadata::read(&xml).unwrap() else { panic!("no template") };
    assert_eq!(signed_bytes(&read), signed_bytes(&one));
    assert_eq!(read.signature, one.signature);
}

type Change = fn(&mut Manifest);

#[test]
fn what_happens_to_a_version_leaves_its_signature_good() {
    let pair = pair();
    let mut one = manifest();
    sign(&mut one, &pair);
    let changes: [Change; 6] = [
        |m| m.state = crate::core::manifest::State::Retired,
        |m| m.promoted_at = None,
        |m| m.run.host = "elsewhere".to_owned(),
        |m| m.pool = "vg0".to_owned(),
        |m| m.volumes.clear(),
        |m| m.stages.clear(),
    ];
    for change in changes {
        change(&mut one);
        assert_eq!(judge(&one, &[public(&pair)]), Standing::Trusted(public(&pair).id()));
    }
}

#[test]
fn what_a_version_is_cannot_be_changed() {
    let pair = pair();
    let mut good = manifest();
    sign(&mut good, &pair);
    let changes: [Change; 14] = [
        |m| m.name = "other".parse().unwrap(),
        |m| m.version = "20261121-031001".parse().unwrap(),
        |m| m.created_at += std::time::Duration::from_nanos(1),
        |m| m.digest = Some("00".repeat(32)),
        |m| m.virtual_size.0 += 512,
        |m| m.inputs.sources.clear(),
        |m| m.trust = crate::core::trust::Trust::Pinned,
        |m| m.os = None,
        |m| m.packages[0].version.push('1'),
        |m| m.identity = crate::core::manifest::IdentityMethod::Offline,
        |m| m.clone.user = "root".parse().unwrap(),
        |m| m.invariants.clear(),
        |m| m.tools.clear(),
        |m| m.hardware = None,
    ];
    let bad = format!("BAD: it does not fit what it stands under; it names key {}", public(&pair).id());
    for (index, change) in changes.into_iter().enumerate() {
        let mut one = good.clone();
        change(&mut one);
        for trusted in [vec![public(&pair)], vec![]] {
            assert_eq!(judge(&one, &trusted).to_string(), bad, "change {index}");
        }
    }
}

#[test]
fn whose_signature_it_is() {
    let (own, other) = (pair(), pair());
    let mut one = manifest();
    assert_eq!(judge(&one, &[public(&own)]), Standing::Unsigned);
    sign(&mut one, &own);
    assert_eq!(judge(&one, &[public(&other), public(&own)]), Standing::Trusted(public(&own).id()));
    assert_eq!(judge(&one, &[public(&other)]), Standing::Stranger(public(&own)));
    // Somebody else's key comes with it: trusted or not, it is not the one that has signed.
    let mut swapped = one.clone();
    swapped.signature.as_mut().unwrap().key = public(&other).to_string();
    assert_eq!(judge(&swapped, &[public(&own)]), Standing::Trusted(public(&own).id()));
    assert_eq!(judge(&swapped, &[public(&other)]).word(), "bad");
    // A key that has taken the id of a trusted one.
    let mut bytes = other.pk.to_bytes();
    bytes[2..10].copy_from_slice(own.pk.keynum());
    let posing = PublicKey::new(minisign::PublicKey::from_bytes(&bytes).unwrap());
    assert_eq!(posing.id(), public(&own).id());
    assert_ne!(posing, public(&own));
    assert_eq!(judge(&one, &[posing]).word(), "bad");
}

#[test]
fn a_signature_of_another_version_does_not_pass() {
    let pair = pair();
    let mut one = manifest();
    let minisig = minisign::sign(None, &pair.sk, &signed_bytes(&one)[..], Some("tpl other@20261121-031000"), None).unwrap();
    one.signature = Some(Signature { key: public(&pair).to_string(), minisig: minisig.to_string() });
    let expected = "BAD: it is of something else: its comment says \"tpl other@20261121-031000\"";
    assert_eq!(judge(&one, &[public(&pair)]).to_string(), expected);
}

#[test]
fn spoilt_signatures_are_bad_and_no_panic() {
    let pair = pair();
    let mut one = manifest();
    sign(&mut one, &pair);
    let good = one.signature.clone().unwrap();
    let lines: Vec<&str> = good.minisig.lines().collect();
    let with = |index: usize, line: &str| {
        let mut lines = lines.clone();
        lines[index] = line;
        lines.join("\n")
    };
    let short = STANDARD.encode([0; 10]);
    let table = [
        String::new(),
        "x".repeat(5000),
        lines[..3].join("\n"),
        lines.join("\n") + "\nx",
        with(0, "comment"),
        with(1, &short),
        with(1, "!"),
        with(1, &STANDARD.encode([0; SIGNATURE])),
        with(2, "x"),
        with(3, &short),
        with(3, ""),
    ];
    for minisig in table {
        one.signature = Some(Signature { minisig: minisig.clone(), ..good.clone() });
        assert_eq!(judge(&one, &[public(&pair)]).to_string(), "BAD: it is none of minisign", "{minisig}");
    }
    // The trusted comment is signed, the first one is not.
    one.signature = Some(Signature { minisig: with(0, "untrusted comment: é"), ..good.clone() });
    assert_eq!(judge(&one, &[public(&pair)]).word(), "trusted");
    one.signature = Some(Signature { minisig: with(2, &format!("{} ", lines[2].replace("tpl", "lpt"))), ..good.clone() });
    assert_eq!(judge(&one, &[public(&pair)]).word(), "bad");
    one.signature = Some(Signature { key: "x".to_owned(), ..good });
    assert_eq!(judge(&one, &[]).word(), "bad");
}

#[test]
fn public_keys() {
    let key = "RWRv5lKG0KV30v8tNbzcMrHo733UpW5+wxdFJQVuCAu/47A4jqfRe5ko";
    let parsed: PublicKey = key.parse().unwrap();
    // As minisign itself has printed both.
    assert_eq!((parsed.to_string().as_str(), parsed.id().to_string().as_str()), (key, "D277A5D08652E66F"));
    assert_eq!(PublicKey::parse_file(&parsed.to_file()), Ok(parsed.clone()));
    assert_eq!(PublicKey::parse_file(key), Ok(parsed));
    let rest = "characters are expected, RW first";
    assert_eq!("abc".parse::<PublicKey>().unwrap_err(), format!("\"abc\" is no public key of minisign: 56 {rest}"));
    let secret = STANDARD.encode([b"Ed\0\0B2".as_slice(), &[0; 152]].concat());
    for bad in [&key[..55], &key.replace("RWR", "AAA"), &format!("{key}A"), &secret, ""] {
        assert!(bad.parse::<PublicKey>().unwrap_err().ends_with(rest), "{bad}");
    }
    for bad in ["", "untrusted comment: x\n", &format!("{key}\n{key}")] {
        assert!(PublicKey::parse_file(bad).is_err(), "{bad}");
    }
}
