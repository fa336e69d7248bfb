//! What an installer wrote for its own interface: plain DHCP, which a clone is told by its seed or offline, for its own cards.
//! Anything else in such a file was asked for, and the file stays as it is.

mod interfaces;
mod netplan;
mod profiles;

use anyhow::Result;

use crate::{
    host::guest::Files,
    seal::{
        ops::{changed, edit_text, merge, text_of},
        table::{Family, Operation, Outcome},
    },
};

/// The operation.
pub const OPERATION: Operation = Operation {
    name: "installer-network",
    summary: "removes plain DHCP that an installer set up for its own interface; static configuration stays",
    families: &[Family::Debian, Family::RedHat],
    default: true,
    run,
};

fn run(files: &dyn Files) -> Result<Outcome> {
    // Ubuntu's installer, and what Ubuntu's releases up to 18.04 wrote at installation.
    let netplan = ["/etc/netplan/00-installer-config*.yaml", "/etc/netplan/01-netcfg.yaml"];
    let netplan = remove_where(files, &netplan, |_, text| netplan::is_plain_dhcp(text))?;
    let keyfiles = ["/etc/NetworkManager/system-connections/*.nmconnection"];
    let keyfiles = remove_where(files, &keyfiles, profiles::is_plain_dhcp)?;
    let scripts = ["/etc/sysconfig/network-scripts/ifcfg-*"];
    let scripts = remove_where(files, &scripts, |_, text| profiles::is_plain_dhcp_script(text))?;
    let interfaces = edit_text(files, &["/etc/network/interfaces"], &interfaces::without_plain_dhcp)?;
    Ok(merge([netplan, keyfiles, scripts, interfaces]))
}

fn remove_where(files: &dyn Files, patterns: &[&str], is_plain: impl Fn(&str, &str) -> bool) -> Result<Outcome> {
    let mut done = Vec::new();
    for path in files.glob(patterns)? {
        if is_plain(&path, &text_of(files, &path)?) {
            files.remove(&path)?;
            done.push(path);
        }
    }
    Ok(changed(done))
}
