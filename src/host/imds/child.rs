//! The server's process, as the keeper holds it.

use std::{
    net::Shutdown,
    os::{
        fd::{BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
    process::Child,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use super::control::{Question, Settings, ToServer, receive, send};
use crate::host::process;

/// How long it has to end by itself.
const END: Duration = Duration::from_secs(20);

/// The process that answers guests, which has no rights.
pub struct Server {
    child: Child,
    stream: UnixStream,
}

impl Server {
    /// Starts it, as a user and group; none leaves it this process's. `hear` gets what it asks, and nothing when it has ended; until it
    /// says that it wants no more.
    ///
    /// # Errors
    /// It cannot be started, or told.
    pub fn start(
        user: Option<(u32, u32)>,
        settings: &Settings,
        hear: impl Fn(Option<Question>) -> bool + Send + 'static,
    ) -> Result<Self> {
        let (stream, other) = UnixStream::pair().context("making a pair of sockets")?;
        // A server that does not read any more must not hold the keeper: then it is ended.
        stream.set_write_timeout(Some(END)).context("making a pair of sockets")?;
        let child = process::again(&["metadata", "server"], user, OwnedFd::from(other))?;
        let server = Self { child, stream };
        server.tell(&ToServer::Settings(settings.clone()), None)?;
        let asking = server.stream.try_clone()?;
        thread::spawn(move || {
            while let Ok(Some((question, _))) = receive::<Question>(&asking) {
                if !hear(Some(question)) {
                    return;
                }
            }
            hear(None);
        });
        Ok(server)
    }

    /// Tells it something, with an open file along.
    ///
    /// # Errors
    /// It does not read any more.
    pub fn tell(&self, frame: &ToServer, along: Option<BorrowedFd<'_>>) -> Result<()> {
        send(&self.stream, frame, along).context("telling the server")
    }

    /// Lets it end what it is at.
    ///
    /// # Errors
    /// It had to be killed, or has failed.
    pub fn end(mut self) -> Result<()> {
        // It may be gone already.
        let _ = self.tell(&ToServer::Stop, None);
        let _ = self.stream.shutdown(Shutdown::Write);
        let begun = Instant::now();
        while self.child.try_wait()?.is_none() {
            if begun.elapsed() >= END {
                self.child.kill()?;
                self.child.wait()?;
                bail!("the server was not done after {} s, and was ended", END.as_secs());
            }
            thread::sleep(Duration::from_millis(20));
        }
        let status = self.child.wait()?;
        ensure!(status.success(), "the server has failed: {status}");
        Ok(())
    }
}
