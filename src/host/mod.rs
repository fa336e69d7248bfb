//! The outside world. Each part stands behind a trait that speaks the domain; here are the real ones.

pub mod identity;
pub mod known_hosts;
pub mod process;
pub mod seed_image;
pub mod ssh_keys;
