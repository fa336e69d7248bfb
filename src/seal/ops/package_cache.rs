//! Downloads and lists of package managers: large, old when a clone is made, and made anew by the first update.

use anyhow::Result;

use crate::{
    host::guest::Files,
    seal::{
        ops::remove,
        table::{Operation, Outcome},
    },
};

/// The operation.
pub const OPERATION: Operation = Operation {
    name: "package-cache",
    summary: "removes package managers' downloads and lists, and caches",
    families: &[],
    default: true,
    run,
};

const FILES: [&str; 20] = [
    "/var/cache/apt/archives/*.deb",
    "/var/cache/apt/archives/partial/*",
    "/var/cache/apt/*.bin",
    // Not the lock and the folders, which apt wants.
    "/var/lib/apt/lists/*_*",
    "/var/lib/apt/lists/partial/*",
    "/var/lib/apt/lists/auxfiles/*",
    "/var/cache/dnf/*",
    "/var/cache/libdnf5/*",
    "/var/cache/yum/*",
    "/var/cache/PackageKit/*",
    "/var/cache/zypp/packages/*",
    "/var/cache/zypp/raw/*",
    "/var/cache/zypp/solv/*",
    "/var/cache/pacman/pkg/*",
    // Links to snaps, some of which are gone: removed, not overwritten.
    "/var/lib/snapd/cache/*",
    // What Ubuntu says of updates at login, as of the build.
    "/var/lib/update-notifier/*",
    "/var/lib/ubuntu-release-upgrader/*",
    // Made again from what is installed.
    "/var/cache/fontconfig/*",
    "/var/cache/gdm/*",
    "/var/cache/man/*",
];

fn run(files: &dyn Files) -> Result<Outcome> {
    remove(files, &FILES)
}
