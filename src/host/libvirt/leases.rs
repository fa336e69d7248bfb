//! The addresses that a network's DHCP server has given away.
#![expect(unsafe_code, reason = "virNetworkGetDHCPLeases is not wrapped by the virt crate")]

use std::{
    ffi::{CStr, c_char},
    slice,
};

use anyhow::Result;
use virt::{error::Error, network::Network, sys};

use super::{plain, unsupported};
use crate::core::network::Lease;

/// libvirt's list of leases. Freed with what it points to.
struct Leases {
    list: *mut sys::virNetworkDHCPLeasePtr,
    count: usize,
}

impl Leases {
    fn entries(&self) -> &[sys::virNetworkDHCPLeasePtr] {
        if self.list.is_null() {
            return &[];
        }
        // SAFETY: libvirt made a list of `count` pointers to leases.
        unsafe { slice::from_raw_parts(self.list, self.count) }
    }
}

impl Drop for Leases {
    fn drop(&mut self) {
        for lease in self.entries() {
            // SAFETY: each lease is the caller's to free, and nothing points to it any more.
            unsafe { sys::virNetworkDHCPLeaseFree(*lease) };
        }
        // SAFETY: so is the list; libvirt takes it from malloc.
        unsafe { libc::free(self.list.cast()) };
    }
}

/// The leases of a network that have not run out; none where the driver knows none.
///
/// # Errors
/// The connection fails, or the network is gone.
pub fn of(network: &Network) -> Result<Vec<Lease>> {
    let mut list = std::ptr::null_mut();
    // SAFETY: the network's handle is valid; no MAC asks for all; `list` is written to unless the call fails.
    let count = unsafe { sys::virNetworkGetDHCPLeases(network.as_ptr(), std::ptr::null(), &raw mut list, 0) };
    let Ok(count) = usize::try_from(count) else {
        let error = Error::last_error();
        return if unsupported(&error) { Ok(Vec::new()) } else { Err(plain(error)) };
    };
    let leases = Leases { list, count };
    Ok(leases.entries().iter().filter_map(|lease| read(*lease)).collect())
}

/// A lease whose address is none would be of no use to anybody.
fn read(lease: sys::virNetworkDHCPLeasePtr) -> Option<Lease> {
    // SAFETY: each entry of the list points to a lease that lives as long as the list.
    let lease = unsafe { &*lease };
    Some(Lease {
        mac: text(lease.mac).and_then(|mac| mac.parse().ok()),
        ip: text(lease.ipaddr)?.parse().ok()?,
        hostname: text(lease.hostname).filter(|name| !name.is_empty()),
    })
}

/// A guest chose its name: any bytes.
fn text(string: *const c_char) -> Option<String> {
    if string.is_null() {
        return None;
    }
    // SAFETY: libvirt's strings end with a NUL, and live as long as the lease.
    Some(unsafe { CStr::from_ptr(string) }.to_string_lossy().into_owned())
}
