//! Which machine is meant, and how it is reached.

use anyhow::Result;

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
                let known = Self::each(global)?.into_iter().find(|known| same_place(&known.ssh, &ssh));
                Ok(match known {
                    Some(known) => Self { ssh: SshTarget { user: ssh.user, ..known.ssh }, ..known },
                    None => Self { name: login.to_string(), known: None, ssh, config: settings::load(global)? },
                })
            }
        }
    }

    /// All hypervisors of the configuration that are reached by SSH.
    ///
    /// # Errors
    /// The configuration cannot be read.
    pub fn each(global: &Global) -> Result<Vec<Self>> {
        let over_ssh = |config: Config| {
            let name = config.name.clone()?;
            match Transport::of(&config.uri) {
                Ok(Transport::Ssh(ssh)) => Some(Self { name: name.to_string(), known: Some(name), ssh, config }),
                _ => None,
            }
        };
        Ok(settings::load_each(global)?.into_iter().filter_map(over_ssh).collect())
    }

    fn named(configs: Vec<Config>, name: &HypervisorName) -> Result<Self> {
        let Some(config) = configs.into_iter().next() else {
            return Err(Invalid::argument(format!("{name} is no hypervisor of the configuration")).into());
        };
        match Transport::of(&config.uri)? {
            Transport::Ssh(ssh) => Ok(Self { name: name.to_string(), known: Some(name.clone()), ssh, config }),
            Transport::Local => {
                let message =
                    format!("{name} is this machine, and a machine is bootstrapped and checked over SSH\nname it by USER@HOST");
                Err(Invalid::argument(message).into())
            }
        }
    }

    /// Who logs in; none where SSH itself is to know.
    ///
    /// # Errors
    /// [`Invalid`]: a name that nobody can have on a Debian or Ubuntu.
    pub fn user(&self) -> Result<Option<UserName>> {
        let parsed = self.ssh.user.as_deref().map(|user| user.parse().map_err(Invalid::argument));
        Ok(parsed.transpose()?)
    }
}

/// Whether two ways lead to one machine, whoever logs in. By their words: an alias of SSH's may be a third.
fn same_place(one: &SshTarget, other: &SshTarget) -> bool {
    one.host == other.host && one.port.unwrap_or(22) == other.port.unwrap_or(22)
}
