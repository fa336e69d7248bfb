//! A Kerberos server's database. Off by default: only a template of such a server has one.

use anyhow::Result;

use crate::{
    host::guest::Files,
    seal::{
        ops::destroy_paths,
        table::{Operation, Outcome},
    },
};

/// The operation.
pub const OPERATION: Operation =
    Operation { name: "kerberos-data", summary: "removes the database of a Kerberos server", families: &[], default: false, run };

const SECRETS: [&str; 2] = ["/var/kerberos/krb5kdc/*", "/var/lib/krb5kdc/*"];

/// Configuration, which is in the same folder.
const KEPT: [&str; 2] = ["/kadm5.acl", "/kdc.conf"];

fn run(files: &dyn Files) -> Result<Outcome> {
    let paths = files.glob(&SECRETS)?;
    destroy_paths(files, paths.into_iter().filter(|path| !KEPT.iter().any(|name| path.ends_with(name))).collect())
}
