//! The arguments of `tpl host`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::core::{
    bootstrap::{Phase, record::GroupName},
    config::HypervisorName,
    machine_target::MachineTarget,
    quoted::quoted,
    units::Span,
    vm_spec::{DomainName, GuestPath},
};

/// Machines that become hypervisors.
#[derive(Debug, Subcommand)]
pub enum HostCommand {
    /// Make a hypervisor of a fresh Debian or Ubuntu that answers SSH; done again, it changes nothing
    Bootstrap(Box<BootstrapArgs>),
    /// Check that hypervisors are as they were made, and change nothing: exit code 0, or 3 where something has drifted
    Check(CheckArgs),
    /// Limit what all guests of a hypervisor together may take, and nothing else: 90 % of its CPUs and memory
    Cap(CapArgs),
}

/// `tpl host bootstrap`.
#[derive(Debug, Args)]
pub struct BootstrapArgs {
    /// USER@HOST or USER@HOST:PORT, or the name of a hypervisor that the configuration knows
    #[arg(value_name = "USER@HOST|NAME")]
    pub target: MachineTarget,
    /// What it is to be called, by itself and in tpl's configuration [default: as it was called before, or 8 random letters]
    #[arg(long, value_name = "NAME")]
    pub name: Option<HypervisorName>,
    /// The domain of DNS that it is in
    #[arg(long, value_name = "DOMAIN")]
    pub domain: Option<DomainName>,
    /// Make it forward its DNS to the router, by dnsmasq [default: as it was]
    #[arg(long, conflicts_with = "no_dns_forwarder")]
    pub dns_forwarder: bool,
    /// Make it forward no DNS any more
    #[arg(long)]
    pub no_dns_forwarder: bool,
    /// Its pool is this volume group, instead of a folder
    #[arg(long, value_name = "GROUP")]
    pub vg: Option<GroupName>,
    /// With --vg: the empty device that the group is made on where it is not there; one that carries anything is refused
    #[arg(long, value_parser = device, value_name = "DEVICE", requires = "vg")]
    pub pv: Option<GuestPath>,
    /// Start it again after the updates in any case, also under running guests [default: where updates need it, and no guest runs]
    #[arg(long, conflicts_with = "no_reboot")]
    pub reboot: bool,
    /// Do not start it again, even where updates need it
    #[arg(long)]
    pub no_reboot: bool,
    /// Only these phases: ssh, hostname, patch, dns, kvm, ceiling, register; with commas
    #[arg(long, value_name = "PHASES", value_delimiter = ',', conflicts_with = "skip")]
    pub only: Vec<Phase>,
    /// All phases but these
    #[arg(long, value_name = "PHASES", value_delimiter = ',')]
    pub skip: Vec<Phase>,
    /// The operator's public key that is to open it [default: the first of ~/.ssh/*.pub, an Ed25519 key before others]
    #[arg(long, value_name = "FILE")]
    pub ssh_key: Option<PathBuf>,
    /// How it is logged in to.
    #[command(flatten)]
    pub login: LoginArgs,
    /// Where every command and its exit code are written down [default: a file of this call in the user's state folder]
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    /// Ask nothing: what would be asked is confirmed, but for an unknown host key, which --host-key names
    #[arg(long, short = 'y')]
    pub yes: bool,
    /// Print exactly what would be written and run, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// How a machine is logged in to.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Login")]
pub struct LoginArgs {
    /// The fingerprint of the machine's host key, as in SHA256:…, where it is not known yet [default: shown, and confirmed at the terminal]
    #[arg(long, value_name = "FINGERPRINT")]
    pub host_key: Option<String>,
    /// A file with the user's password, for SSH where no key opens, and for sudo; for the owner's eyes alone [default: asked for at the terminal]
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
}

/// `tpl host check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The hypervisors, by their names in the configuration [default: all of them that are reached by SSH]
    #[arg(value_name = "NAME")]
    pub names: Vec<HypervisorName>,
    /// How long each has to answer
    #[arg(long, default_value = "2m", value_name = "TIME")]
    pub timeout: Span,
    /// How they are logged in to.
    #[command(flatten)]
    pub login: LoginArgs,
}

/// `tpl host cap`.
#[derive(Debug, Args)]
pub struct CapArgs {
    /// USER@HOST, or a hypervisor's name in the configuration [default: this machine]
    #[arg(value_name = "USER@HOST|NAME")]
    pub target: Option<MachineTarget>,
    /// How it is logged in to.
    #[command(flatten)]
    pub login: LoginArgs,
    /// Print exactly what would be written and run, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// A device's path: errors show it in commands that somebody may take from there.
fn device(text: &str) -> Result<GuestPath, String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._:+@-".contains(&byte);
    let no = || format!("{} is no path of a device: write it as /dev/vdb", quoted(text));
    if !text.starts_with("/dev/") || !text.bytes().all(plain) {
        return Err(no());
    }
    text.parse().map_err(|_| no())
}
