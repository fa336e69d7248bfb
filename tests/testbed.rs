//! tpl on the two hypervisors of `scripts/testbed`: real libvirt, real lvm2, over SSH.
//!
//! Run apart, because the testbed must be up: `eval "$(scripts/testbed env)"; cargo test --test testbed`. Each test makes only what
//! bears its own prefix, and takes it away again.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]
#![expect(clippy::disallowed_methods, reason = "the tests look at the world with other tools than tpl")]

#[path = "testbed/bed.rs"]
mod bed;
#[path = "testbed/clones.rs"]
mod clones;
#[path = "testbed/lab.rs"]
mod lab;
#[path = "testbed/placement.rs"]
mod placement;
#[path = "testbed/push.rs"]
mod push;
#[path = "testbed/shell.rs"]
mod shell;
#[path = "testbed/storage.rs"]
mod storage;
