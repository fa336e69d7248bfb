//! SSH host keys. Each clone gets its own, from its seed or from sshd's first start.

use anyhow::Result;

use crate::{
    host::guest::Files,
    seal::{
        ops::destroy,
        table::{Operation, Outcome},
    },
};

/// The operation.
pub const OPERATION: Operation =
    Operation { name: "ssh-hostkeys", summary: "removes the SSH host keys", families: &[], default: true, run };

const SECRETS: [&str; 3] = ["/etc/ssh/*_host_*", "/etc/dropbear/dropbear_*_host_key", "/etc/dropbear/dropbear_*_host_key.*"];

fn run(files: &dyn Files) -> Result<Outcome> {
    destroy(files, &SECRETS)
}
