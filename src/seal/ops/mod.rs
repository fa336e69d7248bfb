//! The operations, one short file each, and what they share. An operation here is registered in [`ALL`] and nowhere else.

mod agents;
mod backup_files;
mod ca_certificates;
mod cloud_init;
mod crash_data;
mod cron_spool;
mod debconf;
mod dhcp;
mod directory;
mod firewall_rules;
pub(super) mod history;
mod hostname;
mod installer;
mod installer_network;
mod installer_proxy;
mod journal;
mod kdump;
mod kerberos_data;
mod login_records;
mod logs;
mod machine_id;
mod mail_spool;
mod network;
mod package_cache;
mod passwd_backups;
pub(super) mod passwords;
mod random_seed;
mod rescue_kernel;
mod resolver;
mod rpm_db;
mod selinux_relabel;
mod service_certificates;
mod service_keys;
mod snapd;
mod ssh_authorized;
mod ssh_hostkeys;
mod ssh_user;
mod storage_identity;
mod subscription;
mod swap_files;
mod timers;
mod tmp_files;
mod udev;
mod user_accounts;

use anyhow::Result;

use crate::{
    host::guest::{FileKind, Files},
    seal::table::{Operation, Outcome},
};

pub(super) use network::has_mac;

/// Larger than any configuration file that an operation reads.
pub(super) const TEXT_LIMIT: usize = 4 << 20;

/// All operations, in the order in which they run: those that remove whole folders come before those that look into files.
pub const ALL: &[Operation] = &[
    ssh_hostkeys::OPERATION,
    machine_id::OPERATION,
    passwords::OPERATION,
    passwd_backups::OPERATION,
    random_seed::OPERATION,
    swap_files::OPERATION,
    cloud_init::OPERATION,
    installer::OPERATION,
    debconf::OPERATION,
    dhcp::OPERATION,
    hostname::OPERATION,
    installer_network::OPERATION,
    installer_proxy::OPERATION,
    network::OPERATION,
    resolver::OPERATION,
    udev::OPERATION,
    storage_identity::OPERATION,
    kdump::OPERATION,
    rescue_kernel::OPERATION,
    journal::OPERATION,
    login_records::OPERATION,
    logs::OPERATION,
    history::OPERATION,
    ssh_user::OPERATION,
    tmp_files::OPERATION,
    package_cache::OPERATION,
    rpm_db::OPERATION,
    crash_data::OPERATION,
    timers::OPERATION,
    mail_spool::OPERATION,
    backup_files::OPERATION,
    subscription::OPERATION,
    snapd::OPERATION,
    agents::OPERATION,
    directory::OPERATION,
    service_certificates::OPERATION,
    // Off by default.
    ssh_authorized::OPERATION,
    cron_spool::OPERATION,
    kerberos_data::OPERATION,
    service_keys::OPERATION,
    ca_certificates::OPERATION,
    firewall_rules::OPERATION,
    user_accounts::OPERATION,
    selinux_relabel::OPERATION,
];

fn changed(paths: impl IntoIterator<Item = String>) -> Outcome {
    let paths: Vec<_> = paths.into_iter().collect();
    if paths.is_empty() { Outcome::Unchanged } else { Outcome::Changed(paths) }
}

fn merge<const N: usize>(outcomes: [Outcome; N]) -> Outcome {
    changed(outcomes.into_iter().flat_map(|outcome| match outcome {
        Outcome::Unchanged => Vec::new(),
        Outcome::Changed(paths) => paths,
    }))
}

/// The text of a plain file; nothing if there is none.
fn text_of(files: &dyn Files, path: &str) -> Result<String> {
    Ok(String::from_utf8_lossy(&files.read(path, TEXT_LIMIT)?.unwrap_or_default()).into_owned())
}

/// Removes what matches, folders with all that is in them.
fn remove(files: &dyn Files, patterns: &[&str]) -> Result<Outcome> {
    let paths = files.glob(patterns)?;
    paths.iter().try_for_each(|path| files.remove(path))?;
    Ok(changed(paths))
}

/// The same for secrets: their bytes are overwritten first, so that they are not in an unused block of the template.
fn destroy(files: &dyn Files, patterns: &[&str]) -> Result<Outcome> {
    destroy_paths(files, files.glob(patterns)?)
}

/// [`destroy`] for paths instead of patterns.
fn destroy_paths(files: &dyn Files, paths: Vec<String>) -> Result<Outcome> {
    let mut contents = Vec::new();
    for path in &paths {
        // A link is removed, and what it leads to stays as it is: it can be somebody else's file.
        match files.lstat(path)?.map(|stat| stat.kind) {
            Some(FileKind::Directory) => contents.extend(files.walk(path)?.into_iter().filter(is_plain).map(|entry| entry.path)),
            Some(FileKind::Regular) => contents.push(path.clone()),
            _ => {}
        }
    }
    files.erase(&contents)?;
    paths.iter().try_for_each(|path| files.remove(path))?;
    Ok(changed(paths))
}

/// Empties plain files.
fn empty(files: &dyn Files, patterns: &[&str]) -> Result<Outcome> {
    let full = full(files, patterns)?;
    full.iter().try_for_each(|path| files.truncate(path))?;
    Ok(changed(full))
}

/// Empties plain files that hold secrets; see [`destroy`].
fn blank(files: &dyn Files, patterns: &[&str]) -> Result<Outcome> {
    let full = full(files, patterns)?;
    files.erase(&full)?;
    Ok(changed(full))
}

/// Plain files that match and are not empty.
fn full(files: &dyn Files, patterns: &[&str]) -> Result<Vec<String>> {
    let mut full = Vec::new();
    for path in files.glob(patterns)? {
        if files.lstat(&path)?.is_some_and(|stat| stat.kind == FileKind::Regular && stat.size > 0) {
            full.push(path);
        }
    }
    Ok(full)
}

fn is_plain(entry: &crate::host::guest::Entry) -> bool {
    entry.stat.kind == FileKind::Regular
}

/// Rewrites text files line by line: `edit` gives the line that stands there then, or none.
fn edit_lines(files: &dyn Files, patterns: &[&str], edit: &dyn Fn(&str) -> Option<String>) -> Result<Outcome> {
    edit_text(files, patterns, &|text| text.lines().filter_map(edit).map(|line| line + "\n").collect())
}

/// Rewrites text files as a whole; a file of which only the end of the last line would change stays.
fn edit_text(files: &dyn Files, patterns: &[&str], edit: &dyn Fn(&str) -> String) -> Result<Outcome> {
    let mut done = Vec::new();
    for path in files.glob(patterns)? {
        let Some(old) = files.read(&path, TEXT_LIMIT)? else {
            continue;
        };
        // What is no UTF-8 is no configuration that could be edited without harm.
        let Ok(text) = std::str::from_utf8(&old) else {
            continue;
        };
        let new = edit(text);
        if text.lines().ne(new.lines()) {
            files.write(&path, new.as_bytes())?;
            done.push(path);
        }
    }
    Ok(changed(done))
}

/// Patterns below every home that there is: root's, those below `/home`, and where else passwd says.
pub(super) fn homes(files: &dyn Files, patterns: &[&str]) -> Result<Vec<String>> {
    let passwd = files.read("/etc/passwd", TEXT_LIMIT)?.unwrap_or_default();
    let passwd = String::from_utf8_lossy(&passwd);
    let listed = passwd.lines().filter_map(|line| line.split(':').nth(5));
    // What stands in passwd becomes part of a pattern: nothing in it may mean anything there.
    let elsewhere = |home: &&str| is_plain_path(home) && *home != "/root" && !home.starts_with("/home/");
    let mut homes: Vec<&str> = ["/root", "/home/*"].into_iter().chain(listed.filter(elsewhere)).collect();
    homes.sort_unstable();
    homes.dedup();
    Ok(homes.iter().flat_map(|home| patterns.iter().map(move |pattern| format!("{home}/{pattern}"))).collect())
}

/// Whether a path from the guest is an absolute one, below `/`, of plain characters and without `..`.
fn is_plain_path(path: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/_.-@+".contains(&byte);
    path.len() > 1 && path.starts_with('/') && path.bytes().all(plain) && !path.split('/').any(|part| part == "..")
}

#[cfg(test)]
mod tests;
