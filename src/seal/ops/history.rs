//! What shells and other tools remember of what was typed, in every home.

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
    name: "shell-history",
    summary: "removes shell history and the like from every home",
    families: &[],
    default: true,
    run,
};

/// Below a home.
pub(in crate::seal) const PATTERNS: [&str; 6] =
    [".*_history", ".zhistory", ".histfile", ".local/share/fish/fish_history", ".lesshst", ".viminfo"];

fn run(files: &dyn Files) -> Result<Outcome> {
    destroy(files, &homes(files, &PATTERNS)?.iter().map(String::as_str).collect::<Vec<_>>())
}
