//! What tpl decides, without touching anything: no file, no process, no network, no clock.

pub mod error;
pub mod names;
pub mod progress;
pub mod units;
