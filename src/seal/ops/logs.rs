//! Log files. Those in use are emptied, because many daemons open a log that they cannot make; rotated ones go.

use anyhow::Result;

use crate::{
    host::guest::{FileKind, Files},
    seal::{
        ops::changed,
        table::{Operation, Outcome},
    },
};

/// The operation.
pub const OPERATION: Operation =
    Operation { name: "logs", summary: "empties log files and removes rotated ones", families: &[], default: true, run };

fn run(files: &dyn Files) -> Result<Outcome> {
    let mut done = Vec::new();
    let mut entries = files.walk("/var/log")?;
    // BIND's, on the Red Hat family.
    entries.extend(files.walk("/var/named/data")?.into_iter().filter(|entry| entry.path.ends_with("named.run")));
    for entry in entries {
        if entry.stat.kind != FileKind::Regular {
            continue;
        }
        if is_rotated(&entry.path) {
            files.remove(&entry.path)?;
        } else if entry.stat.size > 0 {
            files.truncate(&entry.path)?;
        } else {
            continue;
        }
        done.push(entry.path);
    }
    Ok(changed(done))
}

/// Whether a log's name says that nobody writes to it any more: `syslog.1`, `messages-20261121`, `x.log.2.gz`, `Xorg.0.log.old`.
fn is_rotated(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let suffix = name.rsplit_once('.').map(|(_, suffix)| suffix).unwrap_or_default();
    let dated = name.rsplit_once('-').is_some_and(|(_, date)| date.len() >= 8 && date.get(..8).is_some_and(digits));
    ["gz", "xz", "bz2", "zst", "old"].contains(&suffix) || digits(suffix) || dated
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotated_logs_are_told_by_their_names() {
        let table = [
            ("/var/log/syslog", false),
            ("/var/log/syslog.1", true),
            ("/var/log/messages-20261121", true),
            ("/var/log/messages-20261121.gz", true),
            ("/var/log/dpkg.log.2.gz", true),
            ("/var/log/apt/eipp.log.xz", true),
            ("/var/log/Xorg.0.log", false),
            ("/var/log/Xorg.0.log.old", true),
            ("/var/log/unattended-upgrades/x.log", false),
            ("/var/log/lastlog", false),
            ("/var/log/app-1", false),
            ("/var/log/é-1234567é", false),
        ];
        for (path, rotated) in table {
            assert_eq!(is_rotated(path), rotated, "{path}");
        }
    }
}
