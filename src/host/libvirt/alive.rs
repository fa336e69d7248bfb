//! Noticing that another machine does not answer any more. libvirt waits in C, where nothing can interrupt it, and by itself for as
//! long as TCP does: for ever, where the other side is there and stands still.

use std::{
    sync::{Once, mpsc},
    thread,
    time::Duration,
};

use anyhow::Result;
use virt::{connect::Connect, error::Error, event};

use super::{plain, unsupported};

/// So many seconds without a word, and the other side is asked for one; so many times in vain, and the connection is closed, which
/// ends every call on it. Half a minute, the values of virsh(1).
const INTERVAL: i32 = 5;
const COUNT: u32 = 6;
/// How long to wait where libvirt's event loop cannot be entered, which it can.
const PAUSE: Duration = Duration::from_secs(1);

/// Starts libvirt's event loop, which its keepalive runs in: before the first connection, and until the process ends.
pub(super) fn prepare() {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        // Without it there is no keepalive, and all else works.
        if event::event_register_default_impl().is_ok() {
            thread::spawn(|| {
                loop {
                    if event::event_run_default_impl().is_err() {
                        thread::sleep(PAUSE);
                    }
                }
            });
        }
    });
}

/// Lets a connection end when the other side says nothing any more.
pub(super) fn keep(connect: &Connect) -> Result<()> {
    match connect.set_keep_alive(INTERVAL, COUNT) {
        Err(error) if !unsupported(&error) => Err(plain(error)),
        _ => Ok(()),
    }
}

/// Connects. None if that takes longer: then it is left behind on a thread of its own, which ends with the process.
pub(super) fn open_within(uri: &str, deadline: Duration) -> Option<Result<Connect, Error>> {
    let (sender, receiver) = mpsc::channel();
    let uri = uri.to_owned();
    thread::spawn(move || {
        // Nobody listens any more once the deadline has passed.
        let _ = sender.send(Connect::open(Some(&uri)));
    });
    receiver.recv_timeout(deadline).ok()
}
