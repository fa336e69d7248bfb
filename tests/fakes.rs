//! Commands on an outside world that keeps its state in memory and fails where a test wants it to: what a failure or a kill
//! at any step leaves, and what the commands refuse.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

#[path = "fakes/bare.rs"]
mod bare;
#[path = "fakes/bootstrap.rs"]
mod bootstrap;
#[path = "fakes/bytes.rs"]
mod bytes;
#[path = "fakes/capacity.rs"]
mod capacity;
#[path = "fakes/clone_faults.rs"]
mod clone_faults;
#[path = "fakes/commands.rs"]
mod commands;
#[path = "fakes/dns.rs"]
mod dns;
#[path = "fakes/faults.rs"]
mod faults;
#[path = "fakes/fleets.rs"]
mod fleets;
#[path = "fakes/guest.rs"]
mod guest;
#[path = "fakes/handed.rs"]
mod handed;
#[path = "fakes/hypervisor.rs"]
mod hypervisor;
#[path = "fakes/images.rs"]
mod images;
#[path = "fakes/installer.rs"]
mod installer;
#[path = "fakes/machine.rs"]
mod machine;
#[path = "fakes/medium.rs"]
mod medium;
#[path = "fakes/networks.rs"]
mod networks;
#[path = "fakes/placement.rs"]
mod placement;
#[path = "fakes/players.rs"]
mod players;
#[path = "fakes/portable.rs"]
mod portable;
#[path = "fakes/push.rs"]
mod push;
#[path = "fakes/push_faults.rs"]
mod push_faults;
#[path = "fakes/reach.rs"]
mod reach;
#[path = "fakes/ready.rs"]
mod ready;
#[path = "fakes/remote.rs"]
mod remote;
#[path = "fakes/run.rs"]
mod run;
#[path = "fakes/secrets.rs"]
mod secrets;
#[path = "fakes/sequences.rs"]
mod sequences;
#[path = "fakes/shell.rs"]
mod shell;
#[path = "fakes/signing.rs"]
mod signing;
#[path = "fakes/storage.rs"]
mod storage;
#[path = "fakes/verbs.rs"]
mod verbs;
