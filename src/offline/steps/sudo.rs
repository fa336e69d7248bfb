//! Who may do everything by sudo.

use anyhow::Result;

use crate::{
    core::names::UserName,
    offline::{Scene, Step},
};

pub(super) const STEP: Step = Step { name: "sudo", run };

const DROP_IN: &str = "/etc/sudoers.d/90-tpl";

fn run(scene: &Scene<'_>) -> Result<()> {
    let names: Vec<_> = scene.identity.users.iter().filter(|user| user.sudo).map(|user| user.name).collect();
    if names.is_empty() {
        return scene.guest.remove(DROP_IN);
    }
    if !scene.exists("/etc/sudoers")? {
        scene.progress.note("the template has no sudo: nobody in its clones can become root by it");
        return Ok(());
    }
    scene.put(DROP_IN, rules(&names).as_bytes(), 0o440)
}

fn rules(names: &[&UserName]) -> String {
    names.iter().map(|name| format!("{name} ALL=(ALL) NOPASSWD:ALL\n")).collect()
}
