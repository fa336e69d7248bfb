//! The stages `image` and `copy`: a system that is installed already comes onto the build disk, out of an image or from the disk
//! of a VM. The domain is defined before its first volume is made, so that `tpl prune` finds what a kill leaves; in the form of
//! the template that it becomes, for nothing of it ever runs.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use super::Build;
use crate::{
    cli::BuildArgs,
    cmd::{undo::Undo, world::World},
    core::{
        build_plan::{CopyPlan, suffix},
        domain,
        facts::{NewVolume, PoolKind, PoolSize, VolumeFormat},
        manifest::Manifest,
        progress::Progress,
        source::Role,
        units::ByteSize,
        xml::{
            adopt::{self, Original, TemplateIdentity},
            read::DiskSource,
        },
    },
    host::{
        images::DiskImage,
        source::{Access, Resolved},
    },
    seal,
};

impl<'a> Build<'a> {
    /// From nothing to `installed`, or from what a killed run has left of it.
    ///
    /// # Errors
    /// What has been made is removed, unless it is to be kept.
    pub(super) fn bring_in(&mut self, resolved: Option<(&Resolved, Access)>, keep_failed: bool) -> Result<()> {
        let mut undo = Undo::default();
        let outcome = match (self.plan.copy().cloned(), resolved) {
            (Some(copy), _) => self.stage("copy", |build, progress| build.copy_disk(&copy, &mut undo, progress)),
            (None, Some((resolved, access))) => {
                let files = self.stage("source", |build, progress| build.world.source.fetch(resolved, access, progress))?;
                self.stage("image", |build, progress| build.take_image(files.path(Role::Image)?, &mut undo, progress))
            }
            (None, None) => bail!("there is neither an image nor a VM to make {} of", self.plan.id),
        };
        self.end_install(outcome, undo, keep_failed)
    }

    /// Goes on with what a killed run has begun: from the start, for a disk that was copied in part is worth nothing.
    ///
    /// # Errors
    /// As for [`Build::bring_in`].
    pub(super) fn bring_in_again(&mut self, args: &BuildArgs) -> Result<()> {
        let resolved = match self.plan.request() {
            Some(_) => Some(super::resolve(self.world, &self.plan, super::access(args))?),
            None => None,
        };
        if let Some(resolved) = &resolved {
            // The vendor may offer another image by now.
            self.manifest.inputs.sources = super::source_files(resolved);
            self.manifest.trust = resolved.trust.clone();
        }
        self.bring_in(resolved.as_ref().map(|resolved| (resolved, super::access(args))), args.keep_failed)
    }

    fn take_image(&mut self, image: &Path, undo: &mut Undo<'a>, progress: &dyn Progress) -> Result<()> {
        let pool = self.world.storage.size()?;
        // Beside it the template needs as much again; and VMs that run find no room once a pool is full.
        let most = ByteSize(pool.available.0 / 2);
        let disk = self.world.images.open(image, Path::new(scratch(&pool)), most, progress)?;
        self.manifest.virtual_size = rounded(disk.size);
        let machine = self.plan.template_machine(self.accelerator);
        let template = self.world.location(&self.plan.id.domain())?;
        let xml = domain::template(&self.manifest, self.uuid, &machine, &template);
        self.fill(&disk, &xml, undo, progress)
    }

    fn copy_disk(&mut self, copy: &CopyPlan, undo: &mut Undo<'a>, progress: &dyn Progress) -> Result<()> {
        let off = |build: &Self| {
            let hypervisor = build.world.hypervisor;
            let saved = hypervisor.has_saved_memory(&copy.domain)?;
            Original::ensure_off(&copy.domain, hypervisor.state(&copy.domain)?, saved).map_err(anyhow::Error::from)
        };
        off(self)?;
        let disk = self.world.images.layers(&path_of(self.world, &copy.source)?, copy.format)?;
        self.manifest.virtual_size = rounded(disk.size);
        let xml = self.adopted(copy, &self.manifest)?;
        self.fill(&disk, &xml, undo, progress)?;
        if let Some(nvram) = &copy.nvram {
            self.store_variables(nvram)?;
        }
        // Nothing holds the VM's owner off: who has started it meanwhile has it, and the copy goes.
        off(self).with_context(|| format!("looking whether {} has run while it was copied", copy.domain))?;
        disk.ensure_unchanged().with_context(|| format!("copying disk {} of {}", copy.target, copy.domain))
    }

    /// The template's definition, out of the VM's.
    fn adopted(&self, copy: &CopyPlan, manifest: &Manifest) -> Result<String> {
        let storage = self.world.storage;
        let volume = self.world.location(&self.plan.id.domain())?;
        // Never the VM's own file: who removes the template removes it, too.
        let nvram = copy.nvram.as_ref().map(|_| storage.path_of(&self.plan.volume(suffix::NVRAM))).transpose()?;
        let identity = TemplateIdentity {
            uuid: self.uuid,
            target: &copy.target,
            volume,
            nvram: nvram.as_deref(),
            plug: copy.plug.as_ref(),
            vcpus: self.plan.clone.vcpus,
            memory: self.plan.clone.memory,
        };
        adopt::template(&copy.xml, manifest, &identity)
    }

    /// Defines the template that is being made, and copies a disk into its build disk.
    fn fill(&mut self, disk: &DiskImage, xml: &str, undo: &mut Undo<'a>, progress: &dyn Progress) -> Result<()> {
        let world = self.world;
        let size = self.manifest.virtual_size;
        let pool = world.storage.size()?;
        let (needed, free) = (build_space(&pool, size), pool.available);
        if needed > free {
            bail!("the disk has {size}, which takes {needed} while it is built, and pool {} has {free} free", self.plan.pool);
        }
        world.hypervisor.define(xml).with_context(|| format!("defining template {}", self.plan.id))?;
        // With what a killed run has left.
        undo.append(self.removal());
        let volume = self.plan.volume(suffix::BUILD);
        world.storage.delete(&volume)?;
        let new =
            NewVolume { name: &volume, capacity: size, format: VolumeFormat::Qcow2, backing: None, room: None, protected: false };
        let path = world.storage.create(&new)?;
        progress.update("copying the disk", None);
        world.images.take(disk, Path::new(&path))
    }

    /// Copies UEFI variables: without them the firmware would not know what to boot.
    fn store_variables(&self, nvram: &str) -> Result<()> {
        let world = self.world;
        // A VM that never ran has none yet.
        let Some(bytes) = world.images.read_small(Path::new(nvram))? else { return Ok(()) };
        let volume = self.plan.volume(suffix::NVRAM);
        world.storage.delete(&volume)?;
        world.storage.store(&volume, bytes.len() as u64, &mut bytes.as_slice()).map(drop)
    }
}

/// Where an image is unpacked: in the pool, which has the room. A volume group has no place for files.
pub fn scratch(pool: &PoolSize) -> &str {
    if pool.kind.is_logical() { "/var/tmp" } else { &pool.path }
}

/// What a build of a disk of this size takes of a pool. Build disk, overlay and template are sparse, and together they stay below the
/// disk's size; in a volume group each of them has all of its space from the start.
pub fn build_space(pool: &PoolSize, disk: ByteSize) -> ByteSize {
    match pool.kind {
        PoolKind::Directory | PoolKind::Thin { .. } => disk,
        PoolKind::Thick => {
            let all = [disk.0, seal::overlay_size(disk.0), disk.0].map(|size| pool.rounded(ByteSize(size)).0);
            ByteSize(all.into_iter().fold(0, u64::saturating_add))
        }
    }
}

/// A disk is made of sectors.
fn rounded(size: u64) -> ByteSize {
    ByteSize(size.next_multiple_of(512))
}

/// The path of a disk, wherever it is.
///
/// # Errors
/// It is in a volume that does not exist, or in nothing with a path.
pub fn path_of(world: World<'_>, source: &DiskSource) -> Result<PathBuf> {
    match source {
        DiskSource::File(path) | DiskSource::Block(path) => Ok(PathBuf::from(path)),
        DiskSource::Volume { pool, volume } => {
            let path = world.hypervisor.volume_path(pool, volume)?;
            path.map(PathBuf::from).with_context(|| format!("volume {volume} of pool {pool} does not exist"))
        }
        DiskSource::Other(kind) => bail!("a disk of type {kind:?} has no path"),
    }
}
