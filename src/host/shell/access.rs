//! What somebody logs in with, and becomes root by, beyond what SSH finds by itself.

use std::{
    env,
    fs::{self, Permissions},
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context as _, Result};
use rustix::fs::{StatVfsMountFlags, statvfs};
use tempfile::{Builder, TempPath};
use uuid::Uuid;

use crate::{core::secret::Secret, host::local};

/// Where a password comes from: asked for at a terminal, read from a file, or why there is none.
pub type AskPassword = Box<dyn Fn() -> Result<Secret<String>> + Send + Sync>;

/// The user's password on a machine: for SSH where no key opens, and for sudo. Nobody is asked for it before it is needed, or twice.
pub struct Password {
    ask: AskPassword,
    said: Mutex<Option<Secret<String>>>,
}

impl Password {
    /// One that comes from there.
    pub fn new(ask: AskPassword) -> Self {
        Self { ask, said: Mutex::new(None) }
    }

    /// It itself.
    ///
    /// # Errors
    /// There is none.
    pub fn get(&self) -> Result<Secret<String>> {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = &*said {
            return Ok(known.clone());
        }
        let new = (self.ask)()?;
        *said = Some(new.clone());
        Ok(new)
    }

    /// Whether it is known already, so that nobody would be asked.
    pub fn is_known(&self) -> bool {
        self.said.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}

/// What a login may use beyond the user's agent and keys.
pub struct Credentials {
    /// A private key's file, tried after those that SSH finds by itself.
    pub key: Option<PathBuf>,
    /// The user's password.
    pub password: Password,
}

/// What SSH asks for a password: a script that prints a variable of its environment, for the one `ssh` that this process has started,
/// and for none that this one starts itself, on the way to another host.
pub struct AskPass {
    script: TempPath,
    variable: String,
}

impl AskPass {
    /// Writes the script. There is nothing secret in it.
    ///
    /// # Errors
    /// No folder can hold programs that are this user's alone.
    pub fn new() -> Result<Self> {
        // A name that nobody's SetEnv, SendEnv or AcceptEnv knows.
        let variable = format!("TPL_{}", Uuid::new_v4().simple());
        let script = format!(
            "#!/bin/sh\nwhile read -r key value; do [ \"$key\" != PPid: ] || parent=$value; done </proc/$PPID/status\n\
             [ \"$parent\" = {} ] || exit 1\nprintf '%s\\n' \"${variable}\"\n",
            std::process::id()
        );
        let folder = program_folder().context("finding a folder for the helper that SSH asks for a password")?;
        let mut file = Builder::new().prefix("askpass-").permissions(Permissions::from_mode(0o700)).tempfile_in(folder)?;
        file.write_all(script.as_bytes())?;
        // Closed: a program that is open for writing does not start.
        Ok(Self { script: file.into_temp_path(), variable })
    }

    /// The variable that holds the password.
    pub fn variable(&self) -> &str {
        &self.variable
    }

    /// The environment that makes SSH ask it for the password.
    ///
    /// # Errors
    /// Its path is no UTF-8.
    pub fn environment<'a>(&'a self, password: &'a Secret<String>) -> Result<[(&'a str, &'a str); 3]> {
        let script = self.script.to_str().context("the path of SSH's helper is no UTF-8")?;
        Ok([("SSH_ASKPASS", script), ("SSH_ASKPASS_REQUIRE", "force"), (&self.variable, password.expose())])
    }
}

/// A folder of the user's alone from which programs start: `/run` is often mounted without that.
fn program_folder() -> Result<PathBuf> {
    let state = env::home_dir().map(|home| home.join(".local/state/tpl"));
    let mut reason = None;
    for folder in std::iter::once(local::runtime_folder()).chain(state.map(local::private)) {
        match folder {
            Ok(folder) if !statvfs(&folder)?.f_flag.contains(StatVfsMountFlags::NOEXEC) => return Ok(fs::canonicalize(folder)?),
            Ok(folder) => reason = Some(anyhow::anyhow!("{} is mounted noexec", folder.display())),
            Err(error) => reason = Some(error),
        }
    }
    Err(reason.context("there is none")?)
}

#[cfg(test)]
mod tests {
    use std::{sync::atomic::AtomicUsize, sync::atomic::Ordering, time::Duration};

    use super::*;
    use crate::host::process;

    #[test]
    fn nobody_is_asked_twice() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        let password = Password::new(Box::new(|| {
            ASKED.fetch_add(1, Ordering::Relaxed);
            Ok(Secret::new("x".to_owned()))
        }));
        assert!(!password.is_known());
        for _ in 0..2 {
            assert_eq!(password.get().unwrap().expose(), "x");
        }
        assert_eq!((ASKED.load(Ordering::Relaxed), password.is_known()), (1, true));
    }

    #[test]
    fn the_password_goes_to_the_ssh_that_was_started_here_alone() {
        let askpass = AskPass::new().unwrap();
        let password = Secret::new("it's a \"$word\"".to_owned());
        let run = |script: &str| {
            let path = process::find("sh").unwrap();
            let beside =
                process::streams::Beside::start_with(&path, &["-c", script], &askpass.environment(&password).unwrap(), &[]);
            beside.unwrap().heard(Duration::from_secs(5))
        };
        // As ssh does: it starts the helper itself.
        assert_eq!(run("\"$SSH_ASKPASS\" 'Password: '; true").as_deref(), Some("it's a \"$word\""));
        // As the ssh would that another one has started for its ProxyCommand.
        assert_eq!(run("sh -c '\"$SSH_ASKPASS\"; true'; true"), None);
        let text = fs::read_to_string(&askpass.script).unwrap();
        assert!(!text.contains("word") && text.contains(askpass.variable()), "{text}");
        let script = askpass.script.to_path_buf();
        drop(askpass);
        assert!(!script.exists());
    }
}
