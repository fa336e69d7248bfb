//! What would tell where a template comes from: its installer's passwords, its network cards, its registrations.

use anyhow::Result;
use serde_json::Value;

use super::content::{none, shown};
use crate::{
    core::manifest::IdentityMethod,
    host::guest::{FileKind, Files},
    seal::{
        facts,
        ops::{TEXT_LIMIT, has_mac, homes},
    },
};

/// Where installers and cloud-init write what they were told.
const ANSWERS: [&str; 9] =
    ["/root/*", "/*.cfg", "/*.ks", "/*.yaml", "/*.yml", "/etc/cloud/*", "/etc/cloud/cloud.cfg.d/*", "/etc/*.ks", "/etc/*/*.ks"];

/// How a hash of crypt(3) begins, of each kind that is in use.
const HASHES: [&str; 7] = ["$6$", "$5$", "$y$", "$gy$", "$2b$", "$2y$", "$1$"];

pub(super) fn installer_passwords(guest: &dyn Files) -> Result<Vec<String>> {
    let mut broken = Vec::new();
    for path in guest.glob(&ANSWERS)? {
        let text = small(guest, &path)?;
        if has_hash(&text) {
            broken.push(format!("{path} has a password hash"));
        }
    }
    Ok(shown(broken))
}

/// Whether a text has a hash of crypt(3): how one begins, and as much behind it as the shortest has, a salted MD5 sum.
fn has_hash(text: &str) -> bool {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"./$=,".contains(byte);
    let behind = |at: usize| text.as_bytes()[at..].iter().take_while(|byte| is_part(byte)).count();
    HASHES.iter().any(|start| text.match_indices(start).any(|(at, _)| behind(at + start.len()) >= 24))
}

/// A file's text; nothing where it is no plain file, or larger than any that people write.
fn small(guest: &dyn Files, path: &str) -> Result<String> {
    let fits = |kind, size| kind == FileKind::Regular && size <= TEXT_LIMIT as u64;
    if !guest.stat(path)?.is_some_and(|stat| fits(stat.kind, stat.size)) {
        return Ok(String::new());
    }
    Ok(String::from_utf8_lossy(&guest.read(path, TEXT_LIMIT)?.unwrap_or_default()).into_owned())
}

/// Everything that can bind a name or an address to a card.
const NETWORK: [&str; 10] = [
    "/etc/netplan/*",
    "/etc/network/interfaces",
    "/etc/network/interfaces.d/*",
    "/etc/NetworkManager/system-connections/*",
    "/etc/sysconfig/network-scripts/ifcfg-*",
    "/etc/sysconfig/network/ifcfg-*",
    "/etc/systemd/network/*",
    "/etc/udev/rules.d/*net*",
    "/etc/cloud/cloud.cfg.d/*",
    "/var/lib/NetworkManager/*",
];

pub(super) fn network_cards(guest: &dyn Files) -> Result<Vec<String>> {
    let mut broken = Vec::new();
    for path in guest.glob(&NETWORK)? {
        let text = small(guest, &path)?;
        // Cards that are *not* to be used can only be another machine's.
        let binds = |line: &&str| !line.trim_start().starts_with(['#', ';']) && !line.contains("list") && has_mac(line);
        if let Some(line) = text.lines().find(binds) {
            broken.push(format!("{path} names a card: {}", line.trim()));
        }
    }
    Ok(shown(broken))
}

pub(super) fn seed_is_read(guest: &dyn Files) -> Result<Vec<String>> {
    if facts::identity(guest)? != IdentityMethod::NoCloud {
        return Ok(Vec::new());
    }
    // Ubuntu's installer's: with them cloud-init leaves a clone's cards alone.
    let mut broken = none(
        guest,
        &["/etc/cloud/cloud.cfg.d/subiquity-disable-cloudinit-networking.cfg", "/etc/cloud/cloud.cfg.d/90-installer-network.cfg"],
    )?;
    let mut last = None;
    // The later file counts, in the order of names.
    for path in guest.glob(&["/etc/cloud/cloud.cfg"])?.into_iter().chain(guest.glob(&["/etc/cloud/cloud.cfg.d/*.cfg"])?) {
        let config: Option<Value> = serde_saphyr::from_str(&small(guest, &path)?).ok();
        if let Some(list) = config.as_ref().and_then(|config| config.get("datasource_list")?.as_array()) {
            last = Some((path, list.iter().any(|source| source == "NoCloud")));
        }
    }
    if let Some((path, false)) = last {
        broken.push(format!("{path} has a datasource_list without NoCloud"));
    }
    Ok(broken)
}

pub(super) fn registrations(guest: &dyn Files) -> Result<Vec<String>> {
    let mut broken = none(
        guest,
        &[
            "/etc/pki/consumer/*.pem",
            "/etc/pki/entitlement/*.pem",
            "/etc/sysconfig/rhn/systemid",
            "/etc/insights-client/machine-id",
            "/etc/zypp/credentials.d/SCCcredentials",
            "/var/lib/ubuntu-advantage/private/machine-token.json",
            "/var/lib/snapd/device/private-keys-v1/*",
        ],
    )?;
    let state = guest.read("/var/lib/snapd/state.json", 64 << 20)?.unwrap_or_default();
    let state: Option<Value> = serde_json::from_slice(&state).ok();
    if state.is_some_and(|state| state.pointer("/data/auth/device/serial").is_some()) {
        broken.push("/var/lib/snapd/state.json has a serial".to_owned());
    }
    Ok(broken)
}

pub(super) fn private_keys(guest: &dyn Files) -> Result<Vec<String>> {
    let patterns = homes(guest, &[".ssh/*"])?;
    let mut broken = Vec::new();
    for path in guest.glob(&patterns.iter().map(String::as_str).collect::<Vec<_>>())? {
        if small(guest, &path)?.contains("PRIVATE KEY-----") {
            broken.push(path);
        }
    }
    Ok(shown(broken))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::fake::FakeFiles;

    type Case = (fn(&dyn Files) -> Result<Vec<String>>, &'static [(&'static str, &'static str)], &'static [&'static str]);

    const CASES: &[Case] = &[
        (
            installer_passwords,
            &[
                ("/root/late.sh", "usermod -p '$6$salt$Jm6FsVtF.Qa77ZKD.iwsJlCVPY0XSMgLJL0Hnww/c1' ops"),
                ("/etc/cloud/cloud.cfg.d/50-x.cfg", "passwd: $y$j9T$Gcm6FsVtF/Qa77$KD.iwsJlCVPY0XSMgLJL0Hnww/c1"),
                ("/root/swap.sh", "echo \"$1$2\" \"$6$HOME\"\n"),
                ("/etc/shadow", "root:$6$a$b:1:"),
            ],
            &["/etc/cloud/cloud.cfg.d/50-x.cfg has a password hash", "/root/late.sh has a password hash"],
        ),
        (
            network_cards,
            &[
                ("/etc/netplan/01-own.yaml", "      # 52:54:00:00:00:01\n      addresses: [192.0.2.9/24]\n"),
                ("/etc/netplan/02-own.yaml", "        macaddress: 52:54:00:00:00:01\n"),
                ("/etc/udev/rules.d/10-network.rules", "ATTR{address}==\"52:54:00:00:00:01\", NAME=\"lan\"\n"),
                ("/etc/NetworkManager/system-connections/a.nmconnection", "mac-address-blacklist=52:54:00:00:00:01;\n"),
            ],
            &[
                "/etc/netplan/02-own.yaml names a card: macaddress: 52:54:00:00:00:01",
                "/etc/udev/rules.d/10-network.rules names a card: ATTR{address}==\"52:54:00:00:00:01\", NAME=\"lan\"",
            ],
        ),
        (
            seed_is_read,
            &[
                ("/usr/bin/cloud-init", ""),
                ("/etc/cloud/cloud.cfg.d/90_dpkg.cfg", "datasource_list: [ NoCloud, None ]\n"),
                ("/etc/cloud/cloud.cfg.d/99-ours.cfg", "datasource_list: [ Ec2 ]\n"),
                ("/etc/cloud/cloud.cfg.d/subiquity-disable-cloudinit-networking.cfg", "network: {config: disabled}\n"),
            ],
            &[
                "/etc/cloud/cloud.cfg.d/subiquity-disable-cloudinit-networking.cfg",
                "/etc/cloud/cloud.cfg.d/99-ours.cfg has a datasource_list without NoCloud",
            ],
        ),
        (
            seed_is_read,
            &[
                ("/usr/bin/cloud-init", ""),
                ("/etc/cloud/cloud.cfg", "datasource_list: [ Ec2 ]\n"),
                ("/etc/cloud/cloud.cfg.d/90_dpkg.cfg", "datasource_list:\n- NoCloud\n"),
                ("/etc/cloud/cloud.cfg.d/99-broken.cfg", "a: [\n"),
            ],
            &[],
        ),
        (seed_is_read, &[("/etc/cloud/cloud.cfg.d/90_dpkg.cfg", "datasource_list: [ Ec2 ]\n")], &[]),
        (
            registrations,
            &[
                ("/etc/pki/consumer/key.pem", "k"),
                ("/var/lib/snapd/state.json", r#"{"data":{"auth":{"device":{"serial":"s"}}}}"#),
            ],
            &["/etc/pki/consumer/key.pem", "/var/lib/snapd/state.json has a serial"],
        ),
        (registrations, &[("/var/lib/snapd/state.json", r#"{"data":{"auth":{"device":{"brand":"x"}}}}"#)], &[]),
        (
            private_keys,
            &[
                ("/root/.ssh/deploy", "-----BEGIN OPENSSH PRIVATE KEY-----\n"),
                ("/root/.ssh/authorized_keys", "ssh-ed25519 AAAA\n"),
            ],
            &["/root/.ssh/deploy"],
        ),
    ];

    #[test]
    fn what_breaks_an_invariant_is_named() {
        for (check, files, broken) in CASES {
            assert_eq!(check(&FakeFiles::new(files)).unwrap(), *broken, "{files:?}");
        }
    }
}
