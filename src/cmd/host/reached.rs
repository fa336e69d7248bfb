//! Which machine is meant, and how it is reached.

use anyhow::Result;

use super::connect::Place;
use crate::{
    cli::Global,
    cmd::settings,
    core::{
        config::{Config, HypervisorName},
        error::Invalid,
        machine_target::MachineTarget,
        names::UserName,
        transport::{SshTarget, Transport},
    },
};

/// A machine that is to become, or is, a hypervisor.
#[derive(Debug, Clone)]
pub struct Reached {
    /// What operators call it.
    pub name: String,
    /// What the configuration calls it, where it knows it.
    pub known: Option<HypervisorName>,
    /// How SSH reaches it.
    pub ssh: SshTarget,
    /// Who logs in.
    pub user: UserName,
    /// The configuration in force: of the hypervisor itself where it is known, else of this call.
    pub config: Config,
}

impl Reached {
    /// The machine that an operator names.
    ///
    /// # Errors
    /// [`Invalid`]: the configuration does not know it. [`Refusal`](crate::core::error::Refusal): it is not reached by SSH.
    pub fn of(global: &Global, target: &MachineTarget) -> Result<Self> {
        match target {
            MachineTarget::Named(name) => Self::named(settings::load_others(global, std::slice::from_ref(name))?, name),
            MachineTarget::Login(login) => {
                let ssh = login.ssh();
                let user = login.user.clone();
                let known = Self::each(global)?.into_iter().find(|known| same_place(&known.ssh, &ssh));
                Ok(match known {
                    Some(known) => Self { ssh: SshTarget { user: ssh.user, ..known.ssh }, user, ..known },
                    None => Self { name: login.to_string(), known: None, ssh, user, config: settings::load(global)? },
                })
            }
        }
    }

    /// All hypervisors of the configuration that are reached by SSH.
    ///
    /// # Errors
    /// The configuration cannot be read.
    pub fn each(global: &Global) -> Result<Vec<Self>> {
        let over_ssh = |config: &Config| matches!(Transport::of(&config.uri), Ok(Transport::Ssh(_)));
        let configs = settings::load_each(global)?.into_iter().filter(over_ssh);
        configs.filter_map(|config| Some(Self::known(config.name.clone()?, config))).collect()
    }

    fn named(configs: Vec<Config>, name: &HypervisorName) -> Result<Self> {
        let Some(config) = configs.into_iter().next() else {
            return Err(Invalid::argument(format!(
                "{name} is no hypervisor of the configuration\nname another machine by USER@HOST"
            ))
            .into());
        };
        Self::known(name.clone(), config)
    }

    fn known(name: HypervisorName, config: Config) -> Result<Self> {
        match Place::of_uri(name.as_str(), &config.uri)? {
            Place { transport: Transport::Ssh(ssh), user: Some(user), .. } => {
                Ok(Self { name: name.to_string(), known: Some(name), ssh, user, config })
            }
            _ => {
                let message =
                    format!("{name} is this machine, and a machine is bootstrapped and checked over SSH\nname it by USER@HOST");
                Err(Invalid::argument(message).into())
            }
        }
    }

    /// The same in the words of a login.
    pub fn place(&self) -> Place {
        Place { name: self.name.clone(), transport: Transport::Ssh(self.ssh.clone()), user: Some(self.user.clone()) }
    }
}

/// Whether two ways lead to one machine, whoever logs in. By their words: an alias of SSH's may be a third.
fn same_place(one: &SshTarget, other: &SshTarget) -> bool {
    one.host == other.host && one.port.unwrap_or(22) == other.port.unwrap_or(22)
}
