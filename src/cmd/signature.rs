//! Signing what is published, and judging what others have signed.

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

use crate::{
    cmd::world::World,
    core::{
        build_plan::suffix,
        config::Config,
        error::Refusal,
        hardware::Hardware,
        manifest::Manifest,
        portable::{MAX_NVRAM, unpadded},
        sha256::Sha256Digest,
        signing::{PublicKey, Standing, comment, content::signed_bytes, judge},
    },
    ui,
};

/// Signs a manifest that is about to be published, if there is a key; else says how to come to one.
///
/// # Errors
/// The key cannot be used.
pub fn sign(world: World<'_>, manifest: &mut Manifest) -> Result<()> {
    let signed = world.keys.sign(&signed_bytes(manifest), &comment(manifest));
    manifest.signature = signed.with_context(|| format!("signing {}", manifest.id()))?;
    if manifest.signature.is_none() {
        ui::note(&format!(
            "{} is not signed: `tpl key generate` makes a key, and what is published from then on is",
            manifest.id()
        ));
    }
    Ok(())
}

/// What a manifest's signature is worth to this operator.
///
/// # Errors
/// The trusted keys cannot be read.
pub fn standing(world: World<'_>, manifest: &Manifest) -> Result<Standing> {
    let trusted = world.keys.trusted().context("reading the trusted keys")?;
    let keys: Vec<PublicKey> = trusted.into_iter().map(|trusted| trusted.key).collect();
    Ok(judge(manifest, &keys))
}

/// The keys by one of which a template must be signed for clones to be made of it; none where the operator asks for no signature.
///
/// # Errors
/// The trusted keys cannot be read.
pub fn required_keys(world: World<'_>, config: &Config) -> Result<Option<Vec<PublicKey>>> {
    if !config.signing.required {
        return Ok(None);
    }
    let trusted = world.keys.trusted().context("reading the trusted keys")?;
    Ok(Some(trusted.into_iter().map(|trusted| trusted.key).collect()))
}

/// Refuses clones of a template that is not signed as is required.
///
/// # Errors
/// [`Refusal`].
pub fn ensure_cloneable(required: Option<&[PublicKey]>, manifest: &Manifest) -> Result<(), Refusal> {
    required.map_or(Ok(()), |keys| ensure_acceptable(&judge(manifest, keys), &manifest.id().to_string(), true))
}

/// Refuses a bad signature; and none, or one of a stranger, where one is asked for.
///
/// # Errors
/// [`Refusal`].
pub fn ensure_acceptable(standing: &Standing, what: &str, required: bool) -> Result<(), Refusal> {
    match standing {
        Standing::Bad(why) => Err(Refusal::new(format!("the signature of {what} is bad: it {why}"))
            .advise("its manifest has been changed since it was signed: do not use it, and ask where it came from")),
        Standing::Unsigned if required => {
            Err(Refusal::new(format!("{what} is not signed, and a signature is required"))
                .advise("docs/signing.md says who signs"))
        }
        Standing::Stranger(key) if required => {
            Err(Refusal::new(format!("{what} is signed by key {}, which is not trusted, and a signature is required", key.id()))
                .advise(format!("if it is to be trusted: trusted_keys = [\"{key}\"]; first ask its owner whether it is theirs")))
        }
        _ => Ok(()),
    }
}

/// The UEFI variables that a template's clones begin with; none where it has none of its own.
///
/// # Errors
/// They cannot be read.
pub fn variables(world: World<'_>, manifest: &Manifest) -> Result<Option<Vec<u8>>> {
    let volume = format!("{}{}", manifest.id().domain(), suffix::NVRAM);
    if !manifest.volumes.contains(&volume) || world.storage.volume(&volume)?.is_none() {
        return Ok(None);
    }
    let bytes = world.bytes.head(&volume, MAX_NVRAM)?;
    let known = manifest.hardware.as_ref().and_then(|hardware| hardware.nvram.as_ref());
    Ok(Some(match known {
        Some(known) => unpadded(bytes, known),
        None => bytes,
    }))
}

/// The machine that a sealed template depends on, read from its domain; none where tpl has no words for it.
///
/// # Errors
/// The hypervisor, or its UEFI variables, cannot be read.
pub fn hardware(world: World<'_>, manifest: &Manifest) -> Result<Option<Hardware>> {
    let nvram = variables(world, manifest)?.map(|bytes| Sha256Digest(Sha256::digest(bytes).into()));
    let name = manifest.id().domain();
    let domain = world.hypervisor.domain(&name)?.with_context(|| format!("domain {name} does not exist"))?;
    // A template of a machine that has no words here is as good as any, but cannot leave this hypervisor.
    Ok(Hardware::of(&domain.xml, nvram).ok())
}
