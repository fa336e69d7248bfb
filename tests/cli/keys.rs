//! `tpl key`: what is made, what is refused, what is listed.

use std::{fs, os::unix::fs::PermissionsExt as _};

use super::program::{Home, Ran};

/// Whoever runs the tests: the key is in a folder of its own.
fn tpl(home: &Home, args: &[&str], variables: &[(&str, &str)]) -> Ran {
    let mut command = home.command();
    command.env("TPL_SIGNING_KEY", home.path().join("keys/own.key")).args(args).envs(variables.iter().copied());
    let output = command.output().unwrap();
    Ran {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

const SAMPLE: &str = "RWRv5lKG0KV30v8tNbzcMrHo733UpW5+wxdFJQVuCAu/47A4jqfRe5ko";

#[test]
fn a_key_is_made_once() {
    let home = Home::new();
    let (secret, public) = (home.path().join("keys/own.key"), home.path().join("keys/own.pub"));
    let none = tpl(&home, &["key", "list"], &[]);
    assert_eq!((none.code, none.stdout.as_str()), (0, "there are no keys yet: `tpl key generate` makes one\n"));
    assert_eq!(tpl(&home, &["key", "list", "--output", "json"], &[]).stdout, "[]\n");
    let dry = tpl(&home, &["key", "generate", "--dry-run"], &[]);
    assert_eq!(dry.stdout, format!("would write {} and {}\n", secret.display(), public.display()));
    assert!(!home.path().join("keys").exists());
    let made = tpl(&home, &["key", "generate"], &[]);
    assert_eq!(made.code, 0, "{}", made.stderr);
    let key = made.stdout.trim_end().to_owned();
    assert_eq!((key.len(), &key[..2], made.stdout.lines().count()), (56, "RW", 1));
    assert!(fs::read_to_string(&public).unwrap().ends_with(&format!("\n{key}\n")));
    assert_eq!(secret.metadata().unwrap().permissions().mode() & 0o7777, 0o600);
    let before = fs::read_to_string(&secret).unwrap();
    assert!(!made.stderr.contains(before.lines().last().unwrap()));
    for args in [&["key", "generate"][..], &["key", "generate", "--dry-run"]] {
        let again = tpl(&home, args, &[]);
        let expected = format!(
            "tpl: {} is there already\n{} is there already\nwhat the old key has signed can be checked only by those who keep \
             its public half; --force writes over it\n",
            secret.display(),
            public.display()
        );
        assert_eq!((again.code, again.stdout.as_str(), again.stderr), (3, "", expected));
    }
    assert_eq!(fs::read_to_string(&secret).unwrap(), before);
    let forced = tpl(&home, &["key", "generate", "--force", "--output", "json"], &[("TPL_SIGNING_PASSPHRASE", "correct horse")]);
    let json: serde_json::Value = serde_json::from_str(&forced.stdout).unwrap();
    assert_eq!((&json["encrypted"], &json["secret_key_file"]), (&true.into(), &secret.display().to_string().into()));
    assert_ne!(json["public_key"], key);
    assert_eq!(forced.stderr, "");
}

#[test]
fn keys_are_listed() {
    let home = Home::new();
    let made = tpl(&home, &["key", "generate"], &[]).stdout;
    home.write(".config/tpl/config.toml", &format!("trusted_keys = [\"{SAMPLE}\"]\n"));
    home.write(".config/tpl/trusted.d/lab.pub", &format!("untrusted comment: the lab's\n{SAMPLE}\n"));
    let listed = tpl(&home, &["key", "list", "--output", "json"], &[]);
    let rows: serde_json::Value = serde_json::from_str(&listed.stdout).unwrap();
    let column = |name: &str| rows.as_array().unwrap().iter().map(|row| row[name].clone()).collect::<Vec<_>>();
    assert_eq!(column("own"), [true, false, false]);
    assert_eq!(column("public_key"), [made.trim_end(), SAMPLE, SAMPLE]);
    assert_eq!(column("key_id")[1..], ["D277A5D08652E66F", "D277A5D08652E66F"]);
    let file = |name: &str| home.path().join(name).display().to_string();
    assert_eq!(column("from"), [file("keys/own.pub"), "trusted_keys".to_owned(), file(".config/tpl/trusted.d/lab.pub")]);
    let text = tpl(&home, &["key", "list"], &[]).stdout;
    assert_eq!(text.lines().map(|line| line.split_whitespace().count()).collect::<Vec<_>>(), [5, 4, 4, 4], "{text}");
    // One that is not secret any more cannot sign, and that is said where keys are looked at.
    fs::set_permissions(home.path().join("keys/own.key"), fs::Permissions::from_mode(0o644)).unwrap();
    let ran = tpl(&home, &["key", "list"], &[]);
    assert_eq!((ran.code, &ran.stdout), (0, &text));
    assert!(ran.stderr.contains("nothing can be signed: ") && ran.stderr.contains("keys/own.key"), "{}", ran.stderr);
}

#[test]
fn a_bad_key_has_its_place() {
    let home = Home::new();
    home.write(".config/tpl/config.toml", "trusted_keys = [\"RWabc\"]\n");
    let ran = tpl(&home, &["key", "list"], &[]);
    assert_eq!(ran.code, 2);
    let expected = ".config/tpl/config.toml:1:17: \"RWabc\" is no public key of minisign: 56 characters are expected, RW first";
    assert!(ran.stderr.contains(expected), "{}", ran.stderr);
    home.write(".config/tpl/config.toml", "");
    home.write(".config/tpl/trusted.d/lab.pub", "x\n");
    let ran = tpl(&home, &["key", "list"], &[]);
    assert_eq!(ran.code, 2);
    assert!(ran.stderr.contains(".config/tpl/trusted.d/lab.pub: "), "{}", ran.stderr);
}

#[test]
fn files_that_are_no_templates_are_refused() {
    let home = Home::new();
    let on = |args: &[&str]| {
        let ran = tpl(&home, &[&["--connect", "test:///default", "--pool", "default-pool"], args].concat(), &[]);
        assert_eq!(ran.stdout, "");
        (ran.code, ran.stderr)
    };
    let wrong = (2, "tpl: \"x.img\" ends neither in .qcow2 nor in .raw.zst\n".to_owned());
    assert_eq!(on(&["import", "x.img"]), wrong);
    assert_eq!(on(&["export", "debian13", "x.img"]), wrong);
    assert_eq!(on(&["export", "debian13", "x.qcow2"]).0, 3);
    let alone =
        "tpl: x.qcow2.manifest.json does not exist\n`tpl export` writes it beside the volume's file; both belong together\n";
    assert_eq!(on(&["import", "x.qcow2"]), (3, alone.to_owned()));
    home.write("x.qcow2.manifest.json", "{\"format\": 7}");
    let later = "tpl: x.qcow2.manifest.json is not taken: it is of the format 7, which this tpl does not know\n";
    assert_eq!(on(&["import", "x.qcow2"]), (3, later.to_owned()));
    assert_eq!(on(&["import", "x.qcow2", "--dry-run"]), (3, later.to_owned()));
}
