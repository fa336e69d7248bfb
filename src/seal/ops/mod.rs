//! The operations, one short file each.

use crate::seal::table::Operation;

/// All operations, in the order in which they run.
pub const ALL: &[Operation] = &[];
