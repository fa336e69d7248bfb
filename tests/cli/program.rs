//! The binary in a folder of its own.

use std::{
    fs,
    process::{Command, Stdio},
};

use tempfile::TempDir;

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// A folder that is home and working directory at once.
pub struct Home(TempDir);

/// Whose private half nobody has.
const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJDYnDuuh7rnNYFBEgcsHmOPVXo4pQ5bEeoHc+C+n3Ml operator@here\n";

impl Home {
    /// With a public key, as an operator has.
    pub fn new() -> Self {
        let home = Self(TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap());
        home.write(".ssh/id_ed25519.pub", KEY);
        home
    }

    pub fn path(&self) -> &std::path::Path {
        self.0.path()
    }

    pub fn write(&self, file: &str, text: &str) {
        let path = self.0.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// The command, with an environment that holds nothing of the tester's.
    pub fn command(&self) -> Command {
        #[expect(clippy::disallowed_methods, reason = "the rule is for the program, not for its tests")]
        let mut command = Command::new(env!("CARGO_BIN_EXE_tpl"));
        command.env_clear().env("HOME", self.path()).env("XDG_CONFIG_HOME", self.path().join(".config"));
        command.env("PATH", "/usr/bin:/bin").env("LC_ALL", "C").current_dir(self.path()).stdin(Stdio::null());
        command
    }

    pub fn tpl(&self, args: &[&str]) -> Ran {
        let output = self.command().args(args).output().unwrap();
        Ran {
            code: output.status.code().unwrap(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// The names of all files in the folder.
    pub fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

/// A run that only failed, with this on stderr.
pub fn failed(code: i32, stderr: &str) -> Ran {
    Ran { code, stdout: String::new(), stderr: stderr.to_owned() }
}

/// A run that printed this.
pub fn printed(stdout: &str) -> Ran {
    Ran { code: 0, stdout: stdout.to_owned(), stderr: String::new() }
}
