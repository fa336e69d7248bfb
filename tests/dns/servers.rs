//! Servers of DNS for a test, which end with it.

use std::{
    fs,
    net::{TcpListener, UdpSocket},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tempfile::TempDir;

/// `scripts/setup` puts it there, where the system has none.
const NAMED: [&str; 2] = ["/usr/sbin/named", "/usr/local/libexec/tpl-tests/named"];

pub struct Server {
    pub folder: TempDir,
    pub port: u16,
    command: Command,
    child: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// A dnsmasq that answers from `hosts`, or from the files in `hosts.d`, and from nothing else.
    pub fn dnsmasq() -> Self {
        Self::start("probe.test", |folder, port| {
            fs::create_dir_all(folder.join("hosts.d")).unwrap();
            fs::write(folder.join("hosts"), "").unwrap();
            let mut command = Command::new("/usr/sbin/dnsmasq");
            command.args(["--keep-in-foreground", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--bind-interfaces"]);
            command.args(["--listen-address=127.0.0.1", "--user=root", "--host-record=probe.test,127.0.0.1"]);
            command.arg(format!("--port={port}"));
            for (option, file) in [("pid-file", "pid"), ("addn-hosts", "hosts"), ("hostsdir", "hosts.d"), ("log-facility", "log")]
            {
                command.arg(format!("--{option}={}", folder.join(file).display()));
            }
            command
        })
    }

    /// A named with the zones lab.example, wild.example, 2.0.192.in-addr.arpa and 8.b.d.0.1.0.0.2.ip6.arpa, which takes updates
    /// with the key in `key`, and none with the one in `weak`.
    pub fn named() -> Self {
        let program = NAMED.iter().find(|path| Path::new(path).exists()).expect("named is not here: run ./scripts/setup");
        Self::start("ns.lab.example", |folder, port| {
            // A profile of AppArmor may be bound to the program's place, and allow it no other folders than the system's.
            let own = folder.join("named");
            // By a process of its own: what another thread starts while this one has the copy open for writing keeps it open, and
            // then it cannot be run.
            assert!(Command::new("cp").arg(program).arg(&own).status().unwrap().success());
            write_zones(folder, port);
            let mut command = Command::new(own);
            command.arg("-g").arg("-c").arg(folder.join("named.conf"));
            command
        })
    }

    fn start(probe: &str, command: impl Fn(&Path, u16) -> Command) -> Self {
        for _ in 0..5 {
            let folder = tempfile::tempdir().unwrap();
            let port = free_port();
            let log = fs::File::create(folder.path().join("output")).unwrap();
            let mut command = command(folder.path(), port);
            command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
            let child = command.spawn().unwrap();
            let mut server = Self { port, command, child, folder };
            if server.comes_up(probe) {
                return server;
            }
            // Somebody else may have been quicker to take the port.
            eprintln!("{}", fs::read_to_string(server.path("output")).unwrap());
        }
        panic!("the server does not start, see above");
    }

    /// Stops it. What it knows stays in its folder.
    pub fn stop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again.
    pub fn start_again(&mut self, probe: &str) {
        self.child = self.command.spawn().unwrap();
        assert!(self.comes_up(probe), "{}", fs::read_to_string(self.path("output")).unwrap());
    }

    fn comes_up(&mut self, probe: &str) -> bool {
        let end = Instant::now() + Duration::from_secs(60);
        while self.child.try_wait().unwrap().is_none() {
            if self.dig(probe, "A") == ["127.0.0.1"] {
                return true;
            }
            assert!(Instant::now() < end, "{}", fs::read_to_string(self.path("output")).unwrap());
            thread::sleep(Duration::from_millis(50));
        }
        false
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What the server answers, sorted.
    pub fn dig(&self, name: &str, kind: &str) -> Vec<String> {
        let port = self.port.to_string();
        let arguments = ["+short", "+tcp", "+time=5", "+tries=1", "-p", &port, "@127.0.0.1", name, kind];
        let output = Command::new("dig").args(arguments).stdin(Stdio::null()).env("HOME", self.folder.path()).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        // dig's own words, of a server that is not up yet.
        let mut lines: Vec<String> = text.lines().filter(|line| !line.starts_with(';')).map(ToOwned::to_owned).collect();
        lines.sort();
        lines
    }

    /// How long the answer may be remembered, in seconds.
    pub fn ttl(&self, name: &str, kind: &str) -> u32 {
        let port = self.port.to_string();
        let arguments = ["+noall", "+answer", "+tcp", "-p", &port, "@127.0.0.1", name, kind];
        let output = Command::new("dig").args(arguments).stdin(Stdio::null()).env("HOME", self.folder.path()).output().unwrap();
        String::from_utf8(output.stdout).unwrap().split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    pub fn dig_reverse(&self, address: &str) -> Vec<String> {
        let address: std::net::IpAddr = address.parse().unwrap();
        let name = match address {
            std::net::IpAddr::V4(v4) => {
                let [a, b, c, d] = v4.octets();
                format!("{d}.{c}.{b}.{a}.in-addr.arpa")
            }
            std::net::IpAddr::V6(v6) => {
                let digits = format!("{:032x}", u128::from(v6));
                digits.chars().rev().flat_map(|digit| [digit, '.']).collect::<String>() + "ip6.arpa"
            }
        };
        self.dig(&name, "PTR")
    }

    /// Waits until the server answers this: dnsmasq learns of a change some time after it.
    pub fn wait_for(&self, name: &str, kind: &str, expected: &[&str]) {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let answer = self.dig(name, kind);
            if answer == expected {
                return;
            }
            assert!(Instant::now() < end, "{name} {kind}: {answer:?} instead of {expected:?}");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

fn free_port() -> u16 {
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = tcp.local_addr().unwrap().port();
        if UdpSocket::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

pub fn write_key(file: &Path, name: &str, secret: &str) {
    fs::write(file, format!("key \"{name}\" {{\n\talgorithm hmac-sha256;\n\tsecret \"{secret}\";\n}};\n")).unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
}

fn write_zones(folder: &Path, port: u16) {
    write_key(&folder.join("key"), "tpl-key", "dGhlIHNlY3JldCBvZiB0aGlzIHRlc3Q=");
    write_key(&folder.join("weak"), "weak-key", "YSBrZXkgdGhhdCBtYXkgbm90aGluZw==");
    // The same key by name, with another secret; and one that the server has never heard of.
    write_key(&folder.join("wrong"), "tpl-key", "bm90IHRoZSBzZWNyZXQgb2YgdGhpcyB0ZXN0");
    write_key(&folder.join("unknown"), "other-key", "dGhlIHNlY3JldCBvZiB0aGlzIHRlc3Q=");
    let place = folder.display();
    let mut conf = format!(
        "include \"{place}/key\";\ninclude \"{place}/weak\";\ncontrols {{}};\noptions {{ directory \"{place}\"; \
         listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }}; recursion no; dnssec-validation no; notify no; \
         pid-file \"{place}/pid\"; session-keyfile \"{place}/session.key\"; }};\n"
    );
    let zones = [
        (
            "lab.example",
            "ns A 127.0.0.1\nother A 192.0.2.99\nalias CNAME other\nnote TXT \"kept for later\"\n\
             both A 192.0.2.20\nboth A 192.0.2.21\n",
        ),
        ("wild.example", "ns A 127.0.0.1\n* A 192.0.2.200\n"),
        ("2.0.192.in-addr.arpa", "50 PTR other.lab.example.\n"),
        ("8.b.d.0.1.0.0.2.ip6.arpa", ""),
    ];
    for (zone, records) in zones {
        conf += &format!(
            "zone \"{zone}\" {{ type primary; file \"{place}/{zone}.zone\"; update-policy {{ grant tpl-key zonesub ANY; }}; }};\n"
        );
        let text =
            format!("$TTL 60\n@ SOA ns.lab.example. root.lab.example. 1 3600 600 86400 60\n@ NS ns.lab.example.\n{records}");
        fs::write(folder.join(format!("{zone}.zone")), text).unwrap();
    }
    fs::write(folder.join("named.conf"), conf).unwrap();
}
