//! The arguments of `tpl create-vm`.

use std::path::PathBuf;

use clap::Args;

use super::host::LoginArgs;
use crate::core::{
    machine_target::MachineTarget,
    names::{TemplateRef, UserName},
    units::Span,
    vm_spec::DomainName,
};

/// `tpl create-vm`.
#[derive(Debug, Args)]
pub struct CreateVmArgs {
    /// Where: a hypervisor of the configuration by its NAME, or USER@HOST, which is made one
    #[arg(long, value_name = "NAME|USER@HOST")]
    pub hypervisor: MachineTarget,
    /// Who logs in to the VM, by the operator's own keys
    #[arg(long, value_name = "NAME")]
    pub username: UserName,
    /// The domain of DNS that its name is in
    #[arg(long, value_name = "DOMAIN")]
    pub domain: DomainName,
    /// vCPUs
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=512), value_name = "N")]
    pub cpu: u32,
    /// Memory, in MiB
    #[arg(long, value_parser = clap::value_parser!(u32).range(64..=16_777_216), value_name = "MB")]
    pub ram: u32,
    /// The system disk, in GiB
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=65_536), value_name = "GB")]
    pub osdisk: u32,
    /// The disk that /var is moved to, in GiB
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=65_536), value_name = "GB")]
    pub datadisk: u32,
    /// The template, NAME or NAME@VERSION; where the hypervisor has it not, it is sent there from the one that is meant without --hypervisor [default: the configured one, or the only one]
    #[arg(long, value_name = "TEMPLATE", conflicts_with = "install")]
    pub template: Option<TemplateRef>,
    /// Instead of a template that is there: install the system once more by this pipeline, and copy it whole; on this machine alone
    #[arg(long, value_name = "PIPELINE")]
    pub install: Option<String>,
    /// Send a template that nobody has signed; never one whose signature is bad, or of a key that is not trusted
    #[arg(long)]
    pub allow_unsigned: bool,
    /// A file of public SSH keys that may log in; may be repeated [default: ~/.ssh/*.pub]
    #[arg(long = "ssh-key", value_name = "FILE")]
    pub ssh_keys: Vec<PathBuf>,
    /// The hypervisor is one already: do not look after it
    #[arg(long)]
    pub no_bootstrap: bool,
    /// How long the VM has to become ready, with /var on its disk
    #[arg(long, default_value = "20m", value_name = "TIME")]
    pub timeout: Span,
    /// How the hypervisor is logged in to.
    #[command(flatten)]
    pub login: LoginArgs,
    /// Print what would be done, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}
