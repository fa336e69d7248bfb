//! The command line: clap derives, nothing else. The texts here are `--help` and the man pages.

mod build;
mod clone;
mod create_vm;
mod host;
mod key;
mod metadata;
mod portable;
mod push;
mod read;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::core::{
    capacity::{CapPercent, Overcommit},
    config::HypervisorName,
    names::{TemplateName, TemplateRef, VmName},
    pipeline::PlainText,
    units::Span,
};

pub use build::{AdoptArgs, BuildArgs, CacheCommand, CacheFetchArgs, CachePruneArgs, Schema, SchemaArgs, ValidateArgs};
pub use clone::{CloneArgs, GuestArgs, NameArgs, NetArgs, SizeArgs, WorkArgs};
pub use create_vm::CreateVmArgs;
pub use host::{BootstrapArgs, CapArgs, CheckArgs, HostCommand, LoginArgs};
pub use key::{KeyCommand, KeyGenerateArgs, VerifyArgs};
pub use metadata::{InstallArgs, MetadataCommand, ServeArgs};
pub use portable::{ExportArgs, ImportArgs};
pub use push::{PullArgs, PushArgs};

/// A golden-template pipeline for plain libvirt/KVM hosts: installs a template VM unattended, shrinks and seals it, proves
/// that it boots, publishes it as an immutable version, and stamps out clones of it with identities of their own.
#[derive(Debug, Parser)]
#[command(
    name = "tpl",
    version,
    after_help = "TPL_CONFIG=FILE: the configuration, instead of /etc/tpl/config.toml and ~/.config/tpl/config.toml\n\
                  Exit codes: 0 done · 1 failed · 2 usage · 3 refused · 4 failed, and the undo was incomplete"
)]
pub struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Command,
}

/// What holds for every command. Flags win over `TPL_*`, these over `~/.config/tpl/config.toml`, that over
/// `/etc/tpl/config.toml`; `TPL_CONFIG` names one file instead of both.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// The libvirt connection [default: qemu:///system]
    #[arg(long, short = 'c', global = true, env = "TPL_URI", value_name = "URI")]
    pub connect: Option<String>,
    /// The hypervisor, by its name in the configuration; instead of --connect. Several with commas: clone, destroy [default: the configuration's `hypervisor`]
    #[arg(long, global = true, env = "TPL_ON", value_name = "NAME", value_delimiter = ',')]
    pub on: Vec<HypervisorName>,
    /// The storage pool for templates and clones [default: default]
    #[arg(long, global = true, env = "TPL_POOL", value_name = "POOL")]
    pub pool: Option<String>,
    /// The libvirt network for templates and clones [default: default]
    #[arg(long, global = true, env = "TPL_NETWORK", value_name = "NETWORK")]
    pub network: Option<String>,
    /// How many vCPUs may be promised for each logical CPU, as in 1.5 [default: 1.0]
    #[arg(long, global = true, env = "TPL_CPU_OVERCOMMIT", value_name = "FACTOR")]
    pub cpu_overcommit: Option<Overcommit>,
    /// How much of vCPUs, memory and pool may be promised, in percent [default: 90]
    #[arg(long, global = true, env = "TPL_CAP", value_name = "PERCENT")]
    pub cap: Option<CapPercent>,
    /// How long a hypervisor that is another machine has to answer when it is connected to [default: 30s]
    #[arg(long, global = true, env = "TPL_CONNECT_TIMEOUT", value_name = "TIME")]
    pub connect_timeout: Option<Span>,
    /// How the result is printed: for people, or as one JSON document on stdout
    #[arg(long, global = true, value_enum, default_value_t = Output::Text, value_name = "FORMAT")]
    pub output: Output,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Text,
    /// One JSON document.
    Json,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Build a template: install, shrink, seal, verify, boot-test, publish
    Build(BuildArgs),
    /// Make a template of a VM's copy: the VM must be off, and is only read
    Adopt(AdoptArgs),
    /// Make VMs from a template, each with an identity of its own
    Clone(Box<CloneArgs>),
    /// Make a declared fleet so: make what is missing, start what is off
    Apply(ApplyArgs),
    /// List the templates
    List(AllArgs),
    /// Show the manifest of a template
    Show(TemplateArgs),
    /// List the VMs that were made from templates
    Vms(AllArgs),
    /// Show what is promised to VMs, running or not: vCPUs, memory, pool space; and what is left below the cap
    Capacity(AllArgs),
    /// Check a template again: its signature, its digest, and each invariant of a sealed system
    Verify(VerifyArgs),
    /// Make a version the current one; also the way back
    Promote(VersionArgs),
    /// Write a version into a file, with its manifest beside it, for a site without a connection
    Export(ExportArgs),
    /// Take a version from the files that `tpl export` has written, checked against the keys that are trusted
    Import(ImportArgs),
    /// Bring a version to other hypervisors: what differs from what is there is sent, read back, and only then published
    Push(PushArgs),
    /// Bring a version here from another hypervisor, in the same way
    Pull(PullArgs),
    /// Remove a version of a template; refused while linked clones stand on it
    Rm(VersionArgs),
    /// Remove VMs that tpl made, with their disks
    Destroy(DestroyArgs),
    /// Remove what failed or killed runs have left
    Prune(PruneArgs),
    /// A metadata service for the guests of this host, as clouds have it at 169.254.169.254
    #[command(subcommand)]
    Metadata(MetadataCommand),
    /// One command from a machine that answers SSH to a VM on it: bootstrap, template, a clone with /var on a disk of its own
    CreateVm(Box<CreateVmArgs>),
    /// Make hypervisors of fresh machines, and check that they still are as they were made
    #[command(subcommand)]
    Host(HostCommand),
    /// Make the key that published versions are signed with; list the keys that are trusted
    #[command(subcommand)]
    Key(KeyCommand),
    /// Show and fill the cache of downloads, and remove from it
    #[command(subcommand)]
    Cache(CacheCommand),
    /// Check this host: tools, libvirt, KVM, pool, network, appliance; say what to do
    Doctor,
    /// List the seal operations: what each does, and whether it runs by default
    SealOps,
    /// Check pipelines and their answer files without building anything: no hypervisor is asked, nothing is fetched
    Validate(ValidateArgs),
    /// Print the JSON Schema of a pipeline's file, or of a fleet's, for editors
    Schema(SchemaArgs),
    /// Say where the time went: each stage over all VMs, and the VMs that took longest
    Timings(TimingsArgs),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Write the man pages into a folder
    Man {
        /// The folder; made if it is not there
        folder: PathBuf,
    },
}

/// What is asked: one hypervisor, or each.
#[derive(Debug, Args)]
pub struct AllArgs {
    /// Ask every hypervisor of the configuration, and the default connection, all at once; one that does not answer is named
    #[arg(long)]
    pub all: bool,
    /// With --all: how long they have to answer
    #[arg(long, requires = "all", default_value = "15s", value_name = "TIME")]
    pub timeout: Span,
}

/// `tpl apply`.
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// The file that declares the fleet
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// How far to go; each stage includes those before it
    #[arg(long, value_enum, default_value_t = Stage::Wait, value_name = "STAGE")]
    pub stage: Stage,
    /// Make VMs although the hypervisor has no room, and why; the reason is kept in their metadata
    #[arg(long, value_name = "REASON", value_parser = clone::reason)]
    pub force: Option<PlainText>,
    /// Append a verified line for each VM to this known_hosts file
    #[arg(long, value_name = "FILE")]
    pub known_hosts: Option<PathBuf>,
    /// Print what differs and what would be done, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// How the work is done.
    #[command(flatten)]
    pub work: WorkArgs,
}

/// How far `tpl apply` goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum Stage {
    /// Check that all of it could be done; change nothing
    Preflight,
    /// Make what is missing; start nothing
    Create,
    /// Start what is off; wait for nothing
    Start,
    /// Wait until all that was started is ready
    Wait,
}

/// A template, in its current or a named version.
#[derive(Debug, Args)]
pub struct TemplateArgs {
    /// NAME (the current version) or NAME@VERSION
    #[arg(value_name = "NAME[@VERSION]")]
    pub template: TemplateRef,
}

/// One version of a template.
#[derive(Debug, Args)]
pub struct VersionArgs {
    /// NAME@VERSION
    #[arg(value_name = "NAME@VERSION", value_parser = exact_version)]
    pub template: TemplateRef,
    /// Say what would be done and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `tpl destroy`.
#[derive(Debug, Args)]
pub struct DestroyArgs {
    /// The VMs; each must carry tpl's metadata
    #[arg(value_name = "VM", required_unless_present = "fleet", conflicts_with = "fleet")]
    pub vms: Vec<VmName>,
    /// Those VMs instead that this fleet's file declares and that carry tpl's metadata; their disks stay
    #[arg(long, value_name = "FILE")]
    pub fleet: Option<PathBuf>,
    /// With --fleet: their disks go too, and what VMs of these names have left
    #[arg(long, conflicts_with = "vms")]
    pub disks: bool,
    /// With --fleet: so many VMs at a time
    #[arg(long, conflicts_with = "vms", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64), value_name = "N")]
    pub jobs: u16,
    /// With --fleet: write how long each VM took: CSV if the file ends in .csv, else JSON lines
    #[arg(long, conflicts_with = "vms", value_name = "FILE")]
    pub timings: Option<PathBuf>,
    /// Say what would be done and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `tpl prune`.
#[derive(Debug, Args)]
pub struct PruneArgs {
    /// Only this template's leftovers
    #[arg(long, value_name = "NAME")]
    pub template: Option<TemplateName>,
    /// Say what would be removed and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `tpl timings`.
#[derive(Debug, Args)]
pub struct TimingsArgs {
    /// What --timings has written: JSON lines or CSV
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// How many of the slowest VMs are shown
    #[arg(long, default_value_t = 10, value_name = "N")]
    pub slowest: u16,
}

fn exact_version(text: &str) -> Result<TemplateRef, String> {
    let reference: TemplateRef = text.parse()?;
    match reference.version {
        Some(_) => Ok(reference),
        None => Err(format!("name the version too, as in {text}@20261121-031000; `tpl list` shows them")),
    }
}
