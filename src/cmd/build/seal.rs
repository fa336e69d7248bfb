//! The stages `seal` and `verify`: from the build disk to a small, read-only, proven volume.

use std::path::Path;

use anyhow::{Context as _, Result, bail};

use super::Build;
use crate::{
    core::{
        accounts,
        build_plan::{MEDIA, suffix},
        digest::{ChunkList, hex},
        domain,
        facts::{NewVolume, VolumeFormat},
        manifest::{Manifest, OperatingSystem, State},
        names::UserName,
        progress::{Part, Progress},
        units::ByteSize,
        vm_spec::Firmware,
    },
    host::guest::{Access, Files},
    seal::{self, Layout, Selection, Shrunk},
};

/// Larger than any passwd of a machine's own users.
const PASSWD: usize = 1 << 20;

impl Build<'_> {
    /// Seals in an overlay on the build disk, moves the bytes into the template's volume, and digests them.
    ///
    /// Whatever breaks, the build disk stays as the installer left it: sealing can begin again.
    pub(super) fn seal(&mut self, progress: &dyn Progress) -> Result<()> {
        self.discard_sealed()?;
        let storage = self.world.storage;
        let (build, overlay) = (self.plan.volume(suffix::BUILD), self.plan.volume(suffix::SEAL));
        let build = storage.volume(&build)?.with_context(|| format!("the build disk, volume {build}, does not exist"))?;
        // Of the disk, and not of its volume: a logical volume has room for the format's own tables besides.
        let disk = self.manifest.virtual_size;
        let overlay = storage.create(&NewVolume {
            name: &overlay,
            // Larger than the disk: what cannot shrink in its place is made anew behind it.
            capacity: ByteSize(seal::overlay_size(disk.0)),
            format: VolumeFormat::Qcow2,
            backing: Some((build.path.as_str(), VolumeFormat::Qcow2)),
            room: None,
            protected: false,
        })?;
        let size = self.seal_overlay(Path::new(&overlay), disk, progress)?;
        progress.update("moving the bytes", Some(85));
        let name = self.plan.id.domain();
        let template = storage.create(&NewVolume {
            name: &name,
            capacity: size,
            format: VolumeFormat::Raw,
            backing: None,
            room: None,
            protected: true,
        })?;
        self.world.images.copy(Path::new(&overlay), VolumeFormat::Qcow2, Path::new(&template), size.0)?;
        storage.protect(&name)?;
        let part = Part::begin(progress, "digesting", 92, 100);
        let chunks = self.world.images.digest(Path::new(&template), size.0, &part)?;
        self.store_chunks(&chunks)?;
        self.manifest.virtual_size = size;
        self.manifest.digest = Some(hex(&chunks.content_digest()));
        Ok(())
    }

    /// What an earlier attempt at sealing has left.
    fn discard_sealed(&self) -> Result<()> {
        for suffix in [suffix::SEAL, suffix::CHUNKS, ""] {
            self.world.storage.delete(&self.plan.volume(suffix))?;
        }
        Ok(())
    }

    /// The one appliance launch: clean, look around, make small. The size that the template's volume needs. `disk` is the build
    /// disk's own size.
    fn seal_overlay(&mut self, overlay: &Path, disk: ByteSize, progress: &dyn Progress) -> Result<ByteSize> {
        let appliance = (self.world.appliance)(self.accelerator);
        let selection = Selection::new(&self.plan.seal.enable, &self.plan.seal.disable)?;
        let part = Part::begin(progress, "launching the appliance", 1, 40);
        let guest = appliance.open(overlay, VolumeFormat::Qcow2, Access::ThrowAway, &part)?;
        let layout = Layout::mount_within(guest.as_ref(), disk.0)?;
        let part = Part::begin(progress, "cleaning", 40, 50);
        let sealed = seal::seal(guest.as_ref(), &selection, &part)?;
        let facts = seal::facts(guest.as_ref())?;
        if let Some(copy) = self.plan.copy().filter(|copy| copy.find_user) {
            self.manifest.clone.user = first_user(guest.as_ref(), &copy.domain)?;
        }
        let part = Part::begin(progress, "shrinking", 50, 85);
        let shrunk = if self.plan.seal.shrink {
            seal::shrink(guest.as_ref(), &layout, &part)?
        } else {
            seal::keep(guest.as_ref(), &layout, "that is what was asked for")?
        };
        guest.close().context("closing the appliance")?;
        if let Shrunk::Kept { reason, .. } = &shrunk {
            progress.note(&format!("the template keeps its size: {reason}"));
        }
        self.manifest.operations = sealed.operations.iter().map(|(name, _)| (*name).to_owned()).collect();
        let os = facts.os;
        self.manifest.os = Some(OperatingSystem { id: os.id, version: os.version, name: os.name });
        self.manifest.packages = facts.packages;
        self.manifest.identity = facts.identity;
        Ok(ByteSize(shrunk.size()))
    }

    fn store_chunks(&self, chunks: &ChunkList) -> Result<()> {
        let bytes = chunks.to_bytes();
        self.world.storage.store(&self.plan.volume(suffix::CHUNKS), bytes.len() as u64, &mut bytes.as_slice())?;
        Ok(())
    }

    /// Opens the template's volume again, read-only, and asserts every invariant.
    pub(super) fn verify(&mut self, progress: &dyn Progress) -> Result<()> {
        let volume = self.world.storage.path_of(&self.plan.id.domain())?;
        let appliance = (self.world.appliance)(self.accelerator);
        self.manifest.invariants = invariants(appliance, Path::new(&volume), progress)?;
        Ok(())
    }

    /// Makes the installer's VM the template. One definition replaces the one by the other, its state included: the commit
    /// point. What no installer ran in has the template's definition from the beginning: only its state is to be written.
    pub(super) fn sealed(&mut self) -> Result<()> {
        if self.plan.installation().is_none() {
            self.advance(State::Sealed)?;
            return self.discard_scaffolding();
        }
        let volume = self.world.location(&self.plan.id.domain())?;
        if self.plan.machine.firmware == Firmware::Uefi {
            // The installer's entries are for its own machine. Each clone finds its loader by the path that needs none.
            self.world.hypervisor.remove_variables(&self.plan.id.domain())?;
        }
        let sealed = Manifest { state: State::Sealed, ..self.manifest.clone() };
        let machine = self.plan.template_machine(self.accelerator);
        let xml = domain::template(&sealed, self.uuid, &machine, &volume);
        self.world.hypervisor.define(&xml).with_context(|| format!("defining template {}", self.plan.id))?;
        self.manifest = sealed;
        self.discard_scaffolding()
    }

    /// What only the way to a sealed template needed: disks, and the installer's logs.
    pub(super) fn discard_scaffolding(&self) -> Result<()> {
        for suffix in [suffix::SEAL, suffix::BUILD].iter().chain(&MEDIA) {
            self.world.remove_volume(&self.plan.volume(suffix))?;
        }
        let name = self.plan.id.domain();
        for log in domain::logs(&name) {
            self.world.hypervisor.remove_log(&log)?;
        }
        Ok(())
    }
}

/// Who logs in to a guest that nobody has named a user of.
fn first_user(guest: &dyn Files, domain: &str) -> Result<UserName> {
    let passwd = guest.read("/etc/passwd", PASSWD)?.unwrap_or_default();
    let user = accounts::first_person(&String::from_utf8_lossy(&passwd));
    user.with_context(|| {
        format!("the guest of {domain} has no user who could log in\nname one with --user: clones get that user")
    })
}

/// Asserts the invariants of a sealed volume; the names of those that hold, which is all of them.
///
/// # Errors
/// One does not hold, or could not be looked for.
pub fn invariants(appliance: &dyn crate::host::guest::Appliance, volume: &Path, progress: &dyn Progress) -> Result<Vec<String>> {
    let part = Part::begin(progress, "launching the appliance", 1, 60);
    let guest = appliance.open(volume, VolumeFormat::Raw, Access::ReadOnly, &part)?;
    let layout = Layout::mount(guest.as_ref())?;
    progress.update("looking for what must not be there", Some(60));
    let found = seal::verify(guest.as_ref(), &layout)?;
    guest.close().context("closing the appliance")?;
    let broken: Vec<String> = found
        .iter()
        .filter_map(|invariant| invariant.holds.as_ref().err().map(|what| format!("  {}: {}", invariant.name, what.join(", "))))
        .collect();
    if !broken.is_empty() {
        bail!("the volume is not sealed:\n{}", broken.join("\n"));
    }
    Ok(found.iter().map(|invariant| invariant.name.to_owned()).collect())
}
