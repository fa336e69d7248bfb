//! Questions to the kernel by rtnetlink, and their answers. <https://man7.org/linux/man-pages/man7/rtnetlink.7.html>

use std::{
    cell::{OnceCell, RefCell},
    os::fd::OwnedFd,
};

use anyhow::{Context as _, Result, anyhow, bail};
use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rustix::io::Errno;

/// The largest answer to one question, and more.
const ANSWER: usize = 8192;
/// The largest part of a list.
const DUMPED: usize = 64 << 10;
thread_local! {
    /// A socket for each thread: a question and its answer are two calls, and no lock is needed around them.
    static SOCKET: RefCell<Option<Socket>> = const { RefCell::new(None) };
    /// One more, for the calls that are older than netlink.
    static PLAIN: OnceCell<OwnedFd> = const { OnceCell::new() };
}

/// Calls something on a socket that is connected to nothing.
pub fn by_plain<T>(call: impl FnOnce(&OwnedFd) -> Result<T, Errno>) -> Result<T, Errno> {
    PLAIN.with(|cell| {
        if let Some(open) = cell.get() {
            return call(open);
        }
        let open = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)?;
        call(cell.get_or_init(|| open))
    })
}

/// All entries of a table.
pub fn list(question: RouteNetlinkMessage, mut each: impl FnMut(RouteNetlinkMessage)) -> Result<()> {
    let socket = open_socket()?;
    socket.send(&written(question, NLM_F_REQUEST | NLM_F_DUMP), 0)?;
    loop {
        // Several messages in one, each behind the one before.
        let mut bytes = Vec::with_capacity(DUMPED);
        socket.recv(&mut bytes, 0)?;
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)?;
            let length = usize::try_from(message.header.length)?.next_multiple_of(4).max(4);
            match message.payload {
                NetlinkPayload::InnerMessage(message) => each(message),
                NetlinkPayload::Done(_) => return Ok(()),
                NetlinkPayload::Error(error) => bail!("{error}"),
                _ => {}
            }
            rest = rest.get(length..).unwrap_or_default();
        }
    }
}

/// Why a question has no answer.
pub enum Failed {
    /// The kernel says so.
    Errno(Errno),
    /// It cannot be asked.
    Other(anyhow::Error),
}

impl Failed {
    /// As an error that is told.
    pub fn error(self) -> anyhow::Error {
        match self {
            Self::Errno(errno) => anyhow!(errno),
            Self::Other(error) => error,
        }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

/// One question and its answer; none is a mere acknowledgement.
pub fn ask(question: RouteNetlinkMessage, flags: u16) -> Result<Option<RouteNetlinkMessage>, Failed> {
    let bytes = written(question, flags);
    let answer = SOCKET.with_borrow_mut(|socket| -> Result<Vec<u8>> {
        let open = match socket.take() {
            Some(open) => open,
            None => open_socket()?,
        };
        open.send(&bytes, 0)?;
        let mut answer = Vec::with_capacity(ANSWER);
        open.recv(&mut answer, 0)?;
        // One that has failed half-way may have an answer left in it: it is not used again.
        *socket = Some(open);
        Ok(answer)
    })?;
    match NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer)?.payload {
        NetlinkPayload::InnerMessage(message) => Ok(Some(message)),
        NetlinkPayload::Error(error) => match error.code {
            None => Ok(None),
            Some(code) => Err(Failed::Errno(Errno::from_raw_os_error(-code.get()))),
        },
        _ => Err(anyhow!("the kernel answers something else").into()),
    }
}

/// A message as it goes out.
fn written(message: RouteNetlinkMessage, flags: u16) -> Vec<u8> {
    let mut message = NetlinkMessage::new(NetlinkHeader::default(), NetlinkPayload::from(message));
    message.header.flags = flags;
    message.header.sequence_number = 1;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

fn open_socket() -> Result<Socket> {
    let mut socket = Socket::new(NETLINK_ROUTE).context("opening a netlink socket")?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    Ok(socket)
}
