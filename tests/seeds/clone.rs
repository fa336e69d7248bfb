//! A clone with wishes, and the documents of its seed.

use std::fs;

use serde::Deserialize;
use tpl::{
    core::{
        extra_disks::seed_disks,
        guest::Guest,
        secret::Secret,
        seed::{CardAddress, CardConfig, Seed},
        vm_spec::{DomainName, ExtraDisk, GuestSpec, SeedWay},
    },
    host::guest_files::resolve,
};
use uuid::Uuid;

pub const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
pub const HASH: &str = "$5$salt$Gcm6FsVtF/Qa77ZKD.iwsJlCVPY0XSMgLJL0Hnww/c1";
pub const PRIVATE: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk=\n-----END OPENSSH PRIVATE KEY-----\n";
const UUID: Uuid = Uuid::from_u128(0x0a1b_2c3d_4e5f_4071_8293_a4b5_c6d7_e8f9);

pub struct Wishes {
    guest: Guest,
    disks: Vec<ExtraDisk>,
    cards: Vec<CardConfig>,
    domain: Option<DomainName>,
    way: SeedWay,
}

#[derive(Deserialize)]
struct Disks {
    disks: Vec<ExtraDisk>,
}

impl Wishes {
    /// Those of a `GuestSpec` in TOML.
    pub fn new(spec: &str) -> Self {
        Self::beside(spec, &[])
    }

    /// The same, with files beside it.
    pub fn beside(spec: &str, files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
        }
        let spec: GuestSpec = toml::from_str(spec).unwrap();
        Self {
            guest: resolve(&spec, folder.path()).unwrap(),
            disks: Vec::new(),
            cards: Vec::new(),
            domain: None,
            way: SeedWay::Volume,
        }
    }

    /// One of everything.
    pub fn full() -> Self {
        let spec = format!(
            r#"
user = "admin"
ssh_keys = ["{KEY} me"]
password_hash_file = "hash"
users = [{{ name = "bob", ssh_keys = ["{KEY}"], groups = ["adm", "video"], sudo = true, password_hash_file = "hash" }}]
packages = ["git", "vim"]
timezone = "Europe/Vienna"
locale = "en_US.UTF-8"
apt_mirror = "http://192.0.2.1/debian"
write_files = [{{ path = "/srv/x", content = "ä\n", mode = "0600", owner = "bob:adm" }}]
runcmd = ["true"]
"#
        );
        let mut wishes = Self::beside(&spec, &[("hash", HASH)]);
        let disks = r#"disks = [
            { size = "1G", fs = "ext4", label = "data", mount = "/srv", options = "noatime,nofail" },
            { size = "1G", fs = "xfs", mount = "/srv/www" },
            { size = "1G" },
        ]"#;
        wishes.disks = toml::from_str::<Disks>(disks).unwrap().disks;
        let fixed = |mac: &str, address: &str, prefix, gateway: &str| CardConfig {
            address: CardAddress::Static { address: address.parse().unwrap(), prefix, gateway: Some(gateway.parse().unwrap()) },
            ..CardConfig::dhcp(mac.parse().unwrap())
        };
        wishes.cards = vec![
            CardConfig {
                nameservers: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
                search: vec!["lab.example".parse().unwrap()],
                ..fixed("52:54:00:00:00:01", "192.0.2.10", 24, "192.0.2.1")
            },
            fixed("52:54:00:00:00:02", "2001:db8::10", 64, "fe80::1"),
            CardConfig::dhcp("52:54:00:00:00:03".parse().unwrap()),
        ];
        wishes.domain = Some("lab.example".parse().unwrap());
        wishes
    }

    /// The same with the seed from the metadata service.
    pub fn handed(self) -> Self {
        Self { way: SeedWay::Metadata, ..self }
    }

    pub fn user_data(&self) -> String {
        self.with_seed(|seed| seed.user_data().unwrap().expose().clone())
    }

    pub fn network_config(&self) -> String {
        self.with_seed(|seed| seed.network_config().unwrap())
    }

    fn with_seed(&self, document: impl Fn(&Seed<'_>) -> String) -> String {
        let (name, private) = ("web01".parse().unwrap(), Secret::new(PRIVATE.to_owned()));
        let disks = seed_disks(UUID, &self.disks);
        let public = format!("{KEY} root@web01");
        document(&Seed {
            name: &name,
            domain: self.domain.as_ref(),
            uuid: UUID,
            guest: &self.guest,
            cards: &self.cards,
            disks: &disks,
            host_key: (&private, &public),
            way: self.way,
        })
    }
}
