//! The SSH host key. The only one: what answers is what the report and DNS have published.

use anyhow::Result;

use crate::offline::{Scene, Step};

pub(super) const STEP: Step = Step { name: "SSH host key", run };

const KEY: &str = "/etc/ssh/ssh_host_ed25519_key";
const PUBLIC: &str = "/etc/ssh/ssh_host_ed25519_key.pub";

fn run(scene: &Scene<'_>) -> Result<()> {
    let (private, public) = scene.identity.host_key;
    let others = scene.guest.glob(&["/etc/ssh/ssh_host_*"])?;
    others.iter().filter(|path| *path != KEY && *path != PUBLIC).try_for_each(|path| scene.guest.remove(path))?;
    scene.put(KEY, private.expose().as_bytes(), 0o600)?;
    scene.put(PUBLIC, format!("{}\n", public.trim_end()).as_bytes(), 0o644)
}
