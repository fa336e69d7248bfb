//! cloud-init's state and what it generated from the build's metadata; the same as `cloud-init clean --logs --configs network`.

use anyhow::Result;

use crate::{
    host::guest::Files,
    seal::{
        ops::{destroy, merge, remove},
        table::{Operation, Outcome},
    },
};

/// The operation.
pub const OPERATION: Operation = Operation {
    name: "cloud-init",
    summary: "removes cloud-init's state, so that it runs anew on each clone",
    families: &[],
    default: true,
    run,
};

const SECRETS: [&str; 1] = ["/var/lib/cloud/*"];

const FILES: [&str; 5] = [
    "/var/log/cloud-init*",
    "/etc/netplan/50-cloud-init.yaml",
    "/etc/network/interfaces.d/50-cloud-init*",
    "/etc/NetworkManager/system-connections/cloud-init-*.nmconnection",
    "/etc/systemd/network/10-cloud-init-*.network",
];

fn run(files: &dyn Files) -> Result<Outcome> {
    Ok(merge([destroy(files, &SECRETS)?, remove(files, &FILES)?]))
}
