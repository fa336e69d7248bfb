//! The identity of clones whose template has no cloud-init: written into their disks before they boot. All clones of a call go
//! into one appliance:
//!
//! ```text
//! each(disk of every clone, Keep) → Layout::mount → grow → the steps, in order → written out
//!     (blank extra disk)          → a file system
//! ```
//! Each step is safe to repeat: a second run leaves the same.

mod grow;
pub mod identity;
mod network;
mod steps;

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::{
    core::{
        facts::VolumeFormat,
        progress::{Part, Progress},
        vm_spec::GuestSpec,
    },
    host::guest::{Access, Appliance, DISK, Guest},
    seal::Layout,
};

pub use crate::core::seed::{CardAddress, CardConfig};
pub use identity::{ExtraDisk, File, Identity, User};

/// Larger than any configuration file that a step reads.
const TEXT_LIMIT: usize = 4 << 20;

/// A clone and its disk.
#[derive(Debug)]
pub struct Target<'a> {
    /// The system disk.
    pub disk: PathBuf,
    /// Its format. A qcow2 may stand on the template's volume.
    pub format: VolumeFormat,
    /// What it is to be.
    pub identity: Identity<'a>,
}

/// One thing that is written.
struct Step {
    /// Its name, for errors.
    name: &'static str,
    run: fn(&Scene<'_>) -> Result<()>,
}

/// What a step works on: a mounted guest and what it is to be.
struct Scene<'a> {
    guest: &'a dyn Guest,
    identity: &'a Identity<'a>,
    progress: &'a dyn Progress,
}

/// What one disk is opened for.
enum Work<'a> {
    System(&'a Identity<'a>),
    Format(&'a Identity<'a>, &'a ExtraDisk),
}

/// What of this cannot be had without cloud-init, each with the reason; empty if all of it can. To be asked before anything is
/// touched.
pub fn unsupported(spec: &GuestSpec) -> Vec<String> {
    let reason = |what: &str| format!("{what}: the template has no cloud-init, and nothing of the guest runs before it boots");
    let table = [
        (!spec.packages.is_empty(), "packages cannot be installed"),
        (!spec.runcmd.is_empty(), "commands cannot be run"),
        (spec.user_data.is_some(), "user-data cannot be merged"),
        (spec.apt_mirror.is_some(), "apt's mirror cannot be set"),
    ];
    table.into_iter().filter(|(asked, _)| *asked).map(|(_, what)| reason(what)).collect()
}

/// Writes the identity of every clone into its disk, and makes the file systems of their extra disks.
///
/// # Errors
/// A clone's disk that cannot be opened, or holds no guest that these steps can be done on; the clone is named. What has been
/// written into others stays.
pub fn write_all(appliance: &dyn Appliance, clones: &[Target<'_>], progress: &dyn Progress) -> Result<()> {
    let mut disks = Vec::new();
    let mut works = Vec::new();
    for clone in clones {
        disks.push((clone.disk.clone(), clone.format));
        works.push(Work::System(&clone.identity));
        for disk in clone.identity.disks.iter().filter(|disk| disk.filesystem.is_some()) {
            disks.push((disk.path.clone(), disk.format));
            works.push(Work::Format(&clone.identity, disk));
        }
    }
    let launch = Part::begin(progress, "launching the appliance", 1, 60);
    appliance.each(&disks, Access::Keep, &launch, &mut |index, guest| {
        let percent = u8::try_from(60 + index * 40 / works.len()).ok();
        match &works[index] {
            Work::System(identity) => {
                progress.update(&format!("writing {}", identity.name), percent);
                write(guest, identity, progress).with_context(|| format!("writing the identity of {}", identity.name))
            }
            Work::Format(identity, disk) => format(guest, disk)
                .with_context(|| format!("making the file system of disk {} of {}", disk.serial, identity.name)),
        }
    })
}

fn write(guest: &dyn Guest, identity: &Identity<'_>, progress: &dyn Progress) -> Result<()> {
    let layout = Layout::mount(guest)?;
    if let Err(reason) = grow::grow(guest, &layout).context("growing the root filesystem")? {
        progress.note(&format!("the root filesystem of {} keeps its size: {reason}", identity.name));
    }
    let scene = Scene { guest, identity, progress };
    steps::ALL.iter().try_for_each(|step| (step.run)(&scene).context(step.name))
}

fn format(guest: &dyn Guest, disk: &ExtraDisk) -> Result<()> {
    let Some(kind) = disk.filesystem else {
        return Ok(());
    };
    guest.make_filesystem(DISK, kind, disk.label.as_ref())
}

impl Scene<'_> {
    /// The text of a configuration file; empty if there is none.
    fn text(&self, path: &str) -> Result<String> {
        Ok(self.text_if_any(path)?.unwrap_or_default())
    }

    fn text_if_any(&self, path: &str) -> Result<Option<String>> {
        let bytes = self.guest.read(path, TEXT_LIMIT)?;
        bytes.map(|bytes| String::from_utf8(bytes).with_context(|| format!("{path} is no UTF-8"))).transpose()
    }

    fn exists(&self, path: &str) -> Result<bool> {
        Ok(self.guest.stat(path)?.is_some())
    }

    /// Writes a file of root's with this mode, and makes the directories above it.
    fn put(&self, path: &str, content: &[u8], mode: u32) -> Result<()> {
        self.put_as(path, content, mode, (0, 0))
    }

    fn put_as(&self, path: &str, content: &[u8], mode: u32, (user, group): (u32, u32)) -> Result<()> {
        if let Some((folder, _)) = path.rsplit_once('/').filter(|(folder, _)| !folder.is_empty()) {
            self.guest.make_directory(folder)?;
        }
        self.guest.write(path, content)?;
        // The owner first: changing it takes setuid bits away.
        self.guest.set_owner(path, user, group)?;
        self.guest.set_mode(path, mode)
    }

    /// Rewrites a file where that changes it; owner and mode stay.
    fn edit(&self, path: &str, old: &str, new: &str) -> Result<()> {
        if old == new { Ok(()) } else { self.guest.write(path, new.as_bytes()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_the_guest_to_run_is_refused_all_at_once() {
        let spec = |json: &str| serde_json::from_str::<GuestSpec>(json).unwrap();
        let tail = ": the template has no cloud-init, and nothing of the guest runs before it boots";
        let table: [(&str, &[&str]); 3] = [
            (r#"{"user": "a", "timezone": "UTC", "write_files": [{"path": "/a", "content": "b"}]}"#, &[]),
            (r#"{"packages": ["vim"]}"#, &["packages cannot be installed"]),
            (
                r#"{"packages": ["vim"], "runcmd": ["true"], "user_data": "x", "apt_mirror": "http://a"}"#,
                &[
                    "packages cannot be installed",
                    "commands cannot be run",
                    "user-data cannot be merged",
                    "apt's mirror cannot be set",
                ],
            ),
        ];
        for (json, reasons) in table {
            let expected: Vec<_> = reasons.iter().map(|reason| format!("{reason}{tail}")).collect();
            assert_eq!(unsupported(&spec(json)), expected, "{json}");
        }
    }
}
