//! Random seeds: machines that share one make the same "random" keys early in their first boot. And the key of systemd-creds.

use anyhow::Result;

use crate::{
    host::guest::Files,
    seal::{
        ops::destroy,
        table::{Operation, Outcome},
    },
};

/// The operation.
pub const OPERATION: Operation = Operation {
    name: "random-seed",
    summary: "removes random seeds and the host's credential secret",
    families: &[],
    default: true,
    run,
};

const SECRETS: [&str; 11] = [
    "/var/lib/systemd/random-seed",
    "/var/lib/systemd/credential.secret",
    "/var/lib/random-seed",
    "/etc/random-seed",
    "/var/lib/urandom/random-seed",
    "/var/lib/misc/random-seed",
    "/var/lib/seedrng/*",
    "/boot/loader/random-seed",
    "/boot/efi/loader/random-seed",
    "/efi/loader/random-seed",
    "/var/lib/systemd/tpm2-srk-public-key.*",
];

fn run(files: &dyn Files) -> Result<Outcome> {
    destroy(files, &SECRETS)
}
