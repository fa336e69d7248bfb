//! A hypervisor in a network namespace of its own: two bridges, and at each of their ports another namespace, which is a guest. What
//! domains there are, libvirt's test driver says. Nothing of it is seen outside, and all of it goes when the lab is dropped.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tempfile::TempDir;

const SERVICE: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::new(169, 254, 169, 254)), 80);
/// Where health and metrics are, in a namespace that nobody else is in.
const STATUS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9254);
const PATIENCE: Duration = Duration::from_secs(60);

/// A guest: a port of a bridge, and what is plugged into it.
#[derive(Debug, Clone)]
pub struct Guest {
    /// The domain's name.
    pub name: String,
    /// The bridge.
    pub bridge: &'static str,
    /// The bridge's port.
    pub port: String,
    /// The card.
    pub mac: String,
    /// The address.
    pub address: Ipv4Addr,
    /// Whether libvirt has a domain for it.
    pub known: bool,
    /// The domain's UUID.
    pub uuid: String,
}

pub struct Lab {
    prefix: String,
    pub folder: TempDir,
    pub guests: Vec<Guest>,
}

/// What the service answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

/// The service, while it runs.
pub struct Service {
    child: Child,
    pub log: PathBuf,
}

fn run(program: &str, args: &[&str]) -> bool {
    Command::new(program).args(args).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success()
}

pub fn must(program: &str, args: &[&str]) {
    assert!(run(program, args), "{program} {args:?}");
}

impl Lab {
    /// Four guests on each of two bridges, with the same addresses and cards on both; the last of each is nobody's domain.
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let prefix = format!("tplmd{}x{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let guest = |bridge: &'static str, n: u8| Guest {
            name: format!("{bridge}-{n}"),
            bridge,
            port: format!("{bridge}p{n}"),
            mac: format!("52:54:00:00:00:0{n}"),
            address: Ipv4Addr::new(10, 77, 0, 10 + n),
            known: n < 4,
            uuid: format!("11111111-2222-4333-8444-{}0000000000{n}", if bridge == "bra" { "a" } else { "b" }),
        };
        let guests = ["bra", "brb"].into_iter().flat_map(|bridge| (1..=4).map(move |n| guest(bridge, n))).collect();
        let lab = Self { prefix, folder: tempfile::tempdir().unwrap(), guests };
        lab.plug();
        lab.write_node();
        lab
    }

    pub fn namespace(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// Runs `ip` in the hypervisor's namespace.
    pub fn host(&self, args: &[&str]) {
        self.ip("", args);
    }

    fn ip(&self, name: &str, args: &[&str]) {
        let namespace = self.namespace(name);
        let all: Vec<&str> = ["-n", &namespace].into_iter().chain(args.iter().copied()).collect();
        must("ip", &all);
    }

    /// Runs `ip` in a guest's namespace.
    pub fn inside(&self, guest: &Guest, args: &[&str]) {
        self.ip(&guest.port, args);
    }

    /// Sets something of a guest's kernel.
    pub fn sysctl(&self, guest: &Guest, setting: &str) {
        must("ip", &["netns", "exec", &self.namespace(&guest.port), "sysctl", "-qw", setting]);
    }

    /// Sets something of the hypervisor's kernel.
    pub fn sysctl_of_host(&self, setting: &str) {
        must("ip", &["netns", "exec", &self.namespace(""), "sysctl", "-qw", setting]);
    }

    /// The file that a service locks in the hypervisor's namespace.
    pub fn lock(&self) -> PathBuf {
        let namespace = fs::metadata(Path::new("/run/netns").join(self.namespace(""))).unwrap().ino();
        Path::new("/run/tpl-metadata").join(format!("{namespace}.lock"))
    }

    /// Gives a guest another address.
    pub fn readdress(&self, guest: &Guest, old: &str, new: &str) {
        self.inside(guest, &["addr", "del", old, "dev", "eth0"]);
        self.inside(guest, &["addr", "add", new, "dev", "eth0"]);
        self.inside(guest, &["route", "replace", "default", "via", "10.77.0.1"]);
    }

    fn plug(&self) {
        must("ip", &["netns", "add", &self.namespace("")]);
        self.host(&["link", "set", "lo", "up"]);
        for bridge in ["bra", "brb"] {
            self.make_bridge(bridge);
        }
        for guest in &self.guests {
            let namespace = self.namespace(&guest.port);
            must("ip", &["netns", "add", &namespace]);
            self.host(&["link", "add", &guest.port, "type", "veth", "peer", "name", "eth0", "netns", &namespace]);
            self.host(&["link", "set", &guest.port, "master", guest.bridge, "up"]);
            self.inside(guest, &["link", "set", "eth0", "address", &guest.mac, "up"]);
            self.inside(guest, &["addr", "add", &format!("{}/24", guest.address), "dev", "eth0"]);
            self.inside(guest, &["route", "add", "default", "via", "10.77.0.1"]);
        }
    }

    /// A container in a guest: a namespace behind it, whose packets it routes.
    pub fn behind(&self, guest: &Guest) -> Guest {
        let inner = Guest { name: "inner".to_owned(), port: "inner".to_owned(), known: false, ..guest.clone() };
        let namespace = self.namespace(&inner.port);
        must("ip", &["netns", "add", &namespace]);
        self.inside(guest, &["link", "add", "inner", "type", "veth", "peer", "name", "eth0", "netns", &namespace]);
        self.inside(guest, &["addr", "add", "10.78.0.1/24", "dev", "inner"]);
        self.inside(guest, &["link", "set", "inner", "up"]);
        self.inside(&inner, &["addr", "add", "10.78.0.2/24", "dev", "eth0"]);
        self.inside(&inner, &["link", "set", "eth0", "up"]);
        self.inside(&inner, &["route", "add", "default", "via", "10.78.0.1"]);
        self.sysctl(guest, "net.ipv4.ip_forward=1");
        self.host(&["route", "add", "10.78.0.0/24", "via", &guest.address.to_string(), "dev", guest.bridge]);
        inner
    }

    /// The same subnet on both, as two isolated networks may have it.
    pub fn make_bridge(&self, name: &str) {
        self.host(&["link", "add", name, "type", "bridge"]);
        self.host(&["addr", "add", "10.77.0.1/24", "dev", name]);
        self.host(&["link", "set", name, "up"]);
    }

    fn write_node(&self) {
        let domain = |guest: &Guest| {
            let Guest { name, bridge, port, mac, uuid, .. } = guest;
            format!(
                "<domain type='test'><name>{name}</name><uuid>{uuid}</uuid><memory unit='MiB'>64</memory><vcpu>1</vcpu>\
                 <os><type>hvm</type></os><devices><interface type='bridge'><mac address='{mac}'/><source bridge='{bridge}'/>\
                 <target dev='{port}'/></interface></devices></domain>"
            )
        };
        let reserved = |bridge: &str| {
            let guests = self.guests.iter().filter(|guest| guest.known && guest.bridge == bridge);
            let host = |guest: &Guest| format!("<host mac='{}' ip='{}'/>", guest.mac, guest.address);
            let hosts: String = guests.map(host).collect();
            format!(
                "<network><name>net{bridge}</name><forward mode='nat'/><bridge name='{bridge}'/>\
                 <ip address='10.77.0.1' netmask='255.255.255.0'><dhcp>{hosts}</dhcp></ip></network>"
            )
        };
        let domains: String = self.guests.iter().filter(|guest| guest.known).map(domain).collect();
        let pool = "<pool type='dir'><name>default</name><target><path>/nowhere</path></target></pool>";
        let node = format!("<node>{domains}{}{}{pool}</node>", reserved("bra"), reserved("brb"));
        fs::write(self.folder.path().join("node.xml"), node).unwrap();
    }

    pub fn uri(&self) -> String {
        format!("test://{}", self.folder.path().join("node.xml").display())
    }

    /// A guest by its name: `bra-1`.
    pub fn guest(&self, name: &str) -> &Guest {
        self.guests.iter().find(|guest| guest.name == name).unwrap()
    }

    fn command(&self, log: &Path, args: &[&str]) -> Command {
        let mut tpl = Command::new("ip");
        tpl.args([
            "netns",
            "exec",
            &self.namespace(""),
            env!("CARGO_BIN_EXE_tpl"),
            "--connect",
            &self.uri(),
            "metadata",
            "serve",
        ]);
        tpl.args(["--state", self.folder.path().join("state").to_str().unwrap()]).args(args);
        tpl.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(log).unwrap());
        tpl
    }

    /// The service on both bridges; what it says is in its log.
    pub fn serve(&self, args: &[&str]) -> Service {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let log = self.folder.path().join(format!("log{}", NUMBER.fetch_add(1, Ordering::Relaxed)));
        let child = self.command(&log, args).args(["--bridge", "bra,brb"]).spawn().unwrap();
        let mut service = Service { child, log };
        let began = Instant::now();
        // The keeper says that it knows them; the other process, that it answers.
        while !self.healthy() {
            assert!(service.child.try_wait().unwrap().is_none(), "{}", service.log());
            assert!(began.elapsed() < PATIENCE, "{}", service.log());
            thread::sleep(Duration::from_millis(50));
        }
        service
    }

    /// A service that cannot begin: its exit code and what it says.
    pub fn refused(&self, args: &[&str]) -> (i32, String) {
        let log = self.folder.path().join("refused");
        let code = self.command(&log, args).status().unwrap().code().unwrap_or(-1);
        (code, fs::read_to_string(log).unwrap())
    }

    /// What `tpl prune` prints there.
    pub fn prune(&self) -> String {
        let mut tpl = Command::new("ip");
        tpl.args(["netns", "exec", &self.namespace(""), env!("CARGO_BIN_EXE_tpl"), "--connect", &self.uri(), "prune"]);
        String::from_utf8(tpl.output().unwrap().stdout).unwrap()
    }

    /// Runs this on a thread inside a guest.
    pub fn by<T: Send>(&self, guest: &Guest, work: impl FnOnce() -> T + Send) -> T {
        self.in_namespace(&guest.port, work)
    }

    fn in_namespace<T: Send>(&self, name: &str, work: impl FnOnce() -> T + Send) -> T {
        let namespace = File::open(Path::new("/run/netns").join(self.namespace(name))).unwrap();
        let inside = move || {
            move_into_link_name_space(std::os::fd::AsFd::as_fd(&namespace), Some(LinkNameSpaceType::Network)).unwrap();
            work()
        };
        thread::scope(|scope| scope.spawn(inside).join().unwrap())
    }

    /// What a guest is answered.
    pub fn ask(&self, guest: &Guest, request: &str) -> Answer {
        self.by(guest, || ask(&mut connect().unwrap(), request).unwrap())
    }

    /// What a guest reads at a path.
    pub fn get(&self, guest: &Guest, path: &str) -> Answer {
        self.ask(guest, &get(path, ""))
    }

    /// What this machine itself reads at the status port.
    pub fn status(&self, path: &str) -> Answer {
        self.in_namespace("", || ask(&mut TcpStream::connect(STATUS).unwrap(), &get(path, "")).unwrap())
    }

    /// So many connections to the status port, which say nothing.
    pub fn hold_status(&self, count: usize) -> Vec<TcpStream> {
        self.in_namespace("", || (0..count).map(|_| TcpStream::connect(STATUS).unwrap()).collect())
    }

    /// Whether the service answers for all domains.
    fn healthy(&self) -> bool {
        let look = || ask(&mut TcpStream::connect(STATUS)?, &get("/healthz", ""));
        self.in_namespace("", look).is_ok_and(|answer| answer.body.contains("\"domains\":6"))
    }

    /// The service's address on a bridge, if it is there.
    pub fn has_address(&self, bridge: &str) -> bool {
        let args = ["-n", &self.namespace(""), "-4", "addr", "show", "dev", bridge];
        String::from_utf8(Command::new("ip").args(args).output().unwrap().stdout).unwrap().contains("169.254.169.254/32")
    }
}

/// A request of one line and these headers.
pub fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n")
}

/// A connection from where this thread is.
pub fn connect() -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&SERVICE, Duration::from_secs(10))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Sends a request, and reads one answer.
pub fn ask(stream: &mut TcpStream, request: &str) -> io::Result<Answer> {
    stream.write_all(request.as_bytes())?;
    answer(stream)
}

/// Reads one answer.
pub fn answer(stream: &mut TcpStream) -> io::Result<Answer> {
    let broken = |text: &str| io::Error::other(text.to_owned());
    let (mut bytes, mut part) = (Vec::new(), [0; 4096]);
    loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
            let whole = end + 4 + length.unwrap_or(0);
            if bytes.len() >= whole {
                let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(|| broken(&head))?;
                return Ok(Answer { status, head, body: String::from_utf8_lossy(&bytes[end + 4..whole]).into_owned() });
            }
        }
        match stream.read(&mut part)? {
            0 => return Err(broken("the connection ends")),
            length => bytes.extend_from_slice(&part[..length]),
        }
    }
}

impl Service {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it has said so far.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until it says something.
    pub fn says(&self, text: &str) {
        let began = Instant::now();
        while !self.log().contains(text) {
            assert!(began.elapsed() < PATIENCE, "{text} is not in\n{}", self.log());
            thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn signal(&self, signal: &str) {
        must("kill", &[signal, &self.pid().to_string()]);
    }

    /// The process that answers.
    pub fn server(&self) -> u32 {
        let path = format!("/proc/{0}/task/{0}/children", self.pid());
        fs::read_to_string(path).unwrap().split_whitespace().next().unwrap().parse().unwrap()
    }

    /// Ends it; its exit code.
    pub fn end(mut self, signal: &str) -> Option<i32> {
        self.signal(signal);
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(began.elapsed() < PATIENCE, "it does not end\n{}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for guest in &self.guests {
            run("ip", &["netns", "del", &self.namespace(&guest.port)]);
        }
        run("ip", &["netns", "del", &self.namespace("inner")]);
        run("ip", &["netns", "del", &self.namespace("")]);
    }
}
