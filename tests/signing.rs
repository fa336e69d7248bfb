//! Keys and signatures, and the real `minisign`: it checks what tpl has signed, tpl checks what it has signed, and each uses the
//! other's keys.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Output, Stdio},
};

use tempfile::TempDir;
use tpl::{
    core::{
        config::Signing,
        manifest::Manifest,
        secret::Secret,
        signing::{PublicKey, Signature, Standing, comment, content::signed_bytes, judge},
    },
    host::keys::{KeyFiles, Keys as _},
};

const PASSPHRASE: &str = "correct horse";

fn minisign(folder: &Path, args: &[&str], input: &str) -> Output {
    #[expect(clippy::disallowed_methods, reason = "the rule is for the program, not for its tests")]
    let mut command = Command::new("/usr/bin/minisign");
    command.args(args).current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("minisign is installed: `scripts/setup` does it");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn must(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    text
}

fn manifest() -> Manifest {
    serde_json::from_str(include_str!("fixtures/manifest.json")).unwrap()
}

fn keys(folder: &Path, passphrase: Option<&str>) -> KeyFiles {
    let passphrase = passphrase.map(|text| Secret::new(text.to_owned()));
    KeyFiles::new(Signing { key: folder.join("tpl.key"), passphrase, ..Signing::default() })
}

/// Both kinds of keys: as they are, and encrypted.
const KINDS: [Option<&str>; 2] = [None, Some(PASSPHRASE)];

#[test]
fn minisign_checks_what_tpl_has_signed() {
    for passphrase in KINDS {
        let folder = TempDir::new().unwrap();
        let keys = keys(folder.path(), passphrase);
        keys.generate(false).unwrap();
        let one = manifest();
        let signature = keys.sign(&signed_bytes(&one), &comment(&one)).unwrap().unwrap();
        fs::write(folder.path().join("m"), signed_bytes(&one)).unwrap();
        fs::write(folder.path().join("m.minisig"), signature.minisig).unwrap();
        let text = must(&minisign(folder.path(), &["-V", "-p", "tpl.pub", "-m", "m"], ""));
        assert!(text.contains(&format!("Trusted comment: {}", comment(&one))), "{text}");
        assert!(must(&minisign(folder.path(), &["-V", "-P", &signature.key, "-m", "m"], "")).contains("verified"));
        // It does so because they fit.
        fs::write(folder.path().join("m"), "x").unwrap();
        assert!(!minisign(folder.path(), &["-V", "-p", "tpl.pub", "-m", "m"], "").status.success());
    }
}

#[test]
fn tpl_checks_what_minisign_has_signed() {
    for passphrase in KINDS {
        let folder = TempDir::new().unwrap();
        // Made by either; an encrypted one of minisign's own takes a GiB of memory to open.
        let keys = keys(folder.path(), passphrase);
        match passphrase {
            None => drop(must(&minisign(folder.path(), &["-G", "-W", "-p", "tpl.pub", "-s", "tpl.key"], ""))),
            Some(_) => drop(keys.generate(false).unwrap()),
        }
        let mut one = manifest();
        let said = comment(&one);
        fs::write(folder.path().join("m"), signed_bytes(&one)).unwrap();
        let asked = passphrase.map_or(String::new(), |text| format!("{text}\n"));
        must(&minisign(folder.path(), &["-S", "-s", "tpl.key", "-m", "m", "-t", &said], &asked));
        let public = PublicKey::parse_file(&fs::read_to_string(folder.path().join("tpl.pub")).unwrap()).unwrap();
        let minisig = fs::read_to_string(folder.path().join("m.minisig")).unwrap();
        one.signature = Some(Signature { key: public.to_string(), minisig });
        assert_eq!(judge(&one, std::slice::from_ref(&public)), Standing::Trusted(public.id()));
        one.pool = "elsewhere".to_owned();
        assert_eq!(judge(&one, std::slice::from_ref(&public)), Standing::Trusted(public.id()));
        one.digest = None;
        assert_eq!(judge(&one, std::slice::from_ref(&public)).word(), "bad");
    }
}

#[test]
fn tpl_signs_with_a_key_of_minisigns_own() {
    let folder = TempDir::new().unwrap();
    must(&minisign(folder.path(), &["-G", "-W", "-p", "tpl.pub", "-s", "tpl.key"], ""));
    let keys = keys(folder.path(), None);
    let trusted = keys.trusted().unwrap();
    assert_eq!(keys.signer().unwrap().as_ref(), Some(&trusted[0].key));
    let mut one = manifest();
    one.signature = keys.sign(&signed_bytes(&one), &comment(&one)).unwrap();
    assert_eq!(judge(&one, &[trusted[0].key.clone()]).word(), "trusted");
    fs::write(folder.path().join("m"), signed_bytes(&one)).unwrap();
    fs::write(folder.path().join("m.minisig"), one.signature.unwrap().minisig).unwrap();
    must(&minisign(folder.path(), &["-V", "-p", "tpl.pub", "-m", "m"], ""));
}
