//! How long work tells how far it is. `ui` shows it; tests record it.

/// A listener for one stage's progress.
pub trait Progress: Sync {
    /// The stage now does `step`; `percent` of the whole stage is done, where that is known.
    fn update(&self, step: &str, percent: Option<u8>);
    /// Something the operator should read, once.
    fn note(&self, line: &str);
}

/// Listens to nothing.
pub struct Silent;

impl Progress for Silent {
    fn update(&self, _: &str, _: Option<u8>) {}
    fn note(&self, _: &str) {}
}
