//! A version's way from one hypervisor to another: `tpl push`, `tpl pull`.
//!
//! ```text
//! departure             the manifest, its signature, the chunk list: nothing is touched
//! building          →   the domain is defined at the target; or one that was left there is taken over
//! volume                new, or a copy of the version there that is most like it, or the one that was left
//! bytes                 what differs is sent, and all of it is read back; as often as something differs, three times at most
//! chunks, variables
//! published         ←   commit: one metadata write
//! ```
//!
//! What breaks the connection, or interrupts this, leaves what has arrived: the same transfer goes on with it, for the bytes at the
//! target tell what is missing. Any other failure is undone.

mod arrival;
mod carry;
mod departure;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use crate::{
    cmd::world::World,
    core::{
        config::Config,
        names::{TemplateId, TemplateRef},
        signing::Standing,
        units::ByteSize,
    },
};
use arrival::Arrival;
pub use carry::{rate, seconds};
use departure::Departure;

/// One end of the way.
#[derive(Clone, Copy)]
pub struct Side<'w, 'c> {
    /// The hypervisor.
    pub world: World<'w>,
    /// The configuration for it.
    pub config: &'c Config,
}

/// What is to be sent, and how.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// The version.
    pub template: &'a TemplateRef,
    /// Take one that nobody has signed.
    pub allow_unsigned: bool,
    /// Change nothing.
    pub dry_run: bool,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The version.
    pub id: TemplateId,
    /// Its content digest.
    pub digest: String,
    /// Whether it was there already.
    pub unchanged: bool,
    /// Whether an interrupted transfer was gone on with.
    pub resumed: bool,
    /// The version at the target of which a copy was the beginning.
    pub base: Option<TemplateId>,
    /// The bytes that were sent; in a dry run the most that would be.
    pub sent: ByteSize,
    /// The bytes that a whole transfer would have sent at most.
    pub whole: ByteSize,
    /// The virtual size.
    pub size: ByteSize,
    /// Whether it is the current version at the target now.
    pub current: bool,
    /// Whose signature it has.
    pub standing: Standing,
    /// How long it took.
    pub took: Duration,
}

/// Brings one version from one hypervisor to another.
///
/// # Errors
/// [`crate::core::error::Refusal`]: it is not published, not signed as it must be, or something else has its name at the target.
/// [`crate::core::error::Cut`]: the connection broke; what has arrived stays. Any other failure is undone.
pub fn one(from: Side<'_, '_>, to: Side<'_, '_>, wish: Wish<'_>) -> Result<Outcome> {
    let began = Instant::now();
    let departure = Departure::of(from, wish)?;
    let id = departure.portable.manifest.id();
    let (source, target) = (from.world.hypervisor.name(), to.world.hypervisor.name());
    let arrived = Arrival::begin(from, to, departure, wish.dry_run);
    let outcome = arrived.with_context(|| format!("sending {id} from {source} to {target}"))?;
    Ok(Outcome { took: began.elapsed(), ..outcome })
}
