//! The instance metadata service: what guests are told that ask 169.254.169.254 who they are, and who is told what.
//!
//! ```text
//! a connection on a bridge → neighbour table: its MAC → bridge's table: its port → Directory: the domain → both pinned → Answers
//! ```
//! All of it is decided from values: [`directory::Directory`] is what libvirt has said last, [`Sighting`] what the kernel says of the
//! caller now. Nothing that a guest sends takes part in it: see [`directory`].

pub mod defaults;
pub mod directory;
pub mod document;
pub mod ec2;
pub mod gather;
pub mod instance;
pub mod nocloud;
pub mod phone_home;
pub mod quota;
pub mod reply;
pub mod request;
pub mod seeds;
pub mod token;
pub mod unit;

use std::net::Ipv4Addr;

use super::mac::Mac;

/// Where all clouds have it: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html>.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
/// The port.
pub const PORT: u16 = 80;

/// What the kernel says of a caller at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// The network card that has the caller's address on the bridge, by the neighbour table.
    pub mac: Mac,
    /// The bridge's port that this card was heard at last, by the bridge's own table.
    pub port: Option<String>,
    /// Whether both are pinned: no frame of a guest's changes them, and what is sent to the address goes out at that port to that card.
    pub pinned: bool,
}
