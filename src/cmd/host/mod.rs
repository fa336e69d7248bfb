//! `tpl host`: machines become hypervisors, and stay so.

pub mod bootstrap;
mod cap;
pub mod check;
pub mod connect;
mod name;
pub mod reached;
mod register;
mod report;
pub mod run;
mod ssh;

use anyhow::Result;

use crate::cli::{Global, HostCommand, Output};

/// Runs `tpl host`.
///
/// # Errors
/// The command's.
pub fn run(global: &Global, command: &HostCommand, output: Output) -> Result<()> {
    match command {
        HostCommand::Bootstrap(args) => bootstrap::run(global, args, output),
        HostCommand::Check(args) => check::run(global, args, output),
        HostCommand::Cap(args) => cap::run(global, args, output),
    }
}
