//! `tpl metadata`: a metadata service for guests.

mod install;
mod serve;

use anyhow::Result;

use crate::{
    cli::{Global, MetadataCommand, Output},
    host::imds::{log, server},
};

/// Runs `tpl metadata`.
///
/// # Errors
/// The command's.
pub fn run(global: &Global, command: &MetadataCommand, output: Output) -> Result<()> {
    match command {
        MetadataCommand::Serve(args) => serve::run(global, args),
        MetadataCommand::Install(args) => install::run(global, args, output),
        MetadataCommand::Server => {
            let _log = log::begin();
            server::run_on_stdin()
        }
    }
}
