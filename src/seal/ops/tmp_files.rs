//! Temporary files. What is below `/run` on the disk was left by an installer: a running system has a tmpfs over it.

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
    Operation { name: "tmp-files", summary: "empties /tmp, /var/tmp, and /run on the disk", families: &[], default: true, run };

const FILES: [&str; 5] = ["/run/*", "/tmp/*", "/tmp/.[!.]*", "/var/tmp/*", "/var/tmp/.[!.]*"];

fn run(files: &dyn Files) -> Result<Outcome> {
    remove(files, &FILES)
}
