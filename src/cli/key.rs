//! The arguments around signatures: keys, and who is trusted.

use clap::{Args, Subcommand};

use crate::core::names::TemplateRef;

/// `tpl key`.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Make the key that published versions are signed with, and print its public half
    Generate(KeyGenerateArgs),
    /// List the keys whose signatures count: one's own and the trusted ones
    List,
}

/// `tpl key generate`.
#[derive(Debug, Args)]
pub struct KeyGenerateArgs {
    /// Write over the key that is there: what it has signed can then be checked only by those who keep its public half
    #[arg(long)]
    pub force: bool,
    /// Say what would be written and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `tpl verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// NAME (the current version) or NAME@VERSION
    #[arg(value_name = "NAME[@VERSION]")]
    pub template: TemplateRef,
    /// Refuse a version without a good signature of a trusted key
    #[arg(long)]
    pub require_signature: bool,
}
