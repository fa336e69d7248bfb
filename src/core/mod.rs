//! What tpl decides, without touching anything: no file, no process, no network, no clock.

pub mod checksums;
pub mod error;
pub mod mirror;
pub mod names;
pub mod progress;
pub mod release;
pub mod sha256;
pub mod trust;
pub mod units;
