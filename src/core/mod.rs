//! What tpl decides, without touching anything: no file, no process, no network, no clock.

pub mod answers;
pub mod build_plan;
pub mod clone_plan;
pub mod config;
pub mod digest;
pub mod domain;
pub mod error;
pub mod facts;
pub mod installer;
pub mod inventory;
pub mod known_hosts;
pub mod mac;
pub mod manifest;
pub mod metadata;
pub mod names;
pub mod pipeline;
pub mod progress;
pub mod secret;
pub mod seed;
pub mod ssh_key;
pub mod toml_text;
pub mod trust;
pub mod units;
pub mod xml;
