//! Local mail, and mail that waits to be sent: clones would all send it.

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
    Operation { name: "mail-spool", summary: "removes local mail and queued mail", families: &[], default: true, run };

const FILES: [&str; 10] = [
    "/var/mail/*",
    "/var/spool/mail/*",
    "/var/spool/mqueue/*",
    "/var/spool/exim4/input/*",
    "/var/spool/postfix/maildrop/*",
    "/var/spool/postfix/deferred/*/*",
    "/var/spool/postfix/incoming/*",
    "/var/spool/postfix/active/*",
    "/var/spool/postfix/hold/*",
    // Dovecot's parameters and its list of instances, which it makes again.
    "/var/lib/dovecot/*",
];

fn run(files: &dyn Files) -> Result<Outcome> {
    remove(files, &FILES)
}
