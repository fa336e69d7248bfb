//! What tpl asks of a hypervisor, in the field's words. [`super::libvirt`] is the real one.
//!
//! Two traits, because they fail and grow apart: [`Hypervisor`] for domains and networks, [`Storage`] for the volumes of a pool.

use std::{collections::BTreeMap, io::Read, net::IpAddr};

use crate::core::facts::{Domain, DomainState, HostSize, NewVolume, Pledge, PoolSize, Volume};
use anyhow::Result;

/// Domains and networks.
pub trait Hypervisor: Sync {
    /// The connection's URI.
    fn uri(&self) -> &str;
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
    /// All domains.
    ///
    /// # Errors
    /// The connection fails.
    fn domains(&self) -> Result<Vec<Domain>>;
    /// What all domains are promised.
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
    /// Whether a network of this name runs; none where there is none.
    ///
    /// # Errors
    /// The connection fails.
    fn network(&self, name: &str) -> Result<Option<bool>>;
    /// The addresses that a network's DHCP server has given to a running domain.
    ///
    /// # Errors
    /// The connection fails.
    fn addresses(&self, domain: &str) -> Result<Vec<IpAddr>>;
    /// What a guest's log holds from the byte `from` on, at most 1 MiB; nothing where there is no log yet.
    ///
    /// # Errors
    /// The log cannot be read.
    fn read_log(&self, path: &str, from: u64) -> Result<Vec<u8>>;
    /// The paths of all guests' logs in a folder; none where there is no such folder.
    ///
    /// # Errors
    /// The folder cannot be read.
    fn guest_logs(&self, folder: &str) -> Result<Vec<String>>;
    /// Removes a guest's log. One that does not exist is no error.
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
    /// The path that a volume of this name has or will have.
    ///
    /// # Errors
    /// The connection fails.
    fn path_of(&self, name: &str) -> Result<String>;
    /// Makes a volume; its path.
    ///
    /// # Errors
    /// A volume of this name exists, or there is no space.
    fn create(&self, volume: &NewVolume<'_>) -> Result<String>;
    /// Makes a volume that is a whole copy of another, grown to `volume.capacity`; its path.
    ///
    /// # Errors
    /// As for [`Storage::create`].
    fn copy(&self, source: &str, volume: &NewVolume<'_>) -> Result<String>;
    /// Makes a raw volume of exactly these bytes; its path. Readable by root and the emulator alone.
    ///
    /// # Errors
    /// As for [`Storage::create`].
    fn store(&self, name: &str, length: u64, bytes: &mut dyn Read) -> Result<String>;
    /// Removes a volume. One that does not exist is no error.
    ///
    /// # Errors
    /// libvirt refuses.
    fn delete(&self, name: &str) -> Result<()>;
}
