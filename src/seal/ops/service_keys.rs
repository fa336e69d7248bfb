//! Keys that packages made when they were installed. Off by default: not every service makes them again.

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
    name: "service-keys",
    summary: "removes self-signed certificates and keys that services made at installation",
    families: &[],
    default: false,
    run,
};

const SECRETS: [&str; 8] = [
    "/etc/ssl/private/ssl-cert-snakeoil.key",
    "/etc/ssl/certs/ssl-cert-snakeoil.pem",
    "/etc/pki/tls/private/localhost.key",
    "/etc/pki/tls/certs/localhost.crt",
    "/etc/rndc.key",
    "/etc/bind/rndc.key",
    "/etc/chrony.keys",
    "/etc/dovecot/private/*",
];

fn run(files: &dyn Files) -> Result<Outcome> {
    destroy(files, &SECRETS)
}
