//! Files that are named by their paths: what they are is known before anything is made or fetched, in a dry run too.

use std::path::Path;

use anyhow::{Context as _, Result};

use crate::{
    core::{
        build_plan::BuildPlan,
        error::Invalid,
        medium::Installer,
        source::{Location, Request, Role},
    },
    host::{medium::Medium, unpack},
};

/// Looks at the files of this machine that a plan names.
///
/// # Errors
/// [`Invalid`] where one is not there; [`Refusal`](crate::core::error::Refusal) where nothing can be built from it.
pub(super) fn look(plan: &BuildPlan) -> Result<()> {
    let Some(Request::Files(request)) = plan.request() else { return Ok(()) };
    for (role, place) in &request.files {
        let Location::File(path) = place else { continue };
        if !path.is_file() {
            let message = format!("{}, {}, is not there, or is no plain file", role.as_str(), path.display());
            return Err(Invalid::argument(message).into());
        }
        match role {
            Role::Medium => drop(open_medium(plan, path)?),
            Role::Image => unpack::look(path)?,
            Role::Kernel | Role::Initrd => {}
        }
    }
    Ok(())
}

/// A medium, and the installer on it.
///
/// # Errors
/// [`Refusal`](crate::core::error::Refusal): there is none, or one that does not read the plan's answers. Else it cannot be read.
pub(super) fn open_medium(plan: &BuildPlan, path: &Path) -> Result<(Medium, Installer)> {
    let install = plan.installation().context("nothing is to be installed")?;
    let medium = Medium::open(path)?;
    let paths = (install.medium_paths.0.as_ref(), install.medium_paths.1.as_ref());
    // In the cache it has the name of its digest.
    let name = install.request.place(Role::Medium).map_or_else(|| path.display().to_string(), ToString::to_string);
    let installer = medium.installer(&name, install.answers.kind, plan.arch, paths)?;
    Ok((medium, installer))
}
