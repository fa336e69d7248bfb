//! MAC addresses and hostnames in network configuration. The configuration itself stays: it can be there on purpose.

use anyhow::Result;

use crate::{
    host::guest::Files,
    seal::{
        ops::{edit_lines, merge},
        table::{Operation, Outcome},
    },
};

/// The operation.
pub const OPERATION: Operation = Operation {
    name: "network",
    summary: "removes MAC addresses and hostnames from interface configuration",
    families: &[],
    default: true,
    run,
};

fn run(files: &dyn Files) -> Result<Outcome> {
    let without = |keys: &'static [&str]| {
        move |line: &str| {
            let key = line.split('=').next().unwrap_or_default().trim();
            (!keys.contains(&key)).then(|| line.to_owned())
        }
    };
    let ifcfg = ["/etc/sysconfig/network-scripts/ifcfg-*", "/etc/sysconfig/network/ifcfg-*", "/etc/sysconfig/network"];
    let ifcfg = edit_lines(files, &ifcfg, &without(&["HWADDR", "MACADDR", "HOSTNAME", "DHCP_HOSTNAME"]))?;
    let keyfiles = ["/etc/NetworkManager/system-connections/*"];
    let keyfiles = edit_lines(files, &keyfiles, &without(&["mac-address", "dhcp-hostname"]))?;
    Ok(merge([ifcfg, keyfiles]))
}
