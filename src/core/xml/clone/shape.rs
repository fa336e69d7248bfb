//! vCPUs and memory.

use anyhow::{Result, ensure};
use roxmltree::Node;

use super::CloneIdentity;
use crate::core::xml::{attribute, child, children, edit::Edits};

pub(super) fn change<'i>(edits: &mut Edits<'i>, domain: Node<'_, 'i>, identity: &CloneIdentity) -> Result<()> {
    if identity.vcpus.is_none() && identity.memory.is_none() {
        return Ok(());
    }
    let numa = child(domain, "cpu").and_then(|cpu| child(cpu, "numa"));
    ensure!(numa.is_none(), "the template's NUMA cells fix its vCPUs and memory: leave out --vcpus and --memory");
    if let Some(count) = identity.vcpus {
        ensure!(count > 0, "a VM has at least one vCPU");
        vcpus(edits, domain, count)?;
    }
    if let Some(size) = identity.memory {
        ensure!(size.0 > 0, "a VM has memory");
        let kib = size.kib_ceil().to_string();
        for name in ["memory", "currentMemory"] {
            if let Some(node) = child(domain, name) {
                edits.set_attribute(node, "unit", "KiB")?;
                edits.set_text(node, &kib)?;
            }
        }
    }
    Ok(())
}

fn vcpus<'i>(edits: &mut Edits<'i>, domain: Node<'_, 'i>, count: u32) -> Result<()> {
    if let Some(node) = child(domain, "vcpu") {
        edits.remove_attribute(node, "current");
        edits.set_text(node, &count.to_string())?;
    }
    // Lists each vCPU by its number: libvirt makes it anew.
    if let Some(list) = child(domain, "vcpus") {
        edits.remove(list);
    }
    if let Some(tune) = child(domain, "cputune") {
        let beyond =
            |node: &Node<'_, '_>| attribute(*node, "vcpu").and_then(|n| n.parse::<u32>().ok()).is_some_and(|n| n >= count);
        children(tune, "vcpupin").filter(beyond).for_each(|pin| edits.remove(pin));
    }
    if let Some(topology) = child(domain, "cpu").and_then(|cpu| child(cpu, "topology")) {
        fit(edits, topology, count)?;
    }
    Ok(())
}

/// libvirt wants the product of the topology to be the number of vCPUs. The shape of a socket is kept where it can be.
fn fit<'i>(edits: &mut Edits<'i>, topology: Node<'_, 'i>, count: u32) -> Result<()> {
    let part = |name: &str| attribute(topology, name).and_then(|n| n.parse::<u32>().ok()).unwrap_or(1);
    let socket = ["dies", "clusters", "cores", "threads"].into_iter().map(part).try_fold(1, u32::checked_mul).unwrap_or(0);
    if socket > 0 && count.is_multiple_of(socket) {
        return edits.set_attribute(topology, "sockets", &(count / socket).to_string());
    }
    for name in ["sockets", "dies", "clusters", "threads"] {
        if attribute(topology, name).is_some() {
            edits.set_attribute(topology, name, "1")?;
        }
    }
    edits.set_attribute(topology, "cores", &count.to_string())
}
