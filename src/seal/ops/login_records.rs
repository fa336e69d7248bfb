//! Records of logins and of processes (utmp, wtmp, btmp, lastlog, faillog, process accounting).

use anyhow::Result;

use crate::{
    host::guest::Files,
    seal::{
        ops::{empty, merge, remove},
        table::{Operation, Outcome},
    },
};

/// The operation.
pub const OPERATION: Operation =
    Operation { name: "login-records", summary: "empties records of logins and processes", families: &[], default: true, run };

const EMPTIED: [&str; 8] = [
    "/var/run/utmp",
    "/var/log/wtmp",
    "/var/log/btmp",
    "/var/log/lastlog",
    "/var/log/faillog",
    "/var/log/tallylog",
    "/var/account/pacct",
    "/var/log/account/pacct",
];

const FILES: [&str; 10] = [
    "/var/lib/wtmpdb/*",
    "/var/lib/lastlog/*",
    "/var/run/faillock/*",
    "/var/run/console/*",
    "/var/run/sepermit/*",
    "/var/account/pacct[.-]*",
    // Fingerprints.
    "/var/lib/fprint/*",
    "/var/lib/logrotate.status",
    "/var/lib/logrotate/*status*",
    "/var/lib/AccountsService/users/*",
];

fn run(files: &dyn Files) -> Result<Outcome> {
    Ok(merge([empty(files, &EMPTIED)?, remove(files, &FILES)?]))
}
