//! The proxy that the installer was told. It is the build's: a clone may not reach it, and its URL may hold a password.

use anyhow::Result;

use crate::{
    host::guest::Files,
    seal::{
        ops::{destroy, edit_lines, merge},
        table::{Family, Operation, Outcome},
    },
};

/// The operation.
pub const OPERATION: Operation = Operation {
    name: "installer-proxy",
    summary: "removes the installer's HTTP proxy from apt and snapd",
    families: &[Family::Debian],
    default: true,
    run,
};

/// Written by Ubuntu's installer.
const SECRETS: [&str; 2] = ["/etc/apt/apt.conf.d/90curtin-aptproxy", "/etc/systemd/system/snapd.service.d/snap_proxy.conf"];

fn run(files: &dyn Files) -> Result<Outcome> {
    // Debian's installer writes it here, and nothing else does: people's settings are in apt.conf.d.
    let proxy = |line: &str| line.trim_start().to_ascii_lowercase().starts_with("acquire::http::proxy ");
    let lines = edit_lines(files, &["/etc/apt/apt.conf"], &|line| (!proxy(line)).then(|| line.to_owned()))?;
    Ok(merge([destroy(files, &SECRETS)?, lines]))
}
