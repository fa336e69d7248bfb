//! The phase `sshd`.

use super::{Facts, Item, Probe, Wish};
use crate::core::error::Refusal;

/// What the machine is asked.
pub fn probes(_wish: &Wish) -> Vec<Probe> {
    Vec::new()
}

/// What is to be so.
///
/// # Errors
/// None yet.
pub fn items(_facts: &Facts, _wish: &Wish) -> Result<Vec<Item>, Refusal> {
    Ok(Vec::new())
}
