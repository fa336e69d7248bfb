//! The move of `/var` to a disk of its own, in a real Debian under QEMU that is cut off at its worst moments.
//!
//! Run apart, for it takes minutes, and root to bootstrap the system: `cargo test --test moving`. cloud-init is not in it: a service runs
//! what a seed has cloud-init run, at the place in the boot where cloud-init would. The system is the testbed's bare machine's.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]
#![expect(clippy::disallowed_methods, reason = "the test looks at the world with other tools than tpl")]

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use tpl::core::{extra_disks, seed::moving, vm_spec::ExtraDisk};
use uuid::Uuid;

/// An emulated machine on a busy host takes its time.
const PATIENCE: Duration = Duration::from_secs(900);
/// At each of these words on the console the power goes, so long after them.
const CUTS: [(&str, u64); 6] = [
    ("making a file system", 300),
    ("copying", 0),
    ("copying", 1500),
    ("comparing", 300),
    ("moving /var: mounting", 0),
    ("removing the old files", 100),
];
/// What the system says of itself, once it is up, and the old files are gone.
const REPORT: &str = r#"was=$(findmnt -n -o SOURCE /var || echo none)
echo "TEST $was $(cd /var/test && find . -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum | cut -c1-16) $(dpkg-query -W | wc -l) end" >/dev/console
sync
echo "TEST is written" >/dev/console
"#;

fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The system that is booted: a folder with `root.raw`, `vmlinuz`, `initrd.img`.
fn system() -> PathBuf {
    let testbed = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/testbed");
    run(testbed.to_str().unwrap(), &["image"]).trim().into()
}

/// A machine with two disks, off.
struct Machine {
    folder: tempfile::TempDir,
    system: PathBuf,
    serial: String,
}

/// One that runs. Its power goes with this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Machine {
    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_owned()
    }

    fn new() -> Self {
        let vm = Uuid::from_u128(0x0a1b_2c3d_4e5f_4071_8293_a4b5_c6d7_e8f9);
        let disk: ExtraDisk = "size=1G,fs=ext4,mount=/var,move".parse().unwrap();
        let told = extra_disks::seed_disks(vm, &[disk]);
        let machine = Self { folder: tempfile::tempdir().unwrap(), system: system(), serial: told[0].serial.clone() };
        let root = machine.path("root.raw");
        run("cp", &["--sparse=always", machine.system.join("root.raw").to_str().unwrap(), &root]);
        File::create(machine.path("data.raw")).unwrap().set_len(1 << 30).unwrap();
        machine.fill(&moving::command(&told[0]).unwrap());
        machine
    }

    /// Puts what is to be moved into the system's disk, and what moves it.
    fn fill(&self, command: &[String]) {
        let words: Vec<&str> = command.iter().map(String::as_str).collect();
        let unit = |after: &str, script: &str| {
            format!("[Unit]\nAfter={after}\n[Service]\nType=oneshot\nTimeoutStartSec=infinity\nExecStart=/bin/sh {script}\n")
        };
        // Not even: copied in more than a moment, and no two blocks alike.
        let big: Vec<u8> = (0..6_000_000u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let files: [(&str, &str, Vec<u8>); 6] = [
            ("big", "/var/test/big", big),
            ("small", "/var/test/small", b"kept\n".to_vec()),
            ("ask", "/etc/test-ask", format!("exec {}\n", shlex::try_join(words).unwrap()).into_bytes()),
            ("report", "/etc/test-report", REPORT.as_bytes().to_vec()),
            ("ask.service", "/etc/systemd/system/test-ask.service", unit("sysinit.target", "/etc/test-ask").into_bytes()),
            (
                "report.service",
                "/etc/systemd/system/test-report.service",
                unit("multi-user.target tpl-moved-var.service", "/etc/test-report").into_bytes(),
            ),
        ];
        let mut commands = "mkdir /var/test\n".to_owned();
        for (name, path, content) in files {
            fs::write(self.path(name), content).unwrap();
            commands.push_str(&format!("write {} {path}\n", self.path(name)));
        }
        commands.push_str(
            "sif /var/test/small uid 33\nsif /var/test/small mode 0104751\nea_set /var/test/small user.tpl kept\n\
             ln /var/test/small /var/test/link\nsif /var/test/small links_count 2\nsymlink /var/test/symlink small\n",
        );
        for unit in ["test-ask.service", "test-report.service"] {
            commands.push_str(&format!("symlink /etc/systemd/system/multi-user.target.wants/{unit} ../{unit}\n"));
        }
        fs::write(self.path("commands"), commands).unwrap();
        run("debugfs", &["-w", "-f", &self.path("commands"), &self.path("root.raw")]);
    }

    fn boot(&self) -> Running {
        let _ = fs::remove_file(self.path("console"));
        let file = |name: &str| self.system.join(name).to_str().unwrap().to_owned();
        let drive = |id: &str| format!("if=none,id={id},format=raw,file={}", self.path(&format!("{id}.raw")));
        let mut machine = Command::new("qemu-system-x86_64");
        machine.args(["-machine", "pc", "-accel", "tcg", "-cpu", "max,la57=off,erms=off,fsrm=off", "-smp", "2", "-m", "1024"]);
        machine.args(["-nodefaults", "-display", "none", "-serial", &format!("file:{}", self.path("console"))]);
        machine.args(["-kernel", &file("vmlinuz"), "-initrd", &file("initrd.img")]);
        machine.args(["-append", "root=/dev/vda ro console=ttyS0 quiet panic=1 mitigations=off net.ifnames=0"]);
        machine.args(["-drive", &drive("root"), "-device", "virtio-blk-pci,drive=root"]);
        machine.args(["-drive", &drive("data"), "-device", &format!("virtio-blk-pci,drive=data,serial={}", self.serial)]);
        machine.args(["-device", "virtio-rng-pci"]).stdin(Stdio::null());
        Running(machine.spawn().unwrap())
    }

    fn console(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.path("console")).unwrap_or_default()).into_owned()
    }

    /// Waits until one of the words stands on the console: which.
    fn wait<'w>(&self, running: &mut Running, words: &[&'w str]) -> &'w str {
        let end = Instant::now() + PATIENCE;
        loop {
            let console = self.console();
            if let Some(word) = words.iter().find(|word| console.contains(**word)) {
                return word;
            }
            assert!(running.0.try_wait().unwrap().is_none() && Instant::now() < end, "waited for {words:?}:\n{console}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// What the system says of itself once it is up: the device of /var, what is there, how many packages it knows.
    fn report(&self, running: &mut Running) -> Vec<String> {
        self.wait(running, &["TEST is written"]);
        let console = self.console();
        let line = console.lines().find_map(|line| line.split_once("TEST ")).unwrap().1;
        line.split_whitespace().map(str::to_owned).collect()
    }

    fn look(&self, disk: &str, question: &str) -> String {
        run("debugfs", &["-R", question, &self.path(disk)])
    }
}

#[test]
fn var_moves_whenever_the_power_goes() {
    let machine = Machine::new();
    // Before: whoever starts it with no other disk has it as it was.
    let mut running = machine.boot();
    machine.wait(&mut running, &["restarting, to move /var"]);
    let mut until = "the first start";
    for (word, later) in CUTS {
        machine.wait(&mut running, &[word]);
        thread::sleep(Duration::from_millis(later));
        drop(running);
        eprintln!("cut at {word:?} + {later} ms, after {until}");
        until = word;
        running = machine.boot();
    }
    let found = machine.report(&mut running);
    // The journal's last words, and what is on its way.
    thread::sleep(Duration::from_secs(1));
    drop(running);
    for disk in ["root.raw", "data.raw"] {
        let code = Command::new("e2fsck").args(["-fp", &machine.path(disk)]).stdout(Stdio::null()).status().unwrap().code();
        assert!(matches!(code, Some(0 | 1)), "{disk}: {code:?}");
    }
    assert_eq!(found[0], "/dev/vdb");
    assert!(found[2].parse::<u32>().unwrap() > 100, "{found:?}");
    let ways =
        ["-o", "pipefail", "-c", "cd $0 && sha256sum big link small | sed 's#  #  ./#' | sort -k 2 | sha256sum | cut -c1-16"];
    fs::copy(machine.path("small"), machine.path("link")).unwrap();
    assert_eq!(found[1], run("bash", &[&ways[..], &[&machine.path("")]].concat()).trim());
    let small = machine.look("data.raw", "stat /test/small");
    assert!(small.contains("Mode:  04751") && small.contains("User:    33") && small.contains("Links: 2"), "{small}");
    assert!(machine.look("data.raw", "ea_get /test/small user.tpl").contains("kept"));
    assert!(machine.look("data.raw", "stat /test/symlink").contains("\"small\""));
    // Nothing of it is left, but the line in fstab.
    let names = |question: &str| -> Vec<String> {
        let listed = machine.look("root.raw", question);
        listed
            .lines()
            .filter_map(|line| line.split('/').nth(5))
            .map(str::to_owned)
            .filter(|name| !matches!(name.as_str(), "." | ".."))
            .collect()
    };
    assert_eq!(names("ls -p /var"), [""; 0]);
    assert!(!names("ls -p /etc").contains(&"tpl-move".to_owned()));
    assert!(names("ls -p /etc/systemd/system").iter().all(|name| !name.starts_with("tpl-")));
    let fstab = machine.look("root.raw", "cat /etc/fstab");
    let lines: Vec<&str> = fstab.lines().filter(|line| line.contains(" /var ")).collect();
    assert!(
        matches!(lines.as_slice(), [line] if line.starts_with("UUID=") && line.ends_with(" /var ext4 defaults 0 2")),
        "{fstab}"
    );
}

#[test]
fn a_disk_that_carries_something_is_left_alone_and_told_of() {
    let machine = Machine::new();
    run("mke2fs", &["-q", "-t", "ext4", "-L", "somebodys", &machine.path("data.raw")]);
    // Two restarts have been in vain already: this shows what the third one ends with.
    fs::write(machine.path("tries"), "2\n").unwrap();
    let tried =
        format!("mkdir /etc/tpl-move\nmkdir /etc/tpl-move/var\nwrite {} /etc/tpl-move/var/tries\n", machine.path("tries"));
    fs::write(machine.path("commands"), tried).unwrap();
    run("debugfs", &["-w", "-f", &machine.path("commands"), &machine.path("root.raw")]);
    let mut running = machine.boot();
    machine.wait(&mut running, &["/var is not on its disk: its disk is not blank"]);
    let found = machine.report(&mut running);
    drop(running);
    assert_eq!(found[0], "none");
    assert!(found[2].parse::<u32>().unwrap() > 100, "{found:?}");
    assert!(machine.look("data.raw", "show_super_stats -h").contains("somebodys"));
    assert!(!machine.look("root.raw", "cat /etc/fstab").contains(" /var "));
}
