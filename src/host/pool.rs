//! A pool of libvirt's, whatever keeps its volumes.

use std::{io::Read, sync::OnceLock};

use anyhow::{Result, anyhow};

use super::{hypervisor::Storage, libvirt::Libvirt, lvm::LvmPool, shell::Shell};
use crate::core::{
    facts::{NewVolume, PoolSize, Volume},
    lvm::{ThinChoice, group_of},
};

/// One pool of a hypervisor. Which of the two kinds it is, is asked for the first call: many a command makes none.
pub struct Pool<'a> {
    hypervisor: &'a Libvirt,
    shell: &'a dyn Shell,
    name: String,
    thin: Option<ThinChoice>,
    found: OnceLock<Box<dyn Storage + Send + 'a>>,
}

impl<'a> Pool<'a> {
    /// The pool of this name. `thin` says where in a logical one volumes are made.
    pub fn new(hypervisor: &'a Libvirt, shell: &'a dyn Shell, name: &str, thin: Option<ThinChoice>) -> Self {
        Self { hypervisor, shell, name: name.to_owned(), thin, found: OnceLock::new() }
    }

    fn storage(&self) -> Result<&dyn Storage> {
        if let Some(found) = self.found.get() {
            return Ok(found.as_ref());
        }
        let pool = self.hypervisor.pool(&self.name);
        let storage: Box<dyn Storage + Send + 'a> = match group_of(pool.definition()?).map_err(|error| anyhow!(error))? {
            Some(group) => Box::new(LvmPool::new(self.shell, &self.name, &group, self.thin.clone())),
            None => Box::new(pool),
        };
        Ok(self.found.get_or_init(|| storage).as_ref())
    }
}

impl Storage for Pool<'_> {
    fn pool(&self) -> &str {
        &self.name
    }

    fn size(&self) -> Result<PoolSize> {
        self.storage()?.size()
    }

    fn volumes(&self) -> Result<Vec<Volume>> {
        self.storage()?.volumes()
    }

    fn volume(&self, name: &str) -> Result<Option<Volume>> {
        self.storage()?.volume(name)
    }

    fn is_logical(&self) -> Result<bool> {
        self.storage()?.is_logical()
    }

    fn path_of(&self, name: &str) -> Result<String> {
        self.storage()?.path_of(name)
    }

    fn create(&self, volume: &NewVolume<'_>) -> Result<String> {
        self.storage()?.create(volume)
    }

    fn copy(&self, source: &str, volume: &NewVolume<'_>) -> Result<String> {
        self.storage()?.copy(source, volume)
    }

    fn store(&self, name: &str, length: u64, bytes: &mut dyn Read) -> Result<String> {
        self.storage()?.store(name, length, bytes)
    }

    fn protect(&self, name: &str) -> Result<()> {
        self.storage()?.protect(name)
    }

    fn settle(&self, name: &str) -> Result<()> {
        self.storage()?.settle(name)
    }

    fn delete(&self, name: &str) -> Result<()> {
        self.storage()?.delete(name)
    }
}
