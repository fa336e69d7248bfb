//! A certificate authority's own files. Off by default: only a template of such an authority has them.

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
    name: "ca-certificates",
    summary: "removes a certificate authority's own certificates and keys",
    families: &[],
    default: false,
    run,
};

const SECRETS: [&str; 4] = ["/etc/pki/CA/certs/*", "/etc/pki/CA/crl/*", "/etc/pki/CA/newcerts/*", "/etc/pki/CA/private/*"];

fn run(files: &dyn Files) -> Result<Outcome> {
    destroy(files, &SECRETS)
}
