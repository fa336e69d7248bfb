//! `tpl verify`: a template's signature, digest and invariants, again. Of another machine's the digest alone: what is sealed is looked
//! for in the volume itself, and that has been done before it was published.

use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::{
    cli::{Output, VerifyArgs},
    cmd::{build::seal::invariants, kvm, signature, world::World},
    core::{
        config::Config,
        digest::hex,
        error::Refusal,
        facts::is_local,
        inventory::Template,
        manifest::{Manifest, State},
    },
    ui::{self, StageLine},
};

/// Runs `tpl verify`.
///
/// # Errors
/// [`Refusal`]: the signature is bad, or is not what is required. Else the volume's bytes are not those that were published, or an
/// invariant does not hold.
pub fn run(world: World<'_>, config: &Config, args: &VerifyArgs, output: Output) -> Result<()> {
    let inventory = world.inventory()?;
    let template = inventory.find(&args.template)?;
    let (manifest, id) = (&template.manifest, template.manifest.id());
    let published = manifest.digest.as_deref().filter(|_| manifest.state >= State::Sealed);
    let published = published.ok_or_else(|| Refusal::new(format!("{id} is not sealed: it is {}", manifest.state.as_str())))?;
    let standing = signature::standing(world, manifest)?;
    signature::ensure_acceptable(&standing, &id.to_string(), args.require_signature || config.signing.required)?;
    ensure_intact(world, manifest, published)?;
    let held = if is_local(world.hypervisor.uri()) { Some(held(world, template)?) } else { None };
    match output {
        Output::Json => ui::json(&serde_json::json!({
            "name": id.name, "version": id.version, "digest": published, "invariants": held, "holds": true,
            "signature": standing.word(), "signed_by": standing.key_id()
        })),
        Output::Text => {
            let held = held.map_or_else(
                || "not looked at: `tpl verify` does so on the hypervisor itself".to_owned(),
                |held| held.join(", "),
            );
            ui::data(&format!("{id} is as it was sealed\n  digest {published}\n  signed {standing}\n  holds  {held}\n"))
        }
    }
}

/// The invariants of a sealed system that its volume has.
fn held(world: World<'_>, template: &Template) -> Result<Vec<String>> {
    let id = template.manifest.id();
    let line = StageLine::begin("invariants");
    let path = world.storage.path_of(&id.domain())?;
    let appliance = (world.appliance)(kvm::accelerator_of(&template.domain.xml)?);
    let held = invariants(appliance, Path::new(&path), &line).with_context(|| format!("verifying {id}"))?;
    line.done();
    Ok(held)
}

/// That the bytes of a version's volume are those that were sealed.
///
/// # Errors
/// They are others, or cannot be read.
pub(super) fn ensure_intact(world: World<'_>, manifest: &Manifest, digest: &str) -> Result<()> {
    let id = manifest.id();
    let line = StageLine::begin("digest");
    let found = world.bytes.digest(&id.domain(), manifest.virtual_size.0, &line).with_context(|| format!("digesting {id}"))?;
    line.done();
    let found = hex(&found.content_digest());
    if found != digest {
        bail!("{id} is damaged: its content digest is {found}, and was {digest} when it was sealed");
    }
    Ok(())
}
