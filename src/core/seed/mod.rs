//! The documents of a NoCloud seed: how a clone learns who it is, and what it is to become, without anybody opening its disk.
//!
//! The format is cloud-init's: <https://docs.cloud-init.io/en/latest/reference/datasources/nocloud.html>.

pub mod commands;
mod disks;
pub mod handed;
pub(in crate::core) mod mime;
pub mod moving;
mod network;
mod user_data;

use anyhow::{Context as _, Result};
use serde::Serialize;
use uuid::Uuid;

use super::{
    guest::Guest,
    names::VmName,
    secret::Secret,
    vm_spec::{DomainName, SeedWay},
};
pub use disks::SeedDisk;
use handed::HandedSeed;
pub use network::{CardAddress, CardConfig};

/// What a clone is told about itself.
#[derive(Debug)]
pub struct Seed<'a> {
    /// Its hostname.
    pub name: &'a VmName,
    /// The domain of DNS that it is in.
    pub domain: Option<&'a DomainName>,
    /// The UUID of its domain: another one is another instance to cloud-init, which then does its work again.
    pub uuid: Uuid,
    /// What it is to become.
    pub guest: &'a Guest,
    /// Its network cards, in order.
    pub cards: &'a [CardConfig],
    /// Its disks besides the system disk.
    pub disks: &'a [SeedDisk],
    /// Its SSH host key, made outside: private half in OpenSSH's PEM form, public half as one line.
    pub host_key: (&'a Secret<String>, &'a str),
    /// Where it reads this.
    pub way: SeedWay,
}

/// The machine-id that systemd derives from the UUID of a KVM or QEMU guest when `/etc/machine-id` is empty.
pub fn machine_id(uuid: Uuid) -> String {
    uuid.simple().to_string()
}

fn yaml(document: &impl Serialize) -> Result<String> {
    // A key stays on its line: some of those who read the seed by eye or by grep expect it so.
    let options = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX };
    Ok(serde_saphyr::to_string_with_options(document, options)?)
}

#[derive(Serialize)]
struct MetaData<'a> {
    #[serde(rename = "instance-id")]
    instance_id: String,
    #[serde(rename = "local-hostname")]
    local_hostname: &'a str,
}

impl Seed<'_> {
    /// The document `network-config`.
    ///
    /// # Errors
    /// The YAML writer's own.
    pub fn network_config(&self) -> Result<String> {
        yaml(&network::document(self.cards)).with_context(|| format!("writing network-config of {}", self.name))
    }

    /// The document `meta-data`.
    ///
    /// # Errors
    /// The YAML writer's own.
    pub fn meta_data(&self) -> Result<String> {
        let document = MetaData { instance_id: self.uuid.to_string(), local_hostname: self.name.as_str() };
        yaml(&document).with_context(|| format!("writing meta-data of {}", self.name))
    }

    /// All of it, for the metadata service.
    ///
    /// # Errors
    /// The YAML writer's own.
    pub fn handed(&self) -> Result<HandedSeed> {
        Ok(HandedSeed {
            meta_data: self.meta_data()?,
            network_config: String::new(),
            user_data: self.user_data()?,
            public_keys: self.guest.keys.iter().map(ToString::to_string).collect(),
        })
    }

    /// The document `user-data`. Secret: it holds the private host key, and what the operator wants kept secret.
    ///
    /// # Errors
    /// The YAML writer's own.
    pub fn user_data(&self) -> Result<Secret<String>> {
        user_data::document(self).map(Secret::new).with_context(|| format!("writing user-data of {}", self.name))
    }
}

#[cfg(test)]
mod tests;
