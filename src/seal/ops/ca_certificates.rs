//! A certificate authority's own files. Off by default: only a template of such an authority has them.

use anyhow::Result;

use crate::{
    host::guest::Files,
    seal::{
        ops::destroy_paths,
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

const SECRETS: [&str; 6] = [
    "/etc/pki/CA/certs/*",
    "/etc/pki/CA/crl/*",
    "/etc/pki/CA/newcerts/*",
    "/etc/pki/CA/private/*",
    "/etc/pki/tls/private/*.key",
    "/etc/pki/tls/certs/*.crt",
];

/// Links to the list of authorities that a machine trusts.
const KEPT: &str = "/etc/pki/tls/certs/ca-bundle.";

fn run(files: &dyn Files) -> Result<Outcome> {
    let paths = files.glob(&SECRETS)?;
    destroy_paths(files, paths.into_iter().filter(|path| !path.starts_with(KEPT)).collect())
}
