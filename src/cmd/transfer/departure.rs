//! The source of a transfer. Its hypervisor may be somebody else's: all that it says is looked at as if it came in a file.

use anyhow::{Context as _, Result};

use super::{Side, Wish};
use crate::{
    cmd::{export::portable_manifest, signature, world::World},
    core::{
        build_plan::suffix,
        digest::{ChunkList, chunk_count, hex},
        error::Refusal,
        manifest::Manifest,
        portable::{self, Portable},
        progress::Progress,
        signing::Standing,
    },
    ui,
};

/// Longer than the chunk list of any disk that tpl makes: 2 TiB.
const MAX_LIST: u64 = 64 << 20;

/// A version that may be sent.
pub struct Departure {
    /// What goes along with its volume.
    pub portable: Portable,
    /// What its signature is worth.
    pub standing: Standing,
}

impl Departure {
    /// Finds the version, and makes sure that it may be taken elsewhere.
    pub fn of(from: Side<'_, '_>, wish: Wish<'_>) -> Result<Self> {
        let world = from.world;
        let inventory = world.inventory()?;
        let found =
            inventory.find(wish.template).with_context(|| format!("looking at the source, {}", from.config.hypervisor()))?;
        let manifest = &found.manifest;
        let id = manifest.id();
        manifest.ensure_published()?;
        manifest.ensure_pool(world.storage.pool())?;
        let standing = signature::standing(world, manifest)?;
        let waived = wish.allow_unsigned && !from.config.signing.required && standing == Standing::Unsigned;
        signature::ensure_acceptable(&standing, &id.to_string(), !waived)?;
        let nvram = signature::variables(world, manifest)?;
        let document = portable::write(&portable_manifest(world, manifest)?, nvram.as_deref()).context("writing the manifest")?;
        let portable = portable::parse(&document).map_err(|why| Refusal::new(format!("{id} cannot be sent: {why}")))?;
        Ok(Self { portable, standing })
    }
}

/// The chunk list that is kept with a version; none where there is none that fits its digest.
///
/// # Errors
/// It cannot be read.
pub fn kept_list(world: World<'_>, manifest: &Manifest) -> Result<Option<ChunkList>> {
    let volume = format!("{}{}", manifest.id().domain(), suffix::CHUNKS);
    let length = chunk_count(manifest.virtual_size.0).saturating_mul(32).saturating_add(16);
    if length > MAX_LIST || !manifest.volumes.contains(&volume) || world.storage.volume(&volume)?.is_none() {
        return Ok(None);
    }
    // In a logical pool it has zeros behind its end.
    let list = ChunkList::parse(&world.bytes.head(&volume, length)?).ok();
    Ok(list.filter(|list| list.virtual_size() == manifest.virtual_size.0 && Some(hex(&list.content_digest())) == manifest.digest))
}

/// The chunk list of a version that is to be sent: the one that is kept with it, or else what its volume has now.
///
/// # Errors
/// It cannot be read, or the volume is not what was published.
pub fn list(world: World<'_>, manifest: &Manifest, progress: &dyn Progress) -> Result<ChunkList> {
    if let Some(list) = kept_list(world, manifest)? {
        return Ok(list);
    }
    let id = manifest.id();
    ui::note(&format!("{id} has no chunk list: its volume is digested"));
    let list = world.bytes.digest(&id.domain(), manifest.virtual_size.0, progress)?;
    let found = hex(&list.content_digest());
    if Some(&found) != manifest.digest.as_ref() {
        let published = manifest.digest.as_deref().unwrap_or("none");
        anyhow::bail!("{id} is damaged: its content digest is {found}, and was {published} when it was published");
    }
    Ok(list)
}
