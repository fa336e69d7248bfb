//! A hypervisor's own programs, on this machine or over SSH.

pub mod access;
pub mod connection;
mod local;
mod ssh;
mod sudo;

use std::{
    io::{Read, Write},
    time::Duration,
};

use anyhow::{Result, bail};

pub use super::process::Output;
pub use local::LocalShell;
pub use ssh::SshShell;
pub use sudo::SudoShell;

use crate::core::{config::Config, error::Refusal, transport::Transport};

/// Runs a hypervisor's own programs, as whoever logs in there. A program is found in the system's own folders, sees the locale
/// C, and gets just these arguments: no shell reads them.
pub trait Shell: Sync {
    /// Runs a program to its end, without input.
    ///
    /// # Errors
    /// It is not installed, the hypervisor cannot be reached, or it is not done at its deadline. An exit code other than 0 is
    /// no error here: see [`run`].
    fn run(&self, argv: &[&str], deadline: Duration) -> Result<Output>;
    /// Runs a program that reads all of `input`. When `input` fails, the program is not killed everywhere: over SSH it finds
    /// its input ended.
    ///
    /// # Errors
    /// As for [`Shell::run`]; or `input` fails, or the program does not read it to its end.
    fn feed(&self, argv: &[&str], input: &mut dyn Read) -> Result<Output>;
    /// Runs a program without input, and passes on what it prints.
    ///
    /// # Errors
    /// As for [`Shell::run`]; or `sink` fails.
    fn read(&self, argv: &[&str], sink: &mut dyn Write) -> Result<Output>;
}

/// The programs of the hypervisor that this URI of libvirt's leads to, which operators call `name`. Nothing is started before the
/// first program is; where there is no way to one, that one is refused.
pub fn open(uri: &str, name: &str) -> Box<dyn Shell + Send> {
    match Transport::of(uri) {
        Ok(Transport::Local) => Box::new(LocalShell),
        Ok(Transport::Ssh(target)) => Box::new(SshShell::new(target, name)),
        Err(refusal) => Box::new(NoShell(refusal)),
    }
}

/// The programs of the hypervisor that a configuration is for, run by sudo where it says so.
pub fn of(config: &Config) -> Box<dyn Shell + Send> {
    let shell = open(&config.uri, config.hypervisor());
    if config.sudo { Box::new(SudoShell::new(shell, config.hypervisor())) } else { shell }
}

/// Runs a program that must succeed, and returns what it printed.
///
/// # Errors
/// As for [`Shell::run`], and an exit code other than 0, with the tail of its standard error.
pub fn run(shell: &dyn Shell, argv: &[&str], deadline: Duration) -> Result<String> {
    succeeded(argv, shell.run(argv, deadline)?)
}

/// What a program printed that must have succeeded.
///
/// # Errors
/// Its exit code is not 0: the tail of its standard error.
pub fn succeeded(argv: &[&str], output: Output) -> Result<String> {
    if output.code == Some(0) {
        return Ok(output.stdout);
    }
    let name = argv.first().copied().unwrap_or_default();
    match said(&output.stderr) {
        text if text.is_empty() => match output.code {
            Some(code) => bail!("{name}: exit code {code}"),
            None => bail!("{name}: ended by a signal"),
        },
        text => bail!("{name}: {text}"),
    }
}

/// What a program of another machine said, without what a terminal would act on, and without the blanks that lvm2 begins lines
/// with.
pub(super) fn said(text: &str) -> String {
    let lines = text.lines().map(|line| line.trim().replace(char::is_control, " ")).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join("\n")
}

/// No way to a program.
struct NoShell(Refusal);

impl Shell for NoShell {
    fn run(&self, _: &[&str], _: Duration) -> Result<Output> {
        Err(self.0.clone().into())
    }

    fn feed(&self, _: &[&str], _: &mut dyn Read) -> Result<Output> {
        Err(self.0.clone().into())
    }

    fn read(&self, _: &[&str], _: &mut dyn Write) -> Result<Output> {
        Err(self.0.clone().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{
        error::exit_code,
        transport::{Rights, command_line_with},
    };

    #[test]
    fn a_failure_is_told_in_the_programs_words() {
        let output = |code, stderr: &str| Output { code, stdout: "x".to_owned(), stderr: stderr.to_owned() };
        let table = [
            (output(Some(0), "WARNING"), Ok("x")),
            (
                output(Some(5), "  Volume group \"a\" not found\n\n  Cannot\u{1b}[2J\n"),
                Err("lvs: Volume group \"a\" not found\nCannot [2J"),
            ),
            (output(Some(5), ""), Err("lvs: exit code 5")),
            (output(None, "\n"), Err("lvs: ended by a signal")),
        ];
        for (output, expected) in table {
            let found = succeeded(&["lvs", "a"], output).map_err(|error| error.to_string());
            assert_eq!(found.as_deref().map_err(String::as_str), expected);
        }
    }

    #[test]
    fn what_follows_the_mark_is_read_whether_sudo_asks_or_not() {
        let line = command_line_with(Rights::SudoWithPassword, Some("mark"), &["cat"]).unwrap();
        let words = shlex::split(&line).unwrap();
        let behind_sudo = words.iter().position(|word| word == "--").unwrap() + 1;
        let words: Vec<&str> = words[behind_sudo..].iter().map(String::as_str).collect();
        for (input, expected) in [
            ("mark\nrest\n", Ok("rest\n")),
            ("password\nmark\nrest\n", Ok("rest\n")),
            ("a\nb\nmark\nrest\n", Err("env: the input was not understood")),
            ("", Err("env: the input was not understood")),
        ] {
            let found = LocalShell.feed(&words, &mut input.as_bytes()).and_then(|output| succeeded(&["env"], output));
            assert_eq!(found.as_deref().map_err(ToString::to_string), expected.map_err(str::to_owned), "{input:?}");
        }
    }

    #[test]
    fn without_a_way_each_program_is_refused() {
        let shell = open("qemu+tls://hv1/system", "hv1");
        let refused = [
            shell.run(&["true"], Duration::ZERO),
            shell.feed(&["true"], &mut std::io::empty()),
            shell.read(&["true"], &mut std::io::sink()),
        ];
        for refused in refused {
            assert_eq!(exit_code(&refused.unwrap_err()), 3);
        }
    }
}
