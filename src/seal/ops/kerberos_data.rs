//! A Kerberos server's database. Off by default: only a template of such a server has one.

use anyhow::Result;

use crate::{
    host::guest::Files,
    seal::{
        ops::destroy,
        table::{Operation, Outcome},
    },
};

/// The operation.
pub const OPERATION: Operation =
    Operation { name: "kerberos-data", summary: "removes the database of a Kerberos server", families: &[], default: false, run };

const SECRETS: [&str; 2] = ["/var/kerberos/krb5kdc/*", "/var/lib/krb5kdc/*"];

fn run(files: &dyn Files) -> Result<Outcome> {
    destroy(files, &SECRETS)
}
