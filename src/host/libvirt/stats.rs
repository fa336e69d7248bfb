//! The figures of all domains in one call. The `virt` crate hands out its records as bare pointers that nothing frees.
#![expect(unsafe_code, reason = "the records of virConnectGetAllDomainStats are not wrapped by the virt crate")]

use std::{ffi::CStr, slice};

use anyhow::Result;
use virt::{connect::Connect, domain::Domain, error::Error, sys};

use super::{plain, unsupported};

/// What libvirt tells of a domain among all the others. A figure that was not asked for, or that the driver lacks, is none.
pub struct Figures {
    /// The domain.
    pub domain: Domain,
    /// Its state, in libvirt's numbers.
    pub state: Option<u32>,
    /// The most vCPUs that it can have.
    pub vcpus: Option<u32>,
    /// The most memory that it can have, in KiB.
    pub memory: Option<u64>,
}

/// libvirt's list of records. Freed with what it points to.
struct Records {
    list: *mut sys::virDomainStatsRecordPtr,
    count: usize,
}

impl Drop for Records {
    fn drop(&mut self) {
        // SAFETY: the list came from virConnectGetAllDomainStats, and nothing points into it any more.
        unsafe { sys::virDomainStatsRecordListFree(self.list) }
    }
}

/// The figures of all domains, running or not; none where the driver has no such call. `groups` are libvirt's
/// `VIR_DOMAIN_STATS_…`. No domain is waited for: one that another job holds tells what its definition says.
///
/// # Errors
/// The connection fails.
pub fn all(connect: &Connect, groups: sys::virDomainStatsTypes) -> Result<Option<Vec<Figures>>> {
    let mut list = std::ptr::null_mut();
    let flags = sys::VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT;
    // SAFETY: the connection is open; `list` is written to before the call returns without an error.
    let count = unsafe { sys::virConnectGetAllDomainStats(connect.as_ptr(), groups, &raw mut list, flags) };
    let Ok(count) = usize::try_from(count) else {
        let error = Error::last_error();
        return if unsupported(&error) { Ok(None) } else { Err(plain(error)) };
    };
    let records = Records { list, count };
    if records.list.is_null() {
        return Ok(Some(Vec::new()));
    }
    // SAFETY: libvirt made a list of `count` records, which lives as long as `records`.
    let entries = unsafe { slice::from_raw_parts(records.list, records.count) };
    entries.iter().map(|entry| figures(*entry)).collect::<Result<_>>().map(Some)
}

fn figures(record: sys::virDomainStatsRecordPtr) -> Result<Figures> {
    // SAFETY: each entry of the list points to a record that lives as long as the list.
    let record = unsafe { &*record };
    // SAFETY: the record holds one reference to its domain, and this is a second one.
    if unsafe { sys::virDomainRef(record.dom) } < 0 {
        return Err(plain(Error::last_error()));
    }
    // SAFETY: the handle takes over the reference that was just made.
    let domain = unsafe { Domain::from_ptr(record.dom) };
    let mut figures = Figures { domain, state: None, vcpus: None, memory: None };
    let parameters: &[sys::virTypedParameter] = match usize::try_from(record.nparams) {
        // SAFETY: the record has that many parameters.
        Ok(count) if !record.params.is_null() => unsafe { slice::from_raw_parts(record.params, count) },
        _ => &[],
    };
    for parameter in parameters {
        // SAFETY: libvirt ends each name with a NUL inside the array.
        let name = unsafe { CStr::from_ptr(parameter.field.as_ptr()) };
        match name.to_bytes() {
            b"state.state" => figures.state = number(parameter).and_then(|state| state.try_into().ok()),
            b"vcpu.maximum" => figures.vcpus = number(parameter).and_then(|count| count.try_into().ok()),
            b"balloon.maximum" => figures.memory = number(parameter),
            _ => {}
        }
    }
    Ok(figures)
}

/// The value of a parameter that is a count.
fn number(parameter: &sys::virTypedParameter) -> Option<u64> {
    let value = parameter.value;
    match sys::virTypedParameterType::try_from(parameter.type_).ok()? {
        // SAFETY: the type tells which of the union's members libvirt wrote.
        sys::VIR_TYPED_PARAM_INT => unsafe { value.i }.try_into().ok(),
        // SAFETY: as above.
        sys::VIR_TYPED_PARAM_UINT => Some(unsafe { value.ui }.into()),
        // SAFETY: as above.
        sys::VIR_TYPED_PARAM_LLONG => unsafe { value.l }.try_into().ok(),
        // SAFETY: as above.
        sys::VIR_TYPED_PARAM_ULLONG => Some(unsafe { value.ul }),
        _ => None,
    }
}
