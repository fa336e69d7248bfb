//! Questions, files and programs, by the real shell of this machine.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    time::Instant,
};

use tempfile::TempDir;

use super::*;

fn machine() -> (LocalMachine, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let journal = Journal::at(&folder.path().join("log")).unwrap();
    (LocalMachine::new(Arc::new(journal)), folder)
}

fn log(folder: &TempDir) -> String {
    fs::read_to_string(folder.path().join("log")).unwrap()
}

#[test]
fn answers_are_what_the_scripts_print() {
    let (machine, folder) = machine();
    let text = folder.path().join("it's \"a\" $file");
    fs::write(&text, "one\n\ntwo 'x' \"y\" $z \\ `q`\tä\n\n").unwrap();
    let bytes = folder.path().join("bytes");
    fs::write(&bytes, b"a\xff\n").unwrap();
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let probes = [
        Probe::file("file", &path(&text)),
        Probe::file("bytes", &path(&bytes)),
        Probe::file("none", "/nowhere/at/all"),
        Probe::with("words", "printf '%s|' \"$1\" \"$2\" \"$3\"", &["a b", "it's\n$x", "--"]),
        Probe::new("input", "cat; echo end"),
        Probe::new("bad", "echo out; echo 'no such \u{1b}thing' >&2; exit 3"),
        Probe::new("silent", "exit 1"),
        Probe::new("empty", "true"),
        Probe::new("exit", "kill -TERM $$"),
        Probe::new("locale", "echo $LC_ALL $(umask)"),
    ];
    let facts = machine.ask(&probes).unwrap();
    assert_eq!(facts.whole("file"), Some("one\n\ntwo 'x' \"y\" $z \\ `q`\tä\n\n"));
    assert_eq!((facts.whole("bytes"), facts.why_not("bytes")), (None, "it is no UTF-8"));
    assert_eq!((facts.whole("none"), facts.why_not("none")), (None, "exit code 1"));
    assert_eq!(facts.whole("words"), Some("a b|it's\n$x|--|"));
    assert_eq!(facts.whole("input"), Some("end\n"));
    assert_eq!((facts.whole("bad"), facts.why_not("bad")), (None, "no such  thing"));
    assert_eq!((facts.why_not("silent"), facts.whole("empty")), ("exit code 1", Some("")));
    assert_eq!(facts.whole("exit"), None);
    assert_eq!(facts.get("locale"), Some("C 0077"));
    assert!(machine.ask(&[]).unwrap() == Facts::default());
    assert!(log(&folder).contains("s] asked for file bytes none words"), "{}", log(&folder));
}

#[test]
fn a_file_is_written_whole_or_not_at_all() {
    let (machine, folder) = machine();
    let file = folder.path().join("new/folder/it's a $file");
    let path = file.to_str().unwrap();
    let state = |file: &Path| (fs::read_to_string(file).unwrap(), fs::metadata(file).unwrap().permissions().mode() & 0o7777);
    machine.write(path, 0o640, "a\n\nb'\"$\\ä").unwrap();
    assert_eq!(state(&file), ("a\n\nb'\"$\\ä".to_owned(), 0o640));
    assert_eq!(fs::metadata(file.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o755);
    machine.write(path, 0o600, "").unwrap();
    assert_eq!(state(&file), (String::new(), 0o600));
    let link = folder.path().join("link");
    symlink(&file, &link).unwrap();
    machine.write(link.to_str().unwrap(), 0o644, &"x".repeat(300_000)).unwrap();
    assert_eq!((state(&file).0.len(), fs::symlink_metadata(&link).unwrap().is_symlink()), (300_000, true));
    assert_eq!(fs::read_dir(file.parent().unwrap()).unwrap().count(), 1);

    let nowhere = folder.path().join("nowhere");
    symlink("/nowhere/at/all", &nowhere).unwrap();
    let device = folder.path().join("device");
    symlink("/dev/null", &device).unwrap();
    let table = [
        (folder.path().to_path_buf(), format!("{} is no file", folder.path().display())),
        (nowhere.clone(), format!("{} is a link to nowhere", nowhere.display())),
        (device, "/dev/null is no file".to_owned()),
    ];
    for (path, expected) in table {
        let error = machine.write(path.to_str().unwrap(), 0o644, "x").unwrap_err();
        assert_eq!(format!("{error:#}"), format!("writing {} on this machine: {expected}", path.display()));
    }
    let said = log(&folder);
    assert!(said.contains("wrote ") && said.contains("(mode 0644, 300000 bytes)") && !said.contains("xxx"), "{said}");
}

#[test]
fn what_is_removed_may_be_gone_already() {
    let (machine, folder) = machine();
    let file = folder.path().join("a");
    fs::write(&file, "").unwrap();
    for _ in 0..2 {
        machine.remove(file.to_str().unwrap()).unwrap();
        assert!(!file.exists());
    }
    machine.remove("/nowhere/at/all").unwrap();
    let error = format!("{:#}", machine.remove(folder.path().to_str().unwrap()).unwrap_err());
    assert!(error.contains("Is a directory"), "{error}");
}

#[test]
fn programs_must_succeed_in_time() {
    let (machine, folder) = machine();
    let minute = Duration::from_secs(60);
    assert_eq!(machine.run(&["sh", "-c", "cat; printf '%s' \"$1\"", "sh", "a b"], minute).unwrap(), "a b");
    let said = |argv: &[&str], deadline| format!("{:#}", machine.run(argv, deadline).unwrap_err());
    assert_eq!(said(&["sh", "-c", "echo no >&2; exit 3"], minute), "sh: no");
    assert_eq!(said(&["false"], minute), "false: exit code 1");
    assert_eq!(said(&["tpl-no-such-program"], minute), "tpl-no-such-program is not installed on this machine");
    let began = Instant::now();
    assert_eq!(said(&["sleep", "30"], Duration::from_secs(1)), "sleep: not done after 1 s, and ended");
    assert!(began.elapsed() < Duration::from_secs(15));
    let log = log(&folder);
    assert!(log.contains("[exit 3, 0.") && log.contains("] false\n") && log.contains("[exit 124, "), "{log}");
}

#[test]
fn a_folder_that_cannot_be_written_to_stays_as_it_is() {
    if rustix::process::getuid().is_root() {
        return;
    }
    let (machine, folder) = machine();
    let closed = folder.path().join("closed");
    fs::create_dir(&closed).unwrap();
    fs::write(closed.join("a"), "old").unwrap();
    fs::set_permissions(&closed, Permissions::from_mode(0o500)).unwrap();
    assert!(machine.write(closed.join("a").to_str().unwrap(), 0o644, "new").is_err());
    assert_eq!(fs::read_to_string(closed.join("a")).unwrap(), "old");
}
