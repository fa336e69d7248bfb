//! Running domains as they are now, and notice of what changes.
#![expect(unsafe_code, reason = "the registration of events is not wrapped by the virt crate")]

use std::{
    ops::Deref,
    ptr,
    sync::{Condvar, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result};
use virt::{error::Error, sys};

use super::{Libvirt, alive, listing::each, optional, plain, unsupported};
use crate::core::units::Span;

/// How many changes this process has been told of. One number for all connections: whoever waits looks at everything again.
static CHANGES: (Mutex<u64>, Condvar) = (Mutex::new(0), Condvar::new());

/// A domain's events after which it may have other cards, another name, another state or other metadata.
const OF_DOMAINS: [sys::virDomainEventID; 4] = [
    sys::VIR_DOMAIN_EVENT_ID_LIFECYCLE,
    sys::VIR_DOMAIN_EVENT_ID_DEVICE_ADDED,
    sys::VIR_DOMAIN_EVENT_ID_DEVICE_REMOVED,
    sys::VIR_DOMAIN_EVENT_ID_METADATA_CHANGE,
];

/// What has changed by now.
pub fn changes() -> u64 {
    *CHANGES.0.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until more has changed than that, or so long; what has changed by then.
pub fn wait_for_change(seen: u64, at_most: Duration) -> u64 {
    let (count, told) = &CHANGES;
    let guard = count.lock().unwrap_or_else(PoisonError::into_inner);
    let waited = told.wait_timeout_while(guard, at_most, |count| *count == seen);
    *waited.unwrap_or_else(PoisonError::into_inner).0
}

/// Counts a change. What has changed is read anew in any case, so none of the arguments is looked at.
fn changed() {
    *CHANGES.0.lock().unwrap_or_else(PoisonError::into_inner) += 1;
    CHANGES.1.notify_all();
}

unsafe extern "C" fn domain_changed(_: sys::virConnectPtr, _: sys::virDomainPtr, _: *mut libc::c_void) {
    changed();
}

unsafe extern "C" fn network_changed(_: sys::virConnectPtr, _: sys::virNetworkPtr, _: *mut libc::c_void) {
    changed();
}

/// A connection that changes are noticed by: see [`wait_for_change`].
pub struct Watching {
    libvirt: Libvirt,
    domains: Vec<i32>,
    networks: Vec<i32>,
}

impl Watching {
    /// Connects.
    ///
    /// # Errors
    /// As for [`Libvirt::open`].
    pub fn open(uri: &str, deadline: Span) -> Result<Self> {
        alive::prepare();
        let libvirt = Libvirt::open(uri, deadline)?;
        alive::keep(&libvirt.connect)?;
        let mut watching = Self { libvirt, domains: Vec::new(), networks: Vec::new() };
        watching.subscribe().with_context(|| format!("watching the domains of {uri}"))?;
        Ok(watching)
    }

    fn subscribe(&mut self) -> Result<()> {
        // SAFETY: the handle is used while the connection is there, which it belongs to.
        let (connect, nothing) = (unsafe { self.libvirt.connect.as_ptr() }, ptr::null_mut());
        for event in OF_DOMAINS {
            // SAFETY: the connection is open; no domain asks for all; the callback has the type that libvirt names for all events,
            // and looks at none of its arguments, which differ between them; nothing is handed to it that would have to live.
            let id = unsafe {
                let event = i32::try_from(event).unwrap_or_default();
                sys::virConnectDomainEventRegisterAny(connect, ptr::null_mut(), event, Some(domain_changed), nothing, None)
            };
            self.domains.extend(registered(id)?);
        }
        // SAFETY: as above, for networks.
        let id = unsafe {
            let event = i32::try_from(sys::VIR_NETWORK_EVENT_ID_LIFECYCLE).unwrap_or_default();
            sys::virConnectNetworkEventRegisterAny(connect, ptr::null_mut(), event, Some(network_changed), nothing, None)
        };
        self.networks.extend(registered(id)?);
        Ok(())
    }
}

impl Deref for Watching {
    type Target = Libvirt;

    fn deref(&self) -> &Libvirt {
        &self.libvirt
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        // SAFETY: the connection is still there; each number is one that it has given out. Each holds the connection open.
        unsafe {
            let connect = self.libvirt.connect.as_ptr();
            for id in &self.domains {
                sys::virConnectDomainEventDeregisterAny(connect, *id);
            }
            for id in &self.networks {
                sys::virConnectNetworkEventDeregisterAny(connect, *id);
            }
        }
    }
}

impl Libvirt {
    /// The live XML of all running domains, in no order. One that vanishes meanwhile is left out.
    ///
    /// # Errors
    /// The connection fails.
    pub fn running(&self) -> Result<Vec<String>> {
        let domains = self.connect.list_all_domains(sys::VIR_CONNECT_LIST_DOMAINS_ACTIVE).map_err(plain)?;
        each(&domains, self.readers(), |domain| optional(domain.xml_desc(0)))
    }
}

/// The number of a registration. A driver that tells of no such events is asked again and again in any case.
fn registered(id: i32) -> Result<Option<i32>> {
    if id >= 0 {
        return Ok(Some(id));
    }
    let error = Error::last_error();
    if unsupported(&error) { Ok(None) } else { Err(plain(error)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_is_woken() {
        let before = changes();
        let waiting = std::thread::spawn(move || wait_for_change(before, Duration::from_secs(60)));
        changed();
        assert!(waiting.join().unwrap() > before);
    }
}
