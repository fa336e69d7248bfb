//! What tpl asks of a hypervisor, in the field's words. [`super::libvirt`] is the real one.
//!
//! Two traits, because they fail and grow apart: [`Hypervisor`] for domains and networks, [`Storage`] for the volumes of a pool.

use std::{collections::BTreeMap, io::Read, net::IpAddr};

use crate::core::{
    facts::{Domain, DomainState, HostSize, NewVolume, Pledge, PoolSize, Volume},
    metadata::ready::Ready,
    network::{Lease, Network, Reservation},
    secret::Secret,
};
use anyhow::Result;
use uuid::Uuid;

/// Domains and networks.
pub trait Hypervisor: Sync {
    /// The connection's URI.
    fn uri(&self) -> &str;
    /// What operators call it: its name in the configuration; else its connection's URI.
    fn name(&self) -> &str {
        self.uri()
    }
    /// The versions of libvirt and the emulator.
    ///
    /// # Errors
    /// The connection fails.
    fn versions(&self) -> Result<BTreeMap<String, String>>;
    /// The host's size.
    ///
    /// # Errors
    /// The connection fails.
    fn size(&self) -> Result<HostSize>;
    /// All domains, by name. One that vanishes meanwhile is left out.
    ///
    /// # Errors
    /// The connection fails.
    fn domains(&self) -> Result<Vec<Domain>>;
    /// What all domains are promised, running or not, by name: one call, without their definitions.
    ///
    /// # Errors
    /// The connection fails.
    fn pledges(&self) -> Result<Vec<Pledge>>;
    /// One domain, if it exists.
    ///
    /// # Errors
    /// The connection fails.
    fn domain(&self, name: &str) -> Result<Option<Domain>>;
    /// Whether a domain runs; none where it does not exist.
    ///
    /// # Errors
    /// The connection fails.
    fn state(&self, name: &str) -> Result<Option<DomainState>>;
    /// Whether a domain that is off has its memory saved: what its guest has written last is not on its disk.
    ///
    /// # Errors
    /// The domain does not exist, or the connection fails.
    fn has_saved_memory(&self, name: &str) -> Result<bool>;
    /// The path of a volume in any pool; none where there is no such pool or volume.
    ///
    /// # Errors
    /// The connection fails.
    fn volume_path(&self, pool: &str, volume: &str) -> Result<Option<String>>;
    /// Defines a domain, or replaces its definition.
    ///
    /// # Errors
    /// libvirt refuses the XML, or the name or UUID is another domain's.
    fn define(&self, xml: &str) -> Result<()>;
    /// Removes a domain's definition, with its NVRAM and saved state. One that does not exist is no error.
    ///
    /// # Errors
    /// libvirt refuses.
    fn undefine(&self, name: &str) -> Result<()>;
    /// Whether the emulator has a UEFI firmware for the machines that tpl makes.
    ///
    /// # Errors
    /// The connection fails.
    fn has_uefi(&self) -> Result<bool>;
    /// Removes the UEFI variables of a domain that does not run: the next start makes new ones. Where there are none, that is no
    /// error.
    ///
    /// # Errors
    /// The domain runs, or they cannot be removed.
    fn remove_variables(&self, name: &str) -> Result<()>;
    /// Starts a domain.
    ///
    /// # Errors
    /// The emulator does not start.
    fn start(&self, name: &str) -> Result<()>;
    /// Cuts a domain's power. One that does not run is no error.
    ///
    /// # Errors
    /// libvirt refuses.
    fn power_off(&self, name: &str) -> Result<()>;
    /// Replaces tpl's metadata element in a domain's persistent definition: one atomic write.
    ///
    /// # Errors
    /// The domain does not exist, or libvirt refuses.
    fn write_metadata(&self, name: &str, metadata: &crate::core::manifest::Metadata) -> Result<()>;
    /// Marks a domain as one that has phoned home, in its persistent definition and, while it runs, in its live one: one atomic
    /// write, beside what [`Hypervisor::write_metadata`] writes.
    ///
    /// # Errors
    /// The domain does not exist, or libvirt refuses.
    fn mark_ready(&self, name: &str, ready: &Ready) -> Result<()>;
    /// Whether seeds can be kept here for a metadata service.
    ///
    /// # Errors
    /// The connection fails.
    fn keeps_seeds(&self) -> Result<bool>;
    /// Keeps the seed of a domain, where only those may read it who may change domains: not who may only look at them. One that is
    /// kept for it already is replaced.
    ///
    /// # Errors
    /// It is longer than [`MAX_SEED`](crate::core::seed::handed::MAX_SEED), something of that UUID is not tpl's, or libvirt refuses:
    /// then there may be an empty one, which is the caller's to remove.
    fn store_seed(&self, uuid: Uuid, name: &str, seed: &Secret<Vec<u8>>) -> Result<()>;
    /// The seed that is kept for a domain; none where there is none of tpl's, or nothing in it yet.
    ///
    /// # Errors
    /// The connection fails, or may only look.
    fn seed(&self, uuid: Uuid) -> Result<Option<Secret<Vec<u8>>>>;
    /// Removes the seed that is kept for a domain. One that does not exist is no error; what is not tpl's stays.
    ///
    /// # Errors
    /// libvirt refuses.
    fn remove_seed(&self, uuid: Uuid) -> Result<()>;
    /// The seeds of tpl's that are kept here: of which domain, and how that was called. None where no seeds can be kept.
    ///
    /// # Errors
    /// The connection fails.
    fn seeds(&self) -> Result<Vec<(Uuid, String)>>;
    /// A network, if it exists. Where its live and its persistent definition differ, the entries of both are in it.
    ///
    /// # Errors
    /// The connection fails, or tpl cannot read the network's definition.
    fn network(&self, name: &str) -> Result<Option<Network>>;
    /// All networks, by name.
    ///
    /// # Errors
    /// As for [`Hypervisor::network`].
    fn networks(&self) -> Result<Vec<Network>>;
    /// The addresses that a network's DHCP server has given away and not got back; none where libvirt runs no such server.
    ///
    /// # Errors
    /// The network does not exist, or the connection fails.
    fn leases(&self, network: &str) -> Result<Vec<Lease>>;
    /// Lets a network's DHCP server keep an address for a card, now and for good. One that is kept just so already is no error.
    ///
    /// # Errors
    /// [`Refusal`](crate::core::error::Refusal): the card, the address or the name is in another entry, or the address in no
    /// subnet of the network. Else the network does not exist, or libvirt refuses.
    fn reserve_address(&self, reservation: &Reservation) -> Result<()>;
    /// Takes back a reservation: the one of this address for this card, or for this name where there is no card. One that does
    /// not exist is no error, and another one of the address stays. A lease that the card has runs on.
    ///
    /// # Errors
    /// libvirt refuses.
    fn release_address(&self, reservation: &Reservation) -> Result<()>;
    /// Lets a network's DNS server answer for a host, now and for good. A host that is there just so already is no error.
    ///
    /// # Errors
    /// [`Refusal`](crate::core::error::Refusal): the address has other names, or one of the names another address of the same
    /// family. Else the network does not exist, or libvirt refuses.
    fn add_dns_host(&self, network: &str, ip: IpAddr, names: &[String]) -> Result<()>;
    /// Takes a host with just this address and these names out of a network's DNS. One that does not exist is no error, and
    /// the address under other names stays.
    ///
    /// # Errors
    /// libvirt refuses.
    fn remove_dns_host(&self, network: &str, ip: IpAddr, names: &[String]) -> Result<()>;
    /// The addresses that a network's DHCP server has given to a running domain.
    ///
    /// # Errors
    /// The connection fails.
    fn addresses(&self, domain: &str) -> Result<Vec<IpAddr>>;
    /// The addresses of a running domain that its hypervisor has had to do with of late: what its ARP table says.
    ///
    /// # Errors
    /// The domain does not run, or the connection fails.
    fn neighbours(&self, domain: &str) -> Result<Vec<IpAddr>>;
    /// The addresses that the guest agent tells of, without those that end at the guest's own link; none while no agent answers.
    ///
    /// # Errors
    /// The domain does not run, or the connection fails.
    fn agent_addresses(&self, domain: &str) -> Result<Option<Vec<IpAddr>>>;
    /// Makes a snapshot of a domain.
    ///
    /// # Errors
    /// libvirt refuses: there is one of this name, or a disk that takes none.
    fn snapshot(&self, domain: &str, name: &str, description: &str) -> Result<()>;
    /// Whether a domain starts with its host from now on.
    ///
    /// # Errors
    /// The domain does not exist, or libvirt refuses.
    fn set_autostart(&self, domain: &str, on: bool) -> Result<()>;
    /// Whether a domain starts with its host.
    ///
    /// # Errors
    /// The domain does not exist, or the connection fails.
    fn autostart(&self, domain: &str) -> Result<bool>;
    /// What a guest's log holds from the byte `from` on, at most 1 MiB; nothing where there is no log yet, or none
    /// that can be seen from here: logs are on the hypervisor itself.
    ///
    /// # Errors
    /// The log cannot be read.
    fn read_log(&self, path: &str, from: u64) -> Result<Vec<u8>>;
    /// The paths of all guests' logs in a folder; none where there is no such folder.
    ///
    /// # Errors
    /// The folder cannot be read.
    fn guest_logs(&self, folder: &str) -> Result<Vec<String>>;
    /// The length of a guest's log in bytes; 0 where there is none.
    ///
    /// # Errors
    /// It cannot be read.
    fn log_length(&self, path: &str) -> Result<u64>;
    /// Puts a kernel or an initrd where an emulator can boot with it; its path. Readable by root and the emulator alone.
    ///
    /// # Errors
    /// The hypervisor is another machine, or the file cannot be written: then there is none.
    fn store_boot_file(&self, volume: &str, length: u64, bytes: &mut dyn Read) -> Result<String>;
    /// The names of all files that kernels and initrds are put beside; none where they cannot be seen from here: they are on the
    /// hypervisor itself.
    ///
    /// # Errors
    /// The folder cannot be read.
    fn boot_files(&self) -> Result<Vec<String>>;
    /// Removes a kernel or an initrd. One that does not exist is no error.
    ///
    /// # Errors
    /// It cannot be removed.
    fn remove_boot_file(&self, volume: &str) -> Result<()>;
    /// Removes a guest's log, with [what of it was put aside](crate::core::domain::put_aside). One that does not exist is no error.
    ///
    /// # Errors
    /// It cannot be removed.
    fn remove_log(&self, path: &str) -> Result<()>;
}

/// The volumes of one pool.
pub trait Storage: Sync {
    /// The pool's name.
    fn pool(&self) -> &str;
    /// Its size.
    ///
    /// # Errors
    /// The pool is not there, or not running; the last line says what to do.
    fn size(&self) -> Result<PoolSize>;
    /// Its volumes.
    ///
    /// # Errors
    /// The connection fails.
    fn volumes(&self) -> Result<Vec<Volume>>;
    /// One volume, if it exists.
    ///
    /// # Errors
    /// The connection fails.
    fn volume(&self, name: &str) -> Result<Option<Volume>>;
    /// Whether it is a logical pool, as its definition says: no program of the hypervisor's is run for it.
    ///
    /// # Errors
    /// The pool is not there, or not running.
    fn is_logical(&self) -> Result<bool> {
        Ok(false)
    }
    /// The path that a volume of this name has or will have.
    ///
    /// # Errors
    /// The connection fails.
    fn path_of(&self, name: &str) -> Result<String>;
    /// Makes a volume; its path.
    ///
    /// # Errors
    /// A volume of this name exists, or there is no space. With [`LeftBehind`](crate::core::error::LeftBehind) in its chain there may
    /// be a volume all the same, which is the caller's to remove.
    fn create(&self, volume: &NewVolume<'_>) -> Result<String>;
    /// Makes a volume that is a whole copy of another, grown to `volume.capacity` or cut to it; its path.
    ///
    /// # Errors
    /// As for [`Storage::create`].
    fn copy(&self, source: &str, volume: &NewVolume<'_>) -> Result<String>;
    /// Makes a raw volume of exactly these bytes; its path. Readable by root and the emulator alone.
    ///
    /// # Errors
    /// As for [`Storage::create`].
    fn store(&self, name: &str, length: u64, bytes: &mut dyn Read) -> Result<String>;
    /// Ends the writing to a volume that was made to be protected: from here on it can only be read.
    ///
    /// # Errors
    /// It does not exist, or cannot be closed to writers.
    fn protect(&self, name: &str) -> Result<()>;
    /// Waits until nobody is at work on a volume that a dead run has left: what makes, copies or zeroes it goes on over there for a
    /// while when whoever asked for it is gone.
    ///
    /// # Errors
    /// Somebody is still at work after a minute.
    fn settle(&self, name: &str) -> Result<()>;
    /// Removes a volume. One that does not exist is no error.
    ///
    /// # Errors
    /// libvirt refuses.
    fn delete(&self, name: &str) -> Result<()>;
}
