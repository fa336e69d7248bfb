//! vCPUs and memory.

use anyhow::{Context as _, Result, ensure};
use roxmltree::Node;

use super::CloneIdentity;
use crate::core::{
    vm_spec::Topology,
    xml::{
        attribute, child, children,
        edit::Edits,
        read::{memory, vcpus as count_of},
    },
};

pub(super) fn change<'i>(edits: &mut Edits<'i>, domain: Node<'_, 'i>, identity: &CloneIdentity) -> Result<()> {
    if let Some(count) = identity.vcpus {
        ensure!(count > 0, "a VM has at least one vCPU");
    }
    if let Some(size) = identity.memory {
        ensure!(size.0 > 0, "a VM has memory");
    }
    let fixed = child(domain, "cpu").is_some_and(|cpu| child(cpu, "numa").is_some());
    if fixed {
        let same = identity.vcpus.is_none_or(|count| count_of(domain).is_ok_and(|old| old == count))
            && identity.memory.is_none_or(|size| memory(domain).is_ok_and(|old| old == size));
        ensure!(same, "the template's NUMA cells fix its vCPUs and memory: leave out --vcpus and --memory");
    } else {
        if let Some(count) = identity.vcpus {
            vcpus(edits, domain, count)?;
        }
        if let Some(size) = identity.memory {
            set_memory(edits, domain, &size.kib_ceil().to_string())?;
        }
    }
    let old = child(domain, "cpu").and_then(|cpu| child(cpu, "topology"));
    match (identity.topology, old, identity.vcpus) {
        (Some(topology), _, wanted) => {
            let count = wanted.map_or_else(|| count_of(domain), Ok).context("comparing its vCPUs with the topology")?;
            let Topology { sockets, cores, threads } = topology;
            ensure!(
                topology.vcpus() == count,
                "the topology {sockets}:{cores}:{threads} makes {} vCPUs, and there are {count}",
                topology.vcpus()
            );
            set_topology(edits, domain, topology)
        }
        (None, Some(old), Some(count)) if !fixed => fit(edits, old, count),
        _ => Ok(()),
    }
}

fn set_memory<'i>(edits: &mut Edits<'i>, domain: Node<'_, 'i>, kib: &str) -> Result<()> {
    for name in ["memory", "currentMemory"] {
        if let Some(node) = child(domain, name) {
            edits.set_attribute(node, "unit", "KiB")?;
            edits.set_text(node, kib)?;
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
    Ok(())
}

/// Shows the vCPUs as the operator wants. A `<cpu>` that is made for it names no model: libvirt takes the same one as
/// without.
fn set_topology<'i>(edits: &mut Edits<'i>, domain: Node<'_, 'i>, topology: Topology) -> Result<()> {
    let Topology { sockets, cores, threads } = topology;
    let xml = format!("<topology sockets='{sockets}' dies='1' cores='{cores}' threads='{threads}'/>");
    let Some(cpu) = child(domain, "cpu") else {
        let place = ["features", "os", "vcpu", "name"].into_iter().find_map(|name| child(domain, name));
        edits.insert_after(place.context("the template has no <name>")?, &format!("<cpu>{xml}</cpu>"));
        return Ok(());
    };
    let Some(node) = child(cpu, "topology") else {
        edits.append(cpu, &xml);
        return Ok(());
    };
    for (name, count) in [("sockets", sockets), ("cores", cores), ("threads", threads)] {
        edits.set_attribute(node, name, &count.to_string())?;
    }
    one_each(edits, node, &["dies", "clusters"])
}

/// libvirt wants the product of the topology to be the number of vCPUs. The shape of a socket is kept where it can be.
fn fit<'i>(edits: &mut Edits<'i>, topology: Node<'_, 'i>, count: u32) -> Result<()> {
    let part = |name: &str| attribute(topology, name).and_then(|n| n.parse::<u32>().ok()).unwrap_or(1);
    let socket = ["dies", "clusters", "cores", "threads"].into_iter().map(part).try_fold(1, u32::checked_mul).unwrap_or(0);
    if socket > 0 && count.is_multiple_of(socket) {
        return edits.set_attribute(topology, "sockets", &(count / socket).to_string());
    }
    one_each(edits, topology, &["sockets", "dies", "clusters", "threads"])?;
    edits.set_attribute(topology, "cores", &count.to_string())
}

fn one_each<'i>(edits: &mut Edits<'i>, topology: Node<'_, 'i>, names: &[&str]) -> Result<()> {
    for name in names.iter().filter(|name| attribute(topology, name).is_some()) {
        edits.set_attribute(topology, name, "1")?;
    }
    Ok(())
}
