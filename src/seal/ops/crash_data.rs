//! Crash dumps and bug reports (kdump, systemd-coredump, pstore, abrt, apport).

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
    Operation { name: "crash-data", summary: "removes crash dumps and bug reports", families: &[], default: true, run };

const FILES: [&str; 6] = [
    "/var/crash/*",
    "/var/log/dump/*",
    "/var/lib/systemd/coredump/*",
    "/var/lib/systemd/pstore/*",
    "/var/spool/abrt/*",
    "/var/tmp/abrt/*",
];

fn run(files: &dyn Files) -> Result<Outcome> {
    remove(files, &FILES)
}
