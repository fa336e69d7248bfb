//! debconf's answers: `passwords.dat` holds what the installer asked for, and the old copies hold it too.

use anyhow::Result;

use crate::{
    host::guest::Files,
    seal::{
        ops::{blank, destroy, merge},
        table::{Family, Operation, Outcome},
    },
};

/// The operation.
pub const OPERATION: Operation = Operation {
    name: "debconf",
    summary: "empties debconf's password store and removes its old copies",
    families: &[Family::Debian],
    default: true,
    run,
};

fn run(files: &dyn Files) -> Result<Outcome> {
    let old = destroy(files, &["/var/cache/debconf/*-old", "/var/lib/cdebconf/*.dat"])?;
    // Emptied, not removed: its owner and mode are what keeps later passwords private.
    Ok(merge([old, blank(files, &["/var/cache/debconf/passwords.dat"])?]))
}
