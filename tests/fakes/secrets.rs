//! The secrets that libvirt keeps, and the guests that have read theirs.

use anyhow::{Result, ensure};
use tpl::core::{
    metadata::ready::{self, Ready},
    secret::Secret,
    seed::handed::{HandedSeed, MAX_SEED, READY, owner, secret_xml},
};
use uuid::Uuid;

use super::{
    machine::State,
    run::{FakeRun, Step},
};

/// A secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FakeSecret {
    pub xml: String,
    pub value: Vec<u8>,
}

impl FakeRun {
    pub fn has_secrets(&self) -> Result<bool> {
        self.step(Step::ReadHost, "seeds")?;
        Ok(self.machine.state().keeps_seeds)
    }

    pub fn put_seed(&self, uuid: Uuid, name: &str, seed: &Secret<Vec<u8>>) -> Result<()> {
        self.step(Step::StoreSeed, name)?;
        let mut state = self.machine.state();
        ensure!(state.keeps_seeds, "there are no secrets here");
        ensure!(seed.expose().len() <= MAX_SEED, "a secret of {} bytes", seed.expose().len());
        let old = state.secrets.get(&uuid).map(|secret| owner(&secret.xml)).transpose()?;
        ensure!(old != Some(None), "there is a secret {uuid} that is not tpl's");
        // The definition is one call, the value the next.
        let cut = std::mem::take(&mut state.cut_secret);
        let value = if cut { Vec::new() } else { seed.expose().clone() };
        state.secrets.insert(uuid, FakeSecret { xml: secret_xml(uuid, name)?, value });
        ensure!(!cut, "the connection is broken");
        Ok(())
    }

    pub fn find_seed(&self, uuid: Uuid) -> Result<Option<Secret<Vec<u8>>>> {
        self.step(Step::ReadSeed, &uuid.to_string())?;
        let state = self.machine.state();
        let Some(secret) = state.secrets.get(&uuid) else { return Ok(None) };
        let there = owner(&secret.xml)?.is_some() && !secret.value.is_empty();
        Ok(there.then(|| Secret::new(secret.value.clone())))
    }

    pub fn take_seed(&self, uuid: Uuid) -> Result<()> {
        self.step(Step::RemoveSeed, "")?;
        let mut state = self.machine.state();
        let own = state.secrets.get(&uuid).map(|secret| owner(&secret.xml)).transpose()?.flatten();
        if own.is_some() {
            state.secrets.remove(&uuid);
        }
        Ok(())
    }

    pub fn all_seeds(&self) -> Result<Vec<(Uuid, String)>> {
        self.step(Step::ListSeeds, "")?;
        let state = self.machine.state();
        let all = state.secrets.iter().map(|(uuid, secret)| Ok((*uuid, owner(&secret.xml)?)));
        let all = all.collect::<Result<Vec<_>>>()?;
        Ok(all.into_iter().filter_map(|(uuid, name)| Some((uuid, name?))).collect())
    }
}

impl State {
    /// The guest of a VM tells the metadata service what it has found in its seed.
    pub fn phone_home(&mut self, name: &str) {
        let uuid = self.domains[name].uuid;
        let Some(secret) = self.secrets.get(&uuid) else { return };
        let seed = HandedSeed::parse(&Secret::new(secret.value.clone())).unwrap();
        let user_data = seed.user_data.expose();
        let key = user_data.lines().find_map(|line| line.trim().strip_prefix("ed25519_public: ")).unwrap();
        if user_data.contains(READY) {
            let mark = Ready { at: self.now, instance: uuid, ssh_host_keys: vec![key.to_owned()] };
            self.set_element(name, ready::NAMESPACE, &ready::element(&mark)).unwrap();
        }
    }
}
