//! Seeds for a metadata service, as secrets of libvirt's: one a domain, under the domain's UUID.

use anyhow::{Context as _, Result, ensure};
use uuid::Uuid;
use virt::{
    error::{
        Error,
        ErrorNumber::{NoConnect, NoSecret, SystemError},
    },
    secret::Secret as VirtSecret,
};

use super::{Libvirt, plain, unsupported};
use crate::core::{
    secret::Secret,
    seed::handed::{MAX_SEED, owner, secret_xml},
};

impl Libvirt {
    /// Whether an error says that nobody keeps secrets here: the connection's driver has none, or the daemon that would is not there.
    /// libvirt says the latter in the words that it has for a broken connection, too.
    fn keeps_none(&self, error: &Error) -> bool {
        unsupported(error) || !self.is_lost() && error.code().is_known_and(|code| matches!(code, NoConnect | SystemError))
    }

    pub(super) fn has_secrets(&self) -> Result<bool> {
        match self.connect.num_of_secrets() {
            Ok(_) => Ok(true),
            Err(error) if self.keeps_none(&error) => Ok(false),
            Err(error) => Err(plain(error)).context("asking whether libvirt keeps secrets"),
        }
    }

    pub(super) fn put_seed(&self, uuid: Uuid, name: &str, seed: &Secret<Vec<u8>>) -> Result<()> {
        let length = seed.expose().len();
        ensure!(length <= MAX_SEED, "it has {length} bytes, and libvirt keeps {MAX_SEED} at most");
        // To define it again would make somebody else's secret tpl's.
        ensure!(self.any_secret(uuid)?.is_none_or(|(_, owner)| owner.is_some()), "there is a secret {uuid} that is not tpl's");
        let secret = self.connect.define_secret_xml(&secret_xml(uuid, name)?, 0).map_err(plain)?;
        secret.set_value(seed.expose(), 0).map_err(plain)
    }

    pub(super) fn find_seed(&self, uuid: Uuid) -> Result<Option<Secret<Vec<u8>>>> {
        let Some((secret, Some(_))) = self.any_secret(uuid)? else { return Ok(None) };
        match secret.value(0) {
            Ok(value) => Ok(Some(Secret::new(value))),
            // It has no value yet, or has gone.
            Err(error) if is_gone(&error) => Ok(None),
            Err(error) => Err(plain(error)),
        }
    }

    pub(super) fn take_seed(&self, uuid: Uuid) -> Result<()> {
        let Some((secret, Some(_))) = self.any_secret(uuid)? else { return Ok(()) };
        match secret.undefine() {
            Err(error) if !is_gone(&error) => Err(plain(error)),
            _ => Ok(()),
        }
    }

    pub(super) fn all_seeds(&self) -> Result<Vec<(Uuid, String)>> {
        Ok(self.try_seeds()?.unwrap_or_default())
    }

    /// The same for those who must know the difference: why nobody says which there are, where the daemon that would is not there.
    ///
    /// # Errors
    /// The connection fails.
    pub fn try_seeds(&self) -> Result<Result<Vec<(Uuid, String)>>> {
        let all = match self.connect.list_all_secrets(0) {
            Ok(all) => all,
            Err(error) if unsupported(&error) => return Ok(Ok(Vec::new())),
            Err(error) if self.keeps_none(&error) => return Ok(Err(plain(error))),
            Err(error) => return Err(plain(error)),
        };
        let mut seeds = Vec::new();
        for secret in all {
            if let Some(name) = name_of(&secret)? {
                seeds.push((secret.uuid().map_err(plain)?, name));
            }
        }
        seeds.sort_by(|a, b| (&a.1, a.0).cmp(&(&b.1, b.0)));
        Ok(Ok(seeds))
    }

    /// Whatever secret has this UUID, and whose seed it is, if it is one of tpl's.
    fn any_secret(&self, uuid: Uuid) -> Result<Option<(VirtSecret, Option<String>)>> {
        match self.connect.lookup_secret_by_uuid(uuid) {
            Ok(secret) => {
                let name = name_of(&secret)?;
                Ok(Some((secret, name)))
            }
            Err(error) if is_gone(&error) || unsupported(&error) => Ok(None),
            Err(error) => Err(plain(error)),
        }
    }
}

/// Whether an error says that there is no such secret, or no value in it.
fn is_gone(error: &Error) -> bool {
    error.code().is_known_and(|code| matches!(code, NoSecret))
}

/// Of which domain's seed a secret is; none for one that is not tpl's, or has gone.
fn name_of(secret: &VirtSecret) -> Result<Option<String>> {
    match secret.xml_desc(0) {
        Ok(xml) => owner(&xml),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(plain(error)),
    }
}
