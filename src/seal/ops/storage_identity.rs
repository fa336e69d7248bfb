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
    summary: "removes the iSCSI initiator's and the NVMe host's name, and LVM's list of devices",
    families: &[],
    default: true,
    run,
};

const INITIATOR: &str = "/etc/iscsi/initiatorname.iscsi";
/// With it, open-iscsi on Debian makes a name at its next start. Reference: Debian's startup-checks.sh.
const GENERATE: &[u8] = b"GenerateName=yes\n";

fn run(files: &dyn Files) -> Result<Outcome> {
    // LVM's list names disks by serial or WWN, which a clone's disk has not; without it LVM looks at all disks.
    let names =
        remove(files, &["/etc/nvme/hostnqn", "/etc/nvme/hostid", "/etc/multipath/wwids", "/etc/lvm/devices/system.devices"])?;
    Ok(merge([names, initiator(files)?]))
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
