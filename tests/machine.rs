//! Logging in to a machine, and working on it as root: against a real sshd, of a configuration, a port and keys of its own, on this
//! machine. Passwords, sudo and the guard of sshd's files need a machine that may be changed: see docs/testbed.md.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]
#![expect(clippy::disallowed_methods, reason = "sshd is started here, and not by tpl")]

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use tempfile::TempDir;
use tpl::{
    core::{
        bootstrap::Probe,
        error::exit_code,
        secret::Secret,
        transport::{
            HostKeys, SshTarget,
            host_key::{Fingerprint, Learned},
        },
    },
    host::{
        local::Stop,
        machine::{
            Machine, host_key,
            journal::Journal,
            ssh::{Reach, SshMachine},
        },
        shell::access::{Credentials, Password},
    },
};

/// An sshd until this is dropped.
struct Sshd {
    folder: TempDir,
    child: Child,
    port: u16,
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn program(name: &str) -> PathBuf {
    let folders = ["/usr/sbin", "/usr/bin"];
    let found = folders.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("{name} is not installed: openssh-server and openssh-client are needed"))
}

fn keygen(file: &Path, kind: &str) {
    let _ = fs::remove_file(file);
    let made = Command::new(program("ssh-keygen")).args(["-q", "-N", "", "-t", kind, "-f"]).arg(file).status().unwrap();
    assert!(made.success());
}

impl Sshd {
    /// With an Ed25519 and an ECDSA host key, for whoever runs this, by one key.
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        for (name, kind) in [("host", "ed25519"), ("host2", "ecdsa"), ("user", "ed25519"), ("other", "ed25519")] {
            keygen(&folder.path().join(name), kind);
        }
        fs::copy(folder.path().join("user.pub"), folder.path().join("authorized")).unwrap();
        if rustix::process::getuid().is_root() {
            // Where sshd's unprivileged part lives; the service makes it.
            fs::create_dir_all("/run/sshd").unwrap();
        }
        let child = Self::run(folder.path(), port);
        Self { folder, child, port }
    }

    fn run(folder: &Path, port: u16) -> Child {
        let path = folder.display();
        let text = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {path}/host\nHostKey {path}/host2\nPidFile {path}/pid\n\
             AuthorizedKeysFile {path}/authorized\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\n\
             PermitRootLogin prohibit-password\n"
        );
        let config = folder.join("config");
        fs::write(&config, text).unwrap();
        let mut command = Command::new(program("sshd"));
        command.args(["-D", "-e", "-f"]).arg(&config).stdin(Stdio::null()).stderr(fs::File::create(folder.join("log")).unwrap());
        let child = command.spawn().unwrap();
        let end = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < end, "{}", fs::read_to_string(folder.join("log")).unwrap());
            std::thread::sleep(Duration::from_millis(20));
        }
        child
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn known_hosts(&self) -> String {
        fs::read_to_string(self.path("known_hosts")).unwrap_or_default()
    }

    fn target(&self, key: &str) -> SshTarget {
        SshTarget {
            host: "127.0.0.1".to_owned(),
            user: None,
            port: Some(self.port),
            key: Some(self.path(key)),
            command: None,
            known_hosts: Some(self.path("known_hosts").to_str().unwrap().to_owned()),
            host_keys: HostKeys::Known,
        }
    }

    fn fingerprint(&self, name: &str) -> Fingerprint {
        let text = fs::read_to_string(self.path(name).with_extension("pub")).unwrap();
        Fingerprint::of(&text.trim().parse().unwrap()).unwrap()
    }

    /// The check of the host key, with what the operator says to an unknown one.
    fn check(&self, target: SshTarget, expected: Option<&Fingerprint>, says: Option<bool>) -> Result<bool, (u8, String)> {
        let confirm = |_: &Learned| Ok(says);
        match host_key::check(target, "hv1", expected, &confirm, &Journal::none()) {
            Ok((target, pinned)) => {
                assert_eq!(pinned.is_some(), target.known_hosts != self.target("user").known_hosts);
                Ok(pinned.is_some())
            }
            Err(error) => Err((exit_code(&error), format!("{error:#}"))),
        }
    }

    fn machine(&self, key: &str) -> anyhow::Result<SshMachine> {
        let password = Password::new(Box::new(|| {
            panic!("nobody is asked for a password that no host takes");
            #[expect(unreachable_code, reason = "what it would be")]
            Ok(Secret::new(String::new()))
        }));
        SshMachine::connect(Reach {
            name: "hv1".to_owned(),
            target: self.target(key),
            credentials: Credentials { key: None, password },
            journal: Arc::new(Journal::at(&self.path("journal"))?),
            stop: Stop::default(),
            pinned: None,
        })
    }
}

#[test]
fn a_host_that_is_not_known_is_confirmed_or_refused() {
    let sshd = Sshd::start();
    let (first, second) = (sshd.fingerprint("host"), sshd.fingerprint("host2"));
    let refused = format!(
        "the host key of hv1 is not known: it shows ssh-ed25519 {first}\nif that is the machine's, say --host-key {first}"
    );
    assert_eq!(sshd.check(sshd.target("user"), None, None), Err((3, refused)));
    let refused = "the host key of hv1 was not confirmed".to_owned();
    assert_eq!(sshd.check(sshd.target("user"), None, Some(false)), Err((3, refused)));
    let wrong = sshd.fingerprint("user");
    let (code, text) = sshd.check(sshd.target("user"), Some(&wrong), Some(true)).unwrap_err();
    assert_eq!(code, 3);
    assert!(
        text.starts_with(&format!("hv1 has no host key {wrong}: it shows ssh-ed25519 {first} and ecdsa-sha2-nistp256 {second}")),
        "{text}"
    );
    assert_eq!(sshd.known_hosts(), "");
    // Nobody is asked who has said it before.
    assert_eq!(sshd.check(sshd.target("user"), Some(&second), None), Ok(false));
    assert!(sshd.known_hosts().starts_with(&format!("[127.0.0.1]:{} ecdsa-sha2-nistp256 ", sshd.port)), "{}", sshd.known_hosts());
    let before = sshd.known_hosts();
    for expected in [None, Some(&first), Some(&second)] {
        assert_eq!(sshd.check(sshd.target("user"), expected, None), Ok(false));
    }
    assert_eq!(sshd.check(sshd.target("user"), Some(&wrong), Some(true)).unwrap_err().0, 3);
    assert_eq!(sshd.known_hosts(), before);
}

#[test]
fn a_confirmed_host_is_known_from_then_on() {
    let sshd = Sshd::start();
    assert_eq!(sshd.check(sshd.target("user"), None, Some(true)), Ok(false));
    assert_eq!(sshd.check(sshd.target("user"), None, None), Ok(false));
    assert_eq!(sshd.known_hosts().lines().count(), 1);
    // Whom a URI believes blindly is held to what is said of him all the same, for this call.
    let blind = SshTarget { host_keys: HostKeys::Any, ..sshd.target("user") };
    assert_eq!(sshd.check(blind.clone(), None, None), Ok(false));
    assert_eq!(sshd.check(blind, Some(&sshd.fingerprint("user")), None).unwrap_err().0, 3);
    fs::remove_file(sshd.path("known_hosts")).unwrap();
    let blind = SshTarget { host_keys: HostKeys::Any, ..sshd.target("user") };
    assert_eq!(sshd.check(blind, Some(&sshd.fingerprint("host")), None), Ok(true));
    assert_eq!(sshd.known_hosts(), "");
}

#[test]
fn a_host_with_another_key_is_refused_whatever_is_said() {
    let mut sshd = Sshd::start();
    assert_eq!(sshd.check(sshd.target("user"), None, Some(true)), Ok(false));
    let before = sshd.known_hosts();
    sshd.child.kill().unwrap();
    sshd.child.wait().unwrap();
    keygen(&sshd.path("host"), "ed25519");
    sshd.child = Sshd::run(sshd.folder.path(), sshd.port);
    let new = sshd.fingerprint("host");
    let expected = format!(
        "hv1 shows another host key than the one that is known, ssh-ed25519 {new}: it may be another machine that answers\n\
         if the machine was made anew, `ssh-keygen -R '[127.0.0.1]:{}' -f {}` forgets the old key",
        sshd.port,
        sshd.path("known_hosts").display()
    );
    for given in [None, Some(&new)] {
        assert_eq!(sshd.check(sshd.target("user"), given, Some(true)), Err((3, expected.clone())));
    }
    assert_eq!(sshd.known_hosts(), before);
    let blind = SshTarget { host_keys: HostKeys::Any, ..sshd.target("user") };
    assert_eq!(sshd.check(blind, Some(&new), Some(true)).unwrap_err().0, 3);
}

#[test]
fn a_machine_is_worked_on_by_root() {
    assert!(rustix::process::getuid().is_root(), "run it as root: it logs in as who runs it");
    let sshd = Sshd::start();
    sshd.check(sshd.target("user"), None, Some(true)).unwrap();
    let machine = sshd.machine("user").unwrap();
    let facts =
        machine.ask(&[Probe::new("who", "id -u"), Probe::with("words", "printf '%s|' \"$1\" \"$2\"", &["a b", "it's\n"])]);
    let facts = facts.unwrap();
    assert_eq!((facts.get("who"), facts.whole("words")), (Some("0"), Some("a b|it's\n|")));
    let file = sshd.path("new folder/it's");
    machine.write(file.to_str().unwrap(), 0o640, "a\n\"$b\"\n").unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "a\n\"$b\"\n");
    machine.remove(file.to_str().unwrap()).unwrap();
    assert!(!file.exists());
    let failed = machine.run(&["sh", "-c", "echo no >&2; exit 3"], Duration::from_secs(10)).unwrap_err();
    assert_eq!(format!("{failed:#}"), "sh: no");
    let log = fs::read_to_string(sshd.path("journal")).unwrap();
    assert!(log.contains("[exit 3, 0.") && log.contains("(mode 0640, 7 bytes)"), "{log}");

    // A connection that has broken is made again, and told of.
    let cut = machine.run(&["sh", "-c", "kill -KILL $(ps -o ppid= $PPID); sleep 5"], Duration::from_secs(10));
    let cut = format!("{:#}", cut.unwrap_err());
    assert!(cut.contains("the connection broke"), "{cut}");
    assert_eq!(machine.run(&["echo", "again"], Duration::from_secs(10)).unwrap(), "again\n");
}

#[test]
fn one_at_a_time_has_a_machine() {
    assert!(rustix::process::getuid().is_root(), "run it as root: it logs in as who runs it");
    let sshd = Sshd::start();
    sshd.check(sshd.target("user"), None, Some(true)).unwrap();
    let (one, other) = (sshd.machine("user").unwrap(), sshd.machine("user").unwrap());
    let lock = one.lock().unwrap().unwrap_or_else(|holder| panic!("{holder} has it"));
    let holder = other.lock().unwrap().map(drop).unwrap_err();
    assert!(holder.starts_with(&format!("process {} on ", std::process::id())) && holder.contains(" since 20"), "{holder}");
    drop(lock);
    let end = Instant::now() + Duration::from_secs(10);
    while let Err(holder) = other.lock().unwrap().map(drop) {
        assert!(Instant::now() < end, "{holder}");
    }
}

#[test]
fn who_is_not_let_in_is_told_what_must_work() {
    let sshd = Sshd::start();
    sshd.check(sshd.target("other"), None, Some(true)).unwrap();
    let error = sshd.machine("other").map(drop).unwrap_err();
    let text = format!("{error:#}");
    assert!(text.starts_with("reaching hv1 by SSH: ") && text.contains("Permission denied (publickey"), "{text}");
    assert!(text.ends_with(&format!("`ssh -p {} 127.0.0.1 true` must work", sshd.port)), "{text}");
    assert_eq!(exit_code(&error), 1);
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let target = SshTarget { port: Some(nobody), ..sshd.target("user") };
    let (code, text) = sshd.check(target, None, Some(true)).unwrap_err();
    assert_eq!(code, 1);
    assert!(text.starts_with("reaching hv1 by SSH: ") && text.contains("Connection refused"), "{text}");
}
