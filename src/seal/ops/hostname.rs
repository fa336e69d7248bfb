//! The hostname: a neutral one, so that a clone which got no name does not pass for the template.

use anyhow::Result;

use crate::{
    host::guest::Files,
    seal::{
        ops::{TEXT_LIMIT, changed, edit_lines, merge},
        table::{Operation, Outcome},
    },
};

/// The operation.
pub const OPERATION: Operation =
    Operation { name: "hostname", summary: "sets the hostname to localhost", families: &[], default: true, run };

const HOSTNAME: &str = "/etc/hostname";
const NEUTRAL: &str = "localhost\n";

fn run(files: &dyn Files) -> Result<Outcome> {
    let Some(old) = files.read(HOSTNAME, TEXT_LIMIT)? else {
        return Ok(Outcome::Unchanged);
    };
    let old = String::from_utf8_lossy(&old).trim().to_owned();
    if old.is_empty() || old == NEUTRAL.trim() {
        return Ok(Outcome::Unchanged);
    }
    files.write(HOSTNAME, NEUTRAL.as_bytes())?;
    // Debian's installer gives the name an address of its own; with another name the line is of no use.
    let names_old = |line: &str| {
        let mut words = line.split_whitespace();
        let short = |name: &str| name == old || name.split('.').next() == Some(&old);
        words.next() == Some("127.0.1.1") && words.all(short)
    };
    let hosts = edit_lines(files, &["/etc/hosts"], &|line| (!names_old(line)).then(|| line.to_owned()))?;
    let is_name = |line: &str| line.trim() == old;
    let mail = edit_lines(files, &["/etc/mailname"], &|line| {
        Some(if is_name(line) { NEUTRAL.trim().to_owned() } else { line.to_owned() })
    })?;
    Ok(merge([changed([HOSTNAME.to_owned()]), hosts, mail]))
}
