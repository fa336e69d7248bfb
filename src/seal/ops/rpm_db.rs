//! Berkeley DB's region files beside the RPM database: they belong to one running host.

use anyhow::Result;

use crate::{
    host::guest::Files,
    seal::{
        ops::remove,
        table::{Family, Operation, Outcome},
    },
};

/// The operation.
pub const OPERATION: Operation = Operation {
    name: "rpm-db",
    summary: "removes host-specific files of the RPM database",
    families: &[Family::RedHat, Family::Suse],
    default: true,
    run,
};

const FILES: [&str; 1] = ["/var/lib/rpm/__db.*"];

fn run(files: &dyn Files) -> Result<Outcome> {
    remove(files, &FILES)
}
