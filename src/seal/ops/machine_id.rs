//! The machine-id, in both of its places.

use anyhow::Result;

use crate::{
    host::guest::{FileKind, Files},
    seal::{
        ops::{changed, destroy, merge},
        table::{Operation, Outcome},
    },
};

/// The operation.
pub const OPERATION: Operation = Operation {
    name: "machine-id",
    summary: "empties the machine-id, so that each clone gets its own",
    families: &[],
    default: true,
    run,
};

const MACHINE_ID: &str = "/etc/machine-id";
const DBUS: &str = "/var/lib/dbus/machine-id";

fn run(files: &dyn Files) -> Result<Outcome> {
    // D-Bus's own goes: systemd takes it over into an empty machine-id. A link to the other one does no harm.
    let own = files.walk("/var/lib/dbus")?.iter().any(|entry| entry.path == DBUS && entry.stat.kind != FileKind::Symlink);
    let dbus = if own { destroy(files, &[DBUS])? } else { Outcome::Unchanged };
    // Empty, not deleted: systemd fills an empty one, from the VM's UUID, and takes a missing one on a read-only root for
    // a reason to stop.
    let Some(stat) = files.stat(MACHINE_ID)? else {
        return Ok(dbus);
    };
    if stat.size == 0 {
        return Ok(dbus);
    }
    files.write(MACHINE_ID, b"")?;
    Ok(merge([changed([MACHINE_ID.to_owned()]), dbus]))
}
