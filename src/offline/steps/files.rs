//! Files that the operator wants in the guest.

use anyhow::{Context as _, Result, anyhow};

use crate::{
    core::accounts::Accounts,
    offline::{File, Scene, Step, steps::users},
};

pub(super) const STEP: Step = Step { name: "files", run };

fn run(scene: &Scene<'_>) -> Result<()> {
    if scene.identity.files.is_empty() {
        return Ok(());
    }
    let accounts = Accounts::parse(&users::texts(scene)?);
    scene.identity.files.iter().try_for_each(|file| write(scene, &accounts, file).with_context(|| file.path.to_string()))
}

fn write(scene: &Scene<'_>, accounts: &Accounts, file: &File<'_>) -> Result<()> {
    let owner = file.owner.map_or(Ok((0, 0)), |owner| accounts.owner(owner)).map_err(|error| anyhow!(error))?;
    scene.put_as(file.path.as_str(), file.content, file.mode.unwrap_or(0o644), owner)
}
