//! The command line: clap derives, nothing else. The texts here are `--help` and the man pages.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::core::{
    names::{NamePattern, TemplateName, TemplateRef, UserName, VmName},
    units::{ByteSize, Span},
};

/// A golden-template pipeline for plain libvirt/KVM hosts: installs a template VM unattended, shrinks and seals it, proves
/// that it boots, publishes it as an immutable version, and stamps out clones of it with identities of their own.
#[derive(Debug, Parser)]
#[command(
    name = "tpl",
    version,
    after_help = "Exit codes: 0 done · 1 failed · 2 usage · 3 refused · 4 failed, and the undo was incomplete"
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
/// `/etc/tpl/config.toml`.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// The libvirt connection [default: qemu:///system]
    #[arg(long, short = 'c', global = true, env = "TPL_URI", value_name = "URI")]
    pub connect: Option<String>,
    /// The storage pool for templates and clones [default: default]
    #[arg(long, global = true, env = "TPL_POOL", value_name = "POOL")]
    pub pool: Option<String>,
    /// The libvirt network for templates and clones [default: default]
    #[arg(long, global = true, env = "TPL_NETWORK", value_name = "NETWORK")]
    pub network: Option<String>,
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
    /// Make VMs from a template, each with an identity of its own
    Clone(CloneArgs),
    /// List the templates
    List,
    /// Show the manifest of a template
    Show(TemplateArgs),
    /// List the VMs that were made from templates
    Vms,
    /// Show what is promised to VMs, running or not: vCPUs, memory, pool space; and what is left below the cap
    Capacity,
    /// Check a template again: its digest, and each invariant of a sealed system
    Verify(TemplateArgs),
    /// Make a version the current one; also the way back
    Promote(VersionArgs),
    /// Remove a version of a template; refused while linked clones stand on it
    Rm(VersionArgs),
    /// Remove VMs that tpl made, with their disks
    Destroy(DestroyArgs),
    /// Remove what failed or killed runs have left
    Prune(PruneArgs),
    /// Check this host: tools, libvirt, KVM, pool, network, appliance; say what to do
    Doctor,
    /// List the seal operations: what each does, and whether it runs by default
    SealOps,
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

/// `tpl build`.
#[derive(Debug, Args)]
pub struct BuildArgs {
    /// The pipeline: a NAME, looked for as pipelines/NAME.toml here, in ~/.config/tpl, in /etc/tpl and among those built in; or
    /// a FILE.toml
    #[arg(value_name = "PIPELINE")]
    pub pipeline: String,
    /// Go on from where the last unfinished build of this template stopped
    #[arg(long, conflicts_with_all = ["if_changed", "dry_run"])]
    pub resume: bool,
    /// Do nothing if pipeline, answers and sources are those of the current version
    #[arg(long)]
    pub if_changed: bool,
    /// Print the plan and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Keep the VM of a failed installation, to look into it
    #[arg(long)]
    pub keep_failed: bool,
    /// The Debian mirror [default: the one in this machine's own APT configuration]
    #[arg(long, env = "TPL_DEBIAN_MIRROR", value_name = "URL")]
    pub mirror: Option<String>,
    /// The mirror of Debian's security archive that the installer is told, where --mirror names another mirror
    #[arg(long, env = "TPL_DEBIAN_SECURITY_MIRROR", value_name = "URL")]
    pub security_mirror: Option<String>,
    /// Go on when the mirror's signatures cannot be checked; the manifest records it, and the installer is told
    #[arg(long, env = "TPL_ALLOW_UNSIGNED", value_parser = clap::builder::BoolishValueParser::new(), num_args = 0..=1,
        default_missing_value = "true", default_value = "false", require_equals = true, hide_default_value = true, value_name = "BOOL")]
    pub allow_unsigned: bool,
}

/// `tpl clone`.
#[derive(Debug, Args)]
pub struct CloneArgs {
    /// The template, NAME or NAME@VERSION [default: the configured one, or the only one]
    #[arg(value_name = "TEMPLATE")]
    pub template: Option<TemplateRef>,
    /// How many
    #[arg(long, short = 'n', default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000), value_name = "N")]
    pub count: u16,
    /// Their names: web{} or web{:02} takes the lowest free numbers; without braces, one name [default: TEMPLATE-{}]
    #[arg(long, value_name = "PATTERN")]
    pub name: Option<NamePattern>,
    /// Disks that stand on the template's volume: made at once, small [default]
    #[arg(long, conflicts_with = "full")]
    pub linked: bool,
    /// Disks that are whole copies
    #[arg(long)]
    pub full: bool,
    /// vCPUs of each [default: the template's]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=512), value_name = "N")]
    pub vcpus: Option<u32>,
    /// Memory of each, as in 1536MiB [default: the template's]
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<ByteSize>,
    /// Virtual size of each system disk, as in 20G; it grows, never shrinks [default: the template's]
    #[arg(long, value_name = "SIZE")]
    pub disk: Option<ByteSize>,
    /// A file of public SSH keys that may log in; may be repeated [default: ~/.ssh/*.pub]
    #[arg(long = "ssh-key", value_name = "FILE")]
    pub ssh_keys: Vec<PathBuf>,
    /// The user that they log in as [default: the template's]
    #[arg(long, value_name = "NAME")]
    pub user: Option<UserName>,
    /// Define the VMs and do not start them
    #[arg(long)]
    pub no_start: bool,
    /// How long to wait after the start: until each answers SSH with its own host key, or not at all
    #[arg(long, value_enum, default_value_t = Wait::Ssh, value_name = "UNTIL")]
    pub wait: Wait,
    /// How long the VMs have to become ready, all together
    #[arg(long, default_value = "10m", value_name = "TIME")]
    pub timeout: Span,
    /// Keep VMs that did not become ready, to look into them
    #[arg(long)]
    pub keep_failed: bool,
    /// Append a verified line for each VM to this known_hosts file
    #[arg(long, value_name = "FILE")]
    pub known_hosts: Option<PathBuf>,
    /// Print the plan and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// What `tpl clone` waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Wait {
    /// Each VM answers SSH with the host key that was made for it.
    Ssh,
    /// Nothing.
    None,
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
    #[arg(value_name = "VM", required = true)]
    pub vms: Vec<VmName>,
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
