//! What tpl decides, without touching anything: no file, no process, no network, no clock.

pub mod error;
pub mod known_hosts;
pub mod mac;
pub mod names;
pub mod progress;
pub mod secret;
pub mod seed;
pub mod ssh_key;
pub mod units;
pub mod xml;
