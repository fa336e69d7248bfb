//! MAC addresses.

use std::net::IpAddr;

use anyhow::Result;
use uuid::Uuid;

use super::{Taken, Wanted};
use crate::core::{
    error::{Invalid, Refusal},
    mac::Mac,
    vm_spec::MacChoice,
};

/// So many random addresses are tried.
const ATTEMPTS: usize = 1000;

/// The addresses that the operator gives, and how many of each list are used up.
pub(super) struct Explicit<'a>(Vec<(&'a [Mac], usize)>);

impl<'a> Explicit<'a> {
    pub(super) fn new(wanted: &[Wanted<'a>]) -> Result<Self, Invalid> {
        let mut lists: Vec<(&[Mac], usize)> = Vec::new();
        let mut needed: Vec<usize> = Vec::new();
        for vm in wanted {
            let Some(MacChoice::Explicit(macs)) = &vm.spec.mac else { continue };
            match lists.iter().position(|(list, _)| *list == macs.as_slice()) {
                Some(index) => needed[index] += vm.cards,
                None => {
                    lists.push((macs, 0));
                    needed.push(vm.cards);
                }
            }
        }
        for ((list, _), needed) in lists.iter().zip(needed) {
            if list.len() != needed {
                let message =
                    format!("{} MAC addresses are given, and {needed} are needed: one for each card of each VM", list.len());
                return Err(Invalid::argument(message));
            }
        }
        let mut seen = std::collections::BTreeSet::new();
        match lists.iter().flat_map(|(list, _)| list.iter()).find(|mac| !seen.insert(**mac)) {
            Some(twice) => Err(Invalid::argument(format!("the MAC address {twice} is given twice"))),
            None => Ok(Self(lists)),
        }
    }

    fn next(&mut self, macs: &[Mac]) -> Option<Mac> {
        let (list, used) = self.0.iter_mut().find(|(list, _)| *list == macs)?;
        *used += 1;
        list.get(*used - 1).copied()
    }
}

/// A MAC for each card of a VM.
pub(super) fn choose(
    vm: &Wanted<'_>,
    address: Option<IpAddr>,
    explicit: &mut Explicit<'_>,
    taken: &mut Taken,
    fresh: &mut dyn FnMut() -> Uuid,
) -> Result<Vec<Mac>> {
    let mut macs = Vec::with_capacity(vm.cards);
    for index in 0..vm.cards {
        let is_taken = |mac: Mac| taken.macs.contains(&mac);
        let mac = match vm.spec.mac.as_ref().unwrap_or(&MacChoice::Name) {
            // The address is that of the first card.
            MacChoice::Ip if index == 0 => free(of_address(vm, address)?, &is_taken)?,
            MacChoice::Name | MacChoice::Ip => Mac::free_of_name(vm.name.as_str(), index, &is_taken).map_err(Refusal::new)?,
            MacChoice::Random => random(&is_taken, fresh)?,
            MacChoice::Explicit(list) => {
                let mac = explicit.next(list).ok_or_else(|| Invalid::argument("there are not enough MAC addresses"))?;
                free(unicast(mac)?, &is_taken)?
            }
        };
        taken.macs.insert(mac);
        macs.push(mac);
    }
    Ok(macs)
}

fn of_address(vm: &Wanted<'_>, address: Option<IpAddr>) -> Result<Mac, Invalid> {
    match address {
        Some(IpAddr::V4(address)) => Ok(Mac::of_address(address)),
        _ => Err(Invalid::argument(format!(
            "the MAC address of '{}' cannot follow from its address: it has none yet (name it with --ip)",
            vm.name
        ))),
    }
}

fn unicast(mac: Mac) -> Result<Mac, Invalid> {
    if mac.0[0] & 1 == 1 || mac.0 == [0; 6] {
        return Err(Invalid::argument(format!("{mac} is no network card's address: it is a multicast address, or empty")));
    }
    Ok(mac)
}

fn free(mac: Mac, taken: &dyn Fn(Mac) -> bool) -> Result<Mac, Refusal> {
    if taken(mac) {
        return Err(Refusal::new(format!("the MAC address {mac} is taken: a domain of this hypervisor has it")));
    }
    Ok(mac)
}

fn random(taken: &dyn Fn(Mac) -> bool, fresh: &mut dyn FnMut() -> Uuid) -> Result<Mac, Refusal> {
    let tries = (0..ATTEMPTS).map(|_| Mac::of_random(fresh())).find(|mac| !taken(*mac));
    tries.ok_or_else(|| Refusal::new(format!("no free MAC address was found in {ATTEMPTS} attempts")))
}
