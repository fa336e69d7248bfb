//! The one door for processes: absolute path, no shell, `LC_ALL=C`, no stdin, a deadline, the tail of stderr in the error.
//! [`streams`] has those that are fed or read as they go.

pub mod streams;

use std::{
    io::{Read, Write as _},
    os::{fd::OwnedFd, unix::process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// A program that tpl runs. Looked for in the system's own folders only, never in a `PATH` that somebody else has set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Program(&'static str);

/// Converts and inspects disk images.
pub const QEMU_IMG: Program = Program("qemu-img");
/// The user's own SSH client, for readiness.
pub const SSH: Program = Program("ssh");

/// Every program that tpl may run; `tpl doctor` looks for each.
pub const ALL: [Program; 2] = [QEMU_IMG, SSH];

const FOLDERS: [&str; 6] = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin"];
const STDERR_TAIL: usize = 2000;
const STDOUT_LIMIT: u64 = 16 << 20;

impl Program {
    /// Its name, as a package search would know it.
    pub fn name(self) -> &'static str {
        self.0
    }

    /// Its absolute path, if it is installed.
    pub fn path(self) -> Option<PathBuf> {
        find(self.0)
    }
}

/// The absolute path of a program of this name, if the system's own folders have one.
pub fn find(name: &str) -> Option<PathBuf> {
    FOLDERS.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.is_file())
}

/// What a program printed.
#[derive(Debug)]
pub struct Output {
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// Its standard output; bytes that are no UTF-8 are replaced.
    pub stdout: String,
    /// The last 2,000 bytes of its standard error.
    pub stderr: String,
}

/// Runs a program to its end.
///
/// # Errors
/// It is not installed, did not start, or was not done at its deadline (it is killed then). An exit code other than 0 is no
/// error here: see [`run`].
pub fn output(program: Program, args: &[&str], deadline: Duration) -> Result<Output> {
    let path = program.path().with_context(|| format!("{} is not installed; `tpl doctor` says what to install", program.0))?;
    output_of(&path, args, deadline)
}

/// The same for a program by its absolute path.
///
/// # Errors
/// As for [`output`].
pub fn output_of(path: &Path, args: &[&str], deadline: Duration) -> Result<Output> {
    output_with(path, args, &[], deadline)
}

/// The same for a program whose standard input is these few bytes. One that leaves them unread is no error.
///
/// # Errors
/// As for [`output`].
pub fn output_with(path: &Path, args: &[&str], input: &[u8], deadline: Duration) -> Result<Output> {
    let name = name_of(path);
    let mut command = command(path, args);
    let stdin = if input.is_empty() { Stdio::null() } else { Stdio::piped() };
    let mut child = command.stdin(stdin).spawn().with_context(|| format!("starting {name}"))?;
    if let Some(mut pipe) = child.stdin.take() {
        let input = input.to_vec();
        // Beside the wait: one that reads nothing must not be waited for longer than its deadline.
        thread::spawn(move || pipe.write_all(&input));
    }
    let stdout = drain(child.stdout.take());
    let stderr = drain(child.stderr.take());
    let status = wait(&mut child, deadline).with_context(|| format!("running {name}"))?;
    Ok(Output { code: status.code(), stdout: text(stdout), stderr: tail(&text(stderr)).to_owned() })
}

/// A program that is not started yet: its outputs come through pipes.
fn command(path: &Path, args: &[&str]) -> Command {
    #[expect(clippy::disallowed_methods, reason = "this is the one door")]
    let mut command = Command::new(path);
    command.args(args).env("LC_ALL", "C").stdout(Stdio::piped()).stderr(Stdio::piped());
    // A group of its own: an interrupt at the terminal reaches tpl, which ends the program in its own way.
    command.process_group(0);
    command
}

/// Starts this program itself once more, for that user if one is given, with a socket as its standard input. What it says goes where
/// this one's goes. Nothing else is handed on to it: no variable, no folder, no other file.
///
/// # Errors
/// It does not start.
pub fn again(args: &[&str], user: Option<(u32, u32)>, socket: OwnedFd) -> Result<Child> {
    // Not by its path: that user may not be let into its folder.
    let mut command = command(Path::new("/proc/self/exe"), args);
    command
        .arg0("tpl")
        .env_clear()
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(socket)
        .stdout(Stdio::null())
        .stderr(Stdio::inherit());
    if let Some((uid, gid)) = user {
        // Supplementary groups go with that.
        command.uid(uid).gid(gid);
    }
    command.spawn().context("starting tpl once more")
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

fn text(pipe: thread::JoinHandle<Vec<u8>>) -> String {
    String::from_utf8_lossy(&pipe.join().unwrap_or_default()).into_owned()
}

/// Runs a program that must succeed, and returns what it printed.
///
/// # Errors
/// As for [`output`], and an exit code other than 0, with the tail of its standard error.
pub fn run(program: Program, args: &[&str], deadline: Duration) -> Result<String> {
    let output = output(program, args, deadline)?;
    if output.code != Some(0) {
        bail!("{}: {}", program.0, output.stderr.trim());
    }
    Ok(output.stdout)
}

fn drain(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            // A pipe that breaks has said all it will say.
            let _ = pipe.by_ref().take(STDOUT_LIMIT).read_to_end(&mut bytes);
            let _ = std::io::copy(&mut pipe, &mut std::io::sink());
        }
        bytes
    })
}

fn wait(child: &mut Child, deadline: Duration) -> Result<std::process::ExitStatus> {
    let end = Instant::now() + deadline;
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() >= end {
            child.kill()?;
            child.wait()?;
            bail!("not done after {} s, and ended", deadline.as_secs());
        }
        thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}

fn tail(text: &str) -> &str {
    let mut start = text.len().saturating_sub(STDERR_TAIL);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}

#[cfg(test)]
mod tests {
    use super::*;

    const SH: Program = Program("sh");

    #[test]
    fn a_failure_carries_the_tail_of_stderr() {
        let error = run(SH, &["-c", "echo no such volume >&2; exit 3"], Duration::from_secs(5)).unwrap_err();
        assert_eq!(format!("{error:#}"), "sh: no such volume");
    }

    #[test]
    fn the_deadline_ends_it() {
        let error = run(SH, &["-c", "exec sleep 60"], Duration::from_millis(50)).unwrap_err();
        assert_eq!(format!("{error:#}"), "running sh: not done after 0 s, and ended");
    }

    #[test]
    fn nothing_comes_in_by_stdin_and_the_locale_is_c() {
        assert_eq!(run(SH, &["-c", "cat; echo $LC_ALL"], Duration::from_secs(5)).unwrap(), "C\n");
    }

    #[test]
    fn a_few_bytes_are_read_or_left() {
        let sh = SH.path().unwrap();
        let read = |script: &str| output_with(&sh, &["-c", script], b"a\nb\n", Duration::from_secs(5)).unwrap();
        assert_eq!(read("read x; echo $x; cat").stdout, "a\nb\n");
        assert_eq!((read("exec <&-; exit 3").code, read("exit 3").code), (Some(3), Some(3)));
    }

    #[test]
    fn a_missing_program_is_named() {
        let error = run(Program("tpl-no-such-program"), &[], Duration::from_secs(1)).unwrap_err();
        assert_eq!(error.to_string(), "tpl-no-such-program is not installed; `tpl doctor` says what to install");
    }
}
