//! Users' own SSH keys and the hosts that they know. Not `authorized_keys`: see the operation of that name.

use anyhow::Result;

use crate::{
    host::guest::Files,
    seal::{
        ops::{destroy_paths, homes},
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

/// What is configuration, or an operation of its own, among the files in `.ssh`.
const KEPT: [&str; 5] = ["authorized_keys", "authorized_keys2", "config", "rc", "environment"];

fn run(files: &dyn Files) -> Result<Outcome> {
    let patterns = homes(files, &[".ssh/*"])?;
    let found = files.glob(&patterns.iter().map(String::as_str).collect::<Vec<_>>())?;
    // Keys have whatever names people gave them.
    let kept = |path: &String| path.rsplit('/').next().is_some_and(|name| KEPT.contains(&name) || name.starts_with("config."));
    destroy_paths(files, found.into_iter().filter(|path| !kept(path)).collect())
}
