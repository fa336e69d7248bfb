//! What must not be in a template. Written apart from the operations that remove it, by what the guest would use: a
//! pattern that an operation forgot is not forgotten here for the same reason.

use anyhow::Result;

use crate::{
    host::guest::{FileKind, Files},
    seal::ops::{TEXT_LIMIT, history, homes, passwords},
};

/// Enough to say what is wrong with a template.
const SHOWN: usize = 20;

pub(super) fn none(files: &dyn Files, patterns: &[&str]) -> Result<Vec<String>> {
    Ok(shown(files.glob(patterns)?))
}

pub(super) fn shown(mut found: Vec<String>) -> Vec<String> {
    let more = found.len().saturating_sub(SHOWN);
    found.truncate(SHOWN);
    if more > 0 {
        found.push(format!("and {more} more"));
    }
    found
}

/// Plain files below these folders that have content.
fn full_below(files: &dyn Files, folders: &[&str]) -> Result<Vec<String>> {
    let mut full = Vec::new();
    for folder in folders {
        let entries = files.walk(folder)?;
        let with_content = entries.into_iter().filter(|entry| entry.stat.kind == FileKind::Regular && entry.stat.size > 0);
        full.extend(with_content.map(|entry| entry.path));
    }
    Ok(shown(full))
}

pub(super) fn ssh_host_keys(guest: &dyn Files) -> Result<Vec<String>> {
    none(guest, &["/etc/ssh/*_key", "/etc/ssh/*_key.pub", "/etc/dropbear/*_key"])
}

pub(super) fn machine_id(guest: &dyn Files) -> Result<Vec<String>> {
    let mut broken = Vec::new();
    // The second is a link to the first, as a rule.
    for path in ["/etc/machine-id", "/var/lib/dbus/machine-id"] {
        let id = guest.read(path, TEXT_LIMIT)?.unwrap_or_default();
        let id = id.trim_ascii();
        // systemd's own word for "not yet".
        if !id.is_empty() && id != b"uninitialized" {
            broken.push(format!("{path} is {}", String::from_utf8_lossy(id)));
        }
    }
    Ok(broken)
}

pub(super) fn password_hashes(guest: &dyn Files) -> Result<Vec<String>> {
    let mut broken = Vec::new();
    for path in guest.glob(&passwords::FILES)? {
        let text = guest.read(&path, TEXT_LIMIT)?.unwrap_or_default();
        broken.extend(passwords::users_with_hash(&text).iter().map(|user| format!("{path} has a hash for {user}")));
        if passwords::may_be_open(&path) {
            broken.extend(passwords::open_users(&text).iter().map(|user| format!("{path} lets {user} in without a password")));
        }
    }
    Ok(shown(broken))
}

pub(super) fn random_seed(guest: &dyn Files) -> Result<Vec<String>> {
    none(
        guest,
        &[
            "/var/lib/systemd/random-seed",
            "/var/lib/systemd/credential.secret",
            "/var/lib/*/random-seed",
            "/var/lib/random-seed",
            "/boot/loader/random-seed",
            "/boot/efi/loader/random-seed",
            "/efi/loader/random-seed",
        ],
    )
}

pub(super) fn cloud_init(guest: &dyn Files) -> Result<Vec<String>> {
    let instance = ["/var/lib/cloud/instance", "/var/lib/cloud/instances/*", "/var/lib/cloud/data/*", "/var/lib/cloud/sem/*"];
    let mut broken = none(guest, &instance)?;
    // One in the image comes before the clone's own.
    broken.extend(full_below(guest, &["/var/lib/cloud/seed"])?);
    Ok(broken)
}

pub(super) fn installer_files(guest: &dyn Files) -> Result<Vec<String>> {
    let mut broken = none(
        guest,
        &[
            "/root/*ks*.cfg",
            "/root/autoinst.xml",
            "/*ks*.cfg",
            "/preseed.cfg",
            "/autoinstall.yaml",
            "/etc/cloud/cloud.cfg.d/99-installer.cfg",
            "/var/lib/subiquity*/*",
            "/var/log/installer/*",
            "/var/log/anaconda/*",
        ],
    )?;
    if guest.stat("/var/cache/debconf/passwords.dat")?.is_some_and(|stat| stat.size > 0) {
        broken.push("/var/cache/debconf/passwords.dat has content".to_owned());
    }
    Ok(broken)
}

pub(super) fn dhcp_leases(guest: &dyn Files) -> Result<Vec<String>> {
    none(
        guest,
        &[
            "/var/lib/dhclient/*",
            "/var/lib/dhcp/*lease*",
            "/var/lib/dhcpcd*/*lease*",
            "/var/lib/dhcpcd*/duid",
            "/etc/dhcpcd.duid",
            "/var/lib/NetworkManager/*lease*",
            "/var/lib/NetworkManager/secret_key",
            "/var/lib/systemd/network/*",
        ],
    )
}

pub(super) fn logs(guest: &dyn Files) -> Result<Vec<String>> {
    full_below(guest, &["/var/log"])
}

pub(super) fn shell_history(guest: &dyn Files) -> Result<Vec<String>> {
    let patterns = homes(guest, &history::PATTERNS)?;
    none(guest, &patterns.iter().map(String::as_str).collect::<Vec<_>>())
}

pub(super) fn storage_identity(guest: &dyn Files) -> Result<Vec<String>> {
    // The last one makes LVM see no other disk than the build's.
    let mut broken = none(guest, &["/etc/nvme/hostnqn", "/etc/nvme/hostid", "/etc/lvm/devices/system.devices"])?;
    let initiator = guest.read("/etc/iscsi/initiatorname.iscsi", TEXT_LIMIT)?.unwrap_or_default();
    let named = |line: &str| line.trim_start().starts_with("InitiatorName=");
    if String::from_utf8_lossy(&initiator).lines().any(named) {
        broken.push("/etc/iscsi/initiatorname.iscsi has a name".to_owned());
    }
    Ok(broken)
}

pub(super) fn temporary_files(guest: &dyn Files) -> Result<Vec<String>> {
    full_below(guest, &["/tmp", "/var/tmp"])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::fake::FakeFiles;

    type Case = (fn(&dyn Files) -> Result<Vec<String>>, &'static [(&'static str, &'static str)], &'static [&'static str]);

    const CASES: &[Case] = &[
        (ssh_host_keys, &[("/etc/ssh/ssh_host_rsa_key", ""), ("/etc/ssh/sshd_config", "")], &["/etc/ssh/ssh_host_rsa_key"]),
        (machine_id, &[("/etc/machine-id", "01ab\n")], &["/etc/machine-id is 01ab"]),
        (machine_id, &[("/etc/machine-id", "uninitialized\n")], &[]),
        (machine_id, &[("/etc/machine-id", "\n"), ("/var/lib/dbus/machine-id", "01")], &["/var/lib/dbus/machine-id is 01"]),
        (
            password_hashes,
            &[("/etc/shadow", "root:$6$a$b:1:\nd:*:1:\n"), ("/etc/shadow-", "u:!$1$a$b:1:\n")],
            &["/etc/shadow has a hash for root", "/etc/shadow- has a hash for u"],
        ),
        (
            password_hashes,
            &[("/etc/shadow", "root::1:\n"), ("/etc/gshadow", "adm:::\n")],
            &["/etc/shadow lets root in without a password"],
        ),
        (random_seed, &[("/var/lib/systemd/random-seed", "s")], &["/var/lib/systemd/random-seed"]),
        (cloud_init, &[("/var/lib/cloud/seed/x", "")], &[]),
        (cloud_init, &[("/var/lib/cloud/seed/nocloud-net/user-data", "u")], &["/var/lib/cloud/seed/nocloud-net/user-data"]),
        (cloud_init, &[("/var/lib/cloud/instances/i-1/x", "")], &["/var/lib/cloud/instances/i-1"]),
        (
            installer_files,
            &[("/root/anaconda-ks.cfg", "h"), ("/var/cache/debconf/passwords.dat", "h")],
            &["/root/anaconda-ks.cfg", "/var/cache/debconf/passwords.dat has content"],
        ),
        (dhcp_leases, &[("/var/lib/dhcpcd/eth0.lease", "l")], &["/var/lib/dhcpcd/eth0.lease"]),
        (logs, &[("/var/log/empty", ""), ("/var/log/a/b", "l")], &["/var/log/a/b"]),
        (shell_history, &[("/home/u/.bash_history", "h")], &["/home/u/.bash_history"]),
        (storage_identity, &[("/etc/iscsi/initiatorname.iscsi", "GenerateName=yes\n")], &[]),
        (storage_identity, &[("/etc/lvm/devices/system.devices", "IDNAME=x\n")], &["/etc/lvm/devices/system.devices"]),
        (
            storage_identity,
            &[("/etc/iscsi/initiatorname.iscsi", "InitiatorName=iqn.x\n")],
            &["/etc/iscsi/initiatorname.iscsi has a name"],
        ),
        (temporary_files, &[("/tmp/a", "t"), ("/var/tmp/b", "")], &["/tmp/a"]),
    ];

    #[test]
    fn what_breaks_an_invariant_is_named() {
        for (check, files, broken) in CASES {
            assert_eq!(check(&FakeFiles::new(files)).unwrap(), *broken, "{files:?}");
        }
    }

    #[test]
    fn a_check_that_cannot_look_is_an_error() {
        let mut files = FakeFiles::new(&[("/etc/machine-id", "")]);
        files.broken = Some("/etc/machine-id".to_owned());
        assert_eq!(machine_id(&files).unwrap_err().to_string(), "/etc/machine-id: Input/output error");
    }

    #[test]
    fn a_long_list_is_cut() {
        let found: Vec<_> = (0..23).map(|number| number.to_string()).collect();
        assert_eq!(shown(found).last().unwrap(), "and 3 more");
    }
}
