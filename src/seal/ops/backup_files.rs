//! Backup files of editors: old versions of configuration, secrets among them.

use anyhow::Result;

use crate::{
    host::guest::Files,
    seal::{
        ops::destroy,
        table::{Operation, Outcome},
    },
};

/// The operation.
pub const OPERATION: Operation = Operation {
    name: "backup-files",
    summary: "removes editors' backup files below /etc and in homes",
    families: &[],
    default: true,
    run,
};

const SECRETS: [&str; 10] = [
    "/etc/*~",
    "/etc/*/*~",
    "/etc/*/*/*~",
    "/etc/*.bak",
    "/etc/*/*.bak",
    "/etc/*/*/*.bak",
    "/root/*~",
    "/home/*/*~",
    "/root/.*.sw[a-p]",
    "/home/*/.*.sw[a-p]",
];

fn run(files: &dyn Files) -> Result<Outcome> {
    destroy(files, &SECRETS)
}
