//! The host's memory. The `virt` crate does not wrap this call, and the one it wraps reads too little on hosts whose kernel
//! initialises memory lazily.
#![expect(unsafe_code, reason = "virNodeGetMemoryStats is not wrapped by the virt crate")]

use std::ffi::CStr;

use anyhow::{Result, bail};
use virt::{connect::Connect, error::Error, sys};

use crate::core::units::ByteSize;

/// The host's physical memory.
///
/// # Errors
/// libvirt does not tell.
pub fn memory(connect: &Connect) -> Result<ByteSize> {
    let all_cells = sys::VIR_NODE_MEMORY_STATS_ALL_CELLS;
    let mut count: libc::c_int = 0;
    // SAFETY: the connection is open; a null array asks for the number of parameters alone.
    let asked = unsafe { sys::virNodeGetMemoryStats(connect.as_ptr(), all_cells, std::ptr::null_mut(), &raw mut count, 0) };
    if asked < 0 {
        bail!("{}", Error::last_error().message());
    }
    // SAFETY: a plain C struct of a character array and an integer, for which zeros are valid.
    let empty: sys::virNodeMemoryStats = unsafe { std::mem::zeroed() };
    let mut stats = vec![empty; usize::try_from(count).unwrap_or(0)];
    // SAFETY: `stats` has room for `count` entries, and lives through the call.
    let read = unsafe { sys::virNodeGetMemoryStats(connect.as_ptr(), all_cells, stats.as_mut_ptr(), &raw mut count, 0) };
    if read < 0 {
        bail!("{}", Error::last_error().message());
    }
    for entry in &stats {
        // SAFETY: libvirt ends each field name with a NUL inside the array.
        let name = unsafe { CStr::from_ptr(entry.field.as_ptr()) };
        if name.to_bytes() == b"total" {
            return Ok(ByteSize(entry.value * 1024));
        }
    }
    bail!("libvirt does not tell the host's memory")
}
