//! What a call that makes VMs will do, decided from one read of the hypervisor's facts: names, identities, sizes, places on the
//! network, and whether there is room. What there is no room for, or what others have already, is refused here, before anything
//! is touched.

mod handing;
mod keeping;
mod origin;
mod size;
mod taken;

use std::{collections::BTreeSet, net::IpAddr, sync::Arc};

use anyhow::Result;
use uuid::Uuid;

use super::{
    addressing::{self, Place, Taken, Wanted},
    capacity::{Capacity, Demand},
    error::{Invalid, Refusal},
    extra_disks,
    facts::{PoolSize, Volume},
    guest::Guest,
    inventory::{Inventory, Template},
    manifest::Purpose,
    names::{UserName, VmName},
    naming,
    seed::{CardAddress, CardConfig},
    units::ByteSize,
    vm_spec::{ExtraDisk, SeedWay, Topology, VmSpec},
};
pub use keeping::{Keeping, check_names};
pub use origin::Origin;
pub use taken::holder_of;

/// What a seed may come to take of the pool.
const SEED: ByteSize = ByteSize::mib(2);
/// What a disk is written to when it is made, besides what is copied: its identity, say.
const FIRST_WRITES: ByteSize = ByteSize::mib(1);
/// What UEFI variables take of the pool.
const NVRAM: ByteSize = ByteSize::mib(1);

/// One VM that is to be made.
#[derive(Debug, Clone)]
pub struct VmRequest<'a> {
    /// Its name.
    pub name: VmName,
    /// What it is made from.
    pub template: &'a Template,
    /// What is asked of it.
    pub spec: &'a VmSpec,
    /// What its guest is told: the specification's own, with the contents of the files that it names.
    pub guest: &'a Guest,
}

/// What is read of the hypervisor, once.
#[derive(Debug, Clone)]
pub struct Facts {
    /// Its domains.
    pub inventory: Inventory,
    /// The pool.
    pub pool: PoolSize,
    /// Its volumes.
    pub volumes: Vec<Volume>,
    /// What it has room for.
    pub capacity: Capacity,
    /// Networks, and the addresses in them that are taken.
    pub taken: Taken,
}

/// A call, planned.
#[derive(Debug, Clone)]
pub struct ClonePlan {
    /// Why.
    pub purpose: Purpose,
    /// Why there need be no room, in the operator's words.
    pub forced: Option<String>,
    /// The clones.
    pub clones: Vec<PlannedClone>,
}

/// One clone, planned.
#[derive(Debug, Clone)]
pub struct PlannedClone {
    /// Its name.
    pub name: VmName,
    /// Its UUID.
    pub uuid: Uuid,
    /// What it is made from.
    pub origin: Arc<Origin>,
    /// Its system disk, and how its volumes are kept.
    pub keeping: Keeping,
    /// vCPUs.
    pub vcpus: u32,
    /// How they are shown to the guest, if not as the template's.
    pub topology: Option<Topology>,
    /// Memory.
    pub memory: ByteSize,
    /// Disks besides.
    pub extra_disks: Vec<ExtraDisk>,
    /// Where it is on the network.
    pub place: Place,
    /// Who logs in.
    pub user: UserName,
    /// What its guest is told.
    pub guest: Guest,
    /// Whether it starts with the hypervisor.
    pub autostart: bool,
    /// What people read in virt-manager, if not the usual.
    pub description: Option<String>,
    /// A snapshot of this name is taken once it is ready.
    pub snapshot: Option<String>,
    /// Where its cloud-init, if it has one, reads its seed.
    pub seed: SeedWay,
}

impl PlannedClone {
    /// The volume of its system disk.
    pub fn disk_volume(&self) -> String {
        self.name.to_string()
    }

    /// The volume with its identity; none for a guest that has nothing to read it with, or is told by the metadata service.
    pub fn seed_volume(&self) -> Option<String> {
        (self.origin.has_cloud_init() && !self.is_handed()).then(|| format!("{}-seed", self.name))
    }

    /// The volume with its UEFI variables, if it has some. In a logical pool there is none: firmware writes to a file, which
    /// libvirt makes, and takes away with the domain.
    pub fn nvram_volume(&self) -> Option<String> {
        let has = self.origin.nvram.is_some() && !self.keeping.kind.is_logical();
        has.then(|| format!("{}-nvram", self.name))
    }

    /// The volumes of its further disks, with their sizes.
    pub fn extra_volumes(&self) -> impl Iterator<Item = (String, ByteSize)> {
        let sizes = self.extra_disks.iter().map(|disk| self.keeping.rounded(disk.size.round_up(ByteSize::MIB)));
        sizes.enumerate().map(|(index, size)| (format!("{}-disk{}", self.name, index + 1), size))
    }

    /// Every volume that it has or will have: all that `destroy` and `prune` remove.
    pub fn volumes(&self) -> Vec<String> {
        let system = std::iter::once(self.disk_volume());
        let extra = self.extra_volumes().map(|(name, _)| name);
        system.chain(self.seed_volume()).chain(self.nvram_volume()).chain(extra).collect()
    }

    /// What it asks of the hypervisor.
    pub fn demand(&self) -> Demand {
        let keeping = &self.keeping;
        let extra = self.extra_volumes().fold(0_u64, |sum, (_, size)| sum.saturating_add(size.0));
        let seed = self.seed_volume().map_or(0, |_| keeping.rounded(SEED).0);
        let nvram = self.nvram_volume().map_or(0, |_| NVRAM.0);
        let own = keeping.room.unwrap_or(keeping.disk);
        let pool = own.0.saturating_add(extra).saturating_add(seed + nvram);
        let written = keeping.copied.0.saturating_add(seed + FIRST_WRITES.0);
        Demand {
            vcpus: u64::from(self.vcpus),
            memory: self.memory,
            pool: ByteSize(pool),
            written: ByteSize(written),
            volumes: self.volumes().len() as u64,
        }
    }

    /// What each of its network cards is told: the first what its place says, the others DHCP.
    pub fn cards(&self) -> Vec<CardConfig> {
        let mut cards: Vec<CardConfig> = self.place.macs.iter().map(|mac| CardConfig::dhcp(*mac)).collect();
        if let Some(first) = cards.first_mut() {
            first.nameservers.clone_from(&self.place.config.nameservers);
            first.search.clone_from(&self.place.config.search);
            if let Some(fixed) = self.place.config.fixed {
                let address = IpAddr::V4(fixed.address);
                first.address = CardAddress::Static { address, prefix: fixed.prefix, gateway: fixed.gateway };
            }
        }
        cards
    }
}

/// Plans a call. `fresh` makes UUIDs.
///
/// # Errors
/// [`Invalid`] for what could never be, [`Refusal`] for what others have and what this hypervisor has no room for: in the last
/// case all reasons at once.
pub fn plan(
    requests: &[VmRequest<'_>],
    purpose: Purpose,
    forced: Option<&str>,
    facts: &Facts,
    fresh: &mut dyn FnMut() -> Uuid,
) -> Result<ClonePlan> {
    let names: Vec<VmName> = requests.iter().map(|request| request.name.clone()).collect();
    naming::all_free(&names, &|name| holder_of(name, facts))?;
    let mut clones = Vec::with_capacity(requests.len());
    let mut origins: Vec<Arc<Origin>> = Vec::new();
    for request in requests {
        let origin = origin::shared(&mut origins, request.template, purpose)?;
        clones.push(one(request, origin, (purpose, facts), fresh())?);
    }
    distinct_volumes(&clones)?;
    let volumes: Vec<String> = clones.iter().flat_map(PlannedClone::volumes).collect();
    check_names(&facts.pool, volumes.iter().map(String::as_str))?;
    let demands: Vec<Demand> = clones.iter().map(PlannedClone::demand).collect();
    let admitted = if forced.is_some() { Ok(()) } else { facts.capacity.admit(&demands) };
    let placed = place(&mut clones, requests, purpose, facts, fresh);
    both(admitted, placed)?;
    handing::check(&clones)?;
    Ok(ClonePlan { purpose, forced: forced.map(str::to_owned), clones })
}

/// What these VMs ask of a hypervisor, wherever on its network they will be.
///
/// # Errors
/// As for [`plan`], as far as it looks at them alone.
pub fn demands(requests: &[VmRequest<'_>], facts: &Facts) -> Result<Vec<Demand>> {
    let mut origins = Vec::new();
    let demand = |request: &VmRequest<'_>| {
        let origin = origin::shared(&mut origins, request.template, Purpose::Clone)?;
        Ok(one(request, origin, (Purpose::Clone, facts), Uuid::nil())?.demand())
    };
    requests.iter().map(demand).collect()
}

/// Whether there is room, and a place on the network: if neither, both are said at once.
fn both(admitted: Result<(), Refusal>, placed: Result<()>) -> Result<()> {
    let Err(no_room) = admitted else { return placed };
    match placed.map_err(anyhow::Error::downcast::<Refusal>) {
        Ok(()) => Err(no_room.into()),
        Err(Ok(no_place)) => {
            let reasons = no_room.reasons.into_iter().chain(no_place.reasons).collect();
            Err(Refusal { reasons, advice: no_room.advice }.into())
        }
        // What could never be is said first.
        Err(Err(invalid)) => Err(invalid),
    }
}

/// One VM without its place on the network.
fn one(request: &VmRequest<'_>, origin: Arc<Origin>, (purpose, facts): (Purpose, &Facts), uuid: Uuid) -> Result<PlannedClone> {
    let (spec, name) = (request.spec, &request.name);
    origin.check(spec)?;
    origin.check_variables(facts)?;
    size::check(spec)?;
    extra_disks::check(&spec.disks)?;
    let missing = extra_disks::missing_tools(&spec.disks, &request.template.manifest.packages);
    if !missing.is_empty() {
        let reasons = missing.iter().map(|tool| format!("'{name}': template {} has no {tool}", origin.id)).collect();
        return Err(Refusal { reasons, advice: Some("add the package to its pipeline, or ask for ext4".to_owned()) }.into());
    }
    let user = request.guest.user.clone().unwrap_or_else(|| request.template.manifest.clone.user.clone());
    let guest = Guest { user: Some(user.clone()), ..request.guest.clone() };
    Ok(PlannedClone {
        name: name.clone(),
        uuid,
        keeping: Keeping::of(spec, &origin, purpose, facts)?,
        vcpus: size::vcpus(spec, &origin)?,
        topology: spec.topology,
        memory: spec.memory.unwrap_or(origin.memory),
        extra_disks: spec.disks.clone(),
        place: Place::default(),
        user,
        guest,
        autostart: spec.autostart == Some(true),
        description: spec.description.as_ref().map(|text| text.as_str().to_owned()),
        snapshot: spec.snapshot.as_ref().map(ToString::to_string),
        seed: spec.seed.unwrap_or_default(),
        origin,
    })
}

fn place(
    clones: &mut [PlannedClone],
    requests: &[VmRequest<'_>],
    purpose: Purpose,
    facts: &Facts,
    fresh: &mut dyn FnMut() -> Uuid,
) -> Result<()> {
    // A throw-away clone takes whatever address it gets, and leaves nothing in anybody's network.
    let passing = VmSpec { addressing: Some(super::vm_spec::Addressing::Dhcp), ..VmSpec::default() };
    let origins: Vec<Arc<Origin>> = clones.iter().map(|clone| Arc::clone(&clone.origin)).collect();
    let wanted: Vec<Wanted<'_>> = requests
        .iter()
        .zip(&origins)
        .map(|(request, origin)| Wanted {
            name: &request.name,
            spec: if purpose == Purpose::Clone { request.spec } else { &passing },
            plug: origin.plug.as_ref(),
            cards: origin.cards,
        })
        .collect();
    let places = addressing::places(&wanted, &mut facts.taken.clone(), fresh)?;
    for (clone, place) in clones.iter_mut().zip(places) {
        clone.place = place;
    }
    Ok(())
}

/// That no two VMs of the call would have one volume: the first further disk of `web` is called as a VM `web-disk1` would be.
fn distinct_volumes(clones: &[PlannedClone]) -> Result<(), Invalid> {
    let mut seen = BTreeSet::new();
    let twice = clones.iter().flat_map(PlannedClone::volumes).find(|volume| !seen.insert(volume.clone()));
    twice.map_or(Ok(()), |volume| Err(Invalid::argument(format!("two of the VMs would have a volume called {volume}"))))
}

impl ClonePlan {
    /// The plan for people.
    pub fn describe(&self) -> String {
        let s = if self.clones.len() == 1 { "" } else { "s" };
        let forced = self.forced.as_ref().map_or(String::new(), |reason| format!(", whether there is room or not: {reason}"));
        let mut text = format!("{} VM{s}{forced}\n", self.clones.len());
        self.clones.iter().for_each(|clone| text.push_str(&clone.describe()));
        text
    }
}

impl PlannedClone {
    fn describe(&self) -> String {
        let kind = self.keeping.describe();
        let s = if self.vcpus == 1 { "" } else { "s" };
        let (name, template, vcpus) = (&self.name, &self.origin.id, self.vcpus);
        let mut text = format!(
            "  {name}  {kind} of {template}: {vcpus} vCPU{s}, {} memory, {} disk, user {}\n    {}\n",
            self.memory,
            self.keeping.disk,
            self.user,
            self.place.describe(self.origin.plug.as_ref())
        );
        if self.is_handed() {
            text.push_str("    its seed from the metadata service\n");
        }
        for (volume, size) in self.extra_volumes() {
            text.push_str(&format!("    further disk {volume}, {size}\n"));
        }
        text
    }
}
