//! Sealing a template: what must not be shared between machines is removed, the content is made small, and then it is
//! proved. One appliance launch does the first two, a second, read-only one the proof:
//!
//! ```text
//! open(overlay, ThrowAway) → Layout::mount_within → seal → facts → shrink → close → image::copy → image::digest
//! open(volume, ReadOnly)   → Layout::mount        → verify → close
//! ```

pub mod facts;
pub mod fstab;
mod geometry;
pub mod layout;
pub mod lvm;
pub mod ops;
pub mod partition;
pub mod probe;
pub mod shrink;
pub mod table;
pub mod verify;

#[cfg(test)]
mod fake;
#[cfg(test)]
mod fake_disks;

use anyhow::{Context as _, Result};

use crate::{core::progress::Progress, host::guest::Files};

pub use facts::{Facts, OperatingSystem, facts};
pub use layout::Layout;
pub use shrink::{Shrunk, keep, overlay_size, shrink};
pub use table::{Operation, Outcome, Selection, table};
pub use verify::{Invariant, verify};

/// What sealing did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sealed {
    /// Each operation that ran, in order, and what it changed.
    pub operations: Vec<(&'static str, Outcome)>,
}

/// Runs the selected operations on a mounted guest.
///
/// # Errors
/// An operation broke; it is named. What ran before it stays done: sealing again is safe.
pub fn seal(guest: &dyn Files, selection: &Selection, progress: &dyn Progress) -> Result<Sealed> {
    let family = facts::operating_system(guest)?.family();
    let mut operations = Vec::new();
    let selected = selection.for_family(family);
    for (done, operation) in selected.iter().enumerate() {
        progress.update(operation.name, u8::try_from(done * 100 / selected.len()).ok());
        let outcome = (operation.run)(guest).with_context(|| format!("sealing: {}", operation.name))?;
        operations.push((operation.name, outcome));
    }
    Ok(Sealed { operations })
}
