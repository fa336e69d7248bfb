use super::*;
use crate::core::{
    guest::{File, User, UserData},
    vm_spec::GuestSpec,
};

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
const UUID: Uuid = Uuid::from_u128(0x0a1b_2c3d_4e5f_4071_8293_a4b5_c6d7_e8f9);
const HASH: &str = "$5$salt$Gcm6FsVtF/Qa77ZKD.iwsJlCVPY0XSMgLJL0Hnww/c1";

fn private() -> Secret<String> {
    Secret::new("-----BEGIN-----\nx=\n-----END-----\n".to_owned())
}

/// The user-data of a clone called `name`.
fn user_data(name: &str, domain: Option<&str>, guest: &Guest, disks: &[SeedDisk]) -> String {
    let (name, domain) = (name.parse().unwrap(), domain.map(|domain| domain.parse().unwrap()));
    let (private, public) = (private(), format!("{KEY} root@{name}"));
    let host_key = (&private, public.as_str());
    let seed =
        Seed { name: &name, domain: domain.as_ref(), uuid: UUID, guest, cards: &[], disks, host_key, way: SeedWay::Volume };
    seed.user_data().unwrap().expose().clone()
}

fn spec(text: &str) -> GuestSpec {
    toml::from_str(text).unwrap()
}

#[test]
fn documents_of_a_plain_clone() {
    let name = "web01".parse().unwrap();
    let keys = vec![format!("{KEY} 1:30 # no").parse().unwrap()];
    let guest = Guest { user: Some("yes".parse().unwrap()), keys, ..Guest::default() };
    let cards = ["52:54:00:00:00:01", "52:54:00:00:00:02"].map(|mac| CardConfig::dhcp(mac.parse().unwrap()));
    let (private, public) = (private(), format!("{KEY} root@web01"));
    let host_key = (&private, public.as_str());
    let seed =
        Seed { name: &name, domain: None, uuid: UUID, guest: &guest, cards: &cards, disks: &[], host_key, way: SeedWay::Volume };
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
    let text = user_data("1e3", None, &Guest::default(), &[]);
    let lines: Vec<_> = text.lines().take(6).collect();
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

/// A guest with one of everything.
fn full() -> Guest {
    let spec = spec(
        r#"
packages = ["git", "python3=3.13"]
timezone = "Europe/Vienna"
locale = "de_AT.UTF-8"
runcmd = ["systemctl enable --now x", "echo 'a: b' >>/etc/x\ntrue"]
write_files = [
    { path = "/etc/x", mode = "0600" },
    { path = "/srv/www/index.html", owner = "root:root" },
    { path = "/opt/x", owner = "bob:adm" },
    { path = "/home/bob/x" },
]
"#,
    );
    let file = |file: &crate::core::vm_spec::GuestFile| File {
        path: file.path.clone(),
        content: Secret::new(b"no\0\xff".to_vec()),
        mode: file.mode,
        owner: file.owner.clone(),
    };
    let bob = User {
        name: "bob".parse().unwrap(),
        keys: Vec::new(),
        password_hash: None,
        groups: vec!["adm".parse().unwrap(), "video".parse().unwrap()],
        sudo: false,
    };
    Guest {
        user: Some("admin".parse().unwrap()),
        password_hash: Some(HASH.parse().unwrap()),
        users: vec![bob],
        packages: spec.packages,
        timezone: spec.timezone,
        locale: spec.locale,
        write_files: spec.write_files.iter().map(file).collect(),
        runcmd: spec.runcmd,
        ..Guest::default()
    }
}

fn disk(index: usize, fs: Option<&str>, label: Option<&str>, mount: Option<&str>) -> SeedDisk {
    SeedDisk {
        moved: false,
        serial: crate::core::extra_disks::disk_serial(UUID, index),
        fs: fs.map(|fs| fs.parse().unwrap()),
        label: label.map(|label| label.parse().unwrap()),
        mount: mount.map(|mount| mount.parse().unwrap()),
        options: None,
    }
}

#[test]
fn a_folder_is_moved_before_all_else_and_by_nothing_else() {
    let moved = SeedDisk { moved: true, ..disk(0, Some("ext4"), Some("data"), Some("/var")) };
    let words = super::moving::command(&moved).unwrap();
    let device = format!("/dev/disk/by-id/virtio-{}", moved.serial);
    assert_eq!(words[3..9].iter().map(String::as_str).collect::<Vec<_>>(), ["sh", "/var", &device, "ext4", "defaults", "data"]);
    let text = user_data("web01", None, &full(), &[moved, disk(1, Some("xfs"), None, Some("/var/lib/db"))]);
    let places: Vec<_> =
        ["\nbootcmd:\n", "tpl-move", "\nfs_setup:\n", "\nmounts:\n"].iter().map(|word| text.find(word).unwrap()).collect();
    assert!(places.is_sorted(), "{text}");
    // The disk below it is mounted by cloud-init, which comes later.
    assert_eq!((text.matches("- device: ").count(), text.contains("x-mount.mkdir")), (1, false), "{text}");
    assert_eq!(super::moving::command(&disk(0, Some("ext4"), None, Some("/var"))), None);
}

#[test]
fn everything_that_a_guest_can_be_told() {
    let disks = [
        disk(0, Some("xfs"), None, Some("/srv/www")),
        disk(1, None, None, None),
        disk(2, Some("ext4"), Some("data"), Some("/srv")),
    ];
    let text = user_data("web01", Some("lab.example"), &full(), &disks);
    let before = "#cloud-config\nhostname: web01\nfqdn: web01.lab.example\nprefer_fqdn_over_hostname: false\n\
                  preserve_hostname: false\nmanage_etc_hosts: localhost\n";
    assert!(text.starts_with(before), "{text}");
    let users = format!(
        "\
users:
- name: admin
  sudo: ALL=(ALL) NOPASSWD:ALL
  shell: /bin/bash
  lock_passwd: false
  hashed_passwd: {HASH}
- name: bob
  groups:
  - adm
  - video
  shell: /bin/bash
  lock_passwd: true
disable_root: true
"
    );
    assert!(text.contains(&users), "{text}");
    let (_, rest) = text.split_once("growpart:\n  mode: auto\n  devices:\n  - /\n").unwrap();
    assert_eq!(
        rest,
        "\
fs_setup:
- device: /dev/disk/by-id/virtio-0a1b2c3d4e5f4071-00
  partition: auto
  overwrite: false
  filesystem: xfs
- device: /dev/disk/by-id/virtio-0a1b2c3d4e5f4071-02
  partition: auto
  overwrite: false
  filesystem: ext4
  label: data
mounts:
- - /dev/disk/by-id/virtio-0a1b2c3d4e5f4071-02
  - /srv
  - ext4
  - defaults,nofail
  - \"0\"
  - \"2\"
- - /dev/disk/by-id/virtio-0a1b2c3d4e5f4071-00
  - /srv/www
  - xfs
  - defaults,nofail,x-mount.mkdir
  - \"0\"
  - \"2\"
timezone: Europe/Vienna
locale: de_AT.UTF-8
package_update: true
packages:
- git
- python3=3.13
write_files:
- path: /etc/x
  encoding: b64
  content: bm8A/w==
  permissions: \"0600\"
- path: /srv/www/index.html
  encoding: b64
  content: bm8A/w==
  owner: root:root
  defer: true
- path: /opt/x
  encoding: b64
  content: bm8A/w==
  owner: bob:adm
  defer: true
- path: /home/bob/x
  encoding: b64
  content: bm8A/w==
  defer: true
runcmd:
- systemctl enable --now x
- |-
  echo 'a: b' >>/etc/x
  true
"
    );
    // With it cloud-init restarts sshd on Debian.
    assert!(!text.contains("ssh_pwauth"));
}

#[test]
fn root_may_log_in_where_it_is_the_user() {
    let guest = Guest { user: Some("root".parse().unwrap()), ..Guest::default() };
    assert!(user_data("web01", None, &guest, &[]).contains("disable_root: false\n"));
}

#[test]
fn static_addresses() {
    let table = [
        ("192.0.2.10", 24, Some("192.0.2.1"), "static"),
        ("2001:db8::10", 64, Some("fe80::1"), "static6"),
        ("192.0.2.10", 24, None, "static"),
    ];
    for (address, prefix, gateway, kind) in table {
        let card = CardConfig {
            mac: "52:54:00:00:00:01".parse().unwrap(),
            address: CardAddress::Static {
                address: address.parse().unwrap(),
                prefix,
                gateway: gateway.map(|gateway| gateway.parse().unwrap()),
            },
            nameservers: vec!["192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap()],
            search: vec!["lab.example".parse().unwrap(), "example".parse().unwrap()],
        };
        let text = yaml(&network::document(std::slice::from_ref(&card))).unwrap();
        let gateway = gateway.map(|gateway| format!("    gateway: {gateway}\n")).unwrap_or_default();
        let expected = format!(
            "\
version: 1
config:
- type: physical
  name: eth0
  mac_address: 52:54:00:00:00:01
  subnets:
  - type: {kind}
    address: {address}/{prefix}
{gateway}    dns_nameservers:
    - 192.0.2.1
    - 2001:db8::1
    dns_search:
    - lab.example
    - example
"
        );
        assert_eq!(text.replace('"', ""), expected);
        let resolver = "search lab.example example\nnameserver 192.0.2.1\nnameserver 2001:db8::1\n";
        assert_eq!(network::resolv_conf(std::slice::from_ref(&card)).as_deref(), Some(resolver));
        // The client of a DHCP server writes that file itself.
        assert_eq!(network::resolv_conf(&[card, CardConfig::dhcp("52:54:00:00:00:02".parse().unwrap())]), None);
    }
    assert_eq!(network::resolv_conf(&[]), None);
}

#[test]
fn what_modules_cannot_do_runs_once_before_packages() {
    let guest = Guest { apt_mirror: spec("apt_mirror = \"http://192.0.2.1:3142/debian/\"").apt_mirror, ..Guest::default() };
    let text = user_data("web01", None, &guest, &[]);
    let begin =
        "bootcmd:\n- - cloud-init-per\n  - instance\n  - tpl-apt-mirror\n  - sh\n  - -c\n  - |\n    set -eu\n    cd \"$2\"\n";
    assert!(text.contains(begin), "{text}");
    assert!(
        text.ends_with("  - sh\n  - http://192.0.2.1:3142/debian\n  - /etc/apt\napt:\n  preserve_sources_list: true\n"),
        "{text}"
    );
}

#[test]
fn the_operators_user_data_comes_first_and_identity_last() {
    let own = "#cloud-config\nhostname: other\nusers: [default]\n";
    let guest = Guest { user_data: UserData::parse("u", own.as_bytes()).ok(), timezone: full().timezone, ..Guest::default() };
    let text = user_data("web01", None, &guest, &[]);
    let expected = format!(
        "\
Content-Type: multipart/mixed; boundary=\"==tpl-part-0==\"
MIME-Version: 1.0

--==tpl-part-0==
Content-Type: text/cloud-config; charset=\"utf-8\"
Content-Transfer-Encoding: 7bit
Content-Disposition: attachment; filename=\"user-data\"

{own}
--==tpl-part-0==
Content-Type: text/cloud-config; charset=\"utf-8\"
Content-Transfer-Encoding: 7bit
Content-Disposition: attachment; filename=\"tpl-lists\"
Merge-Type: list(prepend)+dict(no_replace,recurse_list,recurse_str)+str()

#cloud-config
users: []
disable_root: true
timezone: Europe/Vienna

--==tpl-part-0==
Content-Type: text/cloud-config; charset=\"utf-8\"
Content-Transfer-Encoding: 7bit
Content-Disposition: attachment; filename=\"tpl-identity\"
Merge-Type: dict(replace)+list()+str()

#cloud-config
hostname: web01
fqdn: web01
prefer_fqdn_over_hostname: false
preserve_hostname: false
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

--==tpl-part-0==--
"
    );
    assert_eq!(text, expected);
}
