//! Parse, run, map the result to an exit code; nothing else.

use std::process::ExitCode;

use tpl::{cli::Cli, cmd, core::error::exit_code, ui};

fn main() -> ExitCode {
    let cli = Cli::read();
    match cmd::run(&cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            ui::note(&format!("tpl: {error:#}"));
            ExitCode::from(exit_code(&error))
        }
    }
}
