//! The arguments of `tpl metadata`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use crate::core::{
    imds::{instance::is_device, unit::STATE},
    names::UserName,
    quoted::quoted,
};

/// The metadata service.
#[derive(Debug, Subcommand)]
pub enum MetadataCommand {
    /// Answer guests at 169.254.169.254, until it is ended; its log, in JSON, goes to standard error
    Serve(ServeArgs),
    /// Let systemd run it, from now on and after each start of this host
    Install(InstallArgs),
    /// What answers: started by serve, and by nobody else
    #[command(hide = true)]
    Server,
}

/// `tpl metadata serve`.
#[derive(Debug, Clone, Args)]
pub struct ServeArgs {
    /// The libvirt networks whose guests are answered; with commas, or several times [default: the network of the configuration]
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub network: Vec<String>,
    /// Bridges of this host whose guests are answered
    #[arg(long, value_name = "BRIDGE", value_delimiter = ',', value_parser = device)]
    pub bridge: Vec<String>,
    /// The file with what domains are told that tpl has not made; read again on SIGHUP [default: /etc/tpl/metadata.toml, where it is there]
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Answer only with a token (IMDSv2); NoCloud, which knows none, is then for tpl's clones alone
    #[arg(long)]
    pub require_token: bool,
    /// How many hops answers go; 1 is the guest itself, 2 lets its containers have them too
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=64), value_name = "N")]
    pub hop_limit: u8,
    /// The port on 127.0.0.1 for /healthz and for Prometheus' /metrics
    #[arg(long, default_value_t = 9254, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    pub status_port: u16,
    /// Who answers guests, once root has bound the sockets [default: tpl-metadata where there is such a user, else nobody]
    #[arg(long, value_name = "USER")]
    pub user: Option<UserName>,
    /// Where it is written down what was handed out once
    #[arg(long, default_value = STATE, value_name = "FOLDER")]
    pub state: PathBuf,
}

/// `tpl metadata install`.
#[derive(Debug, Args)]
pub struct InstallArgs {
    /// What is to be served.
    #[command(flatten)]
    pub serve: ServeArgs,
    /// Take it away again: the unit and its user; the configuration stays
    #[arg(long)]
    pub uninstall: bool,
    /// Print exactly what would be written and run, and change nothing
    #[arg(long)]
    pub dry_run: bool,
}

/// The name of a network device.
fn device(text: &str) -> Result<String, String> {
    if is_device(text) { Ok(text.to_owned()) } else { Err(format!("{} is no name of a network device", quoted(text))) }
}
