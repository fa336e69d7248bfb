//! A version's way between real hypervisors: from a directory here to a directory, to a thick and to a thin volume group, and back.
//! Its beginning is a pool of this machine's libvirt.

use std::{
    fs::{self, File},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;
use tpl::core::{
    digest::{ChunkList, chunk_digest, hex},
    manifest::Manifest,
    portable,
    units::ByteSize,
};

use super::bed::variable;

const MIB: usize = 1 << 20;
/// Of these, every third is a hole.
const CHUNKS: usize = 18;

/// A pool of this machine, a configuration that knows it as `here`, and versions of a template of this test's own.
struct Lab {
    folder: TempDir,
    name: String,
}

#[expect(clippy::disallowed_methods, reason = "tests run programs as an operator does")]
fn command(program: impl AsRef<Path>) -> Command {
    Command::new(program.as_ref())
}

fn virsh(args: &[&str]) -> bool {
    command("virsh").args(["-q", "-c", "qemu:///system"]).args(args).stderr(Stdio::null()).status().unwrap().success()
}

impl Drop for Lab {
    fn drop(&mut self) {
        for hypervisor in ["here", "bed2", "bed2-vg", "bed1", "bed1-thin"] {
            for version in ["20261121-010000", "20261121-020000"] {
                self.tpl(&["--on", hypervisor, "rm", &format!("{}@{version}", self.name)]);
            }
            self.tpl(&["--on", hypervisor, "prune", "--template", &self.name]);
        }
        virsh(&["pool-destroy", &self.name]);
        virsh(&["pool-undefine", &self.name]);
    }
}

impl Lab {
    fn new(test: &str) -> Self {
        let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let name = format!("hc-{test}-{}", std::process::id());
        let pool = folder.path().join("pool");
        fs::create_dir(&pool).unwrap();
        assert!(virsh(&["pool-define-as", &name, "dir", "--target", pool.to_str().unwrap()]) && virsh(&["pool-start", &name]));
        let beds = fs::read_to_string(variable("TPL_CONFIG")).unwrap();
        let config = format!("{beds}\n[hypervisors.here]\nuri = \"qemu:///system\"\npool = \"{name}\"\n");
        fs::write(folder.path().join("config.toml"), config).unwrap();
        Self { folder, name }
    }

    fn start(&self, args: &[&str]) -> Command {
        let mut tpl = command(env!("CARGO_BIN_EXE_tpl"));
        tpl.args(args).env("TPL_CONFIG", self.folder.path().join("config.toml")).stdin(Stdio::null());
        tpl
    }

    fn tpl(&self, args: &[&str]) -> Output {
        self.start(args).output().unwrap()
    }

    /// A version whose chunks are filled by their numbers, those named with something else; it is imported here.
    fn make(&self, version: &str, changed: &[usize]) -> PathBuf {
        let raw = self.folder.path().join(format!("{version}.raw"));
        let file = File::create(&raw).unwrap();
        file.set_len((CHUNKS * MIB) as u64).unwrap();
        let mut digests = vec![None; CHUNKS];
        for (index, digest) in digests.iter_mut().enumerate().filter(|(index, _)| index % 3 != 2) {
            let seed = if changed.contains(&index) { index + 1000 } else { index };
            let chunk: Vec<u8> = (0..MIB).map(|at| ((at * 31 + seed * 7 + at / 251) % 255) as u8 + 1).collect();
            file.write_all_at(&chunk, (index * MIB) as u64).unwrap();
            *digest = chunk_digest(&chunk);
        }
        let list = ChunkList::new((CHUNKS * MIB) as u64, digests).unwrap();
        let mut manifest: Manifest = serde_json::from_str(include_str!("../fixtures/manifest.json")).unwrap();
        manifest.name = self.name.parse().unwrap();
        manifest.version = version.parse().unwrap();
        (manifest.os, manifest.virtual_size) = (None, ByteSize((CHUNKS * MIB) as u64));
        manifest.packages.clear();
        manifest.digest = Some(hex(&list.content_digest()));
        manifest.trust = tpl::core::trust::Trust::Unsigned { reason: "made by a test".to_owned() };
        let image = self.folder.path().join(format!("{version}.qcow2"));
        let made = command("qemu-img").args(["convert", "-O", "qcow2"]).args([&raw, &image]).status().unwrap();
        assert!(made.success());
        fs::write(portable::document_of(&image), portable::write(&manifest, None).unwrap()).unwrap();
        let imported = self.tpl(&["--on", "here", "import", image.to_str().unwrap(), "--allow-unsigned"]);
        assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));
        raw
    }

    /// Sends a version; what came of it.
    fn send(&self, args: &[&str]) -> Value {
        let sent = self.tpl(&[args, &["--allow-unsigned", "--output", "json"]].concat());
        assert!(sent.status.success(), "{args:?}: {}", String::from_utf8_lossy(&sent.stderr));
        let entries: Value = serde_json::from_slice(&sent.stdout).unwrap();
        entries[0].clone()
    }

    fn id(&self, version: &str) -> String {
        format!("{}@{version}", self.name)
    }
}

fn bytes(entry: &Value) -> u64 {
    entry["bytes_sent"].as_u64().unwrap()
}

#[test]
fn a_version_goes_around_all_kinds_of_pools() {
    let lab = Lab::new("around");
    lab.make("20261121-010000", &[]);
    let raw = lab.make("20261121-020000", &[4]);
    let (first, second) = (lab.id("20261121-010000"), lab.id("20261121-020000"));
    let refused = lab.tpl(&["--on", "here", "push", &first, "--to", "bed2"]);
    assert_eq!(refused.status.code(), Some(3), "{}", String::from_utf8_lossy(&refused.stderr));
    let whole = (12 * MIB) as u64;
    let sent = lab.send(&["--on", "here", "push", &first, "--to", "bed2"]);
    assert_eq!((&sent["outcome"], bytes(&sent)), (&"sent".into(), whole), "{sent}");
    // The next version is a difference.
    let sent = lab.send(&["--on", "here", "push", &second, "--to", "bed2"]);
    assert_eq!((&sent["base"], bytes(&sent)), (&first.clone().into(), MIB as u64), "{sent}");
    let again = lab.send(&["--on", "here", "push", &second, "--to", "bed2"]);
    assert_eq!((&again["outcome"], bytes(&again)), (&"unchanged".into(), 0));
    // From a directory to a thick volume group of another machine, as a difference too.
    let sent = lab.send(&["--on", "bed2", "push", &first, "--to", "bed1"]);
    assert_eq!(bytes(&sent), whole, "{sent}");
    let sent = lab.send(&["--on", "bed2", "push", &second, "--to", "bed1"]);
    assert_eq!((&sent["base"], bytes(&sent)), (&first.clone().into(), MIB as u64), "{sent}");
    // And back from there to here.
    lab.tpl(&["--on", "here", "rm", &second]);
    let sent = lab.send(&["--on", "here", "pull", &second, "--from", "bed1"]);
    assert_eq!((&sent["base"], bytes(&sent)), (&first.into(), MIB as u64), "{sent}");
    let volume = lab.folder.path().join("pool").join(second.replace('@', "."));
    assert!(fs::read(&volume).unwrap() == fs::read(&raw).unwrap(), "it is not what was sent");
}

#[test]
fn a_thin_pool_takes_and_gives() {
    let lab = Lab::new("thin");
    let raw = lab.make("20261121-010000", &[]);
    let id = lab.id("20261121-010000");
    let sent = lab.send(&["--on", "here", "push", &id, "--to", "bed1-thin"]);
    assert_eq!(bytes(&sent), (12 * MIB) as u64, "{sent}");
    lab.tpl(&["--on", "here", "rm", &id]);
    let sent = lab.send(&["--on", "here", "pull", &id, "--from", "bed1-thin"]);
    assert_eq!(sent["digest"].as_str().map(str::len), Some(64), "{sent}");
    let volume = lab.folder.path().join("pool").join(id.replace('@', "."));
    assert!(fs::read(&volume).unwrap() == fs::read(&raw).unwrap(), "it is not what was sent");
}

/// Waits until something has been sent, then ends tpl as nothing else does.
fn kill_in_the_middle(mut tpl: Command, log: &Path) {
    let mut child = tpl.stdout(Stdio::null()).stderr(File::create(log).unwrap()).spawn().unwrap();
    let end = Instant::now() + Duration::from_secs(300);
    while !fs::read_to_string(log).unwrap().contains("sending: 3 MiB") {
        assert!(Instant::now() < end && child.try_wait().unwrap().is_none(), "{}", fs::read_to_string(log).unwrap());
        thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn what_was_killed_is_gone_on_with_or_pruned() {
    let lab = Lab::new("kill");
    lab.make("20261121-010000", &[]);
    let id = lab.id("20261121-010000");
    let log = lab.folder.path().join("log");
    for target in ["bed2", "bed1"] {
        let push = || lab.start(&["--on", "here", "push", &id, "--to", target, "--allow-unsigned"]);
        kill_in_the_middle(push(), &log);
        let sent = lab.send(&["--on", "here", "push", &id, "--to", target]);
        assert_eq!(sent["outcome"], "resumed", "{sent}");
        assert!(bytes(&sent) < (12 * MIB) as u64, "{sent}");
        assert!(lab.tpl(&["--on", target, "rm", &id]).status.success());
        kill_in_the_middle(push(), &log);
        let pruned = lab.tpl(&["--on", target, "prune", "--template", &lab.name]);
        let said = String::from_utf8_lossy(&pruned.stdout).into_owned();
        assert_eq!(said, format!("build {id} (building) removed\n"));
    }
}

#[test]
fn of_two_at_once_one_is_refused() {
    let lab = Lab::new("two");
    lab.make("20261121-010000", &[]);
    let id = lab.id("20261121-010000");
    let push = || {
        let mut push = lab.start(&["--on", "here", "push", &id, "--to", "bed2", "--allow-unsigned"]);
        push.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let (one, two) = (push(), push());
    let ended = [one.wait_with_output().unwrap(), two.wait_with_output().unwrap()];
    let mut codes: Vec<_> = ended.iter().map(|output| output.status.code()).collect();
    codes.sort_unstable();
    let said: Vec<_> = ended.iter().map(|output| String::from_utf8_lossy(&output.stderr).into_owned()).collect();
    assert_eq!(codes, [Some(0), Some(3)], "{said:?}");
    assert_eq!(lab.send(&["--on", "here", "push", &id, "--to", "bed2"])["outcome"], "unchanged");
}
