//! Telling DNS about clones, and taking it back: which providers hear of which clone.

use anyhow::{Context as _, Result};

use crate::{
    cmd::world::World,
    core::{
        clone_plan::PlannedClone,
        dns::{Host, Registration},
        error::Refusal,
        manifest::{CloneRecord, Purpose},
    },
    host::dns::{DnsProvider, Outcome},
};

/// What each provider is to be told of a clone in this libvirt network.
pub fn registrations(world: World<'_>, network: Option<&str>, host: &Host) -> Vec<Registration> {
    world
        .dns
        .listeners(network)
        .into_iter()
        .map(|(provider, network, domain)| Registration {
            provider: provider.to_owned(),
            network: network.map(str::to_owned),
            host: Host { domain: domain.cloned(), ..host.clone() },
        })
        .collect()
}

fn provider<'a>(world: World<'a>, registration: &Registration) -> Result<Box<dyn DnsProvider + 'a>> {
    let found = world.dns.provider(world.hypervisor, registration)?;
    found.with_context(|| {
        let (host, name) = (&registration.host.name, &registration.provider);
        format!("{host} is in the DNS of provider {name}, which the configuration does not have any more\nput [dns.{name}] back into the configuration")
    })
}

/// Tells one provider.
///
/// # Errors
/// Another's record stands there, or the provider cannot be reached.
pub fn add(world: World<'_>, registration: &Registration) -> Result<Outcome> {
    let name = &registration.host.name;
    provider(world, registration)?
        .add(&registration.host)
        .with_context(|| format!("telling DNS ({}) of {name}", registration.provider))
}

/// Takes it back from one provider.
///
/// # Errors
/// The provider cannot be reached, or is not in the configuration any more.
pub fn remove(world: World<'_>, registration: &Registration) -> Result<()> {
    let name = &registration.host.name;
    let removed = provider(world, registration)?.remove(&registration.host);
    removed.with_context(|| format!("taking {name} out of DNS ({})", registration.provider))
}

/// Takes back all that DNS and DHCP servers were told of a clone.
///
/// # Errors
/// As for [`remove`].
pub fn forget(world: World<'_>, record: &CloneRecord) -> Result<()> {
    record.dns.iter().try_for_each(|registration| remove(world, registration))?;
    record.reservations.iter().try_for_each(|reservation| world.hypervisor.release_address(reservation))
}

/// That no provider has another's record in the way of a call.
///
/// # Errors
/// [`Refusal`] with all of them.
pub fn check_free(world: World<'_>, purpose: Purpose, clones: &[PlannedClone]) -> Result<()> {
    if purpose == Purpose::BootTest {
        return Ok(());
    }
    let mut reasons = Vec::new();
    for planned in clones {
        let addresses = planned.place.address.into_iter().collect();
        let host = Host { name: planned.name.clone(), domain: None, addresses, host_keys: Vec::new() };
        for registration in registrations(world, planned.place.network.as_deref(), &host) {
            let taken = provider(world, &registration)?.taken(&registration.host);
            reasons.extend(taken.with_context(|| format!("asking DNS ({}) for {}", registration.provider, planned.name))?);
        }
    }
    if reasons.is_empty() {
        return Ok(());
    }
    Err(Refusal { reasons, advice: Some("choose another name or address, or remove the record".to_owned()) }.into())
}
