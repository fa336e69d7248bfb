//! `tpl host`: machines become hypervisors, and stay so.

use anyhow::{Result, bail};

use crate::cli::{Global, HostCommand, Output};

/// Runs `tpl host`.
///
/// # Errors
/// The command's.
pub fn run(_global: &Global, _command: &HostCommand, _output: Output) -> Result<()> {
    bail!("not yet")
}
