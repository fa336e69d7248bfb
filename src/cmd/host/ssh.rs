//! The phase `ssh`, mended so that nobody is locked out.

use anyhow::Result;

use crate::{
    core::{
        bootstrap::Step,
        error::{Cut, UndoIncomplete},
    },
    host::machine::Machine,
};

/// The files that steps write or remove: what a guard has to keep.
pub fn files(steps: &[Step]) -> Vec<&str> {
    let mut files: Vec<&str> = Vec::new();
    for step in steps {
        if let Step::Write { path, .. } | Step::Remove { path } = step
            && !files.contains(&path.as_str())
        {
            files.push(path);
        }
    }
    files
}

/// Mends under a guard: the machine itself puts these files of sshd's back unless somebody has logged in anew, by the key, within a
/// minute of the first change. `perform` does the steps.
///
/// # Errors
/// A step's, or the new login's: the files are as they were then, or are about to be, and the error says which.
pub fn mend(machine: &dyn Machine, files: &[&str], perform: &mut dyn FnMut() -> Result<()>) -> Result<()> {
    if files.is_empty() {
        return perform();
    }
    let guard = machine.guard(files)?;
    let token = guard.0.clone();
    let Err(cause) = perform().and_then(|()| machine.release(guard)) else { return Ok(()) };
    if cause.chain().any(|cause| cause.is::<Cut>()) {
        return Err(cause.context("the machine puts sshd's old configuration back by itself, within a minute"));
    }
    match machine.put_back(crate::host::machine::Guard(token)) {
        Ok(()) => Err(cause.context("sshd's old configuration is back")),
        Err(left) => {
            let left = left.context("the machine puts sshd's old configuration back by itself, within a minute");
            Err(UndoIncomplete::new(cause, vec![left]).advise("the log has every command").into())
        }
    }
}
