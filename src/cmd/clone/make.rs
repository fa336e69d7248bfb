//! Making planned clones: define, disks, identity, start, ready. Each step leaves its undo.

use std::{net::IpAddr, time::Duration};

use anyhow::{Context as _, Result, anyhow};
use uuid::Uuid;

use crate::{
    cmd::{undo::Undo, world::World},
    core::{
        clone_plan::{ClonePlan, PlannedClone},
        domain::{console_log, logs},
        facts::{NewVolume, VolumeFormat},
        guest::Guest,
        manifest::{CloneRecord, Metadata, Phase},
        metadata,
        network::Plug,
        progress::Progress,
        seed::{CardConfig, Seed},
        ssh_key::PublicKey,
        xml::clone::{CloneIdentity, DiskChange, DiskLocation, clone_domain},
    },
    host::{identity::HostKey, reach::Knock, seed_image::seed_image},
};

/// How long between two looks at the clones that are not ready yet.
const PAUSE: Duration = Duration::from_secs(1);

/// A clone that has been made.
#[derive(Debug)]
pub struct Made {
    /// As planned.
    pub planned: PlannedClone,
    /// What its domain's metadata says.
    pub record: CloneRecord,
    /// Its SSH host key.
    pub host_key: HostKey,
    /// The paths of its volumes.
    pub disks: Vec<String>,
    /// Its addresses, once it has some.
    pub addresses: Vec<IpAddr>,
}

/// Defines every clone, so that their names, addresses and sizes are pledged before anything else is made.
///
/// # Errors
/// A domain that libvirt refuses. What has been done stands in `undo`.
pub fn define<'a>(world: World<'a>, plan: &ClonePlan, undo: &mut Undo<'a>) -> Result<Vec<Made>> {
    let mut made = Vec::with_capacity(plan.clones.len());
    for planned in &plan.clones {
        world.local.go_on()?;
        let host_key = HostKey::generate(&planned.name)?;
        let record = record(world, plan, planned, &host_key);
        let (disk, seed) = (world.storage.path_of(&planned.disk_volume())?, world.storage.path_of(&planned.seed_volume())?);
        let xml = clone_domain(&plan.template_xml, &identity(plan, planned, &record, &disk, &seed))?;
        let name = planned.name.to_string();
        let logs = logs(&name);
        world.hypervisor.define(&xml).with_context(|| format!("defining domain {name}"))?;
        let removed = name.clone();
        undo.push_domain(&name, move || world.hypervisor.undefine(&removed));
        // Before its domain: nothing else tells whose log it is.
        undo.push(&name, format!("removing the logs of {name}"), move || remove_logs(world, &logs));
        made.push(Made { planned: planned.clone(), record, host_key, disks: vec![disk, seed], addresses: Vec::new() });
    }
    Ok(made)
}

/// Removes logs.
///
/// # Errors
/// One cannot be removed.
pub fn remove_logs(world: World<'_>, logs: &[String]) -> Result<()> {
    logs.iter().try_for_each(|log| world.hypervisor.remove_log(log))
}

fn record(world: World<'_>, plan: &ClonePlan, planned: &PlannedClone, host_key: &HostKey) -> CloneRecord {
    CloneRecord {
        purpose: plan.purpose,
        name: planned.name.clone(),
        template: plan.template.name.clone(),
        version: plan.template.version.clone(),
        digest: plan.digest.clone(),
        linked: plan.linked,
        phase: Phase::Creating,
        run: world.local.run().clone(),
        created_at: world.local.now(),
        user: plan.user.clone(),
        ssh_host_keys: vec![host_key.public.clone()],
        volumes: vec![planned.disk_volume(), planned.seed_volume()],
        pool: world.storage.pool().to_owned(),
        pool_pledge: plan.disk,
        addresses: Vec::new(),
        reservations: Vec::new(),
        dns: Vec::new(),
        forced: None,
        guest_digest: None,
    }
}

fn identity(plan: &ClonePlan, planned: &PlannedClone, record: &CloneRecord, disk: &str, seed: &str) -> CloneIdentity {
    CloneIdentity {
        name: planned.name.clone(),
        uuid: planned.uuid,
        macs: planned.macs.clone(),
        vcpus: Some(plan.vcpus),
        memory: Some(plan.memory),
        topology: None,
        plug: plan.network.clone().map(Plug::Network),
        disks: vec![DiskChange {
            target: plan.target.clone(),
            location: DiskLocation::File(disk.to_owned()),
            format: VolumeFormat::Qcow2,
        }],
        seed: Some(DiskLocation::File(seed.to_owned())),
        extra_disks: Vec::new(),
        description: Some(format!("clone of {}", plan.template)),
        metadata: metadata::element(&Metadata::Clone(Box::new(record.clone()))),
        nvram: None,
    }
}

/// Makes the system disks and the seeds.
///
/// # Errors
/// A volume that cannot be made. What has been done stands in `undo`.
pub fn disks<'a>(world: World<'a>, plan: &ClonePlan, made: &[Made], keys: &[PublicKey], undo: &mut Undo<'a>) -> Result<()> {
    for clone in made {
        world.local.go_on()?;
        let name = clone.planned.disk_volume();
        let backing = plan.linked.then_some((plan.template_path.as_str(), VolumeFormat::Raw));
        let volume = NewVolume { name: &name, capacity: plan.disk, format: VolumeFormat::Qcow2, backing, protected: false };
        if plan.linked {
            world.storage.create(&volume)?;
        } else {
            world.storage.copy(&plan.template_volume, &volume)?;
        }
        remove_on_undo(world, clone, name, undo);
        let image = seed(plan, clone, keys)?;
        let bytes = image.expose();
        let name = clone.planned.seed_volume();
        world.storage.store(&name, bytes.len() as u64, &mut bytes.as_slice())?;
        remove_on_undo(world, clone, name, undo);
    }
    Ok(())
}

fn remove_on_undo<'a>(world: World<'a>, clone: &Made, volume: String, undo: &mut Undo<'a>) {
    let domain = clone.planned.name.as_str();
    undo.push(domain, format!("removing volume {volume}"), move || world.storage.delete(&volume));
}

fn seed(plan: &ClonePlan, clone: &Made, keys: &[PublicKey]) -> Result<crate::core::secret::Secret<Vec<u8>>> {
    let guest = Guest { user: Some(plan.user.clone()), keys: keys.to_vec(), ..Guest::default() };
    let cards: Vec<CardConfig> = clone.planned.macs.iter().copied().map(CardConfig::dhcp).collect();
    let seed = Seed {
        name: &clone.planned.name,
        domain: None,
        uuid: clone.planned.uuid,
        guest: &guest,
        cards: &cards,
        disks: &[],
        host_key: (&clone.host_key.private, &clone.host_key.public),
    };
    let make = || seed_image(&seed.meta_data()?, &seed.network_config()?, &seed.user_data()?);
    make().with_context(|| format!("making the seed of {}", clone.planned.name))
}

/// Starts every clone.
///
/// # Errors
/// An emulator that does not start. What has been done stands in `undo`.
pub fn start<'a>(world: World<'a>, made: &[Made], undo: &mut Undo<'a>) -> Result<()> {
    for clone in made {
        world.local.go_on()?;
        let name = clone.planned.name.to_string();
        world.hypervisor.start(&name)?;
        let stopped = name.clone();
        undo.push(&name, format!("stopping domain {name}"), move || world.hypervisor.power_off(&stopped));
    }
    Ok(())
}

/// Waits until every clone answers SSH with its own host key.
///
/// # Errors
/// At the time-out: how far each clone has come. At once for a clone that has stopped.
pub fn wait_ready(world: World<'_>, made: &mut [Made], timeout: Duration, progress: &dyn Progress) -> Result<()> {
    let end = world.local.now() + timeout;
    let all = made.len();
    let mut waiting: Vec<(usize, String)> = (0..all).map(|index| (index, "not looked at yet".to_owned())).collect();
    loop {
        let mut still = Vec::new();
        for (index, _) in waiting {
            if let Some(reason) = not_ready(world, &mut made[index])? {
                still.push((index, reason));
            }
        }
        let ready = all - still.len();
        progress.update(&format!("{ready} of {all} ready"), u8::try_from(ready * 100 / all.max(1)).ok());
        if still.is_empty() {
            return Ok(());
        }
        if world.local.now() >= end {
            let lines: Vec<String> =
                still.iter().map(|(index, reason)| format!("  {}: {reason}", made[*index].planned.name)).collect();
            return Err(anyhow!(
                "{} of {all} not ready after {} s\n{}\nthe consoles are logged in {}",
                still.len(),
                timeout.as_secs(),
                lines.join("\n"),
                crate::core::domain::LOG_FOLDER
            ));
        }
        waiting = still;
        world.local.sleep(PAUSE);
        world.local.go_on()?;
    }
}

/// What a clone still lacks; none if it is ready.
fn not_ready(world: World<'_>, clone: &mut Made) -> Result<Option<String>> {
    let name = clone.planned.name.as_str();
    let state = world.hypervisor.state(name)?;
    if !state.is_some_and(crate::core::facts::DomainState::is_active) {
        let state = state.map_or("gone", crate::core::facts::DomainState::as_str);
        return Err(anyhow!("{name} does not run any more: it is {state}\nits console is logged in {}", console_log(name)));
    }
    clone.addresses = world.hypervisor.addresses(name)?;
    let Some(address) = clone.addresses.iter().copied().min_by_key(IpAddr::is_ipv6) else {
        return Ok(Some("no address from DHCP yet".to_owned()));
    };
    match world.reach.knock(address, &host_key_without_comment(&clone.host_key.public))? {
        Knock::Ready => Ok(None),
        Knock::NotYet(reason) => Ok(Some(reason)),
        // An earlier machine's lease may still point here for a moment; and cloud-init may not have written the key yet.
        Knock::WrongKey => Ok(Some(format!("{address} answers with another host key"))),
    }
}

/// Type and key of a public key line: what `known_hosts` holds.
pub fn host_key_without_comment(line: &str) -> String {
    line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

/// Writes into each clone's metadata that it is complete: the commit point. From here on `tpl prune` leaves it alone.
///
/// # Errors
/// The metadata cannot be written.
pub fn commit(world: World<'_>, made: &mut [Made]) -> Result<()> {
    for clone in made {
        clone.record.phase = Phase::Complete;
        world.hypervisor.write_metadata(clone.planned.name.as_str(), &Metadata::Clone(Box::new(clone.record.clone())))?;
    }
    Ok(())
}

/// The first eight digits of a UUID: enough for a name that lives for minutes.
pub fn short(uuid: Uuid) -> String {
    uuid.simple().to_string()[..8].to_owned()
}
