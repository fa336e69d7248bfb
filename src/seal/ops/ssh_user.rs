//! Users' own SSH keys and the hosts that they know. Not `authorized_keys`: see the operation of that name.

use anyhow::Result;

use crate::{
    host::guest::Files,
    seal::{
        ops::{destroy, homes},
        table::{Operation, Outcome},
    },
};

/// The operation.
pub const OPERATION: Operation = Operation {
    name: "ssh-user-keys",
    summary: "removes users' private SSH keys and known hosts",
    families: &[],
    default: true,
    run,
};

fn run(files: &dyn Files) -> Result<Outcome> {
    let patterns = homes(files, &[".ssh/id_*", ".ssh/known_hosts*"])?;
    destroy(files, &patterns.iter().map(String::as_str).collect::<Vec<_>>())
}
