//! Keeping to the wires: the rules of [`crate::core::imds::wires`] in the kernel's packet filter, by `nft`.

use std::{
    collections::BTreeSet,
    fs,
    os::{
        linux::net::SocketAddrExt as _,
        unix::net::{SocketAddr, UnixListener},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use uuid::Uuid;

use super::kernel::number;
use crate::{
    core::{
        error::Refusal,
        imds::{
            directory::Known,
            instance::Card,
            wires::{Marks, TABLE, Wire, no_nft, no_rules},
        },
    },
    host::process,
};

/// How long `nft` may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// Whether a connection has the mark of its first packet: <https://docs.kernel.org/networking/ip-sysctl.html>.
const ACCEPT: &str = "/proc/sys/net/ipv4/tcp_fwmark_accept";
/// Whoever has this socket has the rules. It is the kernel's, of one network namespace, and gone with its process.
const LOCK: &[u8] = b"tpl-metadata";

/// The rules that are in force, and nobody else's in this network namespace.
#[derive(Debug)]
pub struct Wires {
    marks: Marks,
    /// What the kernel has; none before it has anything.
    rules: Option<String>,
    /// Whether connections got no marks before.
    switched: bool,
    _lock: UnixListener,
}

impl Wires {
    /// Begins with no wires. What a service has left that was killed is gone then.
    ///
    /// # Errors
    /// [`Refusal`]: another one is here, there is no `nft`, or the kernel does not let connections have marks.
    pub fn begin(start: u32) -> Result<Self> {
        let Some(lock) = lock()? else { return Err(Refusal::new("another metadata service runs on this machine").into()) };
        if process::find("nft").is_none() {
            return Err(no_nft().into());
        }
        let switched = fs::read_to_string(ACCEPT).with_context(|| format!("reading {ACCEPT}"))?.trim() == "0";
        if switched {
            let advice = "as root: sysctl -w net.ipv4.tcp_fwmark_accept=1";
            fs::write(ACCEPT, "1")
                .map_err(|error| Refusal::new(format!("{ACCEPT} cannot be set to 1: {error}")).advise(advice))?;
        }
        let wires = Self { marks: Marks::new(start), rules: None, switched, _lock: lock };
        nft(&no_rules())?;
        Ok(wires)
    }

    /// Makes the kernel keep to the wires of what is known on these bridges, and notes their marks there.
    ///
    /// # Errors
    /// The kernel cannot be asked, or refuses: then it is as it was before.
    pub fn keep_to(&mut self, known: &mut Known, bridges: &BTreeSet<String>) -> Result<()> {
        let mut wires = Vec::new();
        for (uuid, card) in cards(known).filter(|(_, card)| bridges.contains(&card.bridge)) {
            let port = card.port.as_deref().map(number).transpose()?.flatten();
            let wire = port.map(|port| Wire { port, mac: card.mac });
            wires.extend(wire.map(|wire| (card, wire, uuid)));
        }
        self.marks.give(&wires.iter().map(|(_, wire, uuid)| (*wire, *uuid)).collect());
        for (card, wire, uuid) in wires {
            card.mark = self.marks.of(wire, uuid);
        }
        let rules = self.marks.rules();
        if self.rules.as_ref() != Some(&rules) {
            nft(&rules)?;
            self.rules = Some(rules);
        }
        Ok(())
    }

    /// Puts the rules back where somebody has taken them away. Whether they had to be.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn restore(&self) -> Result<bool> {
        match &self.rules {
            Some(rules) if !is_there()? => nft(rules).map(|()| true),
            _ => Ok(false),
        }
    }

    /// Takes the rules away. For when no connection is left.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn end(self) -> Result<()> {
        if self.switched {
            fs::write(ACCEPT, "0").with_context(|| format!("setting {ACCEPT} back to 0"))?;
        }
        nft(&no_rules())
    }
}

/// All cards, and whose they are.
fn cards(known: &mut Known) -> impl Iterator<Item = (Uuid, &mut Card)> {
    known.instances.iter_mut().flat_map(|instance| {
        let uuid = instance.uuid;
        instance.cards.iter_mut().map(move |card| (uuid, card))
    })
}

/// The lock; none where somebody else has it.
fn lock() -> Result<Option<UnixListener>> {
    match UnixListener::bind_addr(&SocketAddr::from_abstract_name(LOCK)?) {
        Ok(lock) => Ok(Some(lock)),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Ok(None),
        Err(error) => Err(error).context("looking whether a metadata service runs here"),
    }
}

/// Whether a metadata service runs in this network namespace.
///
/// # Errors
/// The kernel cannot be asked.
pub fn is_served() -> Result<bool> {
    Ok(lock()?.is_none())
}

/// Whether there are rules.
///
/// # Errors
/// `nft` does not run.
pub fn is_there() -> Result<bool> {
    let Some(path) = process::find("nft") else { return Ok(false) };
    let listed = process::output_of(&path, &["list", "tables", "bridge"], DEADLINE)?;
    Ok(listed.stdout.lines().any(|line| line.trim() == format!("table bridge {TABLE}")))
}

/// Takes away the rules of a service that was killed.
///
/// # Errors
/// The kernel refuses.
pub fn clear() -> Result<()> {
    nft(&no_rules())
}

fn nft(script: &str) -> Result<()> {
    let path = process::find("nft").context("looking for nft: it was here when the service began")?;
    let done = process::output_with(&path, &["-f", "-"], script.as_bytes(), DEADLINE)?;
    if done.code != Some(0) {
        bail!("nft refuses the rules of the metadata service: {}", done.stderr.trim());
    }
    Ok(())
}
