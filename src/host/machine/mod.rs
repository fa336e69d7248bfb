//! A machine that is made a hypervisor: asked, written to, and run on, by root.

mod guard;
pub mod host_key;
pub mod journal;
pub mod local;
pub mod ssh;
mod work;

use std::time::Duration;

use anyhow::Result;

use super::local::Lock;
use crate::core::bootstrap::{Facts, Probe};

/// A machine that somebody has logged in to who may be root there.
pub trait Machine: Sync {
    /// What operators call it.
    fn name(&self) -> &str;
    /// Asks all of these questions, in one call. Nothing is changed.
    ///
    /// # Errors
    /// [`Cut`](crate::core::error::Cut) where the connection broke; or what came back are no answers.
    fn ask(&self, probes: &[Probe]) -> Result<Facts>;
    /// Writes a file as a whole, root's, with this mode: readers see the old one or the new one, also after a power cut. Its folder is
    /// made where it is not there. Where a link stands, what it leads to is written.
    ///
    /// # Errors
    /// As for [`Self::ask`]; or it cannot be written: nothing has changed then.
    fn write(&self, path: &str, mode: u32, content: &str) -> Result<()>;
    /// Removes a file. One that is not there is no error.
    ///
    /// # Errors
    /// As for [`Self::write`].
    fn remove(&self, path: &str) -> Result<()>;
    /// Runs a program that must succeed, without input, and returns what it printed.
    ///
    /// # Errors
    /// As for [`Self::ask`]; or its exit code is not 0, with the tail of its standard error; or it is not done at its deadline.
    fn run(&self, argv: &[&str], deadline: Duration) -> Result<String>;
    /// Starts it again, and returns when it is back: another boot id proves it.
    ///
    /// # Errors
    /// It is not back after ten minutes, or it has not gone down.
    fn reboot(&self) -> Result<()>;
    /// Keeps other bootstraps away from it, until the lock is dropped or the connection ends. Inside: who is at it.
    ///
    /// # Errors
    /// As for [`Self::ask`].
    fn lock(&self) -> Result<Result<Lock, String>>;
    /// From now on the machine itself puts these files back to what they are now, and sshd with them, unless it is [`released`] within
    /// a minute. Files that are not there now are removed then.
    ///
    /// [`released`]: Self::release
    ///
    /// # Errors
    /// As for [`Self::ask`]; or there is no such guard: nothing must be changed then.
    fn guard(&self, files: &[&str]) -> Result<Guard>;
    /// Logs in once more, by a connection of its own and by the key alone, and takes the guard away from there.
    ///
    /// # Errors
    /// That does not succeed: the guard puts everything back by itself.
    fn release(&self, guard: Guard) -> Result<()>;
    /// Has everything put back at once, and returns when it is.
    ///
    /// # Errors
    /// As for [`Self::ask`]: it comes back by itself later.
    fn put_back(&self, _guard: Guard) -> Result<()> {
        Ok(())
    }
}

/// What puts files back by itself: see [`Machine::guard`].
#[derive(Debug, PartialEq, Eq)]
pub struct Guard(
    /// What it is known by on the machine, for once.
    pub String,
);
