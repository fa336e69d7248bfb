//! The metadata service's outside: bridges, sockets, HTTP, and its two processes.
//!
//! ```text
//! keeper (root)  libvirt, files, addresses on bridges ──frames──▶ server (nobody)  HTTP
//! ```
//! What a guest sends is read by the server alone. It has no file, no connection to libvirt, and no rights; what it knows, the keeper
//! has sent it, and so it answers on while libvirt does not.

pub mod bridges;
mod child;
mod connection;
pub mod control;
pub mod keeper;
pub mod kernel;
pub mod left;
mod listen;
mod lock;
pub mod log;
mod metrics;
pub mod once;
mod reports;
mod respond;
mod seats;
pub mod server;
mod shared;
mod watch;
pub mod wires;
