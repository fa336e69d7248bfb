//! Hosts files of a dnsmasq.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    thread,
};

use super::{failure, host, provider, servers::Server, try_provider};

#[test]
fn one_file_is_read_again_at_each_change() {
    let server = Server::dnsmasq();
    let (file, pid) = (server.path("hosts"), server.path("pid"));
    let foreign = "# by hand\n192.0.2.1\trouter\n";
    fs::write(&file, foreign).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o640)).unwrap();
    chown(&file, Some(12), Some(34)).unwrap();
    let provider = provider(&format!("kind = \"hosts-file\"\nfile = {file:?}\npid_file = {pid:?}\ndomain = \"lab.example\""));
    let old = host("web01", &["192.0.2.7"]);
    let web = host("web01", &["192.0.2.8", "2001:db8::8"]);

    assert_eq!(provider.taken(&old).unwrap(), [""; 0]);
    provider.add(&old).unwrap();
    server.wait_for("web01.lab.example", "A", &["192.0.2.7"]);
    // The one before it, which only a SIGHUP makes known.
    assert_eq!(server.dig("router", "A"), ["192.0.2.1"]);
    assert_eq!(provider.taken(&old).unwrap(), [""; 0]);
    assert_eq!(provider.taken(&web).unwrap(), [format!("{}:3: 192.0.2.7 web01.lab.example web01", file.display())]);

    for _ in 0..2 {
        provider.add(&web).unwrap();
        let lines = "192.0.2.8 web01.lab.example web01 # tpl\n2001:db8::8 web01.lab.example web01 # tpl\n";
        assert_eq!(fs::read_to_string(&file).unwrap(), format!("{foreign}{lines}"));
    }
    server.wait_for("web01.lab.example", "A", &["192.0.2.8"]);
    assert_eq!(server.dig("web01", "AAAA"), ["2001:db8::8"]);
    assert_eq!(server.dig_reverse("192.0.2.8"), ["web01.lab.example."]);
    assert_eq!(server.dig_reverse("2001:db8::8"), ["web01.lab.example."]);
    assert_eq!(server.dig_reverse("192.0.2.7"), [""; 0]);

    // Another registration of the same name is no reason to remove this one.
    provider.remove(&old).unwrap();
    server.wait_for("web01.lab.example", "A", &["192.0.2.8"]);
    for _ in 0..2 {
        provider.remove(&web).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), foreign);
    }
    server.wait_for("web01.lab.example", "A", &[]);
    let data = fs::metadata(&file).unwrap();
    assert_eq!((data.mode() & 0o7777, data.uid(), data.gid()), (0o640, 12, 34));
}

#[test]
fn a_folder_is_watched() {
    let server = Server::dnsmasq();
    let folder = server.path("hosts.d");
    let provider = provider(&format!("kind = \"hosts-file\"\nfolder = {folder:?}\ndomain = \"lab.example\""));
    fs::write(folder.join("people"), "192.0.2.1 router\n").unwrap();
    server.wait_for("router", "A", &["192.0.2.1"]);
    let web = host("web01", &["192.0.2.8", "2001:db8::8"]);
    provider.add(&host("web01", &["192.0.2.7"])).unwrap();
    server.wait_for("web01.lab.example", "A", &["192.0.2.7"]);
    provider.add(&web).unwrap();
    provider.add(&web).unwrap();
    // The old address must go, not only the new one come.
    server.wait_for("web01.lab.example", "A", &["192.0.2.8"]);
    server.wait_for("web01", "AAAA", &["2001:db8::8"]);
    assert_eq!(fs::metadata(folder.join("web01.lab.example")).unwrap().mode() & 0o7777, 0o644);

    let router = host("router", &["192.0.2.8"]);
    let (people, own) = (folder.join("people"), folder.join("web01.lab.example"));
    let expected =
        [format!("{}:1: 192.0.2.1 router", people.display()), format!("{}:1: 192.0.2.8 web01.lab.example web01", own.display())];
    assert_eq!(provider.taken(&router).unwrap(), expected);
    let refusal = format!("{}\nrouter.lab.example is not registered over them", expected.join("\n"));
    assert_eq!(failure(provider.add(&router)), (refusal, 3));

    provider.remove(&web).unwrap();
    provider.remove(&web).unwrap();
    server.wait_for("web01.lab.example", "A", &[]);
    server.wait_for("web01", "AAAA", &[]);
    let left: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["people"]);
}

#[test]
fn calls_at_once_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hosts");
    let table = format!("kind = \"hosts-file\"\nfile = {file:?}");
    let run = |action: &(dyn Fn(u8) + Sync)| {
        thread::scope(|scope| {
            for number in 1..=16 {
                scope.spawn(move || action(number));
            }
        });
    };
    // Each opens the lock for itself, as processes do.
    let of = |number: u8| host(&format!("web{number}"), &[&format!("192.0.2.{number}")]);
    run(&|number| {
        provider(&table).add(&of(number)).unwrap();
    });
    let mut lines: Vec<String> = fs::read_to_string(&file).unwrap().lines().map(ToOwned::to_owned).collect();
    lines.sort();
    let mut expected: Vec<String> = (1..=16).map(|number| format!("192.0.2.{number} web{number} # tpl")).collect();
    expected.sort();
    assert_eq!(lines, expected);
    run(&|number| provider(&table).remove(&of(number)).unwrap());
    assert_eq!(fs::read_to_string(&file).unwrap(), "");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn a_dnsmasq_that_cannot_be_told_is_said_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let (file, pid) = (folder.path().join("hosts"), folder.path().join("pid"));
    let provider = try_provider(&format!("kind = \"hosts-file\"\nfile = {file:?}\npid_file = {pid:?}")).unwrap();
    let web = host("web01", &["192.0.2.7"]);
    let shown = pid.display();
    let mine = std::process::id().to_string();
    let table = [
        (None, "is not there"),
        (Some(""), "holds no number of a process"),
        (Some("-1"), "holds no number of a process"),
        (Some("1"), "holds no number of a process"),
        (Some(mine.as_str()), "names a process that is no dnsmasq"),
    ];
    for (text, why) in table {
        if let Some(text) = text {
            fs::write(&pid, text).unwrap();
        }
        let expected = format!(
            "dnsmasq cannot be told: {shown} {why}\nstart dnsmasq, or set pid_file of [dns.test] to the file that it writes"
        );
        assert_eq!(failure(provider.add(&web)), (expected, 1));
        assert!(!file.exists());
        // A dnsmasq that is gone has nothing to forget.
        provider.remove(&web).unwrap();
    }
}
