//! Registrations with vendors. Clones that share one are one machine to the vendor, and take each other's place.

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
    name: "subscription",
    summary: "removes registrations with vendors: RHN, RHSM, SUSE, Ubuntu Pro, Landscape",
    families: &[],
    default: true,
    run,
};

const SECRETS: [&str; 18] = [
    "/etc/sysconfig/rhn/systemid",
    "/etc/sysconfig/rhn/osad-auth.conf",
    "/etc/pki/consumer/*",
    "/etc/pki/entitlement/*",
    "/var/lib/rhsm/*",
    "/etc/insights-client/machine-id",
    "/etc/insights-client/.registered",
    "/etc/zypp/credentials.d/SCCcredentials",
    "/etc/SUSEConnect",
    "/var/lib/zypp/AnonymousUniqueId",
    "/var/lib/ubuntu-advantage/private/*",
    "/var/lib/landscape/client/*",
    "/var/lib/whoopsie/whoopsie-id",
    "/var/lib/yum/uuid",
    "/var/lib/dnf/repos/*/countme",
    "/etc/sysconfig/hw-uuid",
    "/etc/smolt/uuid",
    "/etc/smolt/hw-uuid",
];

fn run(files: &dyn Files) -> Result<Outcome> {
    destroy(files, &SECRETS)
}
