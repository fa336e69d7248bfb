//! What an installer wrote for its own interface: plain DHCP, which a clone is told by its seed or offline, for its own cards.
//! Anything else in such a file was asked for, and the file stays as it is.

mod interfaces;
mod netplan;
mod profiles;

use anyhow::Result;

use crate::{
    host::guest::Files,
    seal::{
        ops::{changed, destroy, edit_text, merge, text_of},
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
    Ok(merge([netplan, keyfiles, scripts, interfaces, handed_to_cloud_init(files)?]))
}

/// Where Ubuntu's installer gives the same to cloud-init from release 23.04 on: it comes before what a clone's seed says.
const HANDED: &str = "/etc/cloud/cloud.cfg.d/90-installer-network.cfg";
/// Where it wrote it before, and where it adds to what the seed says.
const NETPLAN: &str = "/etc/netplan/00-installer-config.yaml";

/// Moves what was asked for to where older releases have it.
fn handed_to_cloud_init(files: &dyn Files) -> Result<Outcome> {
    let text = text_of(files, HANDED)?;
    let asked_for = netplan::is_network(&text) && !netplan::is_plain_dhcp(&text);
    let moved = asked_for && files.stat("/etc/netplan")?.is_some() && files.lstat(NETPLAN)?.is_none();
    if moved {
        files.write(NETPLAN, text.as_bytes())?;
    }
    Ok(merge([destroy(files, &[HANDED])?, changed(moved.then(|| NETPLAN.to_owned()))]))
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
