//! Graphics, character devices, TPM and vsock.

use anyhow::Result;
use roxmltree::Node;

use super::CloneIdentity;
use crate::core::xml::{
    attribute, child, children,
    edit::Edits,
    is,
    paths::{own, renamed},
};

/// Devices with a character stream behind them, which may be a file or a socket on the host.
const STREAMS: [&str; 7] = ["serial", "parallel", "console", "channel", "redirdev", "smartcard", "rng"];

pub(super) fn change<'i>(edits: &mut Edits<'i>, devices: Node<'_, 'i>, old: &str, identity: &CloneIdentity) -> Result<()> {
    let new = identity.name.as_str();
    for device in devices.children().filter(Node::is_element) {
        if is(device, "graphics") {
            graphics(edits, device, old, new)?;
        } else if is(device, "vsock") {
            vsock(edits, device)?;
        } else if is(device, "tpm") {
            tpm(edits, device, old, new)?;
        } else if STREAMS.iter().any(|name| is(device, name)) {
            stream(edits, device, old, new)?;
        }
    }
    // libvirt's own aliases are those of the running template; a user's begin with "ua-".
    let generated =
        |node: &Node<'_, '_>| is(*node, "alias") && !attribute(*node, "name").is_some_and(|name| name.starts_with("ua-"));
    devices.children().flat_map(|device| device.children().filter(generated)).for_each(|alias| edits.remove(alias));
    Ok(())
}

fn graphics<'i>(edits: &mut Edits<'i>, graphics: Node<'_, 'i>, old: &str, new: &str) -> Result<()> {
    let fixed = |name: &str| attribute(graphics, name).is_some_and(|port| port != "-1");
    if fixed("port") || fixed("tlsPort") {
        edits.set_attribute(graphics, "autoport", "yes")?;
    }
    for name in ["port", "tlsPort", "websocket"] {
        if fixed(name) {
            edits.set_attribute(graphics, name, "-1")?;
        }
    }
    rename(edits, graphics, "socket", old, new)?;
    children(graphics, "listen").try_for_each(|listen| rename(edits, listen, "socket", old, new))
}

fn vsock<'i>(edits: &mut Edits<'i>, vsock: Node<'_, 'i>) -> Result<()> {
    match child(vsock, "cid") {
        Some(cid) => {
            edits.remove_attribute(cid, "address");
            edits.set_attribute(cid, "auto", "yes")
        }
        None => {
            edits.prepend(vsock, "<cid auto='yes'/>");
            Ok(())
        }
    }
}

fn tpm<'i>(edits: &mut Edits<'i>, tpm: Node<'_, 'i>, old: &str, new: &str) -> Result<()> {
    let emulated = children(tpm, "backend").filter(|backend| attribute(*backend, "type") == Some("emulator"));
    for source in emulated.flat_map(|backend| children(backend, "source")) {
        if let Some(path) = attribute(source, "path") {
            edits.set_attribute(source, "path", &own(path, old, new))?;
        }
    }
    Ok(())
}

fn stream<'i>(edits: &mut Edits<'i>, device: Node<'_, 'i>, old: &str, new: &str) -> Result<()> {
    let kind = attribute(device, "type").unwrap_or_default();
    // The pseudo-terminal of the running template.
    edits.remove_attribute(device, "tty");
    let name = child(device, "target").and_then(|target| attribute(target, "name"));
    for source in device.descendants().filter(|node| is(*node, "source")) {
        let Some(path) = attribute(source, "path") else { continue };
        let listens = kind == "unix" && attribute(source, "mode") != Some("connect");
        if kind == "unix" && is(device, "channel") && name.is_some_and(|name| path.contains(name)) {
            // libvirt's own choice, with the domain's name in it: it chooses again.
            edits.remove_attribute(source, "path");
        } else if kind == "file" || listens {
            edits.set_attribute(source, "path", &own(path, old, new))?;
        } else if kind == "pty" {
            edits.remove(source);
        } else {
            rename(edits, source, "path", old, new)?;
        }
    }
    for log in children(device, "log") {
        if let Some(path) = attribute(log, "file") {
            edits.set_attribute(log, "file", &own(path, old, new))?;
        }
    }
    Ok(())
}

/// Puts the new name into a path that holds the old one; any other stays as it is.
pub(super) fn rename<'i>(edits: &mut Edits<'i>, node: Node<'_, 'i>, name: &str, old: &str, new: &str) -> Result<()> {
    let Some(path) = attribute(node, name) else { return Ok(()) };
    let own = renamed(path, old, new);
    if own != path { edits.set_attribute(node, name, &own) } else { Ok(()) }
}
