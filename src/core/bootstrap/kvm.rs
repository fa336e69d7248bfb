//! The phase `kvm`: QEMU and libvirt, with a network and a pool for guests, and whether the processor runs them.

mod device;
mod libvirt;
mod network;
mod packages;
mod pool;
mod works;

use super::{Facts, Item, Probe, Wish, record};
use crate::core::{error::Refusal, names::UserName, sudoers};

/// What the machine is asked.
pub fn probes(wish: &Wish) -> Vec<Probe> {
    let mut probes = vec![record::probe(), packages::probe()];
    probes.extend(libvirt::probes(wish));
    probes.extend(network::probes());
    probes.extend(pool::probes(wish));
    probes.extend(sudoer(wish).map(|user| Probe::file("kvm.sudoers", &sudoers::file(user))));
    probes.push(works::probe());
    probes
}

/// Who logs in and needs root for the programs of LVM: tpl runs them by `sudo -n`.
fn sudoer(wish: &Wish) -> Option<&UserName> {
    wish.user.as_ref().filter(|user| wish.record.vg.is_some() && user.as_str() != "root")
}

/// What is to be so.
///
/// # Errors
/// The network's addresses are somebody else's, or what was named for the pool carries something: all reasons at once.
pub fn items(facts: &Facts, wish: &Wish) -> Result<Vec<Item>, Refusal> {
    let (network, pool) = (network::item(facts), pool::items(facts, wish));
    let (network, pool) = match (network, pool) {
        (Ok(network), Ok(pool)) => (network, pool),
        (Err(first), Err(second)) => return Err(both(first, second)),
        (Err(refusal), _) | (_, Err(refusal)) => return Err(refusal),
    };
    let mut items = vec![record::item(facts, wish), packages::item(facts)];
    items.extend(libvirt::items(facts, wish));
    items.push(network);
    items.extend(pool);
    items.extend(sudoer(wish).map(|user| {
        Item::file(&sudoers::file(user), facts.whole("kvm.sudoers"), sudoers::SUDOERS_MODE, &sudoers::drop_in(user), Vec::new())
    }));
    items.extend(works::item(facts));
    Ok(items)
}

/// Two refusals, each reason and each way out.
fn both(first: Refusal, second: Refusal) -> Refusal {
    let advice: Vec<String> = [first.advice, second.advice].into_iter().flatten().collect();
    let reasons = first.reasons.into_iter().chain(second.reasons).collect();
    Refusal { reasons, advice: (!advice.is_empty()).then(|| advice.join("\n")) }
}

#[cfg(test)]
mod tests;
