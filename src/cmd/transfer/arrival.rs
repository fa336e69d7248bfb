//! The target of a transfer.

use std::time::Duration;

use anyhow::{Context as _, Error, Result, anyhow};
use uuid::Uuid;

use super::{
    Outcome, Side,
    carry::Carry,
    departure::{self, Departure},
};
use crate::{
    cmd::{
        import::{Import, preflight},
        kvm,
        undo::Undo,
        world::World,
    },
    core::{
        digest::{ChunkList, hex},
        domain::Accelerator,
        error::{Advised, Cut, Refusal},
        facts::{NewVolume, VolumeFormat},
        inventory::{Inventory, Template},
        manifest::{Metadata, State},
        metadata,
        names::TemplateId,
        portable::Portable,
        progress::Progress as _,
        transfer::{Needed, Piece, There, best_base, there},
        units::ByteSize,
    },
    ui::StageLine,
};

/// How often what differs is sent: the first time, and again if the line or a base was not what it was taken for.
const ROUNDS: usize = 3;

/// A version on its way.
pub struct Arrival<'f, 'a, 'c> {
    from: Side<'f, 'c>,
    to: Side<'a, 'c>,
    id: TemplateId,
    name: String,
    list: ChunkList,
    base: Option<(TemplateId, ChunkList)>,
    resumed: bool,
}

/// What a version's volume begins with.
struct Ground {
    /// Its chunks, where something is in it already.
    known: Option<ChunkList>,
    /// Whether it was made just now, empty.
    fresh: bool,
    /// The version that it is a copy of.
    base: Option<TemplateId>,
}

/// How it came to its end.
struct Arrived {
    sent: u64,
    base: Option<TemplateId>,
    current: bool,
}

impl<'f, 'a, 'c> Arrival<'f, 'a, 'c> {
    /// Looks at the target, and brings the version there, if it is not there yet.
    pub fn begin(from: Side<'f, 'c>, to: Side<'a, 'c>, departure: Departure, dry_run: bool) -> Result<Outcome> {
        let (world, portable) = (to.world, departure.portable);
        let id = portable.manifest.id();
        let lock = world.local.lock(&format!("build {} {}", world.hypervisor.uri(), id.name), Duration::ZERO)?;
        let _lock =
            lock.map_err(|holder| Refusal::new(format!("{} is being built or brought there already, by {holder}", id.name)))?;
        let inventory = world.inventory()?;
        let outcome = |sent, whole, base, resumed| Outcome {
            id: id.clone(),
            digest: portable.digest.to_string(),
            unchanged: false,
            resumed,
            base,
            sent: ByteSize(sent),
            whole: ByteSize(whole),
            size: portable.manifest.virtual_size,
            current: false,
            standing: departure.standing.clone(),
            took: Duration::ZERO,
        };
        let begun = match there(&inventory, &portable, world.storage.pool())? {
            There::Same => {
                let current = inventory.current(&id.name).is_some_and(|current| current.manifest.id() == id);
                return Ok(Outcome { unchanged: true, current, ..outcome(0, 0, None, false) });
            }
            There::Begun(template) => Some(free(world, template)?),
            There::Nothing => {
                preflight(world, &portable)?;
                None
            }
        };
        let line = StageLine::begin("looking");
        let list = departure::list(from.world, &portable.manifest, &line)?;
        line.done();
        let bases = bases(world, &inventory, &id)?;
        let base = best_base(&list, &bases).map(|(id, list)| (id.clone(), list.clone()));
        let whole = Needed::of(&list, None).bytes(list.virtual_size());
        let arrival = Self { from, to, id: id.clone(), name: id.domain(), list, base, resumed: begun.is_some() };
        if dry_run {
            // What a begun one needs, its own bytes will tell.
            let base = arrival.base.as_ref().filter(|_| begun.is_none());
            let most = Needed::of(&arrival.list, base.map(|(_, list)| list)).bytes(arrival.list.virtual_size());
            let current = arrival.is_newest(&inventory);
            return Ok(Outcome { current, ..outcome(most, whole, base.map(|(id, _)| id.clone()), arrival.resumed) });
        }
        let accelerator = accelerator(world, &inventory)?;
        let Arrived { sent, base, current } = arrival.bring(&portable, accelerator, begun)?;
        Ok(Outcome { current, ..outcome(sent, whole, base, arrival.resumed) })
    }

    /// An older version is one to go back to, and `tpl promote` does that.
    fn is_newest(&self, inventory: &Inventory) -> bool {
        inventory.current(&self.id.name).is_none_or(|current| current.manifest.version < self.id.version)
    }

    fn bring(&self, portable: &Portable, accelerator: Accelerator, begun: Option<&Template>) -> Result<Arrived> {
        let mut import = Import::on(self.to.world, self.to.config, portable.clone(), accelerator);
        let mut undo = Undo::default();
        match self.steps(&mut import, begun, &mut undo) {
            Ok(arrived) => {
                undo.commit();
                Ok(arrived)
            }
            Err(error) if self.is_kept(&error) => {
                undo.commit();
                let name = self.to.world.hypervisor.name();
                let advice =
                    format!("what has arrived at {name} is kept: the same command goes on with it; `tpl prune` there removes it");
                Err(Advised::new(error, advice).into())
            }
            Err(error) => Err(undo.roll_back(error)),
        }
    }

    /// Whether what has arrived stays: nothing could be undone over a broken connection, and an interrupt is no reason to.
    fn is_kept(&self, error: &Error) -> bool {
        let world = self.to.world;
        let interrupted = world.local.go_on().is_err() || self.from.world.local.go_on().is_err();
        if interrupted || error.chain().any(|cause| cause.is::<Cut>()) {
            return true;
        }
        match owner(world, &self.name) {
            Err(_) => true,
            // Somebody else has taken it over.
            Ok(owner) => owner.is_some_and(|(_, owner)| owner != world.local.run().id),
        }
    }

    fn steps(&self, import: &mut Import<'a>, begun: Option<&Template>, undo: &mut Undo<'a>) -> Result<Arrived> {
        let world = self.to.world;
        match begun {
            Some(begun) => self.take_over(import, begun, undo)?,
            None => self.define(import, undo)?,
        }
        world.local.go_on()?;
        let line = StageLine::begin("volume");
        let Ground { known, fresh, base } = self.volume(&line)?;
        line.done();
        let sent = self.send(known, fresh)?;
        world.storage.protect(&self.name)?;
        if self.resumed {
            // What a broken transfer has written of them may be a part.
            for volume in import.manifest.volumes.iter().filter(|volume| **volume != self.name) {
                world.storage.delete(volume)?;
            }
        }
        import.store_rest(&self.list)?;
        self.ensure_own()?;
        // Hours may have passed, and somebody may have brought a newer one.
        let current = self.is_newest(&world.inventory()?);
        import.publish(current)?;
        Ok(Arrived { sent, base, current })
    }

    /// Of two that begin at once, libvirt lets one define: the other comes with another UUID.
    fn define(&self, import: &Import<'a>, undo: &mut Undo<'a>) -> Result<()> {
        let Err(error) = import.define(undo) else { return Ok(()) };
        let world = self.to.world;
        match owner(world, &self.name) {
            Ok(Some((_, owner))) if owner != world.local.run().id => Err(taken(&self.name)),
            _ => Err(error),
        }
    }

    /// What a dead run has left is this run's from now on.
    fn take_over(&self, import: &Import<'a>, begun: &Template, undo: &mut Undo<'a>) -> Result<()> {
        let world = self.to.world;
        // It was seen a while ago: somebody else may have taken it over since, and even have come to the end.
        if owner(world, &self.name)? != Some((State::Building, begun.manifest.run.id)) {
            return Err(taken(&self.name));
        }
        let metadata = Metadata::Template(Box::new(import.manifest.clone()));
        world.hypervisor.write_metadata(&begun.domain.name, &metadata)?;
        self.ensure_own()?;
        import.on_failure(undo);
        Ok(())
    }

    /// Nobody else has taken it over: another machine's run does so when it has waited half a day for this one.
    fn ensure_own(&self) -> Result<()> {
        let world = self.to.world;
        let own = owner(world, &self.name)?.is_some_and(|(_, owner)| owner == world.local.run().id);
        if own { Ok(()) } else { Err(taken(&self.name)) }
    }

    fn volume(&self, line: &StageLine) -> Result<Ground> {
        let (storage, size) = (self.to.world.storage, self.list.virtual_size());
        if self.resumed && storage.volume(&self.name)?.is_some() {
            line.update("waiting until nobody writes to it", None);
            storage.settle(&self.name)?;
        }
        if self.resumed
            && let Some(there) = storage.volume(&self.name)?
        {
            let logical = storage.size()?.kind.is_logical();
            let usable = if logical { there.capacity.0 >= size } else { there.capacity.0 <= size };
            if usable {
                line.update("digesting what is there", None);
                let known = self.to.world.bytes.digest(&self.name, size, line)?;
                return Ok(Ground { known: Some(known), fresh: false, base: None });
            }
            // The copy of a longer version, not cut yet.
            storage.delete(&self.name)?;
        }
        let capacity = ByteSize(size);
        let new = NewVolume { name: &self.name, capacity, format: VolumeFormat::Raw, backing: None, room: None, protected: true };
        match &self.base {
            None => {
                storage.create(&new)?;
                Ok(Ground { known: None, fresh: true, base: None })
            }
            Some((id, list)) => {
                line.update("copying the version before", None);
                storage.copy(&id.domain(), &new).with_context(|| format!("copying {id}"))?;
                Ok(Ground { known: Some(list.clone()), fresh: false, base: Some(id.clone()) })
            }
        }
    }

    /// Sends what differs, and reads all of it back; how many bytes were sent.
    fn send(&self, mut known: Option<ChunkList>, fresh: bool) -> Result<u64> {
        let mut sent = 0;
        for round in 0..ROUNDS {
            let needed = Needed::of(&self.list, known.as_ref());
            // Of one that is complete it is right, and may be closed to writers by now.
            let tail = if self.resumed && round == 0 && !needed.is_nothing() { self.tail()? } else { None };
            let way = Carry { from: self.from.world, to: self.to.world, name: &self.name, list: &self.list };
            let (bytes, found) = way.carry(&needed, fresh && round == 0, tail)?;
            sent += bytes;
            if Needed::of(&self.list, Some(&found)).is_nothing() {
                return Ok(sent);
            }
            known = Some(found);
        }
        let found = known.map(|list| hex(&list.content_digest())).unwrap_or_default();
        let wanted = hex(&self.list.content_digest());
        Err(anyhow!("what arrives is not what is sent: its content digest is {found}, and not {wanted}"))
    }

    /// What a volume has behind its disk's end, being made of whole extents: one that was left while it was being made may have
    /// anything there.
    fn tail(&self) -> Result<Option<Piece>> {
        let size = self.list.virtual_size();
        let capacity = self.to.world.storage.volume(&self.name)?.map_or(size, |volume| volume.capacity.0);
        Ok((capacity > size).then(|| Piece::Zeros { at: size, length: capacity - size }))
    }
}

fn taken(name: &str) -> Error {
    Refusal::new(format!("{name} is being brought there by another run"))
        .advise("try again later: it will be there, or go on")
        .into()
}

/// What a template's domain says of its state, and of the run that makes it; none where there is no such domain.
fn owner(world: World<'_>, name: &str) -> Result<Option<(State, Uuid)>> {
    let Some(domain) = world.hypervisor.domain(name)? else { return Ok(None) };
    match metadata::read(&domain.xml) {
        Ok(Some(Metadata::Template(manifest))) => Ok(Some((manifest.state, manifest.run.id))),
        _ => Ok(None),
    }
}

/// That what was begun is nobody's any more.
fn free<'t>(world: World<'_>, begun: &'t Template) -> Result<&'t Template> {
    let run = &begun.manifest.run;
    if !world.local.is_alive(run)? {
        return Ok(begun);
    }
    let reason = format!("{} is on its way there already, by a run on {} since {}", begun.manifest.id(), run.host, run.since);
    let advice = "try again when it has ended; a run on another machine counts as dead 12 hours after it began";
    Err(Refusal::new(reason).advise(advice).into())
}

/// The versions at the target of which a copy could be the beginning: finished, in this pool, with a chunk list.
fn bases(world: World<'_>, inventory: &Inventory, id: &TemplateId) -> Result<Vec<(TemplateId, ChunkList)>> {
    let of_name = inventory.templates.iter().map(|template| &template.manifest).filter(|manifest| {
        manifest.name == id.name && manifest.state >= State::Published && manifest.pool == world.storage.pool()
    });
    let mut bases = Vec::new();
    for manifest in of_name {
        bases.extend(departure::kept_list(world, manifest)?.map(|list| (manifest.id(), list)));
    }
    Ok(bases)
}

/// What guests run on at the target: as the templates there do, which were made after somebody had looked.
fn accelerator(world: World<'_>, inventory: &Inventory) -> Result<Accelerator> {
    match inventory.templates.iter().rfind(|template| template.manifest.state >= State::Published) {
        Some(template) => kvm::accelerator_of(&template.domain.xml),
        None => kvm::accelerator(world).context("looking whether KVM works"),
    }
}
