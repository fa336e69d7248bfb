//! `tpl verify`: a template's signature, digest and invariants, again.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};

use crate::{
    cli::{Output, VerifyArgs},
    cmd::{build::seal::invariants, kvm, remote, signature, world::World},
    core::{
        config::Config,
        digest::hex,
        error::Refusal,
        manifest::{Manifest, State},
    },
    ui::{self, StageLine},
};

/// Runs `tpl verify`.
///
/// # Errors
/// [`Refusal`] from another machine; or the signature is bad, or is not what is required. Else the volume's bytes are not those that
/// were published, or an invariant does not hold.
pub fn run(world: World<'_>, config: &Config, args: &VerifyArgs, output: Output) -> Result<()> {
    let why = "a template's volume is read on the hypervisor itself";
    remote::refuse(world.hypervisor.name(), world.hypervisor.uri(), why)?;
    let inventory = world.inventory()?;
    let template = inventory.find(&args.template)?;
    let (manifest, id) = (&template.manifest, template.manifest.id());
    let published = manifest.digest.as_deref().filter(|_| manifest.state >= State::Sealed);
    let published = published.ok_or_else(|| Refusal::new(format!("{id} is not sealed: it is {}", manifest.state.as_str())))?;
    let standing = signature::standing(world, manifest)?;
    signature::ensure_acceptable(&standing, &id.to_string(), args.require_signature || config.signing.required)?;
    let path = intact_volume(world, manifest, published)?;
    let line = StageLine::begin("invariants");
    let appliance = (world.appliance)(kvm::accelerator_of(&template.domain.xml)?);
    let held = invariants(appliance, &path, &line).with_context(|| format!("verifying {id}"))?;
    line.done();
    match output {
        Output::Json => ui::json(&serde_json::json!({
            "name": id.name, "version": id.version, "digest": published, "invariants": held, "holds": true,
            "signature": standing.word(), "signed_by": standing.key_id()
        })),
        Output::Text => ui::data(&format!(
            "{id} is as it was sealed\n  digest {published}\n  signed {standing}\n  holds  {}\n",
            held.join(", ")
        )),
    }
}

/// The path of a version's volume, once its bytes have been found to be those that were sealed.
///
/// # Errors
/// They are others, or cannot be read.
pub(super) fn intact_volume(world: World<'_>, manifest: &Manifest, digest: &str) -> Result<PathBuf> {
    let id = manifest.id();
    let path = PathBuf::from(world.storage.path_of(&id.domain())?);
    let line = StageLine::begin("digest");
    let found = world.images.digest(&path, manifest.virtual_size.0, &line).with_context(|| format!("digesting {id}"))?;
    line.done();
    let found = hex(&found.content_digest());
    if found != digest {
        bail!("{id} is damaged: its content digest is {found}, and was {digest} when it was sealed");
    }
    Ok(path)
}
