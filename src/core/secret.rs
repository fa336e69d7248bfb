//! Text and bytes that no log, error or debug print may show.

use std::fmt;

/// Something secret: a private key, a document that holds one, a password's hash. Has no `Display` and is not serialised;
/// its `Debug` shows nothing, so that a struct around it may derive `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Takes a value out of sight.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself, for the one place that hands it on.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?} {:#?}", Secret::new("key"), Some(Secret::new(vec![1]))), "[secret] Some(\n    [secret],\n)");
        assert_eq!(*Secret::new("key").expose(), "key");
    }
}
