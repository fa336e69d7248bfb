//! The arguments of the commands that make templates, and of those around them: sources, pipelines.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::core::{
    names::{TemplateName, UserName},
    source::{Age, Arch, Location},
    units::ByteSize,
    vm_spec::Label,
};

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
    /// /etc/tpl/metadata.toml
    Metadata,
}
