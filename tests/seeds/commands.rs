//! What a seed says in shell, run by a shell.

use std::{fs, process::Command};

use tpl::core::seed::commands::APT_MIRROR;

#[test]
fn apt_gets_the_mirror_and_keeps_the_rest() {
    let table = [
        (
            "sources.list",
            "# deb http://old.example/debian trixie main\n\
             deb [trusted=yes signed-by=/a b] http://old.example/debian trixie main contrib\n\
             deb-src\thttps://old.example/pub/debian/ trixie-updates main\n\
             deb mirror+file:/etc/apt/mirrors/debian.list trixie-backports main\n\
             deb http://old.example/debian-security trixie-security main\n\
             deb http://old.example/debian/ buster/updates main\n\
             deb cdrom:[Debian]/ trixie main\n",
            "# deb http://old.example/debian trixie main\n\
             deb [trusted=yes signed-by=/a b] http://192.0.2.1/debian trixie main contrib\n\
             deb-src\thttp://192.0.2.1/debian trixie-updates main\n\
             deb http://192.0.2.1/debian trixie-backports main\n\
             deb http://old.example/debian-security trixie-security main\n\
             deb http://old.example/debian/ buster/updates main\n\
             deb cdrom:[Debian]/ trixie main\n",
        ),
        (
            "sources.list.d/debian.sources",
            "# The archive; see trixie-security below.\nTypes: deb\nURIs: http://old.example/debian http://other.example/debian\n\
             Suites: trixie trixie-updates\nComponents: main\n\n\
             Types: deb\nURIs: http://old.example/debian\nSuites: trixie-security\nComponents: main\n",
            "# The archive; see trixie-security below.\nTypes: deb\nURIs: http://192.0.2.1/debian\n\
             Suites: trixie trixie-updates\nComponents: main\n\n\
             Types: deb\nURIs: http://old.example/debian\nSuites: trixie-security\nComponents: main\n\n",
        ),
        (
            "sources.list.d/vendor.list",
            "deb http://vendor.example/debian trixie main\n",
            "deb http://vendor.example/debian trixie main\n",
        ),
    ];
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("sources.list.d")).unwrap();
    for (name, before, _) in table {
        fs::write(folder.path().join(name), before).unwrap();
    }
    // Twice: the second time it changes nothing.
    for _ in 0..2 {
        let run = Command::new("/bin/sh")
            .args(["-c", APT_MIRROR, "sh", "http://192.0.2.1/debian"])
            .arg(folder.path())
            .output()
            .unwrap();
        assert!(run.status.success() && run.stderr.is_empty(), "{}", String::from_utf8_lossy(&run.stderr));
        for (name, _, after) in table {
            assert_eq!(fs::read_to_string(folder.path().join(name)).unwrap(), after, "{name}");
        }
    }
    assert_eq!(fs::read_dir(folder.path().join("sources.list.d")).unwrap().count(), 2);
    // Where there is no apt there is nothing to do.
    let empty = tempfile::tempdir().unwrap();
    let run =
        Command::new("/bin/sh").args(["-c", APT_MIRROR, "sh", "http://192.0.2.1/debian"]).arg(empty.path()).status().unwrap();
    assert!(run.success());
}
