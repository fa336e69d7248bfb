//! A hypervisor's own programs, over SSH.

use std::{io::Cursor, thread, time::Instant};

use tpl::host::shell::{self, succeeded};

use super::bed::{PATIENCE, sh, shell, uri};

#[test]
fn programs_get_just_their_words() {
    let shell = shell("bed1");
    let words = ["a b", "it's", "$(x) `y` \\ \"z\" !", "", "-n", "ä\nö", "*"];
    let argv: Vec<&str> = ["printf", "%s|"].into_iter().chain(words).collect();
    assert_eq!(shell.run(&argv, PATIENCE).unwrap().stdout, words.map(|word| format!("{word}|")).concat());
    assert_eq!(
        sh(shell.as_ref(), "echo $LC_ALL $PATH; id -u"),
        "C /usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n0\n"
    );

    let failed = shell.run(&["sh", "-c", "echo out; echo err >&2; exit 7"], PATIENCE).unwrap();
    assert_eq!((failed.code, failed.stdout.as_str(), failed.stderr.as_str()), (Some(7), "out\n", "err\n"));
    let missing = shell.run(&["tpl-no-such-program"], PATIENCE).unwrap_err();
    assert_eq!(missing.to_string(), "tpl-no-such-program is not installed on bed1");
    let late = shell.run(&["sleep", "60"], std::time::Duration::from_millis(300)).unwrap_err();
    assert!(format!("{late:#}").starts_with("running sleep on bed1: running ssh: not done after 0 s, and ended"), "{late:#}");
}

#[test]
fn bytes_go_both_ways() {
    let shell = shell("bed1");
    let bytes: Vec<u8> = (0..5_000_003_u32).map(|index| (index ^ index >> 8) as u8).collect();
    let sum = shell.feed(&["sha256sum"], &mut Cursor::new(&bytes)).unwrap().stdout;
    let file = sh(shell.as_ref(), "mktemp").trim().to_owned();
    let written = shell.feed(&["dd", &format!("of={file}"), "status=none"], &mut Cursor::new(&bytes));
    succeeded(&["dd"], written.unwrap()).unwrap();
    let mut back = Vec::new();
    shell.read(&["cat", &file], &mut back).unwrap();
    assert_eq!(sh(shell.as_ref(), &format!("sha256sum <{file}; rm {file}")), sum);
    assert!(back == bytes);
    let failed = shell.read(&["cat", &file], &mut back).unwrap();
    assert_eq!((failed.code, failed.stderr.trim()), (Some(1), format!("cat: {file}: No such file or directory").as_str()));
}

/// The connection's process, as the other side names it: the port that it comes from.
fn connection(shell: &dyn shell::Shell) -> String {
    sh(shell, "echo ${SSH_CONNECTION% *}")
}

#[test]
fn one_connection_carries_all_calls_and_is_made_again() {
    let shell = shell("bed2");
    let began = Instant::now();
    let first = connection(shell.as_ref());
    let login = began.elapsed();
    let all: Vec<String> = thread::scope(|scope| {
        let calls: Vec<_> = (0..24).map(|_| scope.spawn(|| connection(shell.as_ref()))).collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    assert_eq!(all, vec![first.clone(); 24]);
    eprintln!("logging in and one call: {login:?}; 24 calls more: {:?}", began.elapsed() - login);

    // Whoever serves it over there is the parent of the parent of what runs.
    let cut = shell.run(&["sh", "-c", "kill -KILL $(ps -o ppid= $PPID) $PPID; sleep 5"], PATIENCE);
    let cut = cut.map(|output| output.code).map_err(|error| error.to_string());
    assert!(cut.as_ref().is_err_and(|error| error.contains("the connection broke")), "{cut:?}");
    let second = connection(shell.as_ref());
    assert_ne!(second, first);
}

#[test]
fn who_cannot_log_in_is_told_what_must_work() {
    let nobody = uri("bed1").replace("root@", "nobody-there@");
    let error = shell::open(&nobody, "bed1").run(&["true"], PATIENCE).unwrap_err();
    let text = format!("{error:#}");
    assert!(text.starts_with("reaching bed1 by SSH: ") && text.contains("Permission denied"), "{text}");
    assert!(text.ends_with("`ssh nobody-there@127.0.0.1 true` must work without a question"), "{text}");
}

#[test]
fn doctor_tries_what_a_hypervisor_is_needed_for() {
    let checked = std::process::Command::new(env!("CARGO_BIN_EXE_tpl"))
        .args(["--on", "bed1", "doctor", "--output", "json"])
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.status.success(), "{said}{}", String::from_utf8_lossy(&checked.stderr));
    let checks: serde_json::Value = serde_json::from_str(&said).unwrap();
    let found = |name: &str| checks.as_array().unwrap().iter().find(|check| check["name"] == name).unwrap().clone();
    for (name, health, part) in [
        ("libvirt", "ok", "bed1, qemu+ssh://"),
        ("pool", "ok", "vg0: "),
        ("network", "ok", "default is active"),
        ("programs", "ok", "run over SSH, on bed1"),
    ] {
        let check = found(name);
        assert!(check["health"] == health && check["detail"].as_str().unwrap().contains(part), "{check}");
    }
    // An emulated CPU may have virtualisation of its own.
    assert!(["ok", "warning"].iter().any(|health| found("kvm")["health"] == *health), "{checks}");
    assert!(!checks.to_string().contains("appliance"), "that is for this machine's disks");
}
