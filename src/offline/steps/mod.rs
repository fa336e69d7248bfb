//! The steps, one short file each. A step is registered in [`ALL`] and nowhere else.

mod disks;
mod files;
mod host_key;
mod hostname;
mod locale;
mod machine_id;
mod network;
mod resolver;
mod selinux;
mod sudo;
mod timezone;
mod users;

use super::Step;

/// All steps, in the order in which they run.
pub(super) const ALL: &[Step] = &[
    hostname::STEP,
    machine_id::STEP,
    host_key::STEP,
    users::STEP,
    sudo::STEP,
    network::STEP,
    resolver::STEP,
    timezone::STEP,
    locale::STEP,
    disks::STEP,
    // The owners of files may be users that were made above.
    files::STEP,
    // Sees what all others wrote.
    selinux::STEP,
];
