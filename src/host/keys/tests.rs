use tempfile::TempDir;

use super::*;
use crate::core::{error::exit_code, signing::KeyId};

fn files(folder: &TempDir) -> KeyFiles {
    let path = folder.path();
    KeyFiles::new(Signing { key: path.join("new/tpl.key"), folders: vec![path.join("trusted.d")], ..Signing::default() })
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().mode() & 0o7777
}

#[test]
fn a_key_is_made_once_and_for_its_owner_alone() {
    let folder = TempDir::new().unwrap();
    let files = files(&folder);
    assert!(files.signer().unwrap().is_none());
    assert!(files.sign(b"x", "c").unwrap().is_none());
    let written = files.generate(false).unwrap();
    let (secret, public) = (folder.path().join("new/tpl.key"), folder.path().join("new/tpl.pub"));
    assert_eq!((&written.secret_file, &written.public_file, written.encrypted), (&secret, &public, false));
    assert_eq!((mode(&secret), mode(&public)), (0o600, 0o644));
    assert_eq!(files.signer().unwrap(), Some(written.key.clone()));
    let own = TrustedKey { key: written.key.clone(), own: true, from: public.display().to_string() };
    assert_eq!(files.trusted().unwrap(), [own]);
    let before = fs::read(&secret).unwrap();
    // Either file alone is in the way.
    for gone in [None, Some(&public)] {
        if let Some(path) = gone {
            fs::remove_file(path).unwrap();
        }
        let error = files.generate(false).unwrap_err();
        assert_eq!(exit_code(&error), 3, "{error:#}");
        assert_eq!(fs::read(&secret).unwrap(), before);
    }
    let second = files.generate(true).unwrap();
    assert_ne!(second.key, written.key);
    assert_eq!((files.signer().unwrap(), mode(&secret)), (Some(second.key), 0o600));
    assert_eq!(fs::read_dir(folder.path().join("new")).unwrap().count(), 2, "nothing else is left there");
}

#[test]
fn a_key_that_cannot_be_written_leaves_nothing() {
    let folder = TempDir::new().unwrap();
    let files = files(&folder);
    fs::create_dir_all(folder.path().join("new/tpl.pub/x")).unwrap();
    let error = files.generate(true).unwrap_err();
    assert!(format!("{error:#}").starts_with(&format!("writing {}: ", folder.path().join("new/tpl.pub").display())), "{error:#}");
    assert!(files.signer().unwrap().is_none());
}

#[test]
fn a_passphrase_comes_from_a_file_or_the_environment() {
    let folder = TempDir::new().unwrap();
    let plain = files(&folder);
    let path = folder.path().join("passphrase");
    fs::write(&path, "correct horse\n").unwrap();
    let from_file = KeyFiles::new(Signing { passphrase_file: Some(path.clone()), ..plain.0.clone() });
    let given = |text: &str| KeyFiles::new(Signing { passphrase: Some(Secret::new(text.to_owned())), ..plain.0.clone() });
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(exit_code(&from_file.generate(false).unwrap_err()), 3, "others can read it");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    assert!(given("").generate(false).is_err());
    assert!(plain.signer().unwrap().is_none(), "nothing was written");
    let key = from_file.generate(false).unwrap();
    assert!(key.encrypted);
    assert_eq!(from_file.signer().unwrap(), Some(key.key.clone()));
    assert_eq!(given("correct horse").signer().unwrap(), Some(key.key));
    let what = format!("reading the signing key {}: ", folder.path().join("new/tpl.key").display());
    let text = format!("{:#}", plain.signer().unwrap_err());
    assert!(text.starts_with(&format!("{what}it is encrypted, and there is no passphrase\n")), "{text}");
    let text = format!("{:#}", given("wrong").signer().unwrap_err());
    assert_eq!(text, format!("{what}the passphrase does not fit, or it is damaged"));
}

#[test]
fn spoilt_keys_are_errors() {
    let folder = TempDir::new().unwrap();
    let files = files(&folder);
    let path = files.generate(false).unwrap().secret_file;
    let good = fs::read_to_string(&path).unwrap();
    let (comment, key) = good.trim_end().split_once('\n').unwrap();
    let flipped = {
        let mut bytes = STANDARD.decode(key).unwrap();
        bytes[70] ^= 1;
        format!("{comment}\n{}\n", STANDARD.encode(bytes))
    };
    let unchecked = |flip: u8| {
        let mut bytes = STANDARD.decode(key).unwrap();
        bytes[CHECKSUM..].fill(0);
        bytes[70] ^= flip;
        format!("{comment}\n{}\n", STANDARD.encode(bytes))
    };
    fs::write(&path, unchecked(0)).unwrap();
    assert!(files.signer().unwrap().is_some(), "as minisign writes it");
    for bad in ["", "x", &unchecked(1), &format!("{comment}\n"), &good[..good.len() - 9], &flipped, &"x\n".repeat(40_000)] {
        fs::write(&path, bad).unwrap();
        let text = format!("{:#}", files.signer().unwrap_err());
        assert!(text.starts_with(&format!("reading the signing key {}: it is ", path.display())), "{text}");
        // Not a word of the key.
        assert!(!text.contains(&key[10..20]), "{text}");
    }
    fs::write(&path, &good).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let error = files.signer().unwrap_err();
    assert_eq!(exit_code(&error), 3, "{error:#}");
    let reason = format!("{} can be read by others: its mode is 0640", path.display());
    assert!(format!("{error:#}").contains(&reason), "{error:#}");
}

#[test]
fn trusted_keys_are_in_the_configuration_and_in_files() {
    let folder = TempDir::new().unwrap();
    let listed: PublicKey = "RWRv5lKG0KV30v8tNbzcMrHo733UpW5+wxdFJQVuCAu/47A4jqfRe5ko".parse().unwrap();
    let files = KeyFiles::new(Signing { trusted: vec![listed.clone()], ..files(&folder).0 });
    let other = PublicKey::new(KeyPair::generate_unencrypted_keypair().unwrap().pk);
    let trusted = folder.path().join("trusted.d");
    fs::create_dir(&trusted).unwrap();
    fs::write(trusted.join("b.pub"), other.to_file()).unwrap();
    fs::write(trusted.join("README"), "no key").unwrap();
    let found: Vec<(KeyId, String)> = files.trusted().unwrap().into_iter().map(|t| (t.key.id(), t.from)).collect();
    let file = trusted.join("b.pub").display().to_string();
    assert_eq!(found, [(listed.id(), "trusted_keys".to_owned()), (other.id(), file)]);
    fs::write(trusted.join("a.pub"), "no key").unwrap();
    let error = files.trusted().unwrap_err();
    assert!(format!("{error:#}").starts_with(&format!("{}: ", trusted.join("a.pub").display())), "{error:#}");
    assert_eq!(exit_code(&error), 2);
}
