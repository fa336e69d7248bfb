//! The arguments around templates that go from one hypervisor to another.

use clap::Args;

use crate::core::{config::HypervisorName, names::TemplateRef};

/// `tpl push`.
#[derive(Debug, Args)]
pub struct PushArgs {
    /// NAME (the current version) or NAME@VERSION
    #[arg(value_name = "NAME[@VERSION]")]
    pub template: TemplateRef,
    /// The hypervisors to bring it to, by their names in the configuration, one after the other; what fails at one of them
    /// stops none of the others
    #[arg(long, required = true, value_delimiter = ',', value_name = "NAME,…")]
    pub to: Vec<HypervisorName>,
    /// Send one that nobody has signed; never one whose signature is bad, or of a key that is not trusted
    #[arg(long)]
    pub allow_unsigned: bool,
    /// Say what would be sent, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `tpl pull`.
#[derive(Debug, Args)]
pub struct PullArgs {
    /// NAME (the current version there) or NAME@VERSION
    #[arg(value_name = "NAME[@VERSION]")]
    pub template: TemplateRef,
    /// The hypervisor to bring it from, by its name in the configuration
    #[arg(long, value_name = "NAME")]
    pub from: HypervisorName,
    /// Take one that nobody has signed; never one whose signature is bad, or of a key that is not trusted
    #[arg(long)]
    pub allow_unsigned: bool,
    /// Say what would be sent, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}
