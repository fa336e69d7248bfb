//! The operations on a guest in memory.

mod cases;
mod families;

use cases::CASES;

use crate::seal::{
    Sealed, Selection,
    fake::{FakeFiles, Node},
    seal,
    table::{Family, Outcome, table},
};

const DEBIAN: (&str, &str) = ("/etc/os-release", "ID=debian\n");
const ROCKY: (&str, &str) = ("/etc/os-release", "ID=rocky\nID_LIKE=rhel\n");

fn only(name: &str) -> Selection {
    let others: Vec<_> = table().iter().map(|operation| operation.name.to_owned()).filter(|other| other != name).collect();
    Selection::new(&[name.to_owned()], &others).unwrap()
}

fn run(files: &FakeFiles, selection: &Selection) -> Sealed {
    seal(files, selection, &crate::core::progress::Silent).unwrap()
}

#[test]
fn each_operation_changes_what_it_is_for_and_nothing_else() {
    for (name, before, after) in CASES {
        let files = FakeFiles::new(before);
        let operation = table().iter().find(|operation| operation.name == *name).unwrap();
        let release = if operation.families.is_empty() || operation.families.contains(&Family::Debian) { DEBIAN } else { ROCKY };
        files.put(release.0, Node::File(release.1.into()));
        let first = run(&files, &only(name));
        assert!(matches!(&first.operations[..], [(_, Outcome::Changed(_))]), "{name}: {first:?}");
        let mut expected: Vec<_> =
            after.iter().chain([&release]).map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        expected.sort();
        assert_eq!(files.texts(), expected, "{name}");
        let second = run(&files, &only(name));
        assert_eq!(second.operations, [(first.operations[0].0, Outcome::Unchanged)], "{name} again");
    }
}

#[test]
fn every_operation_has_a_case_and_a_name_of_its_own() {
    let tested: Vec<_> = CASES.iter().map(|(name, _, _)| *name).collect();
    // A swap file is no text: it has a test of its own below.
    let names: Vec<_> = table().iter().map(|operation| operation.name).filter(|name| *name != "swap-files").collect();
    assert_eq!(tested, names);
}

#[test]
fn an_operation_only_runs_on_its_families() {
    let table = [("ID=debian\n", 0), ("ID=rocky\nID_LIKE=rhel\n", 1), ("ID=arch\n", 0)];
    for (release, count) in table {
        let files = FakeFiles::new(&[("/etc/os-release", release), ("/var/lib/rpm/__db.001", "d")]);
        assert_eq!(run(&files, &only("rpm-db")).operations.len(), count, "{release}");
    }
    assert_eq!(only("rpm-db").for_family(Family::Suse).len(), 1);
}

#[test]
fn secrets_are_overwritten_before_they_are_removed() {
    let files = FakeFiles::new(&[
        ("/etc/ssh/ssh_host_rsa_key", "k"),
        ("/var/log/installer/a/b", "h"),
        ("/var/lib/systemd/random-seed", "s"),
    ]);
    run(&files, &Selection::default());
    assert_eq!(files.erased.take(), ["/etc/ssh/ssh_host_rsa_key", "/var/lib/systemd/random-seed", "/var/log/installer/a/b"]);
}

#[test]
fn a_swap_file_is_emptied_behind_its_header() {
    let mut swap = vec![7; 8192];
    swap[4086..4096].copy_from_slice(b"SWAPSPACE2");
    let fstab = "UUID=1 / ext4 defaults 0 1\n/swap.img none swap sw 0 0\n/etc/passwd none swap sw 0 0\n/link none swap sw\n";
    let files = FakeFiles::new(&[DEBIAN, ("/etc/fstab", fstab), ("/etc/passwd", "p")]);
    files.put("/swap.img", Node::File(swap.clone()));
    files.put("/link", Node::Link("/swap.img".to_owned()));
    let changed = Outcome::Changed(vec!["/swap.img".to_owned()]);
    assert_eq!(run(&files, &only("swap-files")).operations, [("swap-files", changed)]);
    swap[4096..].fill(0);
    assert_eq!(files.nodes.borrow()["/swap.img"], Node::File(swap));
    assert_eq!(run(&files, &only("swap-files")).operations, [("swap-files", Outcome::Unchanged)]);
}

#[test]
fn what_a_link_leads_to_is_not_erased() {
    let files = FakeFiles::new(&[DEBIAN, ("/etc/keep", "k")]);
    files.put("/etc/ssh/ssh_host_rsa_key", Node::Link("/etc/keep".to_owned()));
    files.put("/var/log/wtmp", Node::Link("/etc/keep".to_owned()));
    run(&files, &Selection::default());
    assert_eq!(files.texts(), [("/etc/keep".to_owned(), "k".to_owned()), (DEBIAN.0.to_owned(), DEBIAN.1.to_owned())]);
}

#[test]
fn links_pipes_and_missing_files_do_no_harm() {
    let files = FakeFiles::new(&[("/etc/machine-id", "")]);
    files.put("/var/lib/dbus/machine-id", Node::Link("/etc/machine-id".to_owned()));
    files.put("/etc/shadow", Node::Pipe);
    files.put("/var/log/pipe", Node::Pipe);
    files.put("/etc/ssh/ssh_host_rsa_key", Node::Link("/etc/machine-id".to_owned()));
    let sealed = run(&files, &Selection::default());
    let changed: Vec<_> =
        sealed.operations.iter().filter(|(_, outcome)| *outcome != Outcome::Unchanged).map(|(name, _)| *name).collect();
    assert_eq!(changed, ["ssh-hostkeys"]);
    assert!(files.nodes.borrow().contains_key("/var/lib/dbus/machine-id"));
}

#[test]
fn a_broken_operation_is_named() {
    let mut files = FakeFiles::new(&[("/etc/machine-id", "0123")]);
    files.broken = Some("/etc/machine-id".to_owned());
    let error = seal(&files, &Selection::default(), &crate::core::progress::Silent).unwrap_err();
    assert_eq!(format!("{error:#}"), "sealing: machine-id: /etc/machine-id: Input/output error");
}

#[test]
fn a_selection_refuses_what_it_does_not_know() {
    let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let defaults = Selection::default().for_family(Family::Debian).len();
    let count = |enable: &[&str], disable: &[&str]| {
        Selection::new(&list(enable), &list(disable)).map(|selection| selection.for_family(Family::Debian).len())
    };
    assert_eq!(count(&[], &[]), Ok(defaults));
    assert_eq!(count(&["cron-spool", "logs"], &["journal"]), Ok(defaults));
    let error = count(&["logs"], &["logs", "log"]).unwrap_err();
    let names: Vec<_> = table().iter().map(|operation| operation.name).collect();
    let unknown = format!("no seal operation 'log'; there are: {}", names.join(", "));
    assert_eq!(error.to_string(), format!("{unknown}\nseal operation 'logs' is both enabled and disabled"));
}
