//! tpl: a golden-template pipeline for plain libvirt/KVM hosts.
//!
//! | module | what | may use |
//! |---|---|---|
//! | [`cli`]  | clap derives, nothing else | `core` |
//! | [`cmd`]  | one file a verb: read arguments, gather facts, plan, act, report | everything |
//! | [`core`] | pure decisions: names, pipeline, plan, manifest, domain XML, answers | pure crates only |
//! | [`seal`] | the table of seal operations, shrink, verify | `core`, [`host::guest`] |
//! | [`offline`] | the identity of clones without cloud-init, written into their disks | `core`, [`seal::Layout`], [`host::guest`] |
//! | [`host`] | the outside world, a trait each | `core` |
//! | [`ui`]   | stdout is data, stderr is progress | `core` |
//!
//! Nothing imports `cmd`. `tests/architecture.rs` keeps all of this so.

pub mod cli;
pub mod cmd;
pub mod core;
pub mod host;
pub mod offline;
pub mod seal;
pub mod ui;
