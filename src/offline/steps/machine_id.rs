//! The machine-id: the UUID of the clone's domain, which is also what systemd would make of an empty one.

use anyhow::Result;

use crate::{
    core::seed::machine_id,
    offline::{Scene, Step},
};

pub(super) const STEP: Step = Step { name: "machine-id", run };

const DBUS: &str = "/var/lib/dbus/machine-id";

fn run(scene: &Scene<'_>) -> Result<()> {
    scene.put("/etc/machine-id", format!("{}\n", machine_id(scene.identity.uuid)).as_bytes(), 0o444)?;
    // D-Bus's own is another identity; without D-Bus there is no such directory.
    if scene.exists("/var/lib/dbus")? && scene.guest.link_target(DBUS)?.is_none() {
        scene.guest.make_link(DBUS, "/etc/machine-id")?;
    }
    Ok(())
}
