//! Users' cron and at jobs. Off by default: a job in a template is there on purpose as a rule.

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
    Operation { name: "cron-spool", summary: "removes users' cron and at jobs", families: &[], default: false, run };

const FILES: [&str; 4] = ["/var/spool/cron/*", "/var/spool/cron/crontabs/*", "/var/spool/at/*", "/var/spool/cron/atjobs/*"];

fn run(files: &dyn Files) -> Result<Outcome> {
    remove(files, &FILES)
}
