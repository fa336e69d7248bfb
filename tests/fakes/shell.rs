//! A hypervisor's own programs. It has none but those that a test gives it.

use std::{
    io::{Read, Write},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result};
use tpl::host::shell::{Output, Shell};

use super::run::{FakeRun, Step};

/// A program: its arguments and its input become its exit code and what it prints; with an exit code other than 0, that is its
/// standard error.
pub type Program = Arc<dyn Fn(&[&str], &[u8]) -> (i32, Vec<u8>) + Send + Sync>;

impl FakeRun {
    fn program(&self, argv: &[&str], input: &[u8]) -> Result<(i32, Vec<u8>)> {
        self.step(Step::RunProgram, &argv.join(" "))?;
        let name = argv[0];
        let program = self.machine.state().programs.get(name).cloned();
        Ok(program.with_context(|| format!("{name} is not installed on this machine"))?(&argv[1..], input))
    }
}

fn output((code, printed): (i32, Vec<u8>)) -> Output {
    let text = String::from_utf8_lossy(&printed).into_owned();
    let (stdout, stderr) = if code == 0 { (text, String::new()) } else { (String::new(), text) };
    Output { code: Some(code), stdout, stderr }
}

impl Shell for FakeRun {
    fn run(&self, argv: &[&str], _: Duration) -> Result<Output> {
        Ok(output(self.program(argv, &[])?))
    }

    fn feed(&self, argv: &[&str], input: &mut dyn Read) -> Result<Output> {
        let mut bytes = Vec::new();
        input.read_to_end(&mut bytes)?;
        Ok(output(self.program(argv, &bytes)?))
    }

    fn read(&self, argv: &[&str], sink: &mut dyn Write) -> Result<Output> {
        let (code, printed) = self.program(argv, &[])?;
        if code == 0 {
            sink.write_all(&printed)?;
            return Ok(output((0, Vec::new())));
        }
        Ok(output((code, printed)))
    }
}
