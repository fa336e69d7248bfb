//! The target of a transfer.

use std::time::Duration;

use anyhow::{Context as _, Error, Result, anyhow};

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
    name: String,
    list: ChunkList,
    base: Option<(TemplateId, ChunkList)>,
    resumed: bool,
    newest: bool,
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
        let bases = if begun.is_some() { Vec::new() } else { bases(world, &inventory, &id)? };
        let base = best_base(&list, &bases).map(|(id, list)| (id.clone(), list.clone()));
        // An older version is one to go back to, and `tpl promote` does that.
        let newest = inventory.current(&id.name).is_none_or(|current| current.manifest.version < id.version);
        let whole = Needed::of(&list, None).bytes(list.virtual_size());
        let most = Needed::of(&list, base.as_ref().map(|(_, list)| list)).bytes(list.virtual_size());
        let arrival = Self { from, to, name: id.domain(), list, base, resumed: begun.is_some(), newest };
        let base = arrival.base.as_ref().map(|(id, _)| id.clone());
        let result = outcome(most, whole, base, arrival.resumed);
        if dry_run {
            return Ok(Outcome { current: newest, ..result });
        }
        let accelerator = accelerator(world, &inventory)?;
        let sent = arrival.bring(&portable, accelerator, begun)?;
        Ok(Outcome { sent: ByteSize(sent), current: newest, ..result })
    }

    fn bring(&self, portable: &Portable, accelerator: Accelerator, begun: Option<&Template>) -> Result<u64> {
        let mut import = Import::on(self.to.world, self.to.config, portable.clone(), accelerator);
        let mut undo = Undo::default();
        match self.steps(&mut import, begun, &mut undo) {
            Ok(sent) => {
                undo.commit();
                Ok(sent)
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
            Ok(owner) => owner.is_some_and(|owner| owner != world.local.run().id),
        }
    }

    fn steps(&self, import: &mut Import<'a>, begun: Option<&Template>, undo: &mut Undo<'a>) -> Result<u64> {
        let world = self.to.world;
        match begun {
            Some(begun) => self.take_over(import, begun, undo)?,
            None => self.define(import, undo)?,
        }
        world.local.go_on()?;
        let line = StageLine::begin("volume");
        let (known, fresh) = self.volume(&line)?;
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
        import.publish(self.newest)?;
        Ok(sent)
    }

    /// Of two that begin at once, libvirt lets one define: the other comes with another UUID.
    fn define(&self, import: &Import<'a>, undo: &mut Undo<'a>) -> Result<()> {
        let Err(error) = import.define(undo) else { return Ok(()) };
        let world = self.to.world;
        match owner(world, &self.name) {
            Ok(Some(owner)) if owner != world.local.run().id => Err(taken(&self.name)),
            _ => Err(error),
        }
    }

    /// What a dead run has left is this run's from now on.
    fn take_over(&self, import: &Import<'a>, begun: &Template, undo: &mut Undo<'a>) -> Result<()> {
        let world = self.to.world;
        let metadata = Metadata::Template(Box::new(import.manifest.clone()));
        world.hypervisor.write_metadata(&begun.domain.name, &metadata)?;
        self.ensure_own()?;
        import.on_failure(undo);
        Ok(())
    }

    /// Nobody else has taken it over: another machine's run does so when it has waited half a day for this one.
    fn ensure_own(&self) -> Result<()> {
        let world = self.to.world;
        if owner(world, &self.name)? == Some(world.local.run().id) { Ok(()) } else { Err(taken(&self.name)) }
    }

    /// The volume, and what is known of its bytes. It is fresh if it was made just now.
    fn volume(&self, line: &StageLine) -> Result<(Option<ChunkList>, bool)> {
        let (storage, size) = (self.to.world.storage, self.list.virtual_size());
        if self.resumed
            && let Some(there) = storage.volume(&self.name)?
        {
            let logical = storage.size()?.kind.is_logical();
            let usable = if logical { there.capacity.0 >= size } else { there.capacity.0 <= size };
            if usable {
                line.update("digesting what is there", None);
                return Ok((Some(self.to.world.bytes.digest(&self.name, size, line)?), false));
            }
            // The copy of a longer version, not cut yet.
            storage.delete(&self.name)?;
        }
        let capacity = ByteSize(size);
        let new = NewVolume { name: &self.name, capacity, format: VolumeFormat::Raw, backing: None, room: None, protected: true };
        match &self.base {
            None => {
                storage.create(&new)?;
                Ok((None, true))
            }
            Some((id, list)) => {
                line.update("copying the version before", None);
                storage.copy(&id.domain(), &new).with_context(|| format!("copying {id}"))?;
                Ok((Some(list.clone()), false))
            }
        }
    }

    /// Sends what differs, and reads all of it back; how many bytes were sent.
    fn send(&self, mut known: Option<ChunkList>, fresh: bool) -> Result<u64> {
        let mut sent = 0;
        for round in 0..ROUNDS {
            let needed = Needed::of(&self.list, known.as_ref());
            let tail = if self.resumed && round == 0 { self.tail()? } else { None };
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

/// The run that a template's domain says it is made by; none where there is no such domain.
fn owner(world: World<'_>, name: &str) -> Result<Option<uuid::Uuid>> {
    let Some(domain) = world.hypervisor.domain(name)? else { return Ok(None) };
    match metadata::read(&domain.xml) {
        Ok(Some(Metadata::Template(manifest))) => Ok(Some(manifest.run.id)),
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
