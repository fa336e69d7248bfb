//! The address that the service has on its bridges, by rtnetlink, and what else the kernel says of devices.
//! <https://man7.org/linux/man-pages/man7/rtnetlink.7.html>

use std::{collections::BTreeMap, fs, net::IpAddr, os::fd::OwnedFd, path::Path};

use anyhow::{Context as _, Result, bail};
use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::{
    AddressFamily, RouteNetlinkMessage,
    address::{AddressAttribute, AddressMessage, AddressScope},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_ROUTE};
use rustix::{
    io::Errno,
    net::{
        SocketType,
        netdevice::{index_to_name, name_to_index},
        socket,
    },
};

use crate::core::imds::ADDRESS;

/// The largest part of an answer.
const ANSWER: usize = 64 << 10;
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

/// The bridge of that name; none where there is no such device, or it is no bridge.
///
/// # Errors
/// The kernel cannot be asked.
pub fn bridge(name: &str) -> Result<Option<Bridge>> {
    if !Path::new("/sys/class/net").join(name).join("bridge").is_dir() {
        return Ok(None);
    }
    Ok(number(name)?.map(|index| Bridge { name: name.to_owned(), index }))
}

/// The number of a device; none where there is none of that name.
///
/// # Errors
/// The kernel cannot be asked.
pub fn number(name: &str) -> Result<Option<u32>> {
    match plain().and_then(|socket| name_to_index(socket, name)) {
        Ok(index) => Ok(Some(index)),
        Err(Errno::NODEV) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("asking for the number of {name}")),
    }
}

/// The numbers of all devices, by their names.
///
/// # Errors
/// The kernel cannot be asked.
pub fn devices() -> Result<BTreeMap<String, u32>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir("/sys/class/net").context("listing network devices")? {
        // libvirt names none that is no text.
        let Ok(name) = entry.context("listing network devices")?.file_name().into_string() else { continue };
        found.extend(number(&name)?.map(|number| (name, number)));
    }
    Ok(found)
}

/// A socket that is connected to nothing, for the calls that are older than netlink.
fn plain() -> Result<OwnedFd, Errno> {
    socket(rustix::net::AddressFamily::INET, SocketType::DGRAM, None)
}

/// Puts the service's address on a bridge. Whether it was put there; it was there before, else.
///
/// # Errors
/// The kernel refuses.
pub fn add_address(bridge: &Bridge) -> Result<bool> {
    let message = RouteNetlinkMessage::NewAddress(address(bridge));
    match ask(message, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, |_| ())? {
        None => Ok(true),
        Some(Errno::EXIST) => Ok(false),
        Some(errno) => Err(errno).with_context(|| format!("putting {ADDRESS} on {}", bridge.name)),
    }
}

/// Takes the service's address from a bridge, where it is there and is the service's. A bridge that is gone is no error.
///
/// # Errors
/// The kernel refuses.
pub fn remove_address(bridge: &Bridge) -> Result<()> {
    match ask(RouteNetlinkMessage::DelAddress(address(bridge)), NLM_F_ACK, |_| ())? {
        None | Some(Errno::ADDRNOTAVAIL | Errno::NODEV) => Ok(()),
        Some(errno) => Err(errno).with_context(|| format!("taking {ADDRESS} from {}", bridge.name)),
    }
}

/// The bridges that have the service's address on them, with its label.
///
/// # Errors
/// The kernel cannot be asked.
pub fn labelled() -> Result<Vec<Bridge>> {
    let mut question = AddressMessage::default();
    question.header.family = AddressFamily::Inet;
    let mut found = Vec::new();
    let each = |message| {
        if let RouteNetlinkMessage::NewAddress(message) = message {
            found.extend(is_ours(&message).then_some(message.header.index));
        }
    };
    if let Some(errno) = ask(RouteNetlinkMessage::GetAddress(question), NLM_F_DUMP, each)? {
        return Err(errno).context("listing addresses");
    }
    let named = |index| match plain().and_then(|socket| index_to_name(socket, index)) {
        Ok(name) => Ok(Some(Bridge { name, index })),
        Err(Errno::NODEV | Errno::NXIO) => Ok(None),
        Err(error) => Err(error).context("asking for a bridge's name"),
    };
    found.into_iter().filter_map(|index| named(index).transpose()).collect()
}

/// Whether that is the service's address, with its label.
fn is_ours(message: &AddressMessage) -> bool {
    let is_label = |attribute: &_| matches!(attribute, AddressAttribute::Label(label) if label.ends_with(LABEL));
    message.attributes.contains(&AddressAttribute::Local(IpAddr::V4(ADDRESS))) && message.attributes.iter().any(is_label)
}

/// For this machine alone, of this link alone, and with a name that says whose it is: one that somebody else has put there is not
/// taken away.
fn address(bridge: &Bridge) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.prefix_len = 32;
    message.header.scope = AddressScope::Link;
    message.header.index = bridge.index;
    // The kernel takes any text: where the bridge's name leaves no room, its beginning does.
    let beginning = bridge.name.get(..MAX_LABEL - LABEL.len()).unwrap_or(&bridge.name);
    message.attributes = vec![
        AddressAttribute::Local(IpAddr::V4(ADDRESS)),
        AddressAttribute::Address(IpAddr::V4(ADDRESS)),
        AddressAttribute::Label(format!("{beginning}{LABEL}")),
    ];
    message
}

/// One question and all of its answer, each part of which `each` is given. What the kernel refuses it with, if it does.
fn ask(question: RouteNetlinkMessage, flags: u16, mut each: impl FnMut(RouteNetlinkMessage)) -> Result<Option<Errno>> {
    let mut socket = Socket::new(NETLINK_ROUTE).context("opening a netlink socket")?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&written(question, NLM_F_REQUEST | flags), 0)?;
    loop {
        // Several messages in one, each behind the one before.
        let mut bytes = Vec::with_capacity(ANSWER);
        socket.recv(&mut bytes, 0)?;
        let mut rest = bytes.as_slice();
        if rest.is_empty() {
            bail!("the kernel ends its answer too early");
        }
        while !rest.is_empty() {
            let message = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest)?;
            let length = usize::try_from(message.header.length)?.next_multiple_of(4).max(4);
            match message.payload {
                NetlinkPayload::InnerMessage(message) => each(message),
                NetlinkPayload::Done(_) => return Ok(None),
                // The acknowledgement of a change is an error without a number.
                NetlinkPayload::Error(error) => return Ok(error.code.map(|code| Errno::from_raw_os_error(-code.get()))),
                _ => {}
            }
            rest = rest.get(length..).unwrap_or_default();
        }
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
