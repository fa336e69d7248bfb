//! The arguments of `tpl clone`.

use std::{net::IpAddr, path::PathBuf};

use clap::Args;

use crate::core::{
    names::{NamePattern, TemplateRef, UserName, VmName},
    numbers::Numbers,
    pipeline::{PlainText, Word},
    ready::Until,
    units::{ByteSize, Span},
    vm_spec::{Addressing, DomainName, ExtraDisk, Firmware, GuestFile, GuestUser, IpChoice, Label, MacChoice, SeedWay, Topology},
};

/// `tpl clone`.
#[derive(Debug, Args)]
pub struct CloneArgs {
    /// The template, NAME or NAME@VERSION [default: the configured one, or the only one]
    #[arg(value_name = "TEMPLATE")]
    pub template: Option<TemplateRef>,
    /// How they are called.
    #[command(flatten)]
    pub names: NameArgs,
    /// Disks that stand on the template's volume: made at once, small [default, but in a volume group without a thin pool]
    #[arg(long, conflicts_with = "full")]
    pub linked: bool,
    /// Disks that are whole copies
    #[arg(long)]
    pub full: bool,
    /// The room of each linked disk in a volume group without a thin pool, for what comes to differ from the template [default: a fifth of the disk, 1 GiB at least]
    #[arg(long, value_name = "SIZE", conflicts_with = "full")]
    pub snapshot_size: Option<ByteSize>,
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
    /// Where their cloud-init reads who they are: volume (a small one of their own) or metadata (from `tpl metadata serve` on their hypervisor; no volume is made) [default: volume]
    #[arg(long, value_name = "WAY")]
    pub seed: Option<SeedWay>,
    /// Define the VMs and do not start them
    #[arg(long, conflicts_with = "snapshot")]
    pub no_start: bool,
    /// With --on HV1,HV2: each VM goes to the hypervisor that has the largest share of its tightest axis left behind it [default]
    #[arg(long, conflicts_with = "pack")]
    pub spread: bool,
    /// With --on HV1,HV2: the fullest hypervisor that has room is filled first
    #[arg(long)]
    pub pack: bool,
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
    /// A further disk, as in size=10G,fs=ext4,label=data,mount=/srv,options=noatime; `force` mounts it over what the template has there, `move` takes that along (/home, /opt, /srv, /var); may be repeated
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
    /// What to wait for after the start: ssh (each answers with its own host key), cloud-init (it has finished), agent (the guest agent answers), tcp:PORT, phone-home (with --seed metadata: each has told the metadata service that its first boot has ended), none
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

pub(super) fn reason(text: &str) -> Result<PlainText, String> {
    if text.trim().is_empty() {
        return Err("say why: the reason is kept with the VMs".to_owned());
    }
    text.parse()
}
