//! Templates that are made of the shared one, so that no second installation is needed: its volume copied, its domain defined
//! under another name with a part of it changed. Removed at the end.

use std::fs;

use super::{
    build::template_id,
    lab::{folder, pool, run, virsh, volume_path},
};

/// A template like the shared one.
pub struct Derived {
    name: String,
    version: String,
}

impl Derived {
    /// Copies the shared template. `volume` changes the bytes of the copy, `xml` the definition.
    pub fn new(name: &str, volume: impl FnOnce(&str), xml: impl FnOnce(String) -> String) -> Self {
        let id = template_id();
        let (old, version) = id.split_once('@').unwrap();
        let derived = Self { name: name.to_owned(), version: version.to_owned() };
        let from = format!("{old}.{version}");
        for suffix in ["", "-chunks"] {
            let copy = format!("{}{suffix}", derived.domain());
            virsh(&["vol-clone", "--pool", &pool(), &format!("{from}{suffix}"), &copy]);
        }
        let path = volume_path(&derived.domain());
        volume(&path);
        run("chmod", &["0444", &path]);
        let definition = virsh(&["dumpxml", "--inactive", &from]);
        // libvirt makes a new UUID and a new MAC; an XML file has one to a line.
        let is_own = |line: &&str| line.contains("<uuid>") || line.contains("<mac address=");
        let definition: String = definition.lines().filter(|line| !is_own(line)).map(|line| format!("{line}\n")).collect();
        let definition =
            definition.replace(&from, &derived.domain()).replace(&format!("\"name\":\"{old}\""), &format!("\"name\":\"{name}\""));
        let file = folder().join(format!("{name}.xml"));
        fs::write(&file, xml(definition)).unwrap();
        virsh(&["define", file.to_str().unwrap()]);
        derived
    }

    /// `NAME.VERSION`.
    pub fn domain(&self) -> String {
        format!("{}.{}", self.name, self.version)
    }

    /// `NAME@VERSION`.
    pub fn id(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }
}

impl Drop for Derived {
    fn drop(&mut self) {
        let domain = self.domain();
        let pool = pool();
        // Whatever has happened, each is tried; a test that has failed already must not abort here.
        let remove = |args: &[&str]| {
            let _ = std::process::Command::new("virsh").args(["-q", "-c", "qemu:///system"]).args(args).output();
        };
        remove(&["undefine", "--nvram", &domain]);
        for suffix in ["", "-chunks"] {
            remove(&["vol-delete", "--pool", &pool, &format!("{domain}{suffix}")]);
        }
    }
}
