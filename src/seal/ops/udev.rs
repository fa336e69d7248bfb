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

const FILES: [&str; 6] = [
    // cloud-init's is called `85-persistent-net-cloud-init.rules`.
    "/etc/udev/rules.d/*-persistent-net*.rules",
    // Written by the Red Hat family's installer for `net.ifnames.prefix=`, a card each.
    "/etc/systemd/network/71-net-ifnames-prefix-*",
    "/etc/udev/rules.d/*-persistent-cd.rules",
    "/etc/blkid.tab*",
    "/etc/blkid/blkid.tab*",
    "/var/run/blkid/blkid.tab*",
];

fn run(files: &dyn Files) -> Result<Outcome> {
    remove(files, &FILES)
}
