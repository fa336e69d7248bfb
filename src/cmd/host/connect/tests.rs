use std::os::unix::fs::symlink;

use super::*;
use crate::core::error::exit_code;

const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";

fn write(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_password_is_one_line_of_a_file_of_its_owners() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    for text in ["it's a \"word\" ", "it's a \"word\" \n", "it's a \"word\" \r\n"] {
        write(&file, text, 0o600);
        assert_eq!(password_in(&file).unwrap().expose(), "it's a \"word\" ", "{text:?}");
    }
    let table = [
        ("secret\n", 0o640, "others than its owner can use it: mode 0640; chmod 600 it"),
        ("secret\n", 0o604, "others than its owner can use it: mode 0604; chmod 600 it"),
        ("", 0o600, "it is not one line"),
        ("\n", 0o600, "it is not one line"),
        ("a\nb\n", 0o600, "it is not one line"),
        ("a\0b\n", 0o600, "it holds a NUL"),
    ];
    for (text, mode, expected) in table {
        write(&file, text, mode);
        let error = password_in(&file).unwrap_err();
        assert_eq!((exit_code(&error), error.to_string()), (2, format!("{}: {expected}", file.display())), "{text:?}");
    }
    let error = password_in(folder.path()).unwrap_err();
    assert_eq!((exit_code(&error), error.to_string()), (2, format!("{}: it is no file", folder.path().display())));
}

#[test]
fn a_key_is_named_or_found() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.pub");
    write(&file, &format!("{ED25519} me\n"), 0o644);
    let link = folder.path().join("other.name");
    symlink(&file, &link).unwrap();
    let key = own_key(Some(&file)).unwrap();
    assert_eq!((key.public.to_string(), key.private), (format!("{ED25519} me"), folder.path().join("mine")));
    assert_eq!(own_key(Some(&link)).unwrap().private, link);
    write(&file, "-----BEGIN OPENSSH PRIVATE KEY-----\n", 0o600);
    assert_eq!(exit_code(&own_key(Some(&file)).unwrap_err()), 2);
}

#[test]
fn places_are_what_their_uris_lead_to() {
    let user = |uri: &str| Place::of_uri("hv1", uri).map(|place| place.user.map(|user| user.to_string()));
    assert_eq!(user("qemu:///system").unwrap(), None);
    assert_eq!(user("qemu+ssh://admin@hv1:2222/system").unwrap().as_deref(), Some("admin"));
    assert_eq!(exit_code(&user("qemu+tls://hv1/system").unwrap_err()), 3);
    assert_eq!(exit_code(&user("qemu+ssh://DOMAIN%5Cme@hv1/system").unwrap_err()), 2);
}
