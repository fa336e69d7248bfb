//! What all domains are, in as few round trips as libvirt allows: a connection over SSH has seconds of them.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use anyhow::{Result, anyhow};
use virt::{
    domain::{Domain as VirtDomain, DomainPausedReason, DomainStateReason, DomainStateReasonEnum},
    enumutil::Enum,
    sys,
};

use super::{Libvirt, optional, plain, stats};
use crate::core::{
    facts::{Domain, DomainState, Pledge},
    units::ByteSize,
};

/// So many definitions are on their way at once from this machine: more are no faster, and libvirtd works on five of a client's
/// calls at a time and notes in its log when there are more.
pub(super) const LOCAL_READERS: usize = 4;
/// The same from another machine. Those that libvirtd does not work on yet wait on its side of the connection, where they cost
/// no round trip of their own: so many definitions take one, all together.
pub(super) const REMOTE_READERS: usize = 256;

pub(super) fn state_of(raw: u32) -> DomainState {
    match raw {
        sys::VIR_DOMAIN_SHUTOFF => DomainState::Shutoff,
        sys::VIR_DOMAIN_CRASHED => DomainState::Crashed,
        sys::VIR_DOMAIN_PAUSED | sys::VIR_DOMAIN_PMSUSPENDED => DomainState::Paused,
        _ => DomainState::Running,
    }
}

/// The state with what only the reason tells.
pub(super) fn exact(state: DomainState, reason: DomainStateReasonEnum) -> DomainState {
    use DomainPausedReason::{Crashed, IOError, Unknown};
    // libvirt has no word for an emulator's internal error: that is unknown to it.
    let is_fault = |reason| matches!(reason, Unknown | IOError | Crashed);
    match reason {
        Enum::Known(DomainStateReason::Paused(reason)) if reason.is_known_and(is_fault) => DomainState::Halted,
        _ => state,
    }
}

/// A domain as it is now; none if it has vanished. Its state is asked for where it is not known yet.
pub(super) fn describe(domain: &VirtDomain, state: Option<DomainState>) -> Result<Option<Domain>> {
    // The seed's secrets are in a volume, never in the XML: the insecure flag has nothing to show.
    let Some(xml) = optional(domain.xml_desc(sys::VIR_DOMAIN_XML_INACTIVE))? else { return Ok(None) };
    let state = match state {
        Some(state) => state,
        None => match optional(domain.state())? {
            Some((state, reason)) => exact(state_of(state.to_raw()), reason),
            None => return Ok(None),
        },
    };
    Ok(Some(Domain { name: domain.name().map_err(plain)?, uuid: domain.uuid().map_err(plain)?, state, xml }))
}

impl Libvirt {
    pub(super) fn all_domains(&self) -> Result<Vec<Domain>> {
        let known: Vec<(VirtDomain, Option<DomainState>)> = match stats::all(&self.connect, sys::VIR_DOMAIN_STATS_STATE)? {
            Some(figures) => figures.into_iter().map(|one| (one.domain, one.state.map(state_of))).collect(),
            None => self.handles()?.into_iter().map(|domain| (domain, None)).collect(),
        };
        let mut all = each(&known, self.readers(), |(domain, state)| describe(domain, *state))?;
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    pub(super) fn all_pledges(&self) -> Result<Vec<Pledge>> {
        let groups = sys::VIR_DOMAIN_STATS_STATE | sys::VIR_DOMAIN_STATS_VCPU | sys::VIR_DOMAIN_STATS_BALLOON;
        let mut pledges = Vec::new();
        match stats::all(&self.connect, groups)? {
            Some(all) => {
                for one in all {
                    pledges.extend(match (one.state, one.vcpus, one.memory) {
                        (Some(state), Some(vcpus), Some(memory)) => {
                            let name = one.domain.name().map_err(plain)?;
                            let memory = ByteSize(memory.saturating_mul(1024));
                            Some(Pledge { name, active: state_of(state).is_active(), vcpus, memory })
                        }
                        _ => pledge(&one.domain)?,
                    });
                }
            }
            None => {
                for domain in self.handles()? {
                    pledges.extend(pledge(&domain)?);
                }
            }
        }
        pledges.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(pledges)
    }

    fn handles(&self) -> Result<Vec<VirtDomain>> {
        self.connect.list_all_domains(0).map_err(plain)
    }
}

/// What one domain is promised, asked of itself; none if it has vanished. While it runs its live definition answers, as in the
/// call for all.
fn pledge(domain: &VirtDomain) -> Result<Option<Pledge>> {
    let Some(info) = optional(domain.info())? else { return Ok(None) };
    let flags = sys::VIR_DOMAIN_VCPU_MAXIMUM | sys::VIR_DOMAIN_AFFECT_CURRENT;
    let Some(vcpus) = optional(domain.vcpus_flags(flags))? else { return Ok(None) };
    Ok(Some(Pledge {
        name: domain.name().map_err(plain)?,
        active: state_of(info.state.to_raw()).is_active(),
        vcpus,
        memory: ByteSize(info.max_mem.saturating_mul(1024)),
    }))
}

/// What is read of each of these things, on so many threads at most, in no order; one that has vanished is left out. The first
/// error wins.
pub(super) fn each<T: Sync, R: Send>(
    things: &[T],
    readers: usize,
    read: impl Fn(&T) -> Result<Option<R>> + Sync,
) -> Result<Vec<R>> {
    let next = AtomicUsize::new(0);
    let work = || -> Result<Vec<R>> {
        let mut found = Vec::new();
        while let Some(thing) = things.get(next.fetch_add(1, Ordering::Relaxed)) {
            found.extend(read(thing)?);
        }
        Ok(found)
    };
    let all: Result<Vec<Vec<R>>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..readers.min(things.len())).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(anyhow!("a thread panicked")))).collect()
    });
    Ok(all?.into_iter().flatten().collect())
}
