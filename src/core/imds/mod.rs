//! The instance metadata service: what guests are told that ask 169.254.169.254 who they are, and who is told what.
//!
//! ```text
//! a connection on a bridge → its mark: the wire that it came in by → Directory: the domain → Answers
//! ```
//! All of it is decided from values: [`directory::Directory`] is what libvirt has said last, and [`wires`] how the kernel knows who is
//! who. Nothing that a guest sends takes part in it.

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
pub mod wires;

use std::net::Ipv4Addr;

/// Where all clouds have it: <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html>.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(169, 254, 169, 254);
/// The port.
pub const PORT: u16 = 80;
