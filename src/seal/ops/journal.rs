//! The journal. Its folder is named after the old machine-id, so nothing would ever rotate it away.

use anyhow::Result;

use crate::{
    host::guest::Files,
    seal::{
        ops::remove,
        table::{Operation, Outcome},
    },
};

/// The operation.
pub const OPERATION: Operation =
    Operation { name: "journal", summary: "removes the systemd journal", families: &[], default: true, run };

const FILES: [&str; 2] = ["/var/log/journal/*", "/run/log/journal/*"];

fn run(files: &dyn Files) -> Result<Outcome> {
    remove(files, &FILES)
}
