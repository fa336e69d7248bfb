//! Old copies of the user database: they hold the hashes that the passwords operation takes out of the current one.

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
    Operation { name: "passwd-backups", summary: "removes old copies of the user database", families: &[], default: true, run };

const SECRETS: [&str; 13] = [
    "/etc/passwd-",
    "/etc/shadow-",
    "/etc/group-",
    "/etc/gshadow-",
    "/etc/subuid-",
    "/etc/subgid-",
    "/etc/passwd.OLD",
    "/etc/shadow.OLD",
    "/var/backups/passwd.bak",
    "/var/backups/shadow.bak",
    "/var/backups/group.bak",
    "/var/backups/gshadow.bak",
    "/etc/security/opasswd.old",
];

fn run(files: &dyn Files) -> Result<Outcome> {
    destroy(files, &SECRETS)
}
