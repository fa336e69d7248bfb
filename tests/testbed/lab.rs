//! A beginning for templates that go to the testbed: a pool of this machine's libvirt.

use std::{
    fs::{self, File},
    io::Read as _,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use tempfile::TempDir;
use tpl::core::{
    digest::{CHUNK, ChunkList, chunk_digest, hex},
    manifest::Manifest,
    portable,
    trust::Trust,
    units::ByteSize,
};

use super::bed::{Turn, variable};

const MIB: usize = 1 << 20;
/// Of these, every third is a hole.
const CHUNKS: usize = 18;

/// A pool of this machine, a configuration that knows it as `here`, and versions of a template of this test's own.
pub struct Lab {
    pub folder: TempDir,
    pub name: String,
    _turn: Turn,
}

#[expect(clippy::disallowed_methods, reason = "tests run programs as an operator does")]
pub fn command(program: impl AsRef<Path>) -> Command {
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
    /// A pool and a template's name of this test's own.
    pub fn new(test: &str) -> Self {
        Self::with(test, Turn::shared())
    }

    /// The same for a test that has the hypervisors to itself.
    pub fn alone(test: &str) -> Self {
        Self::with(test, Turn::alone())
    }

    fn with(test: &str, turn: Turn) -> Self {
        let folder = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let name = format!("hc-{test}-{}", std::process::id());
        let pool = folder.path().join("pool");
        fs::create_dir(&pool).unwrap();
        assert!(virsh(&["pool-define-as", &name, "dir", "--target", pool.to_str().unwrap()]) && virsh(&["pool-start", &name]));
        fs::copy(variable("TPL_CONFIG"), folder.path().join("config.toml")).unwrap();
        let lab = Self { folder, name, _turn: turn };
        lab.know("here", "qemu:///system", &lab.name);
        lab
    }

    /// Adds a hypervisor to the configuration.
    pub fn know(&self, name: &str, uri: &str, pool: &str) {
        let config = self.folder.path().join("config.toml");
        let known = fs::read_to_string(&config).unwrap();
        fs::write(config, format!("{known}\n[hypervisors.{name}]\nuri = \"{uri}\"\npool = \"{pool}\"\n")).unwrap();
    }

    /// A call of tpl.
    pub fn start(&self, args: &[&str]) -> Command {
        let mut tpl = command(env!("CARGO_BIN_EXE_tpl"));
        // Emulated machines with many tests on them answer late.
        tpl.args(args).env("TPL_CONFIG", self.folder.path().join("config.toml")).env("TPL_CONNECT_TIMEOUT", "5m");
        tpl.stdin(Stdio::null());
        tpl
    }

    /// The same, to its end.
    pub fn tpl(&self, args: &[&str]) -> Output {
        self.start(args).output().unwrap()
    }

    /// A version whose chunks are filled by their numbers, those named with something else; it is imported here.
    pub fn make(&self, version: &str, changed: &[usize]) -> PathBuf {
        self.make_of(CHUNKS, version, changed)
    }

    /// The same with so many chunks.
    pub fn make_of(&self, chunks: usize, version: &str, changed: &[usize]) -> PathBuf {
        let raw = self.folder.path().join(format!("{version}.raw"));
        let file = File::create(&raw).unwrap();
        file.set_len((chunks * MIB) as u64).unwrap();
        for index in (0..chunks).filter(|index| index % 3 != 2) {
            let seed = if changed.contains(&index) { index + 1000 } else { index };
            let chunk: Vec<u8> = (0..MIB).map(|at| ((at * 31 + seed * 7 + at / 251) % 255) as u8 + 1).collect();
            file.write_all_at(&chunk, (index * MIB) as u64).unwrap();
        }
        self.import(version, &raw);
        raw
    }

    /// A version that has these bytes.
    pub fn import(&self, version: &str, raw: &Path) {
        let size = fs::metadata(raw).unwrap().len();
        let mut file = File::open(raw).unwrap();
        let mut digests = Vec::new();
        let mut chunk = Vec::new();
        while file.by_ref().take(CHUNK).read_to_end(&mut chunk).unwrap() > 0 {
            digests.push(chunk_digest(&chunk));
            chunk.clear();
        }
        let list = ChunkList::new(size, digests).unwrap();
        let mut manifest: Manifest = serde_json::from_str(include_str!("../fixtures/manifest.json")).unwrap();
        manifest.name = self.name.parse().unwrap();
        manifest.version = version.parse().unwrap();
        (manifest.os, manifest.virtual_size) = (None, ByteSize(size));
        (manifest.clone.vcpus, manifest.clone.memory, manifest.clone.disk) = (1, ByteSize(128 << 20), ByteSize(size));
        manifest.packages.clear();
        manifest.digest = Some(hex(&list.content_digest()));
        manifest.trust = Trust::Unsigned { reason: "made by a test".to_owned() };
        let image = self.folder.path().join(format!("{version}.qcow2"));
        let made = command("qemu-img").args(["convert", "-O", "qcow2"]).arg(raw).arg(&image).status().unwrap();
        assert!(made.success());
        fs::write(portable::document_of(&image), portable::write(&manifest, None).unwrap()).unwrap();
        let imported = self.tpl(&["--on", "here", "import", image.to_str().unwrap(), "--allow-unsigned"]);
        assert!(imported.status.success(), "{}", String::from_utf8_lossy(&imported.stderr));
    }

    /// Sends a version; what came of it.
    pub fn send(&self, args: &[&str]) -> Value {
        let sent = self.tpl(&[args, &["--allow-unsigned", "--output", "json"]].concat());
        assert!(sent.status.success(), "{args:?}: {}", String::from_utf8_lossy(&sent.stderr));
        let entries: Value = serde_json::from_slice(&sent.stdout).unwrap();
        entries[0].clone()
    }

    /// `NAME@VERSION`.
    pub fn id(&self, version: &str) -> String {
        format!("{}@{version}", self.name)
    }
}
