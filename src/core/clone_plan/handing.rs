//! Clones that have their seed from the metadata service: who can, and the seed.

use anyhow::Result;

use super::PlannedClone;
use crate::core::{
    addressing,
    error::Refusal,
    extra_disks::seed_disks,
    secret::Secret,
    seed::{
        CardConfig, Seed, SeedDisk,
        handed::{HandedSeed, MAX_SEED},
    },
    vm_spec::SeedWay,
};

/// More than a host key has in a seed, with the longest name in it: keys are made behind the plan.
const KEY_LENGTH: usize = 1024;

impl PlannedClone {
    /// Whether its seed is handed out by the metadata service.
    pub fn is_handed(&self) -> bool {
        self.seed == SeedWay::Metadata && self.origin.has_cloud_init()
    }

    /// What the metadata service hands out to it. `host_key` is its private half in OpenSSH's PEM form, and the public half's line.
    ///
    /// # Errors
    /// The writer's own.
    pub fn handed_seed(&self, host_key: (&Secret<String>, &str)) -> Result<HandedSeed> {
        let disks = seed_disks(self.uuid, &self.extra_disks);
        self.seed_with(host_key, &self.cards(), &disks).handed()
    }

    /// Its seed. `cards` and `disks` are its own, as the guest is told of them.
    pub fn seed_with<'s>(
        &'s self,
        host_key: (&'s Secret<String>, &'s str),
        cards: &'s [CardConfig],
        disks: &'s [SeedDisk],
    ) -> Seed<'s> {
        Seed {
            name: &self.name,
            domain: self.place.config.search.first(),
            uuid: self.uuid,
            guest: &self.guest,
            cards,
            disks,
            host_key,
            way: self.seed,
        }
    }
}

/// That those who ask for it can have their seeds from the metadata service.
///
/// # Errors
/// [`Refusal`] with every reason.
pub(super) fn check(clones: &[PlannedClone]) -> Result<()> {
    let mut reasons = Vec::new();
    for clone in clones.iter().filter(|clone| clone.is_handed()) {
        reasons.extend(against(clone)?.into_iter().map(|reason| format!("'{}': {reason}", clone.name)));
    }
    if reasons.is_empty() {
        return Ok(());
    }
    let advice = "ask for --seed volume, or leave these out";
    Err(Refusal { reasons, advice: Some(advice.to_owned()) }.into())
}

/// Before a guest can ask the service it must have an address: what is said about its network comes too late.
fn against(clone: &PlannedClone) -> Result<Vec<String>> {
    let addressing::CardConfig { fixed, nameservers, search } = &clone.place.config;
    let mut reasons = Vec::new();
    if fixed.is_some() {
        reasons.push(
            "a static address is written into its seed, and it has to have one to ask the metadata service for that".to_owned(),
        );
    }
    if !nameservers.is_empty() || !search.is_empty() {
        reasons.push("name servers and search domains are written into its seed, which it gets behind its network".to_owned());
    }
    if clone.origin.cards > 1 {
        let (id, cards) = (&clone.origin.id, clone.origin.cards);
        reasons.push(format!("{id} has {cards} network cards, and without a seed a guest configures the first alone"));
    }
    let placeholder = Secret::new("k".repeat(KEY_LENGTH));
    let length = clone.handed_seed((&placeholder, ""))?.to_bytes()?.expose().len();
    if length > MAX_SEED {
        let most = MAX_SEED - KEY_LENGTH;
        let rest = length - KEY_LENGTH;
        reasons.push(format!("its seed has {rest} bytes, and libvirt keeps {most} at most, its host key aside"));
    }
    Ok(reasons)
}
