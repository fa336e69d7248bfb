//! The keys that may log in. Off by default: in a template they are often there on purpose, and without cloud-init they
//! are the only way in.

use anyhow::Result;

use crate::{
    host::guest::Files,
    seal::{
        ops::{homes, remove},
        table::{Operation, Outcome},
    },
};

/// The operation.
pub const OPERATION: Operation = Operation {
    name: "ssh-authorized-keys",
    summary: "removes the SSH keys that may log in",
    families: &[],
    default: false,
    run,
};

fn run(files: &dyn Files) -> Result<Outcome> {
    let patterns = homes(files, &[".ssh/authorized_keys*"])?;
    remove(files, &patterns.iter().map(String::as_str).collect::<Vec<_>>())
}
