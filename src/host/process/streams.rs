//! Programs that take or give more than fits into memory, and one that runs beside others.

use std::{
    io::{BufRead as _, BufReader, ErrorKind, Read, Write},
    path::Path,
    process::{Child, ChildStdin, Stdio},
    sync::{
        Mutex, PoisonError,
        mpsc::{self, Receiver},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context, Result, bail};

use super::{Output, command, drain, name_of, tail, text, wait};

/// How much is passed on at a time.
const BUFFER: usize = 256 * 1024;
/// How long a line may be that somebody waits for.
const LINE: u64 = 4096;
/// How long a program may take for its end once its stream has ended: it may have a disk to wait for.
const END: Duration = Duration::from_secs(600);

/// Runs a program that reads all of `input` as its standard input.
///
/// # Errors
/// It does not start, `input` fails (the program is killed then), or it ends well without having read everything.
pub fn feed(path: &Path, args: &[&str], input: &mut dyn Read) -> Result<Output> {
    let name = name_of(path);
    let mut child = command(path, args).stdin(Stdio::piped()).spawn().with_context(|| format!("starting {name}"))?;
    let (stdout, stderr) = (drain(child.stdout.take()), drain(child.stderr.take()));
    let pumped = match child.stdin.take() {
        Some(mut pipe) => pump(input, &mut pipe),
        None => Ok(Pumped::Closed),
    };
    // Its input ends here, the pipe being dropped.
    let closed = match pumped {
        Ok(pumped) => matches!(pumped, Pumped::Closed),
        Err(error) => {
            end(&mut child);
            return Err(error);
        }
    };
    let status = wait(&mut child, END).with_context(|| format!("running {name}"))?;
    if closed && status.success() {
        bail!("running {name}: it ended before it had read everything");
    }
    Ok(Output { code: status.code(), stdout: text(stdout), stderr: tail(&text(stderr)).to_owned() })
}

/// Runs a program without input, and passes on what it prints. [`Output::stdout`] is empty.
///
/// # Errors
/// It does not start, or `sink` fails (the program is killed then).
pub fn read(path: &Path, args: &[&str], sink: &mut dyn Write) -> Result<Output> {
    let name = name_of(path);
    let mut child = command(path, args).stdin(Stdio::null()).spawn().with_context(|| format!("starting {name}"))?;
    let stderr = drain(child.stderr.take());
    let pumped = match child.stdout.take() {
        Some(mut pipe) => pump(&mut pipe, sink),
        None => Ok(Pumped::All),
    };
    let pumped = pumped.and_then(|pumped| match pumped {
        Pumped::All => Ok(()),
        Pumped::Closed => bail!("what {name} prints is not taken any more"),
    });
    if let Err(error) = pumped {
        end(&mut child);
        return Err(error);
    }
    let status = wait(&mut child, END).with_context(|| format!("running {name}"))?;
    Ok(Output { code: status.code(), stdout: String::new(), stderr: tail(&text(stderr)).to_owned() })
}

/// Whether everything was passed on.
enum Pumped {
    All,
    /// The other end takes no more.
    Closed,
}

fn pump(input: &mut dyn Read, output: &mut dyn Write) -> Result<Pumped> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = match input.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        match output.write_all(&buffer[..read]) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => return Ok(Pumped::Closed),
            other => other?,
        }
    }
    output.flush()?;
    Ok(Pumped::All)
}

/// Ends a program for which there is nothing left to do. One that has ended by itself is as well.
fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

/// A program that runs beside others until this is dropped. Its standard input stays open as long, and ends with this process
/// too, however that ends.
pub struct Beside {
    child: Child,
    stderr: Option<JoinHandle<Vec<u8>>>,
    line: Mutex<Receiver<String>>,
    // Held, not used.
    _stdin: Option<ChildStdin>,
}

impl Beside {
    /// Starts it.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(path: &Path, args: &[&str]) -> Result<Self> {
        Self::start_with(path, args, &[], &[])
    }

    /// The same with these variables in its environment, and with these few bytes as the beginning of its input.
    ///
    /// # Errors
    /// It does not start.
    pub fn start_with(path: &Path, args: &[&str], variables: &[(&str, &str)], input: &[u8]) -> Result<Self> {
        let mut command = command(path, args);
        command.envs(variables.iter().copied()).stdin(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("starting {}", name_of(path)))?;
        let line = Mutex::new(first_line(child.stdout.take()));
        let stderr = Some(drain(child.stderr.take()));
        let mut stdin = child.stdin.take();
        if let Some(pipe) = &mut stdin {
            // One that has ended already is found out by who waits for it.
            let _ = pipe.write_all(input).and_then(|()| pipe.flush());
        }
        Ok(Self { _stdin: stdin, stderr, line, child })
    }

    /// The first line that it prints, if there is one within this time.
    pub fn heard(&self, patience: Duration) -> Option<String> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner).recv_timeout(patience).ok()
    }

    /// What it said on its standard error, if it has ended.
    ///
    /// # Errors
    /// The system does not tell of it.
    pub fn ended(&mut self) -> Result<Option<String>> {
        if self.child.try_wait()?.is_none() {
            return Ok(None);
        }
        Ok(Some(self.stderr.take().map(|pipe| tail(&text(pipe)).to_owned()).unwrap_or_default()))
    }
}

/// The first line of what comes, if it is one. All that follows is read, and forgotten.
fn first_line(pipe: Option<impl Read + Send + 'static>) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let Some(pipe) = pipe else { return };
        let mut reader = BufReader::new(pipe);
        let mut line = Vec::new();
        if reader.by_ref().take(LINE).read_until(b'\n', &mut line).is_ok() && line.pop() == Some(b'\n') {
            // Who does not want it any more has gone.
            let _ = sender.send(String::from_utf8_lossy(&line).into_owned());
        }
        drop(sender);
        let _ = std::io::copy(&mut reader, &mut std::io::sink());
    });
    receiver
}

impl Drop for Beside {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Cursor};

    use super::*;

    fn sh() -> &'static Path {
        Path::new("/bin/sh")
    }

    #[test]
    fn a_program_reads_all_and_fails_in_its_own_words() {
        let big = vec![7; 3 << 20];
        let counted = feed(sh(), &["-c", "wc -c"], &mut Cursor::new(&big)).unwrap();
        assert_eq!((counted.code, counted.stdout.trim()), (Some(0), "3145728"));
        let failed = feed(sh(), &["-c", "echo no space >&2; exit 1"], &mut Cursor::new(&big)).unwrap();
        assert_eq!((failed.code, failed.stderr.trim()), (Some(1), "no space"));
        let error = feed(sh(), &["-c", "exec <&-; exit 0"], &mut Cursor::new(&big)).unwrap_err();
        assert_eq!(error.to_string(), "running sh: it ended before it had read everything");
    }

    /// Fails behind its first bytes.
    struct Broken(bool);

    impl Read for Broken {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if std::mem::replace(&mut self.0, true) { Err(io::Error::other("gone")) } else { Ok(buffer.len()) }
        }
    }

    impl Write for Broken {
        fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
            if std::mem::replace(&mut self.0, true) { Err(io::Error::other("full")) } else { Ok(buffer.len()) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn an_end_that_fails_ends_the_program() {
        let folder = tempfile::tempdir().unwrap();
        let late = folder.path().join("late");
        let script = format!("cat >/dev/null; sleep 1; touch {}", late.display());
        assert_eq!(feed(sh(), &["-c", &script], &mut Broken(false)).unwrap_err().to_string(), "gone");
        assert_eq!(read(sh(), &["-c", "exec cat /dev/zero"], &mut Broken(false)).unwrap_err().to_string(), "full");
        std::thread::sleep(Duration::from_millis(1500));
        assert!(!late.exists(), "it went on without its input");
    }

    #[test]
    fn what_is_printed_is_passed_on() {
        let mut sink = Vec::new();
        let output = read(sh(), &["-c", "head -c 3000000 /dev/zero; echo bad >&2; exit 3"], &mut sink).unwrap();
        assert_eq!((output.code, output.stderr.trim(), sink), (Some(3), "bad", vec![0; 3_000_000]));
    }

    #[test]
    fn one_beside_others_says_a_line() {
        let patience = Duration::from_secs(5);
        let script = "read x; echo $x $TPL_TEST; cat; echo end";
        let one = Beside::start_with(sh(), &["-c", script], &[("TPL_TEST", "b")], b"a\n").unwrap();
        assert_eq!(one.heard(patience).as_deref(), Some("a b"));
        let silent = Beside::start(sh(), &["-c", "printf x"]).unwrap();
        assert_eq!(silent.heard(patience), None);
        let slow = Beside::start(sh(), &["-c", "exec sleep 5"]).unwrap();
        assert_eq!(slow.heard(Duration::from_millis(10)), None);
    }

    #[test]
    fn one_beside_others_ends_with_its_owner() {
        let mut short = Beside::start(sh(), &["-c", "echo why >&2; exit 1"]).unwrap();
        let said = loop {
            match short.ended().unwrap() {
                Some(said) => break said,
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        assert_eq!(said, "why\n");
        let folder = tempfile::tempdir().unwrap();
        let late = folder.path().join("late");
        let mut long = Beside::start(sh(), &["-c", &format!("sleep 1; touch {}", late.display())]).unwrap();
        assert_eq!(long.ended().unwrap(), None);
        drop(long);
        std::thread::sleep(Duration::from_millis(1500));
        assert!(!late.exists());
    }
}
