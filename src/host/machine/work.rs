//! What is done on any machine, through a root's shell: questions, files, programs.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Error, Result, anyhow, bail};

use super::journal::Journal;
use crate::{
    core::bootstrap::{
        Facts, Probe,
        probe::{ASK, words},
    },
    host::shell::{self, Output, Shell},
};

/// How long a program has to end by itself once it is asked to, behind its deadline.
const GRACE: Duration = Duration::from_secs(30);
/// What `timeout` ends with when it had to end the program.
const TIMED_OUT: i32 = 124;
const NOT_FOUND: i32 = 127;
/// How long the small things may take.
const QUICK: Duration = Duration::from_secs(120);

/// Runs the script that comes in, as a whole: of one that is cut off, not a word. As an argument it would stand in sudo's log each time.
const SCRIPT: [&str; 3] = ["sh", "-c", "eval \"$(cat)\""];

/// Writes `$1`, with mode `$2`, `$3` bytes of input.
const WRITE: &str = r#"set -eu
umask 077
file=$1
if [ -L "$file" ]; then file=$(readlink -f -- "$1") || { echo "$1 is a link to nowhere" >&2; exit 1; }; fi
if [ -e "$file" ] && [ ! -f "$file" ]; then echo "$file is no file" >&2; exit 1; fi
folder=$(dirname -- "$file")
[ -d "$folder" ] || (umask 022; mkdir -p -- "$folder")
temp=$(mktemp "$folder/.tpl.XXXXXXXXXX")
trap 'rm -f -- "$temp"' EXIT
trap 'exit 1' HUP INT PIPE TERM
cat >"$temp"
[ "$(wc -c <"$temp")" -eq "$3" ] || { echo 'it was cut off' >&2; exit 1; }
[ "$(id -u)" -ne 0 ] || chown 0:0 "$temp"
chmod "$2" "$temp"
sync -- "$temp"
mv -fT -- "$temp" "$file"
sync -- "$folder"
"#;

/// Removes `$1`.
const REMOVE: &str = r#"rm -f -- "$1" && folder=$(dirname -- "$1") && if [ -d "$folder" ]; then sync -- "$folder"; fi"#;

/// A machine through a shell with root's rights.
pub struct Work<'a> {
    pub shell: &'a dyn Shell,
    pub name: &'a str,
    pub journal: &'a Journal,
}

impl Work<'_> {
    pub fn ask(&self, probes: &[Probe]) -> Result<Facts> {
        let words = words(probes);
        let words = shlex::try_join(words.iter().map(String::as_str)).context("a question holds a NUL")?;
        let began = Instant::now();
        let script = format!("ask() {{\n{ASK}\n}}\nask {words}\n");
        let asked = self.shell.feed(&SCRIPT, &mut script.as_bytes());
        let names: Vec<&str> = probes.iter().map(|probe| probe.name.as_str()).collect();
        self.journal.done(&format!("asked for {}", names.join(" ")), began, &end(&asked));
        let asking = || format!("asking {}", self.name);
        let text = asked.and_then(|output| shell::succeeded(&["sh"], output)).with_context(asking)?;
        Facts::parse(probes, &text).map_err(Error::msg).with_context(asking)
    }

    pub fn write(&self, path: &str, mode: u32, content: &str) -> Result<()> {
        let (mode, size) = (format!("{mode:04o}"), content.len().to_string());
        let began = Instant::now();
        let written = self.shell.feed(&["sh", "-c", WRITE, "sh", path, &mode, &size], &mut content.as_bytes());
        self.journal.done(&format!("wrote {path} (mode {mode}, {size} bytes)"), began, &end(&written));
        self.small(written).with_context(|| format!("writing {path} on {}", self.name))
    }

    pub fn remove(&self, path: &str) -> Result<()> {
        let began = Instant::now();
        let removed = self.shell.run(&["sh", "-c", REMOVE, "sh", path], QUICK);
        self.journal.done(&format!("removed {path}"), began, &end(&removed));
        self.small(removed).with_context(|| format!("removing {path} on {}", self.name))
    }

    /// Runs a script that is a part of tpl, with an input, and returns what it printed.
    pub fn script(&self, what: &str, script: &str, arguments: &[&str], input: &str) -> Result<String> {
        let began = Instant::now();
        let argv: Vec<&str> = ["sh", "-c", script, "sh"].into_iter().chain(arguments.iter().copied()).collect();
        let ran =
            if input.is_empty() { self.shell.run(&argv, QUICK + QUICK) } else { self.shell.feed(&argv, &mut input.as_bytes()) };
        self.journal.done(what, began, &end(&ran));
        ran.and_then(|output| shell::succeeded(&["sh"], output)).map_err(plain)
    }

    pub fn run(&self, argv: &[&str], deadline: Duration) -> Result<String> {
        let program = argv.first().copied().context("no program is named")?;
        // Over there too: what nobody waits for any more must not go on.
        let seconds = deadline.as_secs().max(1).to_string();
        let words: Vec<&str> = ["timeout", "-k", "20", &seconds].into_iter().chain(argv.iter().copied()).collect();
        let began = Instant::now();
        let ran = self.shell.run(&words, deadline + GRACE);
        self.journal.ran(argv, began, &end(&ran));
        let output = ran?;
        match output.code {
            Some(NOT_FOUND) if program != "sh" => bail!("{program} is not installed on {}", self.name),
            Some(TIMED_OUT) => bail!("{program}: not done after {seconds} s, and ended"),
            _ => shell::succeeded(argv, output),
        }
    }

    fn small(&self, done: Result<Output>) -> Result<()> {
        done.and_then(|output| shell::succeeded(&["sh"], output)).map(drop).map_err(plain)
    }
}

/// How something has ended.
fn end(outcome: &Result<Output>) -> String {
    match outcome {
        Ok(Output { code: Some(code), .. }) => format!("exit {code}"),
        Ok(_) => "ended by a signal".to_owned(),
        Err(error) => format!("{error:#}"),
    }
}

/// What a script of tpl's own says, without the name of the shell that ran it.
fn plain(error: Error) -> Error {
    match error.to_string().strip_prefix("sh: ") {
        Some(text) if error.chain().len() == 1 => anyhow!("{text}"),
        _ => error,
    }
}
