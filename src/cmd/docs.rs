//! `tpl completions` and `tpl man`: made from the same derives as `--help`, so that they cannot drift.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use clap::CommandFactory as _;

use crate::{cli::Cli, ui};

/// Runs `tpl completions`.
///
/// # Errors
/// stdout cannot be written to.
pub fn completions(shell: clap_complete::Shell) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "tpl", &mut script);
    ui::data(&String::from_utf8_lossy(&script))
}

/// Runs `tpl man`.
///
/// # Errors
/// The folder cannot be made or written to.
pub fn man(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
    clap_mangen::generate_to(Cli::command(), folder).with_context(|| format!("writing man pages into {}", folder.display()))?;
    ui::note(&format!("man pages written into {}", folder.display()));
    Ok(())
}
