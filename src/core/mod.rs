//! What tpl decides, without touching anything: no file, no process, no network, no clock.

pub mod digest;
pub mod error;
pub mod names;
pub mod progress;
pub mod units;
