//! Whoever makes a hypervisor of the machine: with a key, a configuration and a `known_hosts` of this test's own.

use std::{
    env, fs,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

/// What a program has printed.
#[derive(Debug)]
pub struct Printed {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Printed {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// The operator.
pub struct Operator {
    folder: TempDir,
    port: String,
    pub password_file: String,
    pub fingerprint: String,
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is not set\nscripts/testbed up --bare; eval \"$(scripts/testbed env)\""))
}

impl Operator {
    pub fn new() -> Self {
        let operator = Self {
            folder: TempDir::new().unwrap(),
            port: variable("TPL_TESTBED_BARE1_PORT"),
            password_file: variable("TPL_TESTBED_BARE1_PASSWORD_FILE"),
            fingerprint: variable("TPL_TESTBED_BARE1_FINGERPRINT"),
        };
        operator.key("id");
        // Nothing of the user's own configuration, and nothing of this test's in the user's. As a file, it gives way to arguments.
        let own = format!(
            "IdentityFile {0}/id\nIdentityAgent none\nUserKnownHostsFile {0}/known_hosts\nGlobalKnownHostsFile /dev/null\n",
            operator.path("").trim_end_matches('/')
        );
        fs::write(operator.path("ssh_config"), own).unwrap();
        fs::write(operator.path("ssh"), format!("#!/bin/sh\nexec ssh -F {} \"$@\"\n", operator.path("ssh_config"))).unwrap();
        fs::set_permissions(operator.path("ssh"), fs::Permissions::from_mode(0o755)).unwrap();
        let uri = format!("qemu+ssh://admin@127.0.0.1:{}/system?command={}", operator.port, operator.path("ssh"));
        fs::write(operator.path("config.toml"), format!("[hypervisors.bare1]\nuri = \"{uri}\"\n")).unwrap();
        operator
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn key(&self, name: &str) {
        let made =
            Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", "operator", "-f", &self.path(name)]).status();
        assert!(made.unwrap().success());
    }

    /// A public key whose private half is another one's.
    pub fn broken_key(&self) -> String {
        self.key("broken");
        self.key("other");
        fs::copy(self.path("other"), self.path("broken")).unwrap();
        self.path("broken.pub")
    }

    /// The operator's own public key.
    pub fn own_key(&self) -> String {
        self.path("id.pub")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut tpl = Command::new(env!("CARGO_BIN_EXE_tpl"));
        for (name, _) in env::vars().filter(|(name, _)| name.starts_with("TPL_")) {
            tpl.env_remove(name);
        }
        // An emulated machine answers late.
        tpl.args(args).env("TPL_CONFIG", self.path("config.toml")).env("TPL_CONNECT_TIMEOUT", "5m");
        tpl.env("XDG_STATE_HOME", self.path("state")).stdin(Stdio::null());
        tpl
    }

    /// A call of tpl.
    pub fn tpl(&self, args: &[&str]) -> Printed {
        let output = self.command(args).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Printed { code: output.status.code().unwrap_or(-1), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }

    fn arguments<'a>(&'a self, further: &[&'a str], key: &'a str) -> Vec<&'a str> {
        let mut args = vec!["host", "bootstrap", "bare1", "--yes", "--output", "json"];
        args.extend(["--host-key", &self.fingerprint, "--password-file", &self.password_file]);
        args.extend(further);
        if !further.contains(&"--ssh-key") {
            args.extend(["--ssh-key", key]);
        }
        args
    }

    /// A bootstrap with the password at hand.
    pub fn bootstrap(&self, further: &[&str]) -> Printed {
        self.tpl(&self.arguments(further, &self.own_key()))
    }

    /// One whose connections are ended so long after a phase has begun.
    pub fn cut(&self, further: &[&str], phase: &str, after: Duration) -> Printed {
        let key = self.own_key();
        let err = self.path("stderr");
        let mut child = self
            .command(&self.arguments(further, &key))
            .stdout(Stdio::piped())
            .stderr(fs::File::create(&err).unwrap())
            .spawn()
            .unwrap();
        let began = Instant::now();
        while !fs::read_to_string(&err).unwrap().contains(&format!("{phase}: begins")) {
            let ended = child.try_wait().unwrap();
            assert!(ended.is_none(), "{phase} did not begin: {}", fs::read_to_string(&err).unwrap());
            assert!(began.elapsed() < Duration::from_secs(300), "{phase} does not begin");
            thread::sleep(Duration::from_millis(100));
        }
        thread::sleep(after);
        // All of this operator's connections: of tpl's own children.
        let children = format!("/proc/{0}/task/{0}/children", child.id());
        let mut cut = 0;
        for pid in fs::read_to_string(children).unwrap_or_default().split_whitespace() {
            cut += usize::from(Command::new("kill").args(["-KILL", pid]).status().unwrap().success());
        }
        println!("{cut} connections cut in {phase}");
        let output = child.wait_with_output().unwrap();
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        Printed { code: output.status.code().unwrap_or(-1), stdout, stderr: fs::read_to_string(&err).unwrap() }
    }

    /// `tpl host check`, for an emulated machine.
    pub fn check(&self) -> Printed {
        self.tpl(&["host", "check", "bare1", "--timeout", "10m", "--output", "json", "--password-file", &self.password_file])
    }

    /// Whether the password alone opens the machine.
    pub fn opens_by_password(&self) -> bool {
        self.login(&["-o", "PubkeyAuthentication=no"], "true").0
    }

    /// Waits until somebody can log in.
    pub fn waits_for_sshd(&self) {
        let began = Instant::now();
        while let (false, said) = self.login(&[], "true") {
            assert!(began.elapsed() < Duration::from_secs(60), "nobody can log in: {said}");
            thread::sleep(Duration::from_secs(1));
        }
    }

    /// What a line of shell prints there, by the user.
    pub fn user(&self, line: &str) -> String {
        let (success, printed) = self.login(&[], line);
        assert!(success, "{line}: {printed}");
        printed
    }

    /// The same by root.
    pub fn root(&self, line: &str) -> String {
        let password = fs::read_to_string(&self.password_file).unwrap();
        let script = format!("sudo -k -S -p '' sh -c {}", quoted(line));
        let (success, printed) = self.logged_in(&[], &script, password.trim_end());
        assert!(success, "{line}: {printed}");
        printed
    }

    /// Puts tpl itself onto the machine, without what only debuggers need.
    pub fn puts_tpl(&self) {
        let program = self.path("tpl");
        let stripped = Command::new("strip").args(["-o", &program, env!("CARGO_BIN_EXE_tpl")]).status().unwrap();
        assert!(stripped.success());
        let mut ssh = self.ssh(&[], "cat >tpl");
        let sent = ssh.stdin(fs::File::open(&program).unwrap()).stdout(Stdio::null()).status().unwrap();
        assert!(sent.success());
        self.root("install -o root -g root -m 755 /home/admin/tpl /usr/local/bin/tpl");
    }

    fn login(&self, options: &[&str], line: &str) -> (bool, String) {
        self.logged_in(options, line, "")
    }

    /// A login by the key or by the password, whichever opens, for a line.
    fn ssh(&self, options: &[&str], line: &str) -> Command {
        let askpass = self.path("askpass");
        fs::write(&askpass, format!("#!/bin/sh\ncat {}\n", self.password_file)).unwrap();
        fs::set_permissions(&askpass, fs::Permissions::from_mode(0o700)).unwrap();
        let mut ssh = Command::new(self.path("ssh"));
        // Its host key is checked by tpl, in a file of its own; this login is the test's.
        ssh.args(options).args(["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR"]);
        ssh.args(["-o", "NumberOfPasswordPrompts=1", "-p", &self.port, "admin@127.0.0.1", line]);
        ssh.env("SSH_ASKPASS", askpass).env("SSH_ASKPASS_REQUIRE", "force");
        ssh
    }

    /// Logs in by the key or by the password, whichever opens, and runs a line with this input.
    fn logged_in(&self, options: &[&str], line: &str, input: &str) -> (bool, String) {
        let mut ssh = self.ssh(options, line);
        let mut child = ssh.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // One that is not let in does not read it.
        let _ = writeln!(child.stdin.take().unwrap(), "{input}");
        let output = child.wait_with_output().unwrap();
        let printed = String::from_utf8_lossy(&output.stdout).trim_end().to_owned();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.success(), if output.status.success() { printed } else { format!("{printed}{said}") })
    }
}

/// One word for a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}
