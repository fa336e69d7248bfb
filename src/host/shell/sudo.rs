//! A hypervisor's programs, run by root, who may not log in there: somebody else does, and sudo runs them without a question.

use std::{
    io::{Read, Write},
    time::Duration,
};

use anyhow::{Result, anyhow, bail};

use super::{Output, Shell};
use crate::core::error::Advised;

/// Behind another shell.
pub struct SudoShell {
    below: Box<dyn Shell + Send>,
    /// What operators call the hypervisor.
    name: String,
}

impl SudoShell {
    /// Runs nothing yet.
    pub fn new(below: Box<dyn Shell + Send>, name: &str) -> Self {
        Self { below, name: name.to_owned() }
    }

    /// What a program has ended with, unless it was sudo that has not begun it.
    fn checked(&self, argv: &[&str], output: Output) -> Result<Output> {
        let program = argv.first().copied().unwrap_or_default();
        let said = output.stderr.trim();
        if output.code != Some(1) || !said.starts_with("sudo: ") {
            return Ok(output);
        }
        if said == format!("sudo: {program}: command not found") {
            bail!("{program} is not installed on {}", self.name);
        }
        let cause = anyhow!("running {program} on {}: {said}", self.name);
        Err(Advised::new(cause, "sudo must ask who logs in there for nothing: `tpl host bootstrap` sees to it").into())
    }
}

/// The same program, by root, who is asked for no password.
fn by_root<'a>(argv: &[&'a str]) -> Vec<&'a str> {
    ["sudo", "-n", "--"].into_iter().chain(argv.iter().copied()).collect()
}

impl Shell for SudoShell {
    fn run(&self, argv: &[&str], deadline: Duration) -> Result<Output> {
        self.checked(argv, self.below.run(&by_root(argv), deadline)?)
    }

    fn feed(&self, argv: &[&str], input: &mut dyn Read) -> Result<Output> {
        self.checked(argv, self.below.feed(&by_root(argv), input)?)
    }

    fn read(&self, argv: &[&str], sink: &mut dyn Write) -> Result<Output> {
        self.checked(argv, self.below.read(&by_root(argv), sink)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Says what it is asked to run, in the words of a sudo that ends so.
    struct Says(i32, &'static str);

    impl Shell for Says {
        fn run(&self, argv: &[&str], _: Duration) -> Result<Output> {
            Ok(Output { code: Some(self.0), stdout: argv.join(" "), stderr: self.1.to_owned() })
        }

        fn feed(&self, argv: &[&str], _: &mut dyn Read) -> Result<Output> {
            self.run(argv, Duration::ZERO)
        }

        fn read(&self, argv: &[&str], _: &mut dyn Write) -> Result<Output> {
            self.run(argv, Duration::ZERO)
        }
    }

    #[test]
    fn who_has_ended_is_told_apart() {
        let advice = "sudo must ask who logs in there for nothing: `tpl host bootstrap` sees to it";
        let table = [
            (0, "", Ok("sudo -n -- lvs -o x".to_owned())),
            // lvm2's own word.
            (1, "  Volume group not found\n", Ok("sudo -n -- lvs -o x".to_owned())),
            (5, "sudo: x", Ok("sudo -n -- lvs -o x".to_owned())),
            (1, "sudo: lvs: command not found\n", Err("lvs is not installed on hv1".to_owned())),
            (1, "sudo: a password is required\n", Err(format!("running lvs on hv1: sudo: a password is required\n{advice}"))),
        ];
        for (code, said, expected) in table {
            let shell = SudoShell::new(Box::new(Says(code, said)), "hv1");
            let argv = ["lvs", "-o", "x"];
            let all = [
                shell.run(&argv, Duration::ZERO),
                shell.feed(&argv, &mut std::io::empty()),
                shell.read(&argv, &mut std::io::sink()),
            ];
            for found in all {
                assert_eq!(found.map(|output| output.stdout).map_err(|error| error.to_string()), expected);
            }
        }
    }
}
