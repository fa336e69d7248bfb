//! Self-signed certificates and keys that their services make again at the next start.

use anyhow::Result;

use crate::{
    host::guest::Files,
    seal::{
        ops::{destroy, merge},
        table::{Operation, Outcome},
    },
};

/// The operation.
pub const OPERATION: Operation = Operation {
    name: "service-certificates",
    summary: "removes services' own certificates which they make again: Cockpit, httpd, BIND",
    families: &[],
    default: true,
    run,
};

/// A file whose presence says that what is behind it is made again; nothing: it always is.
const SECRETS: [(&str, &[&str]); 3] = [
    ("", &["/etc/cockpit/ws-certs.d/0-self-signed*"]),
    ("/usr/lib/systemd/system/httpd-init.service", &["/etc/pki/tls/private/localhost.key", "/etc/pki/tls/certs/localhost.crt"]),
    ("/usr/lib/systemd/system/named-setup-rndc.service", &["/etc/rndc.key"]),
];

fn run(files: &dyn Files) -> Result<Outcome> {
    let mut done = Outcome::Unchanged;
    for (maker, secrets) in SECRETS {
        if maker.is_empty() || files.stat(maker)?.is_some() {
            done = merge([done, destroy(files, secrets)?]);
        }
    }
    Ok(done)
}
