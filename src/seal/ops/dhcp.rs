//! Leases and client identifiers of all DHCP clients, and leases of servers. A clone that asks for its template's lease gets it.

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
    Operation { name: "dhcp", summary: "removes DHCP leases and client identifiers", families: &[], default: true, run };

const FILES: [&str; 17] = [
    "/var/lib/dhclient/*",
    "/var/lib/dhcp/*",
    "/var/lib/dhcpcd/*",
    "/var/lib/dhcpcd5/*",
    "/var/db/dhcpcd/*",
    "/etc/dhcpcd.duid",
    // The key of stable-privacy addresses, and leases by connection.
    "/var/lib/NetworkManager/*lease*",
    "/var/lib/NetworkManager/secret_key",
    "/var/lib/NetworkManager/timestamps",
    "/var/lib/NetworkManager/seen-bssids",
    // The MAC addresses of cards whose profile somebody deleted.
    "/var/lib/NetworkManager/no-auto-default.state",
    "/var/lib/NetworkManager/secret_key-*",
    "/var/lib/systemd/network/*",
    "/var/lib/private/systemd/network/*",
    "/var/lib/wicked/*.xml",
    "/var/lib/dhcpd/*",
    "/var/lib/kea/*",
];

fn run(files: &dyn Files) -> Result<Outcome> {
    remove(files, &FILES)
}
