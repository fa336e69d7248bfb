//! `tpl import`: what `tpl export` has written elsewhere becomes a template here: the same version, with the same digest.
//!
//! ```text
//! manifest, signature       nothing is touched
//! building              →   the domain is defined; the volume's bytes come in
//! digest                    over what has arrived in the pool: it is the manifest's, or all of it goes again
//! published             ←   commit: one metadata write
//! ```

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result};
use uuid::Uuid;

use crate::{
    cli::{ImportArgs, Output},
    cmd::{build, kvm, remote, signature, undo::Undo, world::World},
    core::{
        build_plan::suffix,
        clone_plan::check_names,
        config::Config,
        digest::{ChunkList, hex},
        domain::{Accelerator, Machine, Network, rebuilt},
        error::Refusal,
        facts::{NewVolume, VolumeFormat},
        inventory::Inventory,
        manifest::{Manifest, Metadata, State},
        portable::{self, Packing, Portable, document_of},
        progress::{Part, Progress},
        signing::Standing,
        transfer::{There, there, unfinished},
        vm_spec::Firmware,
    },
    host::portable::read_document,
    ui::{self, StageLine},
};

/// Runs `tpl import`.
///
/// # Errors
/// [`Refusal`]: the files are not what a trusted key has signed, or there is such a version already that is another. A failure
/// undoes what has been made.
pub fn run(world: World<'_>, config: &Config, args: &ImportArgs, output: Output) -> Result<()> {
    Packing::of(&args.file)?;
    let why = "a template is imported on the hypervisor itself";
    remote::refuse(world.hypervisor.name(), world.hypervisor.uri(), why, "run tpl there, or import it here and `tpl push` it")?;
    let document = document_of(&args.file);
    let taken = portable::parse(&read_document(&args.file)?);
    let portable = taken.map_err(|why| Refusal::new(format!("{} is not taken: {why}", document.display())))?;
    let id = portable.manifest.id();
    let standing = signature::standing(world, &portable.manifest)?;
    let waived = args.allow_unsigned && !config.signing.required && standing == Standing::Unsigned;
    signature::ensure_acceptable(&standing, &id.to_string(), !waived)?;
    let lock = world.local.lock(&format!("build {} {}", world.hypervisor.uri(), id.name), Duration::ZERO)?;
    let _lock = lock.map_err(|holder| Refusal::new(format!("{} is being built or imported already, by {holder}", id.name)))?;
    let inventory = world.inventory()?;
    if is_there(&inventory, &portable, world.storage.pool())? {
        return report(
            &portable.manifest,
            &standing,
            false,
            inventory.current(&id.name).is_some_and(|t| t.manifest.id() == id),
            args,
            output,
        );
    }
    preflight(world, &portable)?;
    // An older version is one to go back to, and `tpl promote` does that.
    let newest = inventory.current(&id.name).is_none_or(|current| current.manifest.version < id.version);
    if !args.dry_run {
        let mut import = Import::new(world, config, portable.clone())?;
        let mut undo = Undo::default();
        match import.take(&args.file, newest, &mut undo) {
            Ok(()) => undo.commit(),
            Err(error) => return Err(undo.roll_back(error.context(format!("importing {id}")))),
        }
    }
    report(&portable.manifest, &standing, true, newest, args, output)
}

/// Whether this very version is here already.
fn is_there(inventory: &Inventory, portable: &Portable, pool: &str) -> Result<bool, Refusal> {
    match there(inventory, portable, pool)? {
        There::Nothing => Ok(false),
        There::Same => Ok(true),
        There::Begun(begun) => Err(unfinished(&begun.manifest)),
    }
}

/// Everything that can be seen to be in the way before anything is made.
pub(super) fn preflight(world: World<'_>, portable: &Portable) -> Result<()> {
    let manifest = &portable.manifest;
    let mut reasons = Vec::new();
    let pool = world.storage.size()?;
    check_names(&pool, volumes(portable).iter().map(String::as_str))?;
    let free = pool.available;
    if free < manifest.virtual_size {
        reasons.push(format!("pool {} has {free} free, and the template has {}", world.storage.pool(), manifest.virtual_size));
    }
    if pool.kind.is_logical() && portable.nvram.is_some() {
        reasons
            .push(format!("the template keeps UEFI variables, which are a file, and pool {} is logical", world.storage.pool()));
    }
    if portable.hardware.firmware == Firmware::Uefi && !world.hypervisor.has_uefi()? {
        reasons.push("the template starts from UEFI, and the emulator has no such firmware".to_owned());
    }
    for volume in volumes(portable) {
        if world.storage.volume(&volume)?.is_some() {
            reasons.push(format!("there is a volume {volume} already in pool {}", world.storage.pool()));
        }
    }
    if reasons.is_empty() {
        return Ok(());
    }
    Err(Refusal { reasons, advice: Some("`tpl prune` removes what killed runs have left".to_owned()) }.into())
}

fn volumes(portable: &Portable) -> Vec<String> {
    let nvram = portable.nvram.as_ref().map(|_| suffix::NVRAM);
    let name = portable.manifest.id().domain();
    ["", suffix::CHUNKS].into_iter().chain(nvram).map(|suffix| format!("{name}{suffix}")).collect()
}

/// A version that comes here from elsewhere: in files, or from another hypervisor.
pub(super) struct Import<'a> {
    pub(super) world: World<'a>,
    pub(super) portable: Portable,
    pub(super) manifest: Manifest,
    machine: Machine,
    uuid: Uuid,
}

impl<'a> Import<'a> {
    fn new(world: World<'a>, config: &Config, portable: Portable) -> Result<Self> {
        let accelerator = kvm::accelerator(world).context("looking whether KVM works")?;
        Ok(Self::on(world, config, portable, accelerator))
    }

    /// The same where it is known what guests run on.
    pub(super) fn on(world: World<'a>, config: &Config, portable: Portable, accelerator: Accelerator) -> Self {
        let (defaults, firmware) = (&portable.manifest.clone, portable.hardware.firmware);
        let network = Network::Named(config.network.clone());
        let machine = Machine { accelerator, vcpus: defaults.vcpus, memory: defaults.memory, firmware, network };
        let manifest = Manifest {
            state: State::Building,
            run: world.local.run().clone(),
            promoted_at: None,
            volumes: volumes(&portable),
            pool: world.storage.pool().to_owned(),
            stages: Vec::new(),
            ..portable.manifest.clone()
        };
        Self { world, portable, manifest, machine, uuid: Uuid::new_v4() }
    }

    fn take(&mut self, file: &Path, newest: bool, undo: &mut Undo<'a>) -> Result<()> {
        self.define(undo)?;
        let line = StageLine::begin("import");
        self.bring(file, &line)?;
        line.done();
        self.publish(newest)
    }

    /// The commit: only now do clones see it.
    pub(super) fn publish(&mut self, newest: bool) -> Result<()> {
        self.world.local.go_on()?;
        self.manifest.state = State::Published;
        self.manifest.promoted_at = newest.then(|| self.world.local.now());
        let metadata = Metadata::Template(Box::new(self.manifest.clone()));
        self.world.hypervisor.write_metadata(&self.manifest.id().domain(), &metadata)
    }

    /// Before the first volume is made, so that `tpl prune` finds what a kill leaves.
    pub(super) fn define(&self, undo: &mut Undo<'a>) -> Result<()> {
        let (world, name) = (self.world, self.manifest.id().domain());
        let volume = world.location(&name)?;
        let nvram =
            self.portable.nvram.as_ref().map(|_| world.storage.path_of(&format!("{name}{}", suffix::NVRAM))).transpose()?;
        let xml = rebuilt::template(&self.manifest, self.uuid, &self.machine, &self.portable.hardware, &volume, nvram.as_deref());
        world.hypervisor.define(&xml).with_context(|| format!("defining template {}", self.manifest.id()))?;
        self.on_failure(undo);
        Ok(())
    }

    /// How all of it goes again.
    pub(super) fn on_failure(&self, undo: &mut Undo<'a>) {
        let (world, name) = (self.world, self.manifest.id().domain());
        let domain = name.clone();
        undo.push_domain(&name, move || world.hypervisor.undefine(&domain));
        for volume in self.manifest.volumes.clone() {
            undo.push(&name, format!("removing volume {volume}"), move || world.storage.delete(&volume));
        }
    }

    /// Brings the bytes in, and makes sure that they are those of the manifest.
    fn bring(&self, file: &Path, progress: &dyn Progress) -> Result<()> {
        let (world, name, size) = (self.world, self.manifest.id().domain(), self.manifest.virtual_size);
        let pool = world.storage.size()?;
        let part = Part::begin(progress, "opening", 0, 40);
        let disk = world.images.open(file, Path::new(build::scratch(&pool)), size, &part)?;
        if disk.size != size.0 {
            let reason = format!("{} holds a disk of {} bytes, and its manifest says {}", file.display(), disk.size, size.0);
            return Err(Refusal::new(reason).into());
        }
        let layer = disk.layers.first().context("the image has no layers")?;
        let new =
            NewVolume { name: &name, capacity: size, format: VolumeFormat::Raw, backing: None, room: None, protected: true };
        let target = world.storage.create(&new)?;
        progress.update("copying", Some(40));
        world.images.copy(&layer.path, layer.format, Path::new(&target), size.0)?;
        world.storage.protect(&name)?;
        let part = Part::begin(progress, "digesting", 80, 100);
        let chunks = world.images.digest(Path::new(&target), size.0, &part)?;
        let found = hex(&chunks.content_digest());
        if found != self.portable.digest.to_string() {
            let reason = format!(
                "{} is not what its manifest is of: its content digest is {found}, and not {}",
                file.display(),
                self.portable.digest
            );
            return Err(Refusal::new(reason).advise("it was changed or damaged on its way: get it again").into());
        }
        self.store_rest(&chunks)
    }

    /// What a version has besides its volume.
    pub(super) fn store_rest(&self, chunks: &ChunkList) -> Result<()> {
        let (world, name) = (self.world, self.manifest.id().domain());
        let bytes = chunks.to_bytes();
        world.storage.store(&format!("{name}{}", suffix::CHUNKS), bytes.len() as u64, &mut bytes.as_slice())?;
        if let Some(bytes) = &self.portable.nvram {
            world.storage.store(&format!("{name}{}", suffix::NVRAM), bytes.len() as u64, &mut bytes.as_slice())?;
        }
        Ok(())
    }
}

fn report(
    manifest: &Manifest,
    standing: &Standing,
    changed: bool,
    current: bool,
    args: &ImportArgs,
    output: Output,
) -> Result<()> {
    let id = manifest.id();
    let then = if current { "the current version" } else { "not the current version" };
    match output {
        Output::Json => ui::json(&serde_json::json!({
            "name": id.name, "version": id.version, "digest": manifest.digest, "virtual_size": manifest.virtual_size,
            "changed": changed, "current": current, "signed_by": standing.key_id(), "dry_run": args.dry_run,
        })),
        Output::Text if !changed => ui::data(&format!("unchanged: {id} is here already, {then}\n")),
        Output::Text if args.dry_run => {
            ui::data(&format!("would import {id}, {}, signature {standing}; it would be {then}\n", manifest.virtual_size))
        }
        Output::Text => {
            let advice = if current {
                format!("`tpl clone {}` makes VMs of it", id.name)
            } else {
                format!("`tpl promote {id}` makes it so")
            };
            ui::data(&format!("imported {id}, {then}\n  signed {standing}\n{advice}\n"))
        }
    }
}
