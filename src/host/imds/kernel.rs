//! What the kernel knows of a caller, and the address that the service has on its bridges: by rtnetlink.
//! <https://man7.org/linux/man-pages/man7/rtnetlink.7.html>

use std::{
    cell::{OnceCell, RefCell},
    net::{IpAddr, Ipv4Addr},
    os::fd::OwnedFd,
};

use anyhow::{Context as _, Result, anyhow, bail};
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressMessage, AddressScope},
    neighbour::{NeighbourAttribute, NeighbourMessage, NeighbourState},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rustix::{
    io::Errno,
    net::netdevice::{index_to_name, name_to_index},
};

use crate::core::{
    imds::{ADDRESS, Sighting},
    mac::Mac,
};

/// The largest answer to one question, and more.
const ANSWER: usize = 8192;
/// The largest part of a list.
const DUMPED: usize = 64 << 10;
/// What marks an address as the service's own, behind the bridge's name: `virbr0:tpl`.
const LABEL: &str = ":tpl";
/// The kernel's limit on a label in bytes, without the NUL.
const MAX_LABEL: usize = 15;

/// A bridge, as the kernel has it now: made again, it has another number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bridge {
    /// Its name.
    pub name: String,
    /// Its number.
    pub index: u32,
}

/// What tells who is behind an address.
pub trait Sightings: Send + Sync {
    /// What is behind an address on a bridge; none where nothing was heard from it.
    ///
    /// # Errors
    /// The kernel cannot be asked.
    fn sighting(&self, bridge: &Bridge, address: Ipv4Addr) -> Result<Option<Sighting>>;
}

/// The kernel's own tables.
#[derive(Debug, Clone, Copy)]
pub struct Kernel;

thread_local! {
    /// A socket for each thread: a question and its answer are two calls, and no lock is needed around them.
    static SOCKET: RefCell<Option<Socket>> = const { RefCell::new(None) };
    /// One more, for the calls that are older than netlink.
    static PLAIN: OnceCell<OwnedFd> = const { OnceCell::new() };
}

/// Calls something on a socket that is connected to nothing.
fn by_plain<T>(call: impl FnOnce(&OwnedFd) -> Result<T, Errno>) -> Result<T, Errno> {
    PLAIN.with(|cell| {
        if let Some(open) = cell.get() {
            return call(open);
        }
        let open = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)?;
        call(cell.get_or_init(|| open))
    })
}

impl Sightings for Kernel {
    fn sighting(&self, bridge: &Bridge, address: Ipv4Addr) -> Result<Option<Sighting>> {
        let Some(mac) = neighbour(bridge.index, address).context("asking the neighbour table")? else { return Ok(None) };
        let port = port(bridge.index, mac).context("asking the bridge for a card's port")?;
        Ok(Some(Sighting { mac, port }))
    }
}

/// The bridge of that name; none where there is no such device, or it is no bridge.
///
/// # Errors
/// The kernel cannot be asked.
pub fn bridge(name: &str) -> Result<Option<Bridge>> {
    if !std::path::Path::new("/sys/class/net").join(name).join("bridge").is_dir() {
        return Ok(None);
    }
    match by_plain(|socket| name_to_index(socket, name)) {
        Ok(index) => Ok(Some(Bridge { name: name.to_owned(), index })),
        Err(Errno::NODEV) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("asking for the number of {name}")),
    }
}

/// Puts the service's address on a bridge. Whether it was put there; it was there before, else.
///
/// # Errors
/// The kernel refuses.
pub fn add_address(bridge: &Bridge) -> Result<bool> {
    let message = RouteNetlinkMessage::NewAddress(address(bridge));
    match ask(message, NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL) {
        Ok(_) => Ok(true),
        Err(Failed::Errno(Errno::EXIST)) => Ok(false),
        Err(failed) => Err(failed.error()).with_context(|| format!("putting {ADDRESS} on {}", bridge.name)),
    }
}

/// Takes the service's address from a bridge, where it is there and is the service's. A bridge that is gone is no error.
///
/// # Errors
/// The kernel refuses.
pub fn remove_address(bridge: &Bridge) -> Result<()> {
    match ask(RouteNetlinkMessage::DelAddress(address(bridge)), NLM_F_REQUEST | NLM_F_ACK) {
        Ok(_) | Err(Failed::Errno(Errno::ADDRNOTAVAIL | Errno::NODEV)) => Ok(()),
        Err(failed) => Err(failed.error()).with_context(|| format!("taking {ADDRESS} from {}", bridge.name)),
    }
}

/// The bridges that have the service's address on them, with its label.
///
/// # Errors
/// The kernel cannot be asked.
pub fn labelled() -> Result<Vec<Bridge>> {
    let mut question = AddressMessage::default();
    question.header.family = AddressFamily::Inet;
    let message = RouteNetlinkMessage::GetAddress(question);
    let socket = open_socket()?;
    socket.send(&written(message, NLM_F_REQUEST | NLM_F_DUMP), 0)?;
    let mut found = Vec::new();
    loop {
        // Several messages in one, each behind the one before.
        let mut bytes = Vec::with_capacity(DUMPED);
        socket.recv(&mut bytes, 0)?;
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)?;
            let length = usize::try_from(message.header.length)?.next_multiple_of(4).max(4);
            match message.payload {
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewAddress(address)) => found.extend(labelled_bridge(&address)),
                NetlinkPayload::Done(_) => return Ok(found),
                NetlinkPayload::Error(error) => bail!("listing addresses: {error}"),
                _ => {}
            }
            rest = rest.get(length..).unwrap_or_default();
        }
    }
}

fn labelled_bridge(message: &AddressMessage) -> Option<Bridge> {
    let is_ours = message.attributes.contains(&AddressAttribute::Local(IpAddr::V4(ADDRESS)));
    let name = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Label(label) => label.strip_suffix(LABEL),
        _ => None,
    });
    name.filter(|_| is_ours).map(|name| Bridge { name: name.to_owned(), index: message.header.index })
}

/// Whether the address on that bridge has a label, by which it is known to be the service's.
pub fn has_label(bridge: &Bridge) -> bool {
    bridge.name.len() + LABEL.len() <= MAX_LABEL
}

/// For this machine alone, of this link alone, and with a name that says whose it is, where the bridge's own leaves room for it:
/// one that somebody else has put there is not taken away.
fn address(bridge: &Bridge) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.prefix_len = 32;
    message.header.scope = AddressScope::Link;
    message.header.index = bridge.index;
    message.attributes = vec![AddressAttribute::Local(IpAddr::V4(ADDRESS)), AddressAttribute::Address(IpAddr::V4(ADDRESS))];
    if has_label(bridge) {
        message.attributes.push(AddressAttribute::Label(format!("{}{LABEL}", bridge.name)));
    }
    message
}

/// The card that has an address on a link.
fn neighbour(link: u32, address: Ipv4Addr) -> Result<Option<Mac>> {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.ifindex = link;
    message.attributes = vec![NeighbourAttribute::Destination(address.into())];
    let Some(found) = neighbour_message(message)? else { return Ok(None) };
    if matches!(found.header.state, NeighbourState::Incomplete | NeighbourState::Failed | NeighbourState::Noarp) {
        return Ok(None);
    }
    let card = |attribute: &NeighbourAttribute| match attribute {
        NeighbourAttribute::LinkLayerAddress(bytes) => bytes.as_slice().try_into().ok().map(Mac),
        _ => None,
    };
    Ok(found.attributes.iter().find_map(card))
}

/// The port of a bridge that a card was heard at last; none where it has aged out, or there is no such device any more.
fn port(bridge: u32, mac: Mac) -> Result<Option<String>> {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.attributes = vec![NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()), NeighbourAttribute::Controller(bridge)];
    let Some(found) = neighbour_message(message)? else { return Ok(None) };
    match by_plain(|socket| index_to_name(socket, found.header.ifindex)) {
        Ok(name) => Ok(Some(name)),
        Err(Errno::NODEV | Errno::NXIO) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// One entry of a table; none where there is none.
fn neighbour_message(message: NeighbourMessage) -> Result<Option<NeighbourMessage>> {
    match ask(RouteNetlinkMessage::GetNeighbour(message), NLM_F_REQUEST) {
        Ok(Some(RouteNetlinkMessage::NewNeighbour(found))) => Ok(Some(found)),
        Ok(_) => bail!("the kernel answers something else"),
        Err(Failed::Errno(Errno::NOENT | Errno::NODEV)) => Ok(None),
        Err(failed) => Err(failed.error()),
    }
}

/// Why a question has no answer.
enum Failed {
    Errno(Errno),
    Other(anyhow::Error),
}

impl Failed {
    fn error(self) -> anyhow::Error {
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
fn ask(question: RouteNetlinkMessage, flags: u16) -> Result<Option<RouteNetlinkMessage>, Failed> {
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
