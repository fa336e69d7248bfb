//! cloud-init's state and what it generated from the build's metadata; the same as `cloud-init clean --logs --configs network`.

use anyhow::Result;

use crate::{
    host::guest::Files,
    seal::{
        ops::{changed, destroy, merge, remove},
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

const FILES: [&str; 8] = [
    "/var/log/cloud-init*",
    // What NetworkManager is told beside the profile.
    "/etc/NetworkManager/conf.d/99-cloud-init.conf",
    "/etc/NetworkManager/conf.d/30-cloud-init-ip6-addr-gen-mode.conf",
    "/etc/systemd/network/50-cloud-init*",
    "/etc/netplan/50-cloud-init.yaml",
    "/etc/network/interfaces.d/50-cloud-init*",
    "/etc/NetworkManager/system-connections/cloud-init-*.nmconnection",
    "/etc/systemd/network/10-cloud-init-*.network",
];

fn run(files: &dyn Files) -> Result<Outcome> {
    Ok(merge([destroy(files, &SECRETS)?, remove(files, &FILES)?, scripts(files)?]))
}

/// The Red Hat family's and SUSE's interface files, which have no name of their own: cloud-init signs them.
fn scripts(files: &dyn Files) -> Result<Outcome> {
    let mut signed = Vec::new();
    for path in files.glob(&["/etc/sysconfig/network-scripts/*-*", "/etc/sysconfig/network/*-*"])? {
        let text = files.head(&path, 256)?.unwrap_or_default();
        if text.starts_with(b"# Created by cloud-init") {
            files.remove(&path)?;
            signed.push(path);
        }
    }
    Ok(changed(signed))
}
