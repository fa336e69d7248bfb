//! The real binary: exact output and exit codes, for bad input and against libvirt's test driver. Nothing here reaches a real
//! hypervisor, and nobody's configuration reaches the binary.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

#[path = "cli/hypervisors.rs"]
mod hypervisors;
#[path = "cli/input.rs"]
mod input;
#[path = "cli/keys.rs"]
mod keys;
#[path = "cli/listing.rs"]
mod listing;
#[path = "cli/program.rs"]
mod program;
#[path = "cli/schema.rs"]
mod schema;
#[path = "cli/validate.rs"]
mod validate;
