//! Temporary files.

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
    Operation { name: "tmp-files", summary: "empties /tmp and /var/tmp", families: &[], default: true, run };

const FILES: [&str; 4] = ["/tmp/*", "/tmp/.[!.]*", "/var/tmp/*", "/var/tmp/.[!.]*"];

fn run(files: &dyn Files) -> Result<Outcome> {
    remove(files, &FILES)
}
