//! The adapter against libvirt itself: its test driver, which keeps everything in memory, and the hypervisor of this machine.
//! Nothing is started but a network of the tests' own; all that they define goes with them.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

#[path = "libvirt/domains.rs"]
mod domains;
#[path = "libvirt/driver.rs"]
mod driver;
#[path = "libvirt/network.rs"]
mod network;
#[path = "libvirt/races.rs"]
mod races;
#[path = "libvirt/round_trips.rs"]
mod round_trips;
#[path = "libvirt/seeds.rs"]
mod seeds;
#[path = "libvirt/things.rs"]
mod things;
