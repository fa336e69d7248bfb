//! The sockets of the service: one for each bridge, bound to the bridge and to the service's address on it.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use anyhow::{Context as _, Result};
use socket2::{Domain, Protocol, Socket, Type};

use super::kernel::Bridge;
use crate::core::{
    error::Advised,
    imds::{ADDRESS, PORT},
};

/// Connections that wait to be taken.
const BACKLOG: i32 = 512;

/// A socket for a bridge. What is sent from it goes `hops` hops far and no farther: 1 keeps it in the guest itself. It does not listen yet,
/// and nobody else can.
///
/// # Errors
/// The address is not on the bridge, or something else listens there.
pub fn on_bridge(bridge: &Bridge, hops: u8) -> Result<TcpListener> {
    let make = || -> std::io::Result<TcpListener> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        // The same address on another bridge is another one: nothing comes in here but from this bridge, nor goes out elsewhere.
        socket.bind_device(Some(bridge.name.as_bytes()))?;
        socket.set_reuse_address(true)?;
        socket.set_ttl_v4(u32::from(hops))?;
        socket.bind(&SocketAddr::from((ADDRESS, PORT)).into())?;
        Ok(socket.into())
    };
    make().with_context(|| format!("listening on {} at {ADDRESS} port {PORT}", bridge.name))
}

/// Lets it listen. Before it does, a guest's connection is refused, and the guest tries again.
///
/// # Errors
/// Something else has begun to listen there.
pub fn begin(socket: &TcpListener) -> Result<()> {
    rustix::net::listen(socket, BACKLOG).with_context(|| format!("listening at {ADDRESS} port {PORT}"))
}

/// Listens on this machine's loopback alone.
///
/// # Errors
/// Something else listens there.
pub fn on_loopback(port: u16) -> Result<TcpListener> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port));
    let listener = listener.with_context(|| format!("listening on 127.0.0.1 port {port}"));
    listener.map_err(|error| Advised::new(error, "another port: --status-port").into())
}

/// Lets a listener be one of tokio's.
///
/// # Errors
/// The kernel's own.
pub fn unblock(listener: &TcpListener) -> Result<()> {
    Ok(listener.set_nonblocking(true)?)
}
