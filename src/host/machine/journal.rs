//! What was done on a machine, as a file for the operator: every command, its exit code, and how long it took.

use std::{
    env,
    fs::{self, File, OpenOptions, Permissions},
    io::Write as _,
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Instant,
};

use anyhow::{Context as _, Result};
use jiff::Timestamp;

use crate::core::bootstrap::Step;

/// The file. Of what is written to a machine it has the size alone, and nothing that is fed to a program.
pub struct Journal(Option<(PathBuf, Mutex<File>)>);

impl Journal {
    /// None: for who changes nothing, or next to nothing.
    pub fn none() -> Self {
        Self(None)
    }

    /// Opens one in the user's state folder, for a machine of this name, at this time.
    ///
    /// # Errors
    /// There is no such folder, or it cannot be written to.
    pub fn of(name: &str, now: Timestamp) -> Result<Self> {
        let state = env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|folder| folder.is_absolute());
        let state = state.or_else(|| env::home_dir().map(|home| home.join(".local/state")));
        let folder = state.context("finding a folder for the log: neither XDG_STATE_HOME nor HOME is set")?.join("tpl/host");
        let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.with_context(|| format!("making the folder {}", folder.display()))?;
        let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.@".contains(c) { c } else { '_' };
        let name: String = name.chars().map(plain).collect();
        Self::at(&folder.join(format!("{name}-{}.log", now.strftime("%Y%m%dT%H%M%SZ"))))
    }

    /// Opens this file, and goes on at its end. It is for the user alone from then on.
    ///
    /// # Errors
    /// It cannot be written to.
    pub fn at(path: &Path) -> Result<Self> {
        let open = || -> Result<File> {
            let file = OpenOptions::new().append(true).create(true).mode(0o600).open(path)?;
            if file.metadata()?.is_file() {
                file.set_permissions(Permissions::from_mode(0o600))?;
            }
            Ok(file)
        };
        let file = open().with_context(|| format!("opening the log {}", path.display()))?;
        Ok(Self(Some((path.to_owned(), Mutex::new(file)))))
    }

    /// Where it is, if it is anywhere.
    pub fn path(&self) -> Option<&Path> {
        self.0.as_ref().map(|(path, _)| path.as_path())
    }

    /// Puts a line in: a phase that begins, what somebody has confirmed.
    pub fn note(&self, line: &str) {
        let Some((_, file)) = &self.0 else { return };
        let plain = |c: char| if c.is_control() { c.escape_debug().to_string() } else { c.to_string() };
        let line: String = line.chars().map(plain).collect();
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        // A full disk here is no reason to leave a machine half done over there.
        let _ = writeln!(file, "{} {line}", Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ"));
    }

    /// Puts in what was done since `began`, and how it ended: an exit code, or why there is none.
    pub fn done(&self, what: &str, began: Instant, end: &str) {
        self.note(&format!("[{end}, {:.1} s] {what}", began.elapsed().as_secs_f64()));
    }

    /// The same for a command.
    pub fn ran(&self, argv: &[&str], began: Instant, end: &str) {
        let step = Step::run(argv);
        let line = step.describe().replace("\n      | ", "\n");
        self.done(line.trim_start_matches("run").trim(), began, end);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_is_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.log");
        fs::write(&path, "before\n").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let journal = Journal::at(&path).unwrap();
        journal.ran(&["sh", "-c", "echo it's \"a\"\nexit 3"], Instant::now(), "exit 3");
        journal.note("phase ssh\u{1b}[2J");
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().map(|line| line.split_once("Z ").map_or(line, |(_, rest)| rest)).collect();
        let expected = ["before", "[exit 3, 0.0 s] sh -c \"echo it's \\\"a\\\"\\nexit 3\"", "phase ssh\\u{1b}[2J"];
        assert_eq!(lines, expected);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
