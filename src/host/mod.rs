//! The outside world. Each part stands behind a trait that speaks the domain; here are the real ones.

pub mod process;
pub mod source;
