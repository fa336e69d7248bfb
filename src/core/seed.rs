//! The documents of a NoCloud seed: how a clone learns who it is without anybody opening its disk.
//!
//! The format is cloud-init's: <https://docs.cloud-init.io/en/latest/reference/datasources/nocloud.html>.

use anyhow::{Context as _, Result};
use serde::Serialize;
use uuid::Uuid;

use super::{
    mac::Mac,
    names::{UserName, VmName},
    secret::Secret,
    ssh_key::PublicKey,
};

/// What a clone is told about itself.
#[derive(Debug)]
pub struct Seed<'a> {
    /// Its hostname.
    pub name: &'a VmName,
    /// The UUID of its domain: another one is another instance to cloud-init, which then does its work again.
    pub uuid: Uuid,
    /// Who may log in; none, if the template has its own users.
    pub user: Option<SeedUser<'a>>,
    /// The MACs of its network cards, in order.
    pub macs: &'a [Mac],
    /// Its SSH host key, made outside: private half in OpenSSH's PEM form, public half as one line.
    pub host_key: (&'a Secret<String>, &'a str),
}

/// The one user of a clone: may do everything by sudo, logs in by key, has no password.
#[derive(Debug)]
pub struct SeedUser<'a> {
    /// The user's name.
    pub name: &'a UserName,
    /// Whose keys open the door.
    pub keys: &'a [PublicKey],
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

#[derive(Serialize)]
struct UserData<'a> {
    hostname: &'a str,
    // The name alone is the hostname; the domain comes from DNS.
    prefer_fqdn_over_hostname: bool,
    preserve_hostname: bool,
    users: Vec<User<'a>>,
    disable_root: bool,
    ssh_deletekeys: bool,
    ssh_keys: HostKeys<'a>,
    growpart: GrowPart,
}

#[derive(Serialize)]
struct User<'a> {
    name: &'a str,
    sudo: &'static str,
    shell: &'static str,
    lock_passwd: bool,
    ssh_authorized_keys: Vec<String>,
}

impl<'a> User<'a> {
    fn of(user: &SeedUser<'a>) -> Self {
        Self {
            name: user.name.as_str(),
            sudo: "ALL=(ALL) NOPASSWD:ALL",
            shell: "/bin/bash",
            lock_passwd: true,
            ssh_authorized_keys: user.keys.iter().map(ToString::to_string).collect(),
        }
    }
}

#[derive(Serialize)]
struct HostKeys<'a> {
    ed25519_private: &'a str,
    ed25519_public: &'a str,
}

#[derive(Serialize)]
struct GrowPart {
    mode: &'static str,
    devices: [&'static str; 1],
}

#[derive(Serialize)]
struct NetworkConfig {
    version: u8,
    config: Vec<Card>,
}

#[derive(Serialize)]
struct Card {
    #[serde(rename = "type")]
    kind: &'static str,
    name: String,
    mac_address: String,
    subnets: [Subnet; 1],
}

#[derive(Serialize)]
struct Subnet {
    #[serde(rename = "type")]
    kind: &'static str,
}

impl Seed<'_> {
    /// The document `network-config`: DHCP for IPv4 on each card; IPv6 comes from router advertisements by itself. Without it
    /// cloud-init asks for DHCPv6 too, which fails, and takes the whole network unit along, where there is no client for it.
    ///
    /// # Errors
    /// The YAML writer's own.
    pub fn network_config(&self) -> Result<String> {
        let card = |(index, mac): (usize, &Mac)| Card {
            kind: "physical",
            name: format!("eth{index}"),
            mac_address: mac.to_string(),
            subnets: [Subnet { kind: "dhcp4" }],
        };
        let document = NetworkConfig { version: 1, config: self.macs.iter().enumerate().map(card).collect() };
        yaml(&document).with_context(|| format!("writing network-config of {}", self.name))
    }

    /// The document `meta-data`.
    ///
    /// # Errors
    /// The YAML writer's own.
    pub fn meta_data(&self) -> Result<String> {
        let document = MetaData { instance_id: self.uuid.to_string(), local_hostname: self.name.as_str() };
        yaml(&document).with_context(|| format!("writing meta-data of {}", self.name))
    }

    /// The document `user-data`. Secret: it holds the private host key.
    ///
    /// # Errors
    /// The YAML writer's own.
    pub fn user_data(&self) -> Result<Secret<String>> {
        let (private, public) = self.host_key;
        let document = UserData {
            hostname: self.name.as_str(),
            prefer_fqdn_over_hostname: false,
            preserve_hostname: false,
            users: self.user.iter().map(User::of).collect(),
            disable_root: true,
            ssh_deletekeys: true,
            ssh_keys: HostKeys { ed25519_private: private.expose(), ed25519_public: public },
            growpart: GrowPart { mode: "auto", devices: ["/"] },
        };
        let yaml = yaml(&document).with_context(|| format!("writing user-data of {}", self.name))?;
        Ok(Secret::new(format!("#cloud-config\n{yaml}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
    const UUID: Uuid = Uuid::from_u128(0x0a1b_2c3d_4e5f_4071_8293_a4b5_c6d7_e8f9);

    #[test]
    fn documents() {
        let (name, user) = ("web01".parse().unwrap(), "yes".parse().unwrap());
        let keys = [format!("{KEY} 1:30 # no").parse().unwrap()];
        let private = Secret::new("-----BEGIN-----\nx=\n-----END-----\n".to_owned());
        let user = Some(SeedUser { name: &user, keys: &keys });
        let macs = ["52:54:00:00:00:01".parse().unwrap(), "52:54:00:00:00:02".parse().unwrap()];
        let seed = Seed { name: &name, uuid: UUID, user, macs: &macs, host_key: (&private, &format!("{KEY} root@web01")) };
        assert_eq!(seed.meta_data().unwrap(), "instance-id: 0a1b2c3d-4e5f-4071-8293-a4b5c6d7e8f9\nlocal-hostname: web01\n");
        let expected = format!(
            "\
#cloud-config
hostname: web01
prefer_fqdn_over_hostname: false
preserve_hostname: false
users:
- name: \"yes\"
  sudo: ALL=(ALL) NOPASSWD:ALL
  shell: /bin/bash
  lock_passwd: true
  ssh_authorized_keys:
  - \"{KEY} 1:30 # no\"
disable_root: true
ssh_deletekeys: true
ssh_keys:
  ed25519_private: |
    -----BEGIN-----
    x=
    -----END-----
  ed25519_public: {KEY} root@web01
growpart:
  mode: auto
  devices:
  - /
"
        );
        assert_eq!(*seed.user_data().unwrap().expose(), expected);
        let card = |index: u8, name: &str| {
            format!("- type: physical\n  name: {name}\n  mac_address: 52:54:00:00:00:0{index}\n  subnets:\n  - type: dhcp4\n")
        };
        let expected = format!("version: 1\nconfig:\n{}{}", card(1, "eth0"), card(2, "eth1"));
        assert_eq!(seed.network_config().unwrap().replace('"', ""), expected);
        assert!(!format!("{seed:?}").contains("BEGIN"));
        assert_eq!(machine_id(UUID), "0a1b2c3d4e5f40718293a4b5c6d7e8f9");
    }

    #[test]
    fn a_template_may_have_its_own_users() {
        let name = "1e3".parse().unwrap();
        let seed = Seed { name: &name, uuid: UUID, user: None, macs: &[], host_key: (&Secret::new(String::new()), KEY) };
        let user_data = seed.user_data().unwrap();
        let lines: Vec<_> = user_data.expose().lines().take(6).collect();
        assert_eq!(
            lines,
            [
                "#cloud-config",
                "hostname: \"1e3\"",
                "prefer_fqdn_over_hostname: false",
                "preserve_hostname: false",
                "users: []",
                "disable_root: true"
            ]
        );
    }
}
