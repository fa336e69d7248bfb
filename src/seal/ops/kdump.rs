//! The crash kernel's initramfs: made for the build's memory, disk and network, and made again by `kdump.service` where it is
//! missing.

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
    name: "kdump",
    summary: "removes the crash kernel's initramfs, which kdump makes again",
    families: &[Family::RedHat],
    default: true,
    run,
};

const FILES: [&str; 2] = ["/boot/initramfs-*kdump.img", "/var/lib/kdump/initramfs-*kdump.img"];

fn run(files: &dyn Files) -> Result<Outcome> {
    remove(files, &FILES)
}
