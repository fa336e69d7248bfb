//! Keeping what is printed, for tests that run whole commands.

use std::{
    cell::RefCell,
    sync::{Arc, Mutex, PoisonError},
};

/// What was printed while [`captured`] listened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Captured {
    /// What would have gone to stdout.
    pub data: String,
    /// What would have gone to stderr.
    pub notes: String,
}

thread_local! {
    static CAPTURE: RefCell<Option<Arc<Mutex<Captured>>>> = const { RefCell::new(None) };
}

/// Does some work, and keeps what this thread prints meanwhile, and what those do that it lets [`inherit`]: tests compare it, and
/// their own output stays readable.
pub fn captured<T>(work: impl FnOnce() -> T) -> (T, Captured) {
    let own = Arc::new(Mutex::new(Captured::default()));
    let outer = CAPTURE.replace(Some(Arc::clone(&own)));
    let result = work();
    CAPTURE.replace(outer);
    let captured = std::mem::take(&mut *own.lock().unwrap_or_else(PoisonError::into_inner));
    (result, captured)
}

/// Whether somebody captures; if so, `keep` has been given what is captured so far.
pub(super) fn capture(keep: impl FnOnce(&mut Captured)) -> bool {
    CAPTURE.with_borrow(|capture| {
        capture.as_ref().map(|captured| keep(&mut captured.lock().unwrap_or_else(PoisonError::into_inner))).is_some()
    })
}

/// Who listens to a thread; handed to the threads that it starts.
#[derive(Debug, Clone)]
pub struct Inherited(Option<Arc<Mutex<Captured>>>);

/// Who listens to this thread.
///
/// ```
/// let listener = tpl::ui::inherit();
/// std::thread::scope(|scope| {
///     scope.spawn(|| {
///         listener.adopt();
///         tpl::ui::note("from a worker");
///     });
/// });
/// ```
pub fn inherit() -> Inherited {
    Inherited(CAPTURE.with_borrow(Clone::clone))
}

impl Inherited {
    /// From now on the same one listens to the thread that calls this. A thread does it once, at its beginning.
    pub fn adopt(&self) {
        CAPTURE.replace(self.0.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ui::{data, note};

    #[test]
    fn a_worker_that_inherits_is_heard() {
        let ((), heard) = captured(|| {
            note("before");
            let listener = inherit();
            std::thread::scope(|scope| {
                let work = || {
                    listener.adopt();
                    note("inside");
                    data("data").unwrap();
                };
                scope.spawn(work).join().unwrap();
            });
            note("after");
        });
        assert_eq!(heard, Captured { data: "data".to_owned(), notes: "before\ninside\nafter\n".to_owned() });
    }

    #[test]
    fn an_inner_listener_hears_for_itself() {
        let (((), inner), outer) = captured(|| {
            note("outside");
            captured(|| note("inside"))
        });
        assert_eq!((inner.notes.as_str(), outer.notes.as_str()), ("inside\n", "outside\n"));
    }
}
