//! The callers that are being answered: each is pinned, and stays so until no connection is left that an answer could still be sent on.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tokio::sync::OnceCell;
use uuid::Uuid;

use crate::core::imds::{Sighting, directory::Directory};

/// Looks after which a caller without a connection is let go.
const QUIET: u32 = 5;

/// Where a caller is: a bridge's number, and an address.
pub type Place = (u32, Ipv4Addr);

/// A caller. Each connection on which it has been answered has a share in it.
#[derive(Debug)]
pub struct Caller {
    bridge: String,
    seen: Sighting,
    instance: Uuid,
    /// Set once it is pinned.
    pub pinned: OnceCell<()>,
    revoked: AtomicBool,
}

impl Caller {
    /// Whether it is what it was, and its way still is its own alone.
    pub fn is_still(&self, seen: &Sighting, instance: Uuid) -> bool {
        seen.pinned && self.is(seen, instance) && !self.is_revoked()
    }

    fn is(&self, seen: &Sighting, instance: Uuid) -> bool {
        (&self.seen.mac, &self.seen.port, self.instance) == (&seen.mac, &seen.port, instance)
    }

    /// It is not what it was any more: its connections are to end, and what has not been sent on them is not sent.
    pub fn revoke(&self) {
        self.revoked.store(true, Ordering::Release);
    }

    /// Whether it is not.
    pub fn is_revoked(&self) -> bool {
        self.revoked.load(Ordering::Acquire)
    }
}

/// All of them.
#[derive(Debug, Default)]
pub struct Callers(Mutex<HashMap<Place, Entry>>);

#[derive(Debug)]
struct Entry {
    caller: Arc<Caller>,
    /// For so many looks nobody else has had a share.
    quiet: u32,
}

impl Callers {
    fn lock(&self) -> MutexGuard<'_, HashMap<Place, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A share in the caller that was seen so. None while somebody else is there still: that one's connections end first.
    pub fn share(&self, place: Place, bridge: &str, seen: &Sighting, instance: Uuid) -> Option<Arc<Caller>> {
        let new = || Caller {
            bridge: bridge.to_owned(),
            seen: seen.clone(),
            instance,
            pinned: OnceCell::new(),
            revoked: AtomicBool::new(false),
        };
        let mut all = self.lock();
        let caller = &all.entry(place).or_insert_with(|| Entry { caller: Arc::new(new()), quiet: 0 }).caller;
        if !caller.is(seen, instance) {
            caller.revoke();
        }
        (!caller.is_revoked()).then(|| Arc::clone(caller))
    }

    /// Ends those that are not what they were, by what is known now.
    pub fn revoke(&self, directory: &Directory) {
        self.revoke_if(|address, caller| {
            let told = directory.caller(&caller.bridge, IpAddr::V4(address), Some(&caller.seen));
            told.map_or(true, |told| told.instance.uuid != caller.instance)
        });
    }

    /// Ends all on a bridge.
    pub fn revoke_bridge(&self, bridge: &str) {
        self.revoke_if(|_, caller| caller.bridge == bridge);
    }

    fn revoke_if(&self, is_over: impl Fn(Ipv4Addr, &Caller) -> bool) {
        let all = self.lock();
        all.iter().filter(|((_, address), entry)| is_over(*address, &entry.caller)).for_each(|(_, entry)| entry.caller.revoke());
    }

    /// One more look. `let_go` is told of those that are needed no more, before anybody has a share in them again; one that it cannot let
    /// go stays until the next look.
    pub fn look(&self, let_go: impl Fn(Place) -> bool) {
        self.lock().retain(|place, entry| {
            let is_used = Arc::strong_count(&entry.caller) > 1;
            entry.quiet = if is_used { 0 } else { entry.quiet + 1 };
            let is_over = !is_used && (entry.quiet >= QUIET || entry.caller.is_revoked());
            !(is_over && let_go(*place))
        });
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    const PLACE: Place = (7, Ipv4Addr::new(192, 0, 2, 1));

    fn seen(port: &str) -> Sighting {
        Sighting { mac: "52:54:00:00:00:01".parse().unwrap(), port: Some(port.to_owned()), pinned: true }
    }

    #[test]
    fn a_place_is_one_callers_until_its_connections_have_ended() {
        let callers = Callers::default();
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let share = |port: &str, instance| callers.share(PLACE, "br0", &seen(port), instance);
        let first = share("vnet0", one).unwrap();
        assert!(Arc::ptr_eq(&first, &share("vnet0", one).unwrap()));
        assert!(first.is_still(&seen("vnet0"), one));
        assert!(!first.is_still(&Sighting { pinned: false, ..seen("vnet0") }, one));
        assert!(share("vnet1", other).is_none() && first.is_revoked());
        assert!(!first.is_still(&seen("vnet0"), one));
        let gone = RefCell::new(Vec::new());
        let look = |can: bool| {
            callers.look(|place| {
                gone.borrow_mut().push(place);
                can
            });
        };
        look(true);
        assert!(share("vnet1", other).is_none() && gone.borrow().is_empty());
        drop(first);
        look(false);
        assert!(share("vnet1", other).is_none());
        look(true);
        assert_eq!(*gone.borrow(), [PLACE, PLACE]);
        let second = share("vnet1", other).unwrap();
        callers.revoke_bridge("br1");
        assert!(!second.is_revoked());
        callers.revoke(&Directory::default());
        assert!(second.is_revoked());
    }

    #[test]
    fn one_that_says_nothing_for_a_while_is_let_go() {
        let callers = Callers::default();
        let let_go = RefCell::new(0);
        let look = || {
            callers.look(|_| {
                *let_go.borrow_mut() += 1;
                true
            });
            *let_go.borrow()
        };
        let held = callers.share(PLACE, "br0", &seen("vnet0"), Uuid::nil());
        assert_eq!((0..20).map(|_| look()).sum::<u32>(), 0);
        drop(held);
        let looks: Vec<u32> = (0..QUIET + 2).map(|_| look()).collect();
        assert_eq!(looks, [0, 0, 0, 0, 1, 1, 1]);
    }
}
