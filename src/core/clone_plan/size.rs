//! The sizes of a VM, if they can be.

use super::Origin;
use crate::core::{error::Invalid, units::ByteSize, vm_spec::VmSpec};

/// No Linux boots with less.
const LEAST_MEMORY: ByteSize = ByteSize::mib(128);
/// Larger than any pool of one machine; a qcow2 could have more.
const LARGEST_DISK: ByteSize = ByteSize(64 << 40);
/// More than any machine has.
const MOST_VCPUS: u32 = 512;

/// Sizes that no template and no hypervisor has a say in.
pub(super) fn check(spec: &VmSpec) -> Result<(), Invalid> {
    if let Some(memory) = spec.memory.filter(|memory| *memory < LEAST_MEMORY) {
        return Err(Invalid::argument(format!("{memory} of memory are too little: a VM needs at least {LEAST_MEMORY}")));
    }
    if let Some(vcpus) = spec.vcpus.filter(|vcpus| !(1..=MOST_VCPUS).contains(vcpus)) {
        return Err(Invalid::argument(format!("{vcpus} vCPUs cannot be: a VM has 1 to {MOST_VCPUS}")));
    }
    let disks = spec.disk.into_iter().chain(spec.disks.iter().map(|disk| disk.size));
    match disks.max().filter(|disk| *disk > LARGEST_DISK) {
        Some(disk) => Err(Invalid::argument(format!("a disk of {disk} is too large: {LARGEST_DISK} are possible"))),
        None => Ok(()),
    }
}

pub(super) fn vcpus(spec: &VmSpec, origin: &Origin) -> Result<u32, Invalid> {
    match (spec.vcpus, spec.topology) {
        (Some(vcpus), Some(topology)) if vcpus != topology.vcpus() => {
            let message = format!("{vcpus} vCPUs are asked for, and the topology makes {}", topology.vcpus());
            Err(Invalid::argument(message))
        }
        (Some(vcpus), _) => Ok(vcpus),
        (None, Some(topology)) => Ok(topology.vcpus()),
        (None, None) => Ok(origin.vcpus),
    }
}

pub(super) fn disk(spec: &VmSpec, origin: &Origin) -> Result<ByteSize, Invalid> {
    // Whole MiB: a qcow2's size must be whole sectors, and a logical volume's whole extents.
    let wanted = spec.disk.unwrap_or(origin.disk).round_up(ByteSize::MIB);
    if wanted < origin.virtual_size {
        return Err(Invalid::argument(format!(
            "a disk of {wanted} cannot hold template {}, which has {}: a clone's disk grows, never shrinks",
            origin.id, origin.virtual_size
        )));
    }
    Ok(wanted)
}
