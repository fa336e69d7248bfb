//! A mark that has the guest label all its files at its first boot. Off by default: sealing makes no file and writes into those
//! that are there, so every label stays, and labelling costs each clone minutes and one more boot. For a template whose late
//! commands have written files without labels.

use anyhow::Result;

use crate::{
    host::guest::Files,
    seal::{
        ops::{TEXT_LIMIT, changed},
        table::{Family, Operation, Outcome},
    },
};

/// The operation.
pub const OPERATION: Operation = Operation {
    name: "selinux-relabel",
    summary: "has each clone label all its files at its first boot",
    families: &[Family::RedHat],
    default: false,
    run,
};

const CONFIG: &str = "/etc/selinux/config";
const MARK: &str = "/.autorelabel";

fn run(files: &dyn Files) -> Result<Outcome> {
    let config = files.read(CONFIG, TEXT_LIMIT)?.unwrap_or_default();
    let mode = |line: &str| line.trim().strip_prefix("SELINUX=").map(|mode| mode.trim().to_owned());
    let mode = String::from_utf8_lossy(&config).lines().filter_map(mode).next_back();
    if mode.is_none_or(|mode| mode == "disabled") || files.lstat(MARK)?.is_some() {
        return Ok(Outcome::Unchanged);
    }
    files.write(MARK, b"")?;
    Ok(changed([MARK.to_owned()]))
}
