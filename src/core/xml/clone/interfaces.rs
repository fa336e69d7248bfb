//! Network interfaces: an address for each, and another plug for the first.

use anyhow::{Result, bail, ensure};
use roxmltree::Node;

use super::{CloneIdentity, Plug, devices::rename};
use crate::core::{
    mac::Mac,
    xml::{
        attribute, child, children,
        edit::{Edits, escape},
        is,
    },
};

/// What an interface says about its old plug: the port's profile and tag there, and what only a user-mode one has.
const OF_THE_PLUG: [&str; 8] = ["virtualport", "vlan", "backend", "portForward", "ip", "route", "script", "downscript"];

impl Plug {
    /// The `type` of the interface, which is the attribute of `<source>` too, and the name in it.
    fn parts(&self) -> (&'static str, &str) {
        match self {
            Self::Network(name) => ("network", name),
            Self::Bridge(name) => ("bridge", name),
        }
    }
}

pub(super) fn change<'i>(edits: &mut Edits<'i>, devices: Node<'_, 'i>, old: &str, identity: &CloneIdentity) -> Result<()> {
    let interfaces: Vec<_> = children(devices, "interface").collect();
    let (need, have) = (interfaces.len(), identity.macs.len());
    ensure!(need == have, "the template has {need} interfaces, and there are {have} MAC addresses for them");
    ensure!(need > 0 || identity.plug.is_none(), "the template has no interface that could be plugged in");
    for (index, (interface, mac)) in interfaces.into_iter().zip(&identity.macs).enumerate() {
        // The name of a device on the host: libvirt makes one.
        if let Some(target) = child(interface, "target") {
            edits.remove(target);
        }
        match identity.plug.as_ref().filter(|plug| index == 0 && !is_in(interface, plug)) {
            Some(plug) => replug(edits, interface, *mac, plug)?,
            None => keep(edits, interface, *mac, old, identity.name.as_str())?,
        }
    }
    Ok(())
}

fn is_in(interface: Node<'_, '_>, plug: &Plug) -> bool {
    let (kind, name) = plug.parts();
    let source = child(interface, "source").and_then(|source| attribute(source, kind));
    attribute(interface, "type") == Some(kind) && source == Some(name)
}

/// An interface that stays where the template's is, without what names the template's port there.
fn keep<'i>(edits: &mut Edits<'i>, interface: Node<'_, 'i>, mac: Mac, old: &str, new: &str) -> Result<()> {
    address(edits, interface, mac, "")?;
    if let Some(source) = child(interface, "source") {
        edits.remove_attribute(source, "portid");
        rename(edits, source, "path", old, new)?;
    }
    if let Some(port) = child(interface, "virtualport") {
        forget_port(edits, port);
    }
    Ok(())
}

/// An interface that goes elsewhere. All that is not about the old place stays.
fn replug<'i>(edits: &mut Edits<'i>, interface: Node<'_, 'i>, mac: Mac, plug: &Plug) -> Result<()> {
    let old = attribute(interface, "type").unwrap_or_default();
    if !matches!(old, "user" | "network" | "bridge" | "direct") {
        bail!("the template's first interface is of type {old:?}, which cannot be plugged into a network or a bridge");
    }
    let (kind, name) = plug.parts();
    edits.set_attribute(interface, "type", kind)?;
    let source = format!("<source {kind}='{}'/>", escape(name)?);
    match child(interface, "source") {
        Some(node) => {
            edits.replace(node, source);
            address(edits, interface, mac, "")?;
        }
        None => address(edits, interface, mac, &source)?,
    }
    for node in interface.children().filter(|node| OF_THE_PLUG.iter().any(|name| is(*node, name))) {
        // One bridge of Open vSwitch for another: without it libvirt would take the new one for a bridge of the kernel.
        let ovs = is(node, "virtualport") && attribute(node, "type") == Some("openvswitch");
        // Which devices make the traffic fast is the host's matter, not the plug's.
        let fast = is(node, "backend") && attribute(node, "type").is_none();
        if ovs && old == "bridge" && kind == "bridge" {
            forget_port(edits, node);
        } else if !fast {
            edits.remove(node);
        }
    }
    // Of the bandwidth only this is a promise of the network's.
    for inbound in children(interface, "bandwidth").flat_map(|bandwidth| children(bandwidth, "inbound")) {
        edits.remove_attribute(inbound, "floor");
    }
    Ok(())
}

/// Sets the MAC, and puts more XML behind it.
fn address<'i>(edits: &mut Edits<'i>, interface: Node<'_, 'i>, mac: Mac, more: &str) -> Result<()> {
    let Some(node) = child(interface, "mac") else {
        edits.prepend(interface, &format!("<mac address='{mac}'/>{more}"));
        return Ok(());
    };
    edits.set_attribute(node, "address", &mac.to_string())?;
    // What the running template's guest has set.
    edits.remove_attribute(node, "currentAddress");
    if !more.is_empty() {
        edits.insert_after(node, more);
    }
    Ok(())
}

/// Open vSwitch and 802.1Qbg know an interface by these; libvirt makes new ones.
fn forget_port<'i>(edits: &mut Edits<'i>, port: Node<'_, 'i>) {
    if attribute(port, "type") == Some("midonet") {
        return;
    }
    for parameters in children(port, "parameters") {
        edits.remove_attribute(parameters, "interfaceid");
        edits.remove_attribute(parameters, "instanceid");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::xml::clone::tests::changed;

    const MAC: &str = "<mac address='52:54:00:aa:00:01'/>";

    /// The clone's interfaces, from the template's.
    fn plugged(template: &str, plug: Option<Plug>) -> String {
        let interfaces = template.matches("<interface").count();
        let clone = changed(&format!("<devices>{template}</devices>"), |identity| {
            identity.macs = (0..interfaces).map(|index| Mac([0x52, 0x54, 0, 0xaa, 0, index as u8 + 1])).collect();
            identity.plug = plug;
        });
        clone.replace("<devices>", "").replace("</devices>", "").replacen("making the XML of clone web01: ", "", 1)
    }

    #[test]
    fn the_first_interface_is_plugged_in_elsewhere() {
        let network = || Some(Plug::Network("lab".to_owned()));
        let bridge = || Some(Plug::Bridge("br1".to_owned()));
        let user = "<interface type='user'><mac address='1'/><model type='virtio'/><backend type='passt' logFile='/l'/>\
                    <portForward proto='tcp'/><ip family='ipv4' address='10.0.0.1'/></interface>";
        let ovs = "<interface type='bridge'><source bridge='br0'/><mac address='1'/><vlan><tag id='4'/></vlan>\
                   <virtualport type='openvswitch'><parameters interfaceid='i' profileid='p'/></virtualport></interface>";
        let rich = "<interface  type = \"network\"><mac address='1' check='no' currentAddress='2'/>\
                    <source network='old' portgroup='g' portid='i'/><model type='e1000'/><driver name='vhost'/>\
                    <filterref filter='f'/><bandwidth><inbound average='1' floor='2'/></bandwidth><backend vhost='/v'/></interface>";
        let table = [
            (
                user,
                network(),
                format!("<interface type='network'>{MAC}<source network='lab'/><model type='virtio'/></interface>"),
            ),
            (user, bridge(), format!("<interface type='bridge'>{MAC}<source bridge='br1'/><model type='virtio'/></interface>")),
            (ovs, network(), format!("<interface type='network'><source network='lab'/>{MAC}</interface>")),
            (
                ovs,
                bridge(),
                format!(
                    "<interface type='bridge'><source bridge='br1'/>{MAC}<virtualport type='openvswitch'>\
                     <parameters profileid='p'/></virtualport></interface>"
                ),
            ),
            (
                rich,
                network(),
                "<interface  type = \"network\"><mac address='52:54:00:aa:00:01' check='no'/><source network='lab'/>\
                 <model type='e1000'/><driver name='vhost'/><filterref filter='f'/><bandwidth><inbound average='1'/></bandwidth>\
                 <backend vhost='/v'/></interface>"
                    .to_owned(),
            ),
            (
                "<interface type='network'><source network='lab' portgroup='g' portid='i'/></interface><interface type='user'/>",
                network(),
                format!(
                    "<interface type='network'>{MAC}<source network='lab' portgroup='g'/></interface>\
                     <interface type='user'><mac address='52:54:00:aa:00:02'/></interface>"
                ),
            ),
            (
                "<interface type='direct'><source dev='eth0' mode='vepa'/><virtualport type='802.1Qbg'/></interface>",
                Some(Plug::Network("a&b".to_owned())),
                format!("<interface type='network'>{MAC}<source network='a&amp;b'/></interface>"),
            ),
            ("<interface type='user'/>", bridge(), format!("<interface type='bridge'>{MAC}<source bridge='br1'/></interface>")),
            (
                "<interface type='hostdev'/>",
                bridge(),
                "the template's first interface is of type \"hostdev\", which cannot be plugged into a network or a bridge"
                    .to_owned(),
            ),
            ("", network(), "the template has no interface that could be plugged in".to_owned()),
        ];
        for (template, plug, expected) in table {
            assert_eq!(plugged(template, plug.clone()), expected, "{template} {plug:?}");
        }
    }
}
