//! When timers, anacron and apt last did something. With the build's times a clone that is made weeks later does it all at its
//! first boot, and all clones at once; without, each begins to count when it first boots.

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
    Operation { name: "timers", summary: "removes the times at which timers last ran", families: &[], default: true, run };

const FILES: [&str; 4] =
    ["/var/lib/systemd/timers/*", "/var/spool/anacron/cron.*", "/var/spool/cron/lastrun/cron.*", "/var/lib/apt/periodic/*"];

fn run(files: &dyn Files) -> Result<Outcome> {
    remove(files, &FILES)
}
