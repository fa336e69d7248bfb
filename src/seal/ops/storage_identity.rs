//! How the machine names itself to storage: iSCSI initiator, NVMe host. With shared names two clones log each other out.

use anyhow::Result;

use crate::{
    host::guest::Files,
    seal::{
        facts,
        ops::{changed, merge, remove},
        table::{Family, Operation, Outcome},
    },
};

/// The operation.
pub const OPERATION: Operation = Operation {
    name: "storage-identity",
    summary: "removes the iSCSI initiator's and the NVMe host's name, the host number, and LVM's list of devices",
    families: &[],
    default: true,
    run,
};

const FILES: [&str; 8] = [
    "/etc/nvme/hostnqn",
    "/etc/nvme/hostid",
    "/etc/multipath/wwids",
    "/etc/multipath/bindings",
    "/etc/lvm/devices/system.devices",
    "/etc/lvm/devices/backup/*",
    // Copies of a group's metadata as it was before shrinking; LVM makes one at its next change.
    "/etc/lvm/archive/*",
    "/etc/lvm/backup/*",
];

const INITIATOR: &str = "/etc/iscsi/initiatorname.iscsi";
/// With it, open-iscsi on Debian makes a name at its next start. Reference: Debian's startup-checks.sh.
const GENERATE: &[u8] = b"GenerateName=yes\n";

fn run(files: &dyn Files) -> Result<Outcome> {
    // LVM's list names disks by serial or WWN, which a clone's disk has not; without it LVM looks at all disks.
    let names = remove(files, &FILES)?;
    Ok(merge([names, initiator(files)?, host_id(files)?]))
}

/// gethostid(3)'s number. ZFS takes a pool of another number for another host's: where there are pools, it stays.
fn host_id(files: &dyn Files) -> Result<Outcome> {
    if files.stat("/etc/zfs/zpool.cache")?.is_some() { Ok(Outcome::Unchanged) } else { remove(files, &["/etc/hostid"]) }
}

fn initiator(files: &dyn Files) -> Result<Outcome> {
    // The others' service makes a name where the file is missing.
    if facts::operating_system(files)?.family() != Family::Debian {
        return remove(files, &[INITIATOR]);
    }
    match files.read(INITIATOR, super::TEXT_LIMIT)? {
        Some(text) if text != GENERATE => {
            files.write(INITIATOR, GENERATE)?;
            Ok(changed([INITIATOR.to_owned()]))
        }
        _ => Ok(Outcome::Unchanged),
    }
}
