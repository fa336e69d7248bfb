//! A vanilla machine, in memory: it keeps what is done to it, and fails where a test wants it to.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use anyhow::{Result, anyhow, bail};
use tpl::{
    core::{
        bootstrap::{Facts, Probe},
        error::Cut,
    },
    host::{
        local::Lock,
        machine::{Guard, Machine},
    },
};

/// What sshd says of its configuration as Debian ships it, and what tpl's file makes of it.
const DIRECTIVES: [(&str, &str, &str); 18] = [
    ("permitrootlogin", "without-password", "no"),
    ("passwordauthentication", "yes", "no"),
    ("permitemptypasswords", "no", "no"),
    ("kbdinteractiveauthentication", "no", "no"),
    ("x11forwarding", "yes", "no"),
    ("allowtcpforwarding", "yes", "no"),
    ("permituserenvironment", "no", "no"),
    ("clientaliveinterval", "0", "300"),
    ("clientalivecountmax", "3", "3"),
    ("logingracetime", "120", "60"),
    ("maxauthtries", "6", "4"),
    ("maxsessions", "10", "10"),
    ("maxstartups", "10:30:100", "10:30:60"),
    ("loglevel", "INFO", "VERBOSE"),
    ("hostbasedauthentication", "no", "no"),
    ("ignorerhosts", "yes", "yes"),
    ("gssapiauthentication", "no", "no"),
    ("authorizedkeysfile", ".ssh/authorized_keys", ".ssh/authorized_keys"),
];
pub const DROP_IN: &str = "/etc/ssh/sshd_config.d/10-tpl-hardening.conf";
pub const RESOLV: &str = "/etc/resolv.conf";
const SAVED: &str = "/etc/tpl/resolv.conf.before";
const CEILING: &str = "/etc/systemd/system/machine.slice.d/10-tpl-ceiling.conf";

/// How something goes wrong.
#[derive(Debug, Clone)]
pub enum Fault {
    /// The call of this number is cut off: before anything of it is done, or when all of it is.
    Cut { call: usize, after: bool },
    /// What has this in its name or words fails.
    Fails(&'static str),
    /// Nobody can log in by the key.
    BadKey,
    /// It does not come back from a start.
    StaysAway,
}

/// What the machine is like.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct State {
    pub files: BTreeMap<String, (u32, String)>,
    pub name: String,
    pub key: bool,
    pub patched: bool,
    pub newest: bool,
    pub installed: bool,
    pub groups: Vec<String>,
    pub libvirt: bool,
    pub network: bool,
    pub pool: bool,
    pub at_start: bool,
    /// A forwarder of DNS: installed, and running.
    pub forwarder: (bool, bool),
}

/// The machine.
pub struct Bare {
    state: Mutex<State>,
    fault: Mutex<Option<Fault>>,
    calls: Mutex<usize>,
    /// What the guard would put back.
    kept: Mutex<Option<BTreeMap<String, (u32, String)>>>,
}

impl Bare {
    /// Fresh from the installer, with updates that wait.
    pub fn vanilla() -> Self {
        let files = [
            ("/etc/hostname", "debian\n"),
            (RESOLV, "nameserver 10.0.0.1\n"),
            ("/etc/hosts", "127.0.0.1\tlocalhost\n127.0.1.1\tdebian\n"),
            ("/etc/ssh/sshd_config", "Include /etc/ssh/sshd_config.d/*.conf\nUsePAM yes\n"),
        ];
        let files = files.map(|(path, text)| (path.to_owned(), (0o644, text.to_owned()))).into();
        let state = State { files, name: "debian".to_owned(), ..State::default() };
        Self { state: Mutex::new(state), fault: Mutex::default(), calls: Mutex::default(), kept: Mutex::default() }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// From now on this goes wrong; or nothing any more.
    pub fn goes_wrong(&self, fault: Option<Fault>) {
        *self.fault.lock().unwrap() = fault;
        *self.calls.lock().unwrap() = 0;
    }

    /// How many calls there were since then.
    pub fn calls(&self) -> usize {
        *self.calls.lock().unwrap()
    }

    /// A call: what it does, and what becomes of it.
    fn call<T>(&self, what: &str, act: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
        let number = {
            let mut calls = self.calls.lock().unwrap();
            *calls += 1;
            *calls
        };
        let cut = || Cut::new(format!("call {number}"));
        let fault = self.fault.lock().unwrap().clone();
        match fault {
            Some(Fault::Cut { call, after: false }) if call == number => {
                self.minute_passes();
                Err(cut().into())
            }
            Some(Fault::Cut { call, after: true }) if call == number => {
                act(&mut self.state())?;
                self.minute_passes();
                Err(cut().into())
            }
            Some(Fault::Fails(word)) if what.contains(word) => bail!("it fails, as it was told to"),
            _ => act(&mut self.state()),
        }
    }

    /// Nobody has released the guard: it does what it is there for.
    fn minute_passes(&self) {
        if let Some(kept) = self.kept.lock().unwrap().take() {
            put_back(&mut self.state(), kept);
        }
    }
}

/// The files of sshd's as they were.
fn put_back(state: &mut State, kept: BTreeMap<String, (u32, String)>) {
    state.files.retain(|path, _| !path.starts_with("/etc/ssh/"));
    state.files.extend(kept);
}

impl State {
    fn file(&self, path: &str) -> Result<String, String> {
        self.files.get(path).map(|(_, text)| text.clone()).ok_or_else(|| "exit code 1".to_owned())
    }

    /// What a question is answered. One that is not known here is a question that this machine has no idea of.
    fn answer(&self, probe: &Probe) -> Result<String, String> {
        let hard = self.files.contains_key(DROP_IN);
        let yes = |condition: bool, text: &str| if condition { text.to_owned() } else { String::new() };
        Ok(match probe.name.as_str() {
            _ if probe.script == Probe::file("", "").script => return self.file(&probe.arguments[0]),
            "called" | "hostname.running" => self.name.clone(),
            "hostname.hosts" => format!("there\n{}", self.file("/etc/hosts")?),
            "hostname.has-cloud" => String::new(),
            "ssh.modes" => yes(hard, &format!("600 {DROP_IN}\n")),
            "ssh.effective" | "ssh.root" => {
                DIRECTIVES.iter().map(|(name, stock, ours)| format!("{name} {}\n", if hard { ours } else { stock })).collect()
            }
            "ssh.candidate" => "/tmp/x line 19: Unsupported option KerberosAuthentication\n".to_owned(),
            "ssh.lines" => String::new(),
            "ssh.user" => "admin:x:1000:1000::/home/admin:/bin/bash\n".to_owned(),
            "ssh.keys" => yes(self.key, &format!("{}\n", super::bootstrap::KEY)),
            "ssh.key-modes" => format!("700 admin home\n{}", yes(self.key, "700 admin .ssh\n600 admin authorized_keys\n")),
            "patch.upgrades" => format!("lists\n{}", yes(!self.patched, "package libc6\n")),
            "patch.interrupted" | "patch.guests" | "kvm.network-xml" | "kvm.pool-xml" | "ceiling.outside" => String::new(),
            "patch.kernel" => {
                let older = "running 6.1.0-18-amd64\nstarted 9\ninstalled 6.1.0-18-amd64 1\ninstalled 6.1.0-21-amd64 10\n";
                let newest = "running 6.1.0-21-amd64\nstarted 90\ninstalled 6.1.0-18-amd64 1\ninstalled 6.1.0-21-amd64 10\n";
                if self.patched && !self.newest { older.to_owned() } else { newest.to_owned() }
            }
            "kvm.packages" => {
                let state = if self.installed { "installed" } else { "known" };
                probe.arguments[0].split(' ').map(|name| format!("{state} {name}\nknown {name}\n")).collect()
            }
            "kvm.libvirt" => {
                format!("systemd\n{}{}", yes(self.installed, "there\n"), yes(self.libvirt, "enabled libvirtd.socket\nanswers\n"))
            }
            "kvm.groups" => {
                let there = yes(self.installed, "group libvirt\n");
                self.groups.iter().fold(format!("{there}group kvm\n"), |text, group| format!("{text}in {group}\n"))
            }
            "kvm.network" => yes(self.network, "defined\nActive yes\nAutostart yes\n"),
            "kvm.subnets" => "subnet lo 127.0.0.1/8\nsubnet eth0 10.0.0.2/24\n".to_owned(),
            "dns.way" => "gateway 10.0.0.1\nname deb.example\nresolves\nanswer 0 2\n".to_owned(),
            "dns.state" => {
                let (installed, running) = self.forwarder;
                let dnsmasq = if running { "enabled active" } else { "not-found inactive" };
                let listens = "listener 127.0.0.1:53 users:((\"dnsmasq\",pid=9,fd=4))\n";
                let saved = yes(self.files.contains_key(SAVED), "saved\n");
                format!("systemd\ndnsmasq {dnsmasq}\n{}{saved}{}", yes(installed, "installed\n"), yes(running, listens))
            }
            "kvm.group" => "lvm\n".to_owned(),
            "kvm.pool" => yes(self.pool, "defined\nState running\nAutostart yes\n"),
            "kvm.works" => if self.installed { "works\n" } else { "untried\n" }.to_owned(),
            "ceiling.size" => "systemd\ncpus 4\nmemory 25066552\n".to_owned(),
            "ceiling.at-start" => yes(self.at_start, "yes\n"),
            "ceiling.limits" => {
                let in_force = self.at_start && self.files.contains_key(CEILING);
                format!("version 2\n{}", yes(in_force, "cpu 360000 100000\nmemory 23101177856\n"))
            }
            other => panic!("nobody has told this machine what to answer to {other}"),
        })
    }

    /// What a program does here.
    fn run(&mut self, argv: &[&str]) -> Result<()> {
        let words = argv.join(" ");
        let has = |word: &str| words.contains(word);
        let last = argv.last().copied().unwrap_or_default().to_owned();
        if has("runuser") && has("mktemp") {
            self.key = true;
        } else if has(".ssh/authorized_keys")
            || has("sshd\" -t")
            || has("apt-get -q -o Acquire")
            || has("--configure")
            || has("--fix-broken")
        {
            // Modes, a reload, lists: nothing that is asked for here.
        } else if has("hostnamectl") {
            self.name.clone_from(&last);
            self.files.insert("/etc/hostname".to_owned(), (0o644, format!("{last}\n")));
        } else if has("install dnsmasq") {
            self.forwarder.0 = true;
        } else if has("ask it for a name") {
            self.forwarder.1 = true;
        } else if has("leave dnsmasq as it was") {
            self.forwarder.1 = last == "active";
        } else if has("/etc/resolv.conf anew") {
            let before = self.files.insert(RESOLV.to_owned(), (0o644, argv[argv.len() - 3].to_owned()));
            self.files.extend(before.map(|before| (SAVED.to_owned(), before)));
        } else if has("/etc/resolv.conf back as it was") {
            self.files.insert(RESOLV.to_owned(), (0o644, last));
        } else if has("systemd-resolved") {
            // It is not here.
        } else if has("dist-upgrade") {
            self.patched = true;
        } else if has("--no-install-recommends install") {
            self.installed = true;
        } else if has("gpasswd -a") {
            self.groups.push(last);
        } else if has("net-define") {
            self.network = true;
        } else if has("pool-define") {
            self.pool = true;
        } else if has("machine.slice") {
            self.at_start = true;
        } else if has("libvirtd") {
            if !self.installed {
                bail!("there is no libvirtd");
            }
            self.libvirt = true;
        } else {
            panic!("nobody has told this machine what this does: {words}");
        }
        Ok(())
    }
}

impl Machine for Bare {
    fn name(&self) -> &str {
        "admin@hv1"
    }

    fn ask(&self, probes: &[Probe]) -> Result<Facts> {
        self.call("ask", |state| {
            Ok(probes.iter().fold(Facts::default(), |facts, probe| match state.answer(probe) {
                Ok(answer) => facts.with(&probe.name, Ok(&answer)),
                Err(why) => facts.with(&probe.name, Err(&why)),
            }))
        })
    }

    fn write(&self, path: &str, mode: u32, content: &str) -> Result<()> {
        self.call(&format!("write {path}"), |state| {
            state.files.insert(path.to_owned(), (mode, content.to_owned()));
            Ok(())
        })
    }

    fn remove(&self, path: &str) -> Result<()> {
        self.call(&format!("remove {path}"), |state| {
            state.files.remove(path);
            Ok(())
        })
    }

    fn run(&self, argv: &[&str], _: Duration) -> Result<String> {
        self.call(&argv.join(" "), |state| state.run(argv).map(|()| String::new()))
    }

    fn reboot(&self) -> Result<()> {
        if matches!(*self.fault.lock().unwrap(), Some(Fault::StaysAway)) {
            bail!("it is not back after 10 minutes");
        }
        self.call("reboot", |state| {
            state.newest = true;
            Ok(())
        })
    }

    fn lock(&self) -> Result<Result<Lock, String>> {
        Ok(Ok(Lock::held_by(())))
    }

    fn guard(&self, files: &[&str]) -> Result<Guard> {
        self.call("guard", |state| {
            let kept = state.files.iter().filter(|(path, _)| path.starts_with("/etc/ssh/"));
            assert!(files.iter().all(|file| file.starts_with("/etc/ssh/")), "{files:?}");
            *self.kept.lock().unwrap() = Some(kept.map(|(path, file)| (path.clone(), file.clone())).collect());
            Ok(Guard("token".to_owned()))
        })
    }

    fn release(&self, guard: Guard) -> Result<()> {
        assert_eq!(guard.0, "token");
        if matches!(*self.fault.lock().unwrap(), Some(Fault::BadKey)) {
            return Err(anyhow!("Permission denied (publickey)"));
        }
        self.call("release", |_| {
            *self.kept.lock().unwrap() = None;
            Ok(())
        })
    }

    fn put_back(&self, _: Guard) -> Result<()> {
        self.call("put back", |state| {
            if let Some(kept) = self.kept.lock().unwrap().take() {
                put_back(state, kept);
            }
            Ok(())
        })
    }
}
