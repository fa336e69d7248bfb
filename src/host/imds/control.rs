//! How the two processes of the service speak: the keeper, which has root's rights, libvirt and files, and the server, which has
//! none of them and answers guests. Frames of JSON over a socket that only they have; a listening socket may go along.

use std::{
    io::{IoSlice, IoSliceMut, Read as _, Write as _},
    mem::MaybeUninit,
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::net::UnixStream,
    },
};

use anyhow::{Context as _, Result, bail, ensure};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use uuid::Uuid;

use super::kernel::Bridge;
use crate::core::imds::{defaults::Item, directory::Known};

/// The largest frame in bytes: the user-data of very many domains.
const LARGEST: usize = 256 << 20;
/// The bytes of a frame's length.
const HEAD: usize = 4;

/// From the keeper to the server.
#[derive(Debug, Serialize, Deserialize)]
pub enum ToServer {
    /// The first frame.
    Settings(Settings),
    /// The socket that goes along is bound to this bridge, and is to listen there.
    Listen {
        /// The bridge's name.
        bridge: String,
        /// Its number.
        index: u32,
    },
    /// The socket that goes along is for this machine itself: health and metrics.
    ListenForStatus,
    /// What goes along says that there is a service: the server holds it as long as it is there.
    Hold,
    /// The bridge is gone, or has been made again.
    Forget(String),
    /// What is known now.
    Known(Known),
    /// Whether libvirt answers.
    Libvirt(bool),
    /// Whether the rules by which guests are known are in force.
    Rules(bool),
    /// The answer to a question; none where it cannot be done.
    Answer(u64, Option<bool>),
    /// Time to end.
    Stop,
}

/// How the server is set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The hypervisor's name.
    pub host: String,
    /// Whether the EC2 metadata are for those with a token alone.
    pub require_token: bool,
    /// What tokens are signed with.
    pub key: [u8; 32],
}

/// From the server to the keeper: each has a number, and is answered.
#[derive(Debug, Serialize, Deserialize)]
pub struct Question {
    /// Its number.
    pub id: u64,
    /// What it is about.
    pub about: About,
}

/// What the server cannot do by itself.
#[derive(Debug, Serialize, Deserialize)]
pub enum About {
    /// Is this the first time that the item is handed out to the instance, or so many seconds after it at most?
    Once(Uuid, Item, u64),
    /// The instance is ready; its SSH host keys.
    Ready(Uuid, Vec<String>),
}

/// A listening socket's bridge.
impl From<&Bridge> for ToServer {
    fn from(bridge: &Bridge) -> Self {
        Self::Listen { bridge: bridge.name.clone(), index: bridge.index }
    }
}

/// Sends a frame, and a socket along with it.
///
/// # Errors
/// The other process is gone, or the frame is too large.
pub fn send(stream: &UnixStream, frame: &impl Serialize, along: Option<BorrowedFd<'_>>) -> Result<()> {
    let body = serde_json::to_vec(frame)?;
    ensure!(body.len() <= LARGEST, "a frame of {} bytes is larger than {LARGEST}", body.len());
    let head = u32::try_from(body.len())?.to_be_bytes();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let fds: Vec<BorrowedFd<'_>> = along.into_iter().collect();
    if !fds.is_empty() {
        ensure!(ancillary.push(SendAncillaryMessage::ScmRights(&fds)), "a socket does not fit into a frame");
    }
    // It goes along with the first byte, at least.
    let sent = sendmsg(stream, &[IoSlice::new(&head)], &mut ancillary, SendFlags::NOSIGNAL).context("sending a frame")?;
    let mut stream = stream;
    stream.write_all(&head[sent..])?;
    stream.write_all(&body).context("sending a frame")
}

/// Receives a frame; none where the other process has ended.
///
/// # Errors
/// The connection breaks in the middle of a frame, or the frame is none.
pub fn receive<T: DeserializeOwned>(stream: &UnixStream) -> Result<Option<(T, Option<OwnedFd>)>> {
    let mut head = [0; HEAD];
    let mut along = None;
    let mut got = 0;
    while got < HEAD {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let message = recvmsg(stream.as_fd(), &mut [IoSliceMut::new(&mut head[got..])], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
        for control in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(mut fds) = control {
                along = fds.next().or(along);
            }
        }
        match (message.bytes, got) {
            (0, 0) => return Ok(None),
            (0, _) => bail!("a frame ends before its end"),
            (bytes, _) => got += bytes,
        }
    }
    let length = usize::try_from(u32::from_be_bytes(head))?;
    ensure!(length <= LARGEST, "a frame of {length} bytes is larger than {LARGEST}");
    let mut body = vec![0; length];
    let mut stream = stream;
    stream.read_exact(&mut body).context("receiving a frame")?;
    Ok(Some((serde_json::from_slice(&body).context("reading a frame")?, along)))
}

#[cfg(test)]
mod tests {
    use std::{net::TcpListener, thread};

    use super::*;

    #[test]
    fn frames_arrive_in_order_and_sockets_with_their_own() {
        let (one, other) = UnixStream::pair().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let sender = thread::spawn(move || {
            send(&one, &ToServer::Libvirt(true), None).unwrap();
            send(&one, &ToServer::from(&Bridge { name: "br0".to_owned(), index: 7 }), Some(listener.as_fd())).unwrap();
            send(&one, &"x".repeat(3 << 20), None).unwrap();
        });
        let (frame, along) = receive::<ToServer>(&other).unwrap().unwrap();
        assert!(matches!(frame, ToServer::Libvirt(true)) && along.is_none());
        let (frame, along) = receive::<ToServer>(&other).unwrap().unwrap();
        assert!(matches!(frame, ToServer::Listen { bridge, index: 7 } if bridge == "br0"));
        assert_eq!(TcpListener::from(along.unwrap()).local_addr().unwrap(), address);
        assert_eq!(receive::<String>(&other).unwrap().unwrap().0.len(), 3 << 20);
        sender.join().unwrap();
        assert!(receive::<ToServer>(&other).unwrap().is_none());
    }

    #[test]
    fn what_is_no_frame_is_an_error() {
        for bytes in [&b"\0\0"[..], b"\xff\xff\xff\xff", b"\0\0\0\x05abc", b"\0\0\0\x03abc"] {
            let (mut one, other) = UnixStream::pair().unwrap();
            one.write_all(bytes).unwrap();
            drop(one);
            assert!(receive::<ToServer>(&other).is_err(), "{bytes:?}");
        }
    }
}
