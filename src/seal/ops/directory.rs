//! What makes a machine a member of a domain. A clone has to join by itself.

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
    name: "directory",
    summary: "removes a domain member's secrets: keytab, SSSD's and IPA's state, Samba's databases",
    families: &[],
    default: true,
    run,
};

const SECRETS: [&str; 12] = [
    "/etc/krb5.keytab",
    "/var/lib/sss/db/*",
    "/var/lib/sss/mc/*",
    "/var/lib/sss/secrets/*",
    "/var/lib/ipa-client/pki/*",
    "/var/lib/ipa-client/sysrestore/*",
    "/etc/ipa/*",
    "/etc/pki/ca-trust/source/ipa.p11-kit",
    "/etc/pki/ca-trust/source/anchors/ipa-ca.crt",
    "/var/lib/samba/*.tdb",
    "/var/lib/samba/*/*.tdb",
    "/var/lib/samba/private/*",
];

fn run(files: &dyn Files) -> Result<Outcome> {
    destroy(files, &SECRETS)
}
