//! All or nothing: each step pushes what undoes it; on failure the steps are undone in reverse, and both the cause and what
//! could not be undone are kept.

use anyhow::{Context as _, Error, Result};

use crate::core::error::UndoIncomplete;

type Action<'a> = Box<dyn FnOnce() -> Result<()> + 'a>;

/// What has been done so far, and how to undo it.
#[derive(Default)]
pub struct Undo<'a> {
    steps: Vec<(String, Action<'a>)>,
}

impl<'a> Undo<'a> {
    /// Remembers how to undo what has just been done, or what is about to be: undoing what never happened is no error.
    pub fn push(&mut self, what: impl Into<String>, action: impl FnOnce() -> Result<()> + 'a) {
        self.steps.push((what.into(), Box::new(action)));
    }

    /// Nothing is to be undone any more.
    pub fn commit(mut self) {
        self.steps.clear();
    }

    /// Undoes everything, the last step first, and goes on past what fails.
    ///
    /// Returns `cause` itself, or an [`UndoIncomplete`] around it.
    pub fn roll_back(mut self, cause: Error) -> Error {
        let mut left = Vec::new();
        while let Some((what, action)) = self.steps.pop() {
            if let Err(error) = action().with_context(|| what) {
                left.push(error);
            }
        }
        if left.is_empty() { cause } else { UndoIncomplete { cause, left }.into() }
    }
}

impl Drop for Undo<'_> {
    /// Only the safety net, for a panic: there is nobody to report to.
    fn drop(&mut self) {
        while let Some((_, action)) = self.steps.pop() {
            let _ = action();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use anyhow::{anyhow, bail};

    use super::*;

    #[test]
    fn steps_are_undone_in_reverse_and_both_errors_are_kept() {
        let log = RefCell::new(Vec::new());
        let mut undo = Undo::default();
        undo.push("removing a", || {
            log.borrow_mut().push("a");
            Ok(())
        });
        undo.push("removing b", || bail!("busy"));
        undo.push("removing c", || {
            log.borrow_mut().push("c");
            Ok(())
        });
        let error = undo.roll_back(anyhow!("no space left"));
        assert_eq!(*log.borrow(), ["c", "a"]);
        let incomplete = error.downcast::<UndoIncomplete>().unwrap();
        assert_eq!(incomplete.cause.to_string(), "no space left");
        assert_eq!(format!("{:#}", incomplete.left[0]), "removing b: busy");
    }

    #[test]
    fn a_complete_undo_leaves_the_cause_alone() {
        assert_eq!(Undo::default().roll_back(anyhow!("no space left")).to_string(), "no space left");
    }

    #[test]
    fn a_commit_undoes_nothing() {
        let mut undo = Undo::default();
        undo.push("removing a", || panic!("undone after the commit"));
        undo.commit();
    }
}
