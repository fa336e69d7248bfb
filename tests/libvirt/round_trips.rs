//! How often a command that lists waits for its hypervisor: counted on the line to it, with many VMs and with few.

use std::{
    io::{ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
    os::unix::net::UnixStream,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::things::OwnDomains;

/// Where libvirtd listens on every Debian and Ubuntu.
const SOCKET: &str = "/run/libvirt/libvirt-sock";
/// After so long nothing more is on its way that was not waiting for what is held back.
const QUIET: Duration = Duration::from_millis(40);

/// A line to this machine's libvirtd that brings what is on it only when both ends have fallen silent. So whoever asks, waits for the
/// answer and asks again can be told from one who asks all at once: by the times that something was brought to libvirtd.
struct Line {
    port: u16,
    turns: Arc<AtomicUsize>,
}

impl Line {
    fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (port, turns) = (listener.local_addr().unwrap().port(), Arc::new(AtomicUsize::new(0)));
        let counted = Arc::clone(&turns);
        thread::spawn(move || {
            for client in listener.incoming() {
                let turns = Arc::clone(&counted);
                thread::spawn(move || carry(client.unwrap(), UnixStream::connect(SOCKET).unwrap(), &turns));
            }
        });
        Self { port, turns }
    }

    /// How many turns a command took.
    #[expect(clippy::disallowed_methods, reason = "the whole program is what is measured")]
    fn turns(&self, pool: &OwnPool, command: &str) -> usize {
        let before = self.turns.load(Ordering::SeqCst);
        let uri = format!("qemu+tcp://127.0.0.1:{}/system", self.port);
        let ran = Command::new(env!("CARGO_BIN_EXE_tpl"))
            .args(["--connect", &uri, "--pool", &pool.name, command])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(ran.status.success(), "{command}: {}", String::from_utf8_lossy(&ran.stderr));
        self.turns.load(Ordering::SeqCst) - before
    }
}

/// A pool of this test's own, in a folder.
struct OwnPool {
    name: String,
    folder: tempfile::TempDir,
}

impl OwnPool {
    fn new() -> Self {
        let folder = tempfile::TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let own = Self { name: format!("tpl-test-trips-{}", std::process::id()), folder };
        own.virsh(&["pool-define-as", &own.name, "dir", "--target", own.folder.path().to_str().unwrap()]);
        own.virsh(&["pool-start", &own.name]);
        own
    }

    #[expect(clippy::disallowed_methods, reason = "another program makes what tpl looks at")]
    fn virsh(&self, args: &[&str]) {
        let done = Command::new("virsh").args(["-q", "-c", "qemu:///system"]).args(args).output().unwrap();
        assert!(done.status.success() || thread::panicking(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// Puts so many volumes into it; tpl looks at what is there anew.
    fn fill(&self, count: usize) {
        for number in 0..count {
            std::fs::write(self.folder.path().join(format!("volume{number}")), "x").unwrap();
        }
    }

    fn empty(&self) {
        std::fs::read_dir(self.folder.path()).unwrap().for_each(|file| std::fs::remove_file(file.unwrap().path()).unwrap());
    }
}

impl Drop for OwnPool {
    fn drop(&mut self) {
        self.virsh(&["pool-destroy", &self.name]);
        self.virsh(&["pool-undefine", &self.name]);
    }
}

fn carry(mut client: TcpStream, mut server: UnixStream, turns: &AtomicUsize) {
    client.set_nonblocking(true).unwrap();
    server.set_nonblocking(true).unwrap();
    let (mut asked, mut answered) = (Vec::new(), Vec::new());
    let mut last = Instant::now();
    loop {
        let (Some(from_client), Some(from_server)) = (take(&mut client, &mut asked), take(&mut server, &mut answered)) else {
            return;
        };
        if from_client || from_server {
            last = Instant::now();
        } else if last.elapsed() >= QUIET {
            turns.fetch_add(usize::from(!asked.is_empty()), Ordering::SeqCst);
            put(&mut server, &mut asked);
            put(&mut client, &mut answered);
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Takes what has come; whether that is anything. None at the end.
fn take(from: &mut impl Read, into: &mut Vec<u8>) -> Option<bool> {
    let before = into.len();
    let mut part = [0; 1 << 16];
    loop {
        match from.read(&mut part) {
            Ok(0) => return None,
            Ok(count) => into.extend_from_slice(&part[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Some(into.len() > before),
            Err(_) => return None,
        }
    }
}

fn put(into: &mut impl Write, bytes: &mut Vec<u8>) {
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        match into.write(rest) {
            Ok(count) => rest = &rest[count..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(Duration::from_millis(1)),
            // The other end has gone: the next look at it says so.
            Err(_) => break,
        }
    }
    bytes.clear();
}

#[test]
fn many_vms_and_volumes_are_listed_in_as_many_round_trips_as_few() {
    let (line, pool) = (Line::open(), OwnPool::new());
    for command in ["vms", "list", "capacity"] {
        let few = {
            let _own = OwnDomains::define(4, "");
            pool.fill(4);
            line.turns(&pool, command)
        };
        let many = {
            let _own = OwnDomains::define(160, "");
            pool.fill(160);
            line.turns(&pool, command)
        };
        pool.empty();
        // A pause of this machine's counts as one more.
        assert!((1..60).contains(&few) && many <= few + 4, "tpl {command}: {few} round trips with few VMs, {many} with many");
    }
}
