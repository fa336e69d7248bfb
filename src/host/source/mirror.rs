//! Which Debian mirror this machine uses, read from its own files, so that no mirror has to be built in.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::core::mirror;

/// Where debootstrap keeps a default mirror: the suite's script, and, where that leaves it out, the program.
const DEBOOTSTRAP: [&str; 2] = ["usr/share/debootstrap/scripts/sid", "usr/sbin/debootstrap"];

/// The Debian mirror of the machine whose files are under `root` (`/`): that of its APT sources if it is a Debian, else the
/// one that debootstrap would use.
pub fn of_machine(root: &Path) -> Option<String> {
    of_apt(root).or_else(|| DEBOOTSTRAP.iter().find_map(|script| mirror::from_debootstrap(&text(&root.join(script))?)))
}

fn of_apt(root: &Path) -> Option<String> {
    // Elsewhere a source that looks like Debian's is a vendor's, or of another distribution.
    if !is_debian(&text(&root.join("etc/os-release"))?) {
        return None;
    }
    let found: Vec<String> =
        source_files(root).iter().filter_map(|file| text(file)).filter_map(|text| mirror::from_apt_sources(&text)).collect();
    found.iter().find(|url| mirror::is_plain_archive(url)).or(found.first()).cloned()
}

fn is_debian(os_release: &str) -> bool {
    os_release.lines().any(|line| line.trim().strip_prefix("ID=").is_some_and(|id| id.trim_matches(['"', '\'']) == "debian"))
}

/// The files in APT's own order.
fn source_files(root: &Path) -> Vec<PathBuf> {
    let apt = root.join("etc/apt");
    let mut parts: Vec<PathBuf> = fs::read_dir(apt.join("sources.list.d"))
        .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())).collect())
        .unwrap_or_default();
    parts.retain(|path| path.extension().is_some_and(|extension| extension == "list" || extension == "sources"));
    parts.sort();
    parts.insert(0, apt.join("sources.list"));
    parts
}

/// A file that is missing or cannot be read names no mirror.
fn text(path: &Path) -> Option<String> {
    fs::read(path).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEBIAN: (&str, &str) = ("etc/os-release", "PRETTY_NAME=\"Debian GNU/Linux 13\"\nID=debian\n");
    const UBUNTU: (&str, &str) = ("etc/os-release", "ID=ubuntu\nID_LIKE=debian\n");
    const LIST: (&str, &str) = ("etc/apt/sources.list", "deb http://list.example/debian trixie main\n");
    const VENDOR: (&str, &str) = ("etc/apt/sources.list.d/a.list", "deb http://vendor.example/db/debian trixie main\n");
    const PART: (&str, &str) = (
        "etc/apt/sources.list.d/debian.sources",
        "Types: deb\nURIs: http://part.example/debian/\nSuites: trixie\nComponents: main\n",
    );
    const OFF: (&str, &str) = ("etc/apt/sources.list.d/0.list.disabled", "deb http://off.example/debian trixie main\n");
    const SCRIPT: (&str, &str) = ("usr/share/debootstrap/scripts/sid", "default_mirror http://script.example/debian\n");
    const PROGRAM: (&str, &str) = ("usr/sbin/debootstrap", "DEF_MIRROR=\"http://program.example/debian\"\n");

    #[test]
    fn the_machines_own_sources_come_first() {
        let table = [
            (vec![DEBIAN, LIST, PART, SCRIPT], Some("http://list.example/debian")),
            (vec![DEBIAN, OFF, VENDOR, PART, SCRIPT], Some("http://part.example/debian")),
            (vec![DEBIAN, VENDOR, SCRIPT], Some("http://vendor.example/db/debian")),
            (vec![UBUNTU, LIST, PART, SCRIPT, PROGRAM], Some("http://script.example/debian")),
            (vec![DEBIAN, PROGRAM], Some("http://program.example/debian")),
            (vec![LIST], None),
            (vec![], None),
        ];
        for (files, expected) in table {
            let root = tempfile::tempdir().unwrap();
            for (path, text) in &files {
                let path = root.path().join(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, text).unwrap();
            }
            assert_eq!(of_machine(root.path()).as_deref(), expected, "{files:?}");
        }
    }
}
