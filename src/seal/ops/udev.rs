//! Persistent device names: they bind `eth0` to the template's MAC address.

use anyhow::Result;

use crate::{
    host::guest::Files,
    seal::{
        ops::remove,
        table::{Operation, Outcome},
    },
};

/// The operation.
pub const OPERATION: Operation = Operation {
    name: "udev",
    summary: "removes persistent names of network cards and drives, and blkid's cache",
    families: &[],
    default: true,
    run,
};

const FILES: [&str; 5] = [
    "/etc/udev/rules.d/*-persistent-net.rules",
    "/etc/udev/rules.d/*-persistent-cd.rules",
    "/etc/blkid.tab*",
    "/etc/blkid/blkid.tab*",
    "/var/run/blkid/blkid.tab*",
];

fn run(files: &dyn Files) -> Result<Outcome> {
    remove(files, &FILES)
}
