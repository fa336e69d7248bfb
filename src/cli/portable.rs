//! The arguments around templates as files.

use std::path::PathBuf;

use clap::Args;

use crate::core::names::TemplateRef;

/// `tpl export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// NAME (the current version) or NAME@VERSION
    #[arg(value_name = "NAME[@VERSION]")]
    pub template: TemplateRef,
    /// The file for the volume, a .qcow2 or .raw.zst; its manifest goes beside it, .manifest.json behind the whole name
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Write over files that are there
    #[arg(long)]
    pub force: bool,
    /// Say what would be written and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `tpl import`.
#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The file that `tpl export` has written, a .qcow2 or .raw.zst, with its manifest beside it
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Take one that nobody has signed; never one whose signature is bad, or of a key that is not trusted
    #[arg(long)]
    pub allow_unsigned: bool,
    /// Check all but the bytes, say what would be done, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}
