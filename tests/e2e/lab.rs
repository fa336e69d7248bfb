//! Running tpl and looking at what it made, with tools that are not tpl's.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Condvar, Mutex, OnceLock},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;

/// The template that all tests share.
pub const TEMPLATE: &str = "tpl-e2e";

/// How a call of tpl ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// The JSON document on stdout, of a call that must have worked.
    pub fn json(&self) -> Value {
        assert_eq!(self.code, 0, "{self:#?}");
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in {self:#?}"))
    }

    /// The same without a document.
    pub fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{self:#?}");
        self
    }
}

/// A folder for this test run: pipelines, keys, logs. `scripts/test` removes it.
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    FOLDER
        .get_or_init(|| {
            let folder = TempDir::new().unwrap();
            for (from, to) in
                [("pipelines/debian13.toml", "pipelines/tpl-e2e.toml"), ("preseed/debian.cfg", "preseed/debian.cfg")]
            {
                let to = folder.path().join(to);
                fs::create_dir_all(to.parent().unwrap()).unwrap();
                fs::copy(Path::new(env!("CARGO_MANIFEST_DIR")).join(from), to).unwrap();
            }
            folder
        })
        .path()
}

/// The path of a pipeline in the folder.
pub fn pipeline(name: &str) -> String {
    folder().join(format!("pipelines/{name}.toml")).display().to_string()
}

/// Another pipeline, the shared one with its text changed.
pub fn other_pipeline(name: &str, change: impl FnOnce(String) -> String) -> String {
    let text = fs::read_to_string(pipeline(TEMPLATE)).unwrap();
    fs::write(pipeline(name), change(text)).unwrap();
    pipeline(name)
}

/// A call of tpl. What a small machine lets be promised of its CPUs is no matter of these tests.
pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tpl"));
    command.args(args).env("TPL_CPU_OVERCOMMIT", "8").stdin(Stdio::null());
    command
}

/// Runs tpl to its end.
pub fn tpl(args: &[&str]) -> Ended {
    ended(&mut command(args))
}

/// Runs a call that has been put together to its end.
pub fn ended(command: &mut Command) -> Ended {
    let _turn = Turn::with_others();
    finish(command)
}

/// The same for whoever is [`Turn::alone`].
pub fn finish(command: &mut Command) -> Ended {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Ended { code: output.status.code().unwrap_or(-1), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// While a call of tpl is at work it has a turn: so that a test can wait until it is alone with the hypervisor. Who wants to be
/// alone waits for all others, and not they for it: one of them may need a second turn to end the first.
pub struct Turn {
    alone: bool,
}

/// How many are at work, and whether one of them is alone.
static TURNS: (Mutex<(usize, bool)>, Condvar) = (Mutex::new((0, false)), Condvar::new());

impl Turn {
    /// Waits until nobody is alone.
    pub fn with_others() -> Self {
        let mut turns = TURNS.1.wait_while(TURNS.0.lock().unwrap(), |(_, alone)| *alone).unwrap();
        turns.0 += 1;
        Self { alone: false }
    }

    /// Waits until nobody else is at work.
    pub fn alone() -> Self {
        let mut turns = TURNS.1.wait_while(TURNS.0.lock().unwrap(), |(count, _)| *count > 0).unwrap();
        *turns = (1, true);
        Self { alone: true }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut turns = TURNS.0.lock().unwrap();
        turns.0 -= 1;
        turns.1 &= !self.alone;
        TURNS.1.notify_all();
    }
}

/// Runs another program that must work; what it printed.
pub fn run(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).stdin(Stdio::null()).env("LC_ALL", "C").output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{program} {args:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// A call of tpl in the background, whose stderr can be watched.
pub struct Background {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
    _turn: Turn,
}

impl Background {
    /// Starts it. `name` tells its files apart.
    pub fn start(name: &str, args: &[&str]) -> Self {
        let file = |kind: &str| folder().join(format!("{name}.{kind}"));
        let (stdout, stderr) = (file("stdout"), file("stderr"));
        let mut command = command(args);
        command.stdout(File::create(&stdout).unwrap()).stderr(File::create(&stderr).unwrap());
        let _turn = Turn::with_others();
        Self { child: command.spawn().unwrap(), stdout, stderr, _turn }
    }

    /// What it has said on stderr so far.
    pub fn said(&self) -> String {
        fs::read_to_string(&self.stderr).unwrap()
    }

    /// Waits until its stderr holds `text`.
    pub fn wait_for(&mut self, text: &str, patience: Duration) {
        let end = Instant::now() + patience;
        while !self.said().contains(text) {
            assert!(self.child.try_wait().unwrap().is_none(), "ended before it said {text:?}: {}", self.said());
            assert!(Instant::now() < end, "did not say {text:?} in time: {}", self.said());
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// SIGKILL: no clean-up of any kind.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end.
    pub fn end(mut self) -> Ended {
        let status: ExitStatus = self.child.wait().unwrap();
        Ended { code: status.code().unwrap_or(-1), stdout: fs::read_to_string(&self.stdout).unwrap(), stderr: self.said() }
    }
}

/// The pool that the tests work in: `TPL_POOL`, as tpl itself takes it.
pub fn pool() -> String {
    std::env::var("TPL_POOL").unwrap_or_else(|_| "default".to_owned())
}

/// What virsh prints.
pub fn virsh(args: &[&str]) -> String {
    run("virsh", &[&["-q", "-c", "qemu:///system"], args].concat())
}

/// The path of a volume.
pub fn volume_path(volume: &str) -> String {
    run("virsh", &["-q", "-c", "qemu:///system", "vol-path", volume, &pool()]).trim().to_owned()
}

/// The names of all domains, and of all files in the pool's folder, that begin so.
pub fn left(prefix: &str) -> Vec<String> {
    let domains = run("virsh", &["-q", "-c", "qemu:///system", "list", "--all", "--name"]);
    // The folder itself: a refresh of the pool fails while another test works in it.
    let xml = run("virsh", &["-q", "-c", "qemu:///system", "pool-dumpxml", &pool()]);
    let folder = xml.split("<path>").nth(1).and_then(|rest| rest.split("</path>").next()).unwrap();
    let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    domains.lines().map(str::to_owned).chain(files).filter(|name| name.starts_with(prefix)).collect()
}

/// The key pair that the tests log in with: the private half's path.
pub fn login_key() -> PathBuf {
    static KEY: OnceLock<PathBuf> = OnceLock::new();
    KEY.get_or_init(|| {
        let key = folder().join("login");
        run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", key.to_str().unwrap()]);
        key
    })
    .clone()
}

/// What a command prints in a clone of a template, which is destroyed afterwards.
pub fn seen_in_clone(template: &str, vm: &str, look: &str) -> String {
    let key = format!("{}.pub", login_key().display());
    let known_hosts = folder().join(format!("known_hosts-{vm}"));
    let hosts = known_hosts.to_str().unwrap();
    let asked = ["clone", template, "--name", vm, "--ssh-key", &key, "--known-hosts", hosts, "--timeout", "25m"];
    let clone = tpl(&[&asked[..], &["--output", "json"]].concat()).json();
    let seen = ssh(&known_hosts, clone["clones"][0]["addresses"][0].as_str().unwrap(), look);
    tpl(&["destroy", vm]).ok();
    seen
}

/// Logs in with the published host key and without a prompt, and runs a command there.
pub fn ssh(known_hosts: &Path, address: &str, remote: &str) -> String {
    let known_hosts = format!("UserKnownHostsFile={}", known_hosts.display());
    let key = login_key();
    let options =
        ["-F", "/dev/null", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "GlobalKnownHostsFile=/dev/null"];
    let target = format!("debian@{address}");
    let mut args = options.to_vec();
    args.extend(["-o", &known_hosts, "-o", "IdentityAgent=none", "-i", key.to_str().unwrap(), &target, remote]);
    run("ssh", &args)
}
