//! Registrations with vendors. Clones that share one are one machine to the vendor, and take each other's place.

use anyhow::Result;

use crate::{
    host::guest::Files,
    seal::{
        ops::{destroy, edit_lines, merge},
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

const SECRETS: [&str; 24] = [
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
    "/etc/zypp/credentials.d/SCC_*",
    // Written again by subscription-manager; it names certificates that are gone.
    "/etc/yum.repos.d/redhat.repo",
    "/var/lib/ubuntu-advantage/private/*",
    "/var/lib/ubuntu-advantage/machine-*",
    // The account at Ubuntu Pro's archive, and the lists that need it.
    "/etc/apt/auth.conf.d/90ubuntu-advantage",
    "/etc/apt/sources.list.d/ubuntu-esm-*",
    "/etc/landscape/client-registered",
    "/var/lib/landscape/client/*",
    "/var/lib/whoopsie/whoopsie-id",
    "/var/lib/yum/uuid",
    "/var/lib/dnf/repos/*/countme",
    "/etc/sysconfig/hw-uuid",
    "/etc/smolt/uuid",
    "/etc/smolt/hw-uuid",
];

fn run(files: &dyn Files) -> Result<Outcome> {
    // Debian's popularity contest: without a number it sends nothing.
    let popularity = edit_lines(files, &["/etc/popularity-contest.conf"], &|line| {
        (!line.trim_start().starts_with("MY_HOSTID=")).then(|| line.to_owned())
    })?;
    Ok(merge([destroy(files, &SECRETS)?, popularity]))
}
