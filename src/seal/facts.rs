//! What is in a guest: its operating system and its packages, for the manifest.

use anyhow::{Context as _, Result};

use crate::{
    core::manifest::{IdentityMethod, Package},
    host::guest::Files,
    seal::table::Family,
};

/// Larger than any os-release.
const RELEASE_LIMIT: usize = 64 << 10;
/// Enough for some 10,000 packages; Debian's full desktop has 2,500.
const STATUS_LIMIT: usize = 16 << 20;
const STATUS: &str = "/var/lib/dpkg/status";
const RPM_DATABASES: [&str; 3] = ["/var/lib/rpm/Packages", "/var/lib/rpm/rpmdb.sqlite", "/usr/lib/sysimage/rpm/rpmdb.sqlite"];

/// The guest's operating system, by its os-release.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OperatingSystem {
    /// `debian`, `ubuntu`, `rocky`, …
    pub id: String,
    /// `13`, `24.04`, …; empty on a rolling release.
    pub version: String,
    /// The name for people: `Debian GNU/Linux 13 (trixie)`.
    pub name: String,
    /// What it is made from: `rhel centos fedora`.
    pub like: String,
}

/// All facts for the manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The operating system.
    pub os: OperatingSystem,
    /// Installed packages, sorted by name.
    pub packages: Vec<Package>,
    /// How its clones get their identity.
    pub identity: IdentityMethod,
}

impl OperatingSystem {
    /// The family that decides which seal operations apply.
    pub fn family(&self) -> Family {
        let is =
            |names: &[&str]| std::iter::once(self.id.as_str()).chain(self.like.split_whitespace()).any(|id| names.contains(&id));
        if is(&["debian", "ubuntu"]) {
            Family::Debian
        } else if is(&["rhel", "fedora", "centos"]) {
            Family::RedHat
        } else if is(&["suse", "opensuse", "sles"]) {
            Family::Suse
        } else {
            Family::Other
        }
    }
}

/// Reads the facts of a mounted guest.
///
/// # Errors
/// A package database that cannot be read.
pub fn facts(guest: &dyn Files) -> Result<Facts> {
    Ok(Facts { os: operating_system(guest)?, packages: packages(guest)?, identity: identity(guest)? })
}

/// The guest's operating system; all fields are empty where it does not say.
///
/// # Errors
/// A broken disk.
pub fn operating_system(guest: &dyn Files) -> Result<OperatingSystem> {
    for path in ["/etc/os-release", "/usr/lib/os-release"] {
        if let Some(text) = guest.read(path, RELEASE_LIMIT).with_context(|| format!("reading {path}"))? {
            return Ok(parse_release(&String::from_utf8_lossy(&text)));
        }
    }
    Ok(OperatingSystem::default())
}

/// Whether cloud-init is there and switched on: a seed is read by nobody else.
pub(super) fn identity(guest: &dyn Files) -> Result<IdentityMethod> {
    let there = guest.stat("/usr/bin/cloud-init")?.is_some();
    // cloud-init's own switch; distributions have no other.
    let off = guest.stat("/etc/cloud/cloud-init.disabled")?.is_some();
    Ok(if there && !off { IdentityMethod::NoCloud } else { IdentityMethod::Offline })
}

fn parse_release(text: &str) -> OperatingSystem {
    let value = |key: &str| {
        let line = text.lines().filter_map(|line| line.trim().split_once('=')).rfind(|(name, _)| *name == key);
        line.map(|(_, value)| value.trim().trim_matches(['"', '\'']).to_owned()).unwrap_or_default()
    };
    OperatingSystem { id: value("ID"), version: value("VERSION_ID"), name: value("PRETTY_NAME"), like: value("ID_LIKE") }
}

fn packages(guest: &dyn Files) -> Result<Vec<Package>> {
    let mut packages = if let Some(status) = guest.read(STATUS, STATUS_LIMIT).with_context(|| format!("reading {STATUS}"))? {
        parse_status(&String::from_utf8_lossy(&status))
    } else if guest.glob(&RPM_DATABASES)?.is_empty() {
        Vec::new()
    } else {
        let found = guest.rpm_packages().context("reading the RPM database")?;
        found.into_iter().map(|(name, version)| Package { name, version }).collect()
    };
    packages.sort();
    Ok(packages)
}

/// The installed packages of dpkg's status file.
fn parse_status(text: &str) -> Vec<Package> {
    let field = |paragraph: &str, key: &str| {
        let value = paragraph.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
        value.map(str::to_owned)
    };
    let installed = |paragraph: &&str| field(paragraph, "Status").is_some_and(|status| status.ends_with(" installed"));
    let package = |paragraph| Some(Package { name: field(paragraph, "Package")?, version: field(paragraph, "Version")? });
    text.split("\n\n").filter(installed).filter_map(package).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::fake::FakeFiles;

    #[test]
    fn families_follow_id_and_id_like() {
        let table = [
            ("ID=debian\nVERSION_ID=\"13\"\n", Family::Debian),
            ("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n", Family::Debian),
            ("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n", Family::RedHat),
            ("ID=fedora", Family::RedHat),
            ("ID=\"opensuse-leap\"\nID_LIKE=\"suse opensuse\"", Family::Suse),
            ("ID=arch", Family::Other),
            ("", Family::Other),
        ];
        for (text, family) in table {
            assert_eq!(parse_release(text).family(), family, "{text}");
        }
    }

    #[test]
    fn an_os_release_is_read_with_either_quote_or_none() {
        let text = "PRETTY_NAME='Debian GNU/Linux 13 (trixie)'\nVERSION_ID=\"13\"\n ID=debian \n";
        let os = OperatingSystem {
            id: "debian".to_owned(),
            version: "13".to_owned(),
            name: "Debian GNU/Linux 13 (trixie)".to_owned(),
            like: String::new(),
        };
        assert_eq!(parse_release(text), os);
    }

    #[test]
    fn a_guest_with_cloud_init_switched_on_reads_seeds() {
        let (program, switch) = (("/usr/bin/cloud-init", "#!"), ("/etc/cloud/cloud-init.disabled", ""));
        let table = [
            (&[program][..], IdentityMethod::NoCloud),
            (&[program, switch], IdentityMethod::Offline),
            (&[switch], IdentityMethod::Offline),
            (&[], IdentityMethod::Offline),
        ];
        for (files, method) in table {
            assert_eq!(identity(&FakeFiles::new(files)).unwrap(), method, "{files:?}");
        }
    }

    #[test]
    fn only_installed_packages_count() {
        let text = "Package: a\nStatus: install ok installed\nVersion: 1:2-3\nDescription: x\n Version: 9\n\n\
                    Package: b\nStatus: deinstall ok config-files\nVersion: 1\n\nPackage: c\nStatus: hold ok installed\nVersion: 4\n";
        let package = |name: &str, version: &str| Package { name: name.to_owned(), version: version.to_owned() };
        assert_eq!(parse_status(text), [package("a", "1:2-3"), package("c", "4")]);
    }
}
