//! All or nothing: each step pushes what undoes it; on failure the steps are undone in reverse, and both the cause and what
//! could not be undone are kept.

use std::collections::BTreeSet;

use anyhow::{Context as _, Error, Result, anyhow};

use crate::core::error::UndoIncomplete;

type Action<'a> = Box<dyn FnOnce() -> Result<()> + Send + 'a>;

/// What has been done so far, and how to undo it.
#[derive(Default)]
pub struct Undo<'a> {
    steps: Vec<Step<'a>>,
}

struct Step<'a> {
    what: String,
    domain: String,
    kind: Kind,
    action: Action<'a>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Stops the domain.
    Stop,
    /// Removes something of the domain's.
    Part,
    /// Removes the domain itself.
    Domain,
}

impl<'a> Undo<'a> {
    /// Remembers how to undo what has just been done for a domain, or what is about to be: undoing what never happened is no
    /// error.
    pub fn push(&mut self, domain: &str, what: impl Into<String>, action: impl FnOnce() -> Result<()> + Send + 'a) {
        self.add(domain, what.into(), Kind::Part, action);
    }

    /// Remembers how to stop a domain. As long as it runs, it keeps all that it has: its disks, its address, its name in DNS.
    pub fn push_stop(&mut self, domain: &str, action: impl FnOnce() -> Result<()> + Send + 'a) {
        self.add(domain, format!("stopping domain {domain}"), Kind::Stop, action);
    }

    /// Remembers how to remove a domain. It is kept when something that belongs to it could not be removed: its metadata is all
    /// that says so, and `tpl prune` goes by it.
    pub fn push_domain(&mut self, domain: &str, action: impl FnOnce() -> Result<()> + Send + 'a) {
        self.add(domain, format!("removing domain {domain}"), Kind::Domain, action);
    }

    fn add(&mut self, domain: &str, what: String, kind: Kind, action: impl FnOnce() -> Result<()> + Send + 'a) {
        self.steps.push(Step { what, domain: domain.to_owned(), kind, action: Box::new(action) });
    }

    /// Takes another's steps behind its own: they are undone before them.
    pub fn append(&mut self, mut other: Self) {
        self.steps.append(&mut other.steps);
    }

    /// Nothing is to be undone any more.
    pub fn commit(mut self) {
        self.steps.clear();
    }

    /// Undoes everything, the last step first, and goes on past what fails.
    ///
    /// Returns `cause` itself, or an [`UndoIncomplete`] around it.
    pub fn roll_back(mut self, cause: Error) -> Error {
        let left = self.undo();
        if left.is_empty() {
            return cause;
        }
        // What could not be undone before stays in the same list.
        match cause.downcast::<UndoIncomplete>() {
            Ok(before) => {
                let left = before.left.into_iter().chain(left).collect();
                UndoIncomplete::new(before.cause, left).into()
            }
            Err(cause) => UndoIncomplete::new(cause, left).into(),
        }
    }

    /// Undoes the steps; what could not be undone.
    fn undo(&mut self) -> Vec<Error> {
        let mut left = Vec::new();
        let (mut running, mut incomplete) = (BTreeSet::new(), BTreeSet::new());
        while let Some(step) = self.steps.pop() {
            if step.kind == Kind::Part && running.contains(&step.domain) {
                continue;
            }
            let outcome = if step.kind == Kind::Domain && incomplete.contains(&step.domain) {
                Err(anyhow!("it is kept, for its metadata names what else stays"))
            } else {
                (step.action)()
            };
            if let Err(error) = outcome.with_context(|| step.what) {
                left.push(error);
                if step.kind == Kind::Stop {
                    running.insert(step.domain.clone());
                }
                incomplete.insert(step.domain);
            }
        }
        left
    }
}

impl Drop for Undo<'_> {
    /// Only the safety net, for a panic: there is nobody to report to.
    fn drop(&mut self) {
        drop(self.undo());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use anyhow::{anyhow, bail};

    use super::*;

    #[test]
    fn steps_are_undone_in_reverse_and_both_errors_are_kept() {
        let log = Mutex::new(Vec::new());
        let mut undo = Undo::default();
        undo.push("d", "removing a", || {
            log.lock().unwrap().push("a");
            Ok(())
        });
        undo.push("d", "removing b", || bail!("busy"));
        undo.push("d", "removing c", || {
            log.lock().unwrap().push("c");
            Ok(())
        });
        let error = undo.roll_back(anyhow!("no space left"));
        assert_eq!(*log.lock().unwrap(), ["c", "a"]);
        let incomplete = error.downcast::<UndoIncomplete>().unwrap();
        assert_eq!(incomplete.cause.to_string(), "no space left");
        assert_eq!(format!("{:#}", incomplete.left[0]), "removing b: busy");
    }

    #[test]
    fn a_domain_stays_while_its_volumes_do() {
        let log = Mutex::new(Vec::new());
        let remove = |name| {
            log.lock().unwrap().push(name);
            Ok(())
        };
        let mut undo = Undo::default();
        undo.push_domain("a", || remove("a"));
        undo.push_domain("b", || remove("b"));
        undo.push("a", "removing volume a", || bail!("busy"));
        undo.push("b", "removing volume b", || remove("volume b"));
        let error = undo.roll_back(anyhow!("no space left"));
        assert_eq!(*log.lock().unwrap(), ["volume b", "b"]);
        assert_eq!(
            error.to_string(),
            "no space left\nwhile undoing: removing volume a: busy\n\
             while undoing: removing domain a: it is kept, for its metadata names what else stays\n\
             `tpl prune` removes what stayed behind"
        );
    }

    #[test]
    fn a_domain_that_still_runs_keeps_all_that_it_has() {
        let log = Mutex::new(Vec::new());
        let remove = |name| {
            log.lock().unwrap().push(name);
            Ok(())
        };
        let mut undo = Undo::default();
        for (domain, volume) in [("a", "volume a"), ("b", "volume b")] {
            undo.push_domain(domain, move || remove(domain));
            undo.push(domain, format!("removing {volume}"), move || remove(volume));
        }
        undo.push_stop("a", || bail!("busy"));
        undo.push_stop("b", || remove("stop b"));
        let error = undo.roll_back(anyhow!("no space left"));
        assert_eq!(*log.lock().unwrap(), ["stop b", "volume b", "b"]);
        assert_eq!(
            error.to_string(),
            "no space left\nwhile undoing: stopping domain a: busy\n\
             while undoing: removing domain a: it is kept, for its metadata names what else stays\n\
             `tpl prune` removes what stayed behind"
        );
    }

    #[test]
    fn a_second_undo_adds_to_what_the_first_has_left() {
        let busy = |what: &str| {
            let mut undo = Undo::default();
            undo.push("d", what, || bail!("busy"));
            undo
        };
        let error = busy("removing b").roll_back(busy("removing a").roll_back(anyhow!("no space left")));
        assert_eq!(
            error.to_string(),
            "no space left\nwhile undoing: removing a: busy\nwhile undoing: removing b: busy\n`tpl prune` removes what stayed behind"
        );
    }

    #[test]
    fn a_complete_undo_leaves_the_cause_alone() {
        assert_eq!(Undo::default().roll_back(anyhow!("no space left")).to_string(), "no space left");
    }

    #[test]
    fn a_commit_undoes_nothing() {
        let mut undo = Undo::default();
        undo.push("d", "removing a", || panic!("undone after the commit"));
        undo.commit();
    }
}
