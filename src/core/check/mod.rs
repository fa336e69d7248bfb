//! What can be said of files before anything is touched: every fault at once, each at its place.

pub mod answers;
mod autoinstall;
mod disk;
pub mod document;
mod kickstart;
mod preseed;
mod storage;
mod template;

pub use disk::smallest_disk;

/// A fault in a text: line and column, both from 1, and what is wrong.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

impl Fault {
    fn at(line: usize, column: usize, message: impl Into<String>) -> Self {
        Self { line, column, message: message.into() }
    }
}

/// A fault as tests write it.
#[cfg(test)]
type Said<'a> = (usize, usize, &'a str);
