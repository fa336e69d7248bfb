//! Saved firewall rules. Off by default: they are configuration, and without them a clone is open.

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
    Operation { name: "firewall-rules", summary: "removes saved firewall rules", families: &[], default: false, run };

const FILES: [&str; 6] = [
    "/etc/sysconfig/iptables",
    "/etc/sysconfig/ip6tables",
    "/etc/firewalld/services/*",
    "/etc/firewalld/zones/*",
    "/etc/ufw/user.rules",
    "/etc/ufw/user6.rules",
];

fn run(files: &dyn Files) -> Result<Outcome> {
    remove(files, &FILES)
}
