//! The proof: each invariant of a sealed template is looked for on the finished volume, opened read-only.

mod boot;
mod content;
mod origin;

use anyhow::{Context as _, Result};

use crate::{host::guest::Guest, seal::Layout};

/// What was found out about one invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invariant {
    /// Its name, as the manifest has it.
    pub name: &'static str,
    /// Whether it holds; if not, each thing that breaks it.
    pub holds: Result<(), Vec<String>>,
}

/// One thing that must hold.
pub struct Check {
    /// Its name.
    pub name: &'static str,
    /// What must hold, one line.
    pub summary: &'static str,
    /// Looks. The outer result is a broken check, the inner one each thing that breaks the invariant.
    run: fn(&dyn Guest, &Layout) -> Result<Vec<String>>,
}

/// All invariants, in the order in which they are looked for.
pub const INVARIANTS: &[Check] = &[
    Check { name: "ssh-host-keys", summary: "there are no SSH host keys", run: |guest, _| content::ssh_host_keys(guest) },
    Check { name: "machine-id", summary: "the machine-id is empty", run: |guest, _| content::machine_id(guest) },
    Check {
        name: "password-hashes",
        summary: "no account has a password hash, and none needs no password",
        run: |guest, _| content::password_hashes(guest),
    },
    Check {
        name: "installer-passwords",
        summary: "no file of an installer or of cloud-init has a password hash",
        run: |guest, _| origin::installer_passwords(guest),
    },
    Check { name: "random-seed", summary: "there is no random seed", run: |guest, _| content::random_seed(guest) },
    Check {
        name: "cloud-init",
        summary: "cloud-init has seen no instance, and has no seed in the image",
        run: |guest, _| content::cloud_init(guest),
    },
    Check {
        name: "seed",
        summary: "cloud-init, where it is in use, reads a clone's seed and its network configuration",
        run: |guest, _| origin::seed_is_read(guest),
    },
    Check {
        name: "installer-files",
        summary: "nothing of the installer is left",
        run: |guest, _| content::installer_files(guest),
    },
    Check { name: "dhcp-leases", summary: "there are no DHCP leases", run: |guest, _| content::dhcp_leases(guest) },
    Check { name: "logs", summary: "no log has content", run: |guest, _| content::logs(guest) },
    Check { name: "shell-history", summary: "there is no shell history", run: |guest, _| content::shell_history(guest) },
    Check {
        name: "storage-identity",
        summary: "iSCSI and NVMe have no name yet, and LVM has no list of disks",
        run: |guest, _| content::storage_identity(guest),
    },
    Check {
        name: "network-cards",
        summary: "no network configuration names a MAC address",
        run: |guest, _| origin::network_cards(guest),
    },
    Check {
        name: "registrations",
        summary: "the machine is registered nowhere: RHSM, RHN, SUSE, Ubuntu Pro, the snap store",
        run: |guest, _| origin::registrations(guest),
    },
    Check { name: "private-keys", summary: "no home has a private SSH key", run: |guest, _| origin::private_keys(guest) },
    Check { name: "temporary-files", summary: "there are no temporary files", run: |guest, _| content::temporary_files(guest) },
    Check { name: "disk", summary: "partitions and filesystems end within the disk", run: boot::disk },
    Check { name: "fstab", summary: "fstab names filesystems that are there", run: |_, layout| Ok(boot::fstab(layout)) },
    Check {
        name: "bootloader",
        summary: "the boot loader's kernels and filesystems are there",
        run: |guest, layout| boot::bootloader(guest, layout),
    },
];

/// Looks for every invariant on a mounted guest.
///
/// # Errors
/// A check that broke. An invariant that does not hold is no error: it is in the list.
pub fn verify(guest: &dyn Guest, layout: &Layout) -> Result<Vec<Invariant>> {
    let look = |check: &Check| {
        let broken = (check.run)(guest, layout).with_context(|| format!("verifying: {}", check.name))?;
        Ok(Invariant { name: check.name, holds: if broken.is_empty() { Ok(()) } else { Err(broken) } })
    };
    INVARIANTS.iter().map(look).collect()
}
