//! `tpl export`: a published version as two files, its volume and its manifest.

use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::{
    cli::{ExportArgs, Output},
    cmd::{remote, signature, verify, world::World},
    core::{
        error::Refusal,
        manifest::Manifest,
        portable::{self, Packing, document_of},
        signing::Standing,
        units::ByteSize,
    },
    host::portable::{Export, ensure_folder, ensure_free},
    ui::{self, StageLine},
};

/// Runs `tpl export`.
///
/// # Errors
/// [`crate::core::error::Invalid`]: the file's name does not say how. [`Refusal`]: it is there already, has no folder, the version is
/// not published, or its signature is bad. A failure leaves no file.
pub fn run(world: World<'_>, args: &ExportArgs, output: Output) -> Result<()> {
    let packing = Packing::of(&args.file)?;
    let why = "a template is exported on the hypervisor itself";
    remote::refuse(world.hypervisor.name(), world.hypervisor.uri(), why, "run tpl there, or `tpl pull` it here first")?;
    let inventory = world.inventory()?;
    let manifest = &inventory.find(&args.template)?.manifest;
    let id = manifest.id();
    manifest.ensure_published()?;
    let digest = manifest.digest.as_deref().ok_or_else(|| Refusal::new(format!("{id} has no digest")))?;
    let standing = signature::standing(world, manifest)?;
    signature::ensure_acceptable(&standing, &id.to_string(), false)?;
    ensure_folder(&args.file)?;
    if !args.force {
        ensure_free(&args.file)?;
    }
    let nvram = signature::variables(world, manifest)?;
    let exported = portable_manifest(world, manifest)?;
    let document = portable::write(&exported, nvram.as_deref()).context("writing the manifest")?;
    // What an import would not take must not be found out at the other site.
    portable::parse(&document).map_err(|why| Refusal::new(format!("{id} cannot be exported: {why}")))?;
    if standing == Standing::Unsigned {
        ui::note(&format!("{id} is not signed: an import takes it with --allow-unsigned only"));
    }
    if args.dry_run {
        return report(args, &exported, None, output);
    }
    verify::ensure_intact(world, manifest, digest)?;
    let volume = PathBuf::from(world.storage.path_of(&id.domain())?);
    world.local.go_on()?;
    let line = StageLine::begin("export");
    let export = Export {
        volume: &volume,
        size: manifest.virtual_size.0,
        file: &args.file,
        packing,
        document: &document,
        replace: args.force,
    };
    let length = world.images.export(&export, &line)?;
    line.done();
    report(args, &exported, Some(ByteSize(length)), output)
}

/// The manifest with what a template needs elsewhere. What is signed has it already.
pub(super) fn portable_manifest(world: World<'_>, manifest: &Manifest) -> Result<Manifest> {
    let mut exported = manifest.clone();
    if exported.hardware.is_none() && exported.signature.is_none() {
        exported.hardware = signature::hardware(world, manifest)?;
    }
    Ok(exported)
}

fn report(args: &ExportArgs, manifest: &Manifest, length: Option<ByteSize>, output: Output) -> Result<()> {
    let (id, file, document) = (manifest.id(), args.file.display().to_string(), document_of(&args.file).display().to_string());
    match (output, length) {
        (Output::Json, _) => ui::json(&serde_json::json!({
            "name": id.name, "version": id.version, "digest": manifest.digest, "virtual_size": manifest.virtual_size,
            "file": file, "manifest": document, "length": length, "dry_run": args.dry_run,
        })),
        (Output::Text, None) => ui::data(&format!("would export {id}, {}, to {file} and {document}\n", manifest.virtual_size)),
        (Output::Text, Some(length)) => ui::data(&format!(
            "exported {id}: {} in {length}\n  {file}\n  {document}\n`tpl import {file}` takes it elsewhere; both files belong together\n",
            manifest.virtual_size
        )),
    }
}
