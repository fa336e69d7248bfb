//! The command line: clap derives, nothing else. The texts here are `--help` and the man pages.

use std::{net::IpAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::core::{
    capacity::{CapPercent, Overcommit},
    names::{NamePattern, TemplateName, TemplateRef, UserName, VmName},
    numbers::Numbers,
    pipeline::{PlainText, Word},
    ready::Until,
    source::{Age, Arch, Location},
    units::{ByteSize, Span},
    vm_spec::{Addressing, DomainName, ExtraDisk, Firmware, GuestFile, GuestUser, IpChoice, Label, MacChoice, Topology},
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
    /// How many vCPUs may be promised for each logical CPU, as in 1.5 [default: 1.0]
    #[arg(long, global = true, env = "TPL_CPU_OVERCOMMIT", value_name = "FACTOR")]
    pub cpu_overcommit: Option<Overcommit>,
    /// How much of vCPUs, memory and pool may be promised, in percent [default: 90]
    #[arg(long, global = true, env = "TPL_CAP", value_name = "PERCENT")]
    pub cap: Option<CapPercent>,
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
    /// Install from this medium in the place of the pipeline's source; a file that is named here is taken as it is
    #[arg(long, conflicts_with_all = ["image", "resume"], value_name = "FILE|URL")]
    pub iso: Option<Location>,
    /// Take this disk image in the place of the pipeline's; a file that is named here is taken as it is
    #[arg(long, conflicts_with = "resume", value_name = "FILE|URL")]
    pub image: Option<Location>,
    /// The guest's architecture: amd64 or arm64 [default: the pipeline's]
    #[arg(long, value_name = "ARCH")]
    pub arch: Option<Arch>,
    /// The Debian mirror [default: the one in this machine's own APT configuration]
    #[arg(long, env = "TPL_DEBIAN_MIRROR", value_name = "URL")]
    pub mirror: Option<String>,
    /// Use only what the cache has: `tpl cache fetch` fills it
    #[arg(long)]
    pub offline: bool,
    /// The mirror of Debian's security archive that the installer is told, where --mirror names another mirror
    #[arg(long, env = "TPL_DEBIAN_SECURITY_MIRROR", value_name = "URL")]
    pub security_mirror: Option<String>,
    /// Go on when the mirror's signatures cannot be checked; the manifest records it, and the installer is told
    #[arg(long, env = "TPL_ALLOW_UNSIGNED", value_parser = clap::builder::BoolishValueParser::new(), num_args = 0..=1,
        default_missing_value = "true", default_value = "false", require_equals = true, hide_default_value = true, value_name = "BOOL")]
    pub allow_unsigned: bool,
}

/// `tpl adopt`.
#[derive(Debug, Args)]
pub struct AdoptArgs {
    /// The VM, as libvirt calls it: anybody's, but no template
    #[arg(value_name = "DOMAIN")]
    pub domain: String,
    /// The name of the template
    #[arg(long = "as", value_name = "NAME")]
    pub name: TemplateName,
    /// The user that the clones' operators log in as; clones get that user [default: the VM's own, where tpl made it; else the first one in its guest]
    #[arg(long, value_name = "NAME")]
    pub user: Option<UserName>,
    /// Which of several disks, by its target, as in vda; the template has no other
    #[arg(long, value_name = "TARGET")]
    pub disk: Option<Label>,
    /// Leave the disk as large as it is
    #[arg(long)]
    pub no_shrink: bool,
    /// A seal operation that is off by default; may be repeated. `tpl seal-ops` lists them
    #[arg(long, value_name = "OPERATION")]
    pub enable: Vec<String>,
    /// A seal operation to leave out; may be repeated
    #[arg(long, value_name = "OPERATION")]
    pub disable: Vec<String>,
    /// How many published versions stay
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..), value_name = "N")]
    pub keep: u16,
    /// vCPUs of clones [default: the VM's]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=512), value_name = "N")]
    pub vcpus: Option<u32>,
    /// Memory of clones [default: the VM's]
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<ByteSize>,
    /// Virtual size of the clones' system disks [default: the VM's]
    #[arg(long, value_name = "SIZE")]
    pub disk_size: Option<ByteSize>,
    /// Go on from where the last unfinished template of this name stopped
    #[arg(long, conflicts_with = "dry_run")]
    pub resume: bool,
    /// Keep what has been made when copying fails, to look into it
    #[arg(long)]
    pub keep_failed: bool,
    /// Print the plan and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `tpl clone`.
#[derive(Debug, Args)]
pub struct CloneArgs {
    /// The template, NAME or NAME@VERSION [default: the configured one, or the only one]
    #[arg(value_name = "TEMPLATE")]
    pub template: Option<TemplateRef>,
    /// How they are called.
    #[command(flatten)]
    pub names: NameArgs,
    /// Disks that stand on the template's volume: made at once, small [default]
    #[arg(long, conflicts_with = "full")]
    pub linked: bool,
    /// Disks that are whole copies
    #[arg(long)]
    pub full: bool,
    /// How large they are.
    #[command(flatten)]
    pub size: SizeArgs,
    /// Where they are on the network.
    #[command(flatten)]
    pub net: NetArgs,
    /// What their guests are told.
    #[command(flatten)]
    pub guest: GuestArgs,
    /// Start them with the hypervisor
    #[arg(long)]
    pub autostart: bool,
    /// What people read in virt-manager [default: "clone of TEMPLATE"]
    #[arg(long, value_name = "TEXT")]
    pub description: Option<PlainText>,
    /// Take a snapshot of this name of each, once it is ready
    #[arg(long, value_name = "NAME")]
    pub snapshot: Option<Label>,
    /// Define the VMs and do not start them
    #[arg(long, conflicts_with = "snapshot")]
    pub no_start: bool,
    /// How the work is done.
    #[command(flatten)]
    pub work: WorkArgs,
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

/// How the VMs of a call are called.
#[derive(Debug, Args)]
#[command(next_help_heading = "Names")]
pub struct NameArgs {
    /// How many
    #[arg(long, short = 'n', default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000), value_name = "N")]
    pub count: u16,
    /// Their names: web{} or web{:02} takes the lowest free numbers; without braces, one name [default: TEMPLATE-{}]
    #[arg(long, value_name = "PATTERN")]
    pub name: Option<NamePattern>,
    /// These numbers instead, as in 3,7-9; without braces in --name they go to its end
    #[arg(long, value_name = "NUMBERS")]
    pub numbers: Option<Numbers>,
    /// These names, with commas between them
    #[arg(long = "names", value_name = "NAMES", value_delimiter = ',', conflicts_with_all = ["name", "numbers"])]
    pub list: Vec<VmName>,
    /// Names of eight random letters
    #[arg(long = "random-names", conflicts_with_all = ["name", "numbers", "list"])]
    pub random: bool,
}

/// How large VMs are.
#[derive(Debug, Args)]
#[command(next_help_heading = "Size")]
pub struct SizeArgs {
    /// vCPUs of each [default: the template's]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=512), value_name = "N")]
    pub vcpus: Option<u32>,
    /// How the vCPUs are shown to the guest, sockets:cores:threads, as in 1:2:2
    #[arg(long, value_name = "S:C:T")]
    pub topology: Option<Topology>,
    /// Memory of each, as in 1536MiB [default: the template's]
    #[arg(long, value_name = "SIZE")]
    pub memory: Option<ByteSize>,
    /// Virtual size of each system disk, as in 20G; it grows, never shrinks [default: the template's]
    #[arg(long, value_name = "SIZE")]
    pub disk: Option<ByteSize>,
    /// A further disk, as in size=10G,fs=ext4,label=data,mount=/srv,options=noatime; `force` mounts it over what the template has there; may be repeated
    #[arg(long = "add-disk", value_name = "DISK")]
    pub add_disks: Vec<ExtraDisk>,
    /// The firmware that the template must have been built for: bios or uefi
    #[arg(long, value_name = "FIRMWARE")]
    pub firmware: Option<Firmware>,
    /// Make them although the hypervisor has no room, and why; the reason is kept in their metadata
    #[arg(long, value_name = "REASON", value_parser = reason)]
    pub force: Option<PlainText>,
}

/// Where VMs are on the network. The network itself is the global --network.
#[derive(Debug, Args)]
#[command(next_help_heading = "Network")]
pub struct NetArgs {
    /// A bridge of the hypervisor, instead of a libvirt network
    #[arg(long, value_name = "BRIDGE", conflicts_with = "network")]
    pub bridge: Option<Label>,
    /// Their IPv4 addresses, as in 192.168.122.50, 192.168.122.50-60, several with commas, or next [default: next, in a libvirt network with a DHCP server]
    #[arg(long, value_name = "ADDRESSES")]
    pub ip: Option<IpChoice>,
    /// How an address comes about: reserve (libvirt's DHCP server keeps it), static (written into the guest), dhcp (any server's)
    #[arg(long, value_name = "WAY")]
    pub addressing: Option<Addressing>,
    /// The length of the prefix of a static address [default: the libvirt network's]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=32))]
    pub prefix: Option<u8>,
    /// The router, for a static address [default: the libvirt network's]
    #[arg(long, value_name = "ADDRESS")]
    pub gateway: Option<IpAddr>,
    /// A name server; may be repeated [default: the libvirt network's]
    #[arg(long = "nameserver", value_name = "ADDRESS")]
    pub nameservers: Vec<IpAddr>,
    /// A domain in which the guest looks for short names, the first one its own; may be repeated
    #[arg(long, value_name = "DOMAIN")]
    pub search: Vec<DomainName>,
    /// MAC addresses: name (follows from the VM's name), ip (from its address), random, or a list with one for each card [default: name]
    #[arg(long, value_name = "MAC")]
    pub mac: Option<MacChoice>,
}

/// What guests are told.
#[derive(Debug, Args)]
#[command(next_help_heading = "Guest")]
pub struct GuestArgs {
    /// The user that operators log in as [default: the template's]
    #[arg(long, value_name = "NAME")]
    pub user: Option<UserName>,
    /// A file of public SSH keys that may log in; may be repeated [default: ~/.ssh/*.pub]
    #[arg(long = "ssh-key", value_name = "FILE")]
    pub ssh_keys: Vec<PathBuf>,
    /// A file with the crypt(3) hash of the user's password [default: none, no password opens]
    #[arg(long, value_name = "FILE")]
    pub password_hash_file: Option<PathBuf>,
    /// A further user, as in op,sudo,key=op.pub,group=adm,password-hash=op.hash; may be repeated
    #[arg(long = "add-user", value_name = "USER")]
    pub users: Vec<GuestUser>,
    /// A package to install at the first boot; may be repeated
    #[arg(long = "package", value_name = "NAME")]
    pub packages: Vec<Word>,
    /// The time zone, as in Europe/Vienna
    #[arg(long, value_name = "ZONE")]
    pub timezone: Option<Word>,
    /// The locale, as in en_US.UTF-8
    #[arg(long, value_name = "LOCALE")]
    pub locale: Option<Word>,
    /// Where the guest's apt finds packages
    #[arg(long, value_name = "URL")]
    pub apt_mirror: Option<Word>,
    /// A file of this machine that the guest gets, FILE:PATH or FILE:PATH:MODE; may be repeated
    #[arg(long = "write-file", value_name = "FILE:PATH")]
    pub write_files: Vec<GuestFile>,
    /// A command that the guest runs once, as root, at the end of its first boot; may be repeated
    #[arg(long, value_name = "COMMAND")]
    pub runcmd: Vec<String>,
    /// A file of cloud-init user-data, merged behind tpl's own
    #[arg(long, value_name = "FILE")]
    pub user_data: Option<PathBuf>,
}

/// How the work on several VMs is done.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Work")]
pub struct WorkArgs {
    /// What to wait for after the start: ssh (each answers with its own host key), cloud-init (it has finished), agent (the guest agent answers), tcp:PORT, none
    #[arg(long, default_value = "ssh", value_name = "UNTIL")]
    pub wait: Until,
    /// How long the VMs have to become ready, all together
    #[arg(long, default_value = "10m", value_name = "TIME")]
    pub timeout: Span,
    /// So many VMs at a time
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64), value_name = "N")]
    pub jobs: u16,
    /// A VM that fails is removed, and the others are made all the same; the exit code says so
    #[arg(long)]
    pub keep_going: bool,
    /// Write how long each stage of each VM took: CSV if the file ends in .csv, else JSON lines; `tpl timings` reads it
    #[arg(long, value_name = "FILE")]
    pub timings: Option<PathBuf>,
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
    #[arg(long, value_name = "REASON", value_parser = reason)]
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

/// `tpl cache`.
#[derive(Debug, Subcommand)]
pub enum CacheCommand {
    /// List what was downloaded: digest, size, how long it was not used, where it came from
    List,
    /// Download what builds of these pipelines need, checked as they would check it; then `tpl build --offline` finds it
    Fetch(CacheFetchArgs),
    /// Remove beginnings of downloads that nobody goes on with, and files that were not used for long; never what a build uses
    Prune(CachePruneArgs),
}

/// `tpl cache fetch`.
#[derive(Debug, Args)]
pub struct CacheFetchArgs {
    /// The pipelines, by NAME or FILE.toml [default: all]
    #[arg(value_name = "PIPELINE")]
    pub pipelines: Vec<String>,
    /// The Debian mirror [default: the one in this machine's own APT configuration]
    #[arg(long, env = "TPL_DEBIAN_MIRROR", value_name = "URL")]
    pub mirror: Option<String>,
    /// The guest's architecture: amd64 or arm64 [default: the pipeline's]
    #[arg(long, value_name = "ARCH")]
    pub arch: Option<Arch>,
    /// Go on when signatures cannot be checked
    #[arg(long, env = "TPL_ALLOW_UNSIGNED", value_parser = clap::builder::BoolishValueParser::new(), num_args = 0..=1,
        default_missing_value = "true", default_value = "false", require_equals = true, hide_default_value = true, value_name = "BOOL")]
    pub allow_unsigned: bool,
}

/// `tpl cache prune`.
#[derive(Debug, Args)]
pub struct CachePruneArgs {
    /// How long a file must not have been used, with h, d or w
    #[arg(long, default_value = "30d", value_name = "AGE")]
    pub older_than: Age,
    /// Say what would be removed and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// `tpl validate`.
#[derive(Debug, Args)]
pub struct ValidateArgs {
    /// Each a NAME or a FILE.toml, as for `tpl build` [default: all that would be found by name]
    #[arg(value_name = "PIPELINE")]
    pub pipelines: Vec<String>,
    /// Write into DIR/NAME what would be used: the pipeline, the answers as the installer gets them, its kernel's arguments, its
    /// VM and its source
    #[arg(long, value_name = "DIR")]
    pub render: Option<PathBuf>,
    /// The guest's architecture: amd64 or arm64 [default: the pipeline's]
    #[arg(long, value_name = "ARCH")]
    pub arch: Option<Arch>,
}

/// `tpl schema`.
#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// Whose schema
    #[arg(value_enum, default_value_t = Schema::Pipeline)]
    pub what: Schema,
}

/// The files that have a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Schema {
    /// pipelines/NAME.toml
    Pipeline,
    /// fleets/NAME.toml
    Fleet,
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

fn reason(text: &str) -> Result<PlainText, String> {
    if text.trim().is_empty() {
        return Err("say why: the reason is kept with the VMs".to_owned());
    }
    text.parse()
}

fn exact_version(text: &str) -> Result<TemplateRef, String> {
    let reference: TemplateRef = text.parse()?;
    match reference.version {
        Some(_) => Ok(reference),
        None => Err(format!("name the version too, as in {text}@20261121-031000; `tpl list` shows them")),
    }
}
