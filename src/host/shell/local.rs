//! The programs of this machine.

use std::{
    io::{Read, Write},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, Result};

use super::{Output, Shell};
use crate::host::process::{self, streams};

/// The hypervisor is this machine.
pub struct LocalShell;

/// A program's path, and its arguments.
fn found<'a>(argv: &'a [&'a str]) -> Result<(PathBuf, &'a [&'a str])> {
    let (name, args) = argv.split_first().context("no program is named")?;
    let path = process::find(name).with_context(|| format!("{name} is not installed on this machine"))?;
    Ok((path, args))
}

impl Shell for LocalShell {
    fn run(&self, argv: &[&str], deadline: Duration) -> Result<Output> {
        let (path, args) = found(argv)?;
        process::output_of(&path, args, deadline)
    }

    fn feed(&self, argv: &[&str], input: &mut dyn Read) -> Result<Output> {
        let (path, args) = found(argv)?;
        streams::feed(&path, args, input)
    }

    fn read(&self, argv: &[&str], sink: &mut dyn Write) -> Result<Output> {
        let (path, args) = found(argv)?;
        streams::read(&path, args, sink)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_the_systems_own() {
        let printed = LocalShell.run(&["printf", "%s|", "a b", "$x"], Duration::from_secs(5)).unwrap();
        assert_eq!((printed.code, printed.stdout.as_str()), (Some(0), "a b|$x|"));
        let missing = LocalShell.run(&["tpl-no-such-program"], Duration::from_secs(5)).unwrap_err();
        assert_eq!(missing.to_string(), "tpl-no-such-program is not installed on this machine");
        assert_eq!(LocalShell.run(&[], Duration::ZERO).unwrap_err().to_string(), "no program is named");
    }
}
