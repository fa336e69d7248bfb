//! Keeping to the wires: the rules of [`crate::core::imds::wires`] in the kernel's packet filter, by `nft`.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::fd::{AsFd as _, BorrowedFd},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use uuid::Uuid;

use super::{
    kernel::{self, number},
    lock::Lock,
};
use crate::{
    core::{
        error::Refusal,
        imds::{
            directory::Known,
            instance::Card,
            wires::{FAMILIES, Marks, TABLE, Wire, no_nft, no_rules, rules, version},
        },
    },
    host::process,
};

/// How long `nft` may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// Whether a connection has the mark of its first packet: <https://docs.kernel.org/networking/ip-sysctl.html>.
const ACCEPT: &str = "/proc/sys/net/ipv4/tcp_fwmark_accept";
/// How long what has been sent may still wait for its card: that is asked for three times, a second apart.
/// <https://man7.org/linux/man-pages/man7/arp.7.html>
const ON_ITS_WAY: Duration = Duration::from_secs(3);

/// The rules that are in force, and nobody else's in this network namespace.
#[derive(Debug)]
pub struct Wires {
    marks: Marks,
    /// What the kernel has; none before it has anything.
    elements: Option<String>,
    /// What it says of the rules that do not change, and which elements it has.
    listed: Vec<String>,
    version: u32,
    /// Whether connections got no marks before.
    switched: bool,
    lock: Lock,
}

impl Wires {
    /// Begins with no wires. What a service has left that was killed is gone then, addresses and rules.
    ///
    /// # Errors
    /// [`Refusal`]: there is no `nft`, or the kernel does not let connections have marks.
    pub fn begin(lock: Lock, start: u32) -> Result<Self> {
        if process::find("nft").is_none() {
            return Err(no_nft().into());
        }
        kernel::labelled()?.iter().try_for_each(kernel::remove_address)?;
        nft(&rules())?;
        match let_connections_have_marks() {
            Ok(switched) => {
                Ok(Self { marks: Marks::new(start), elements: None, listed: Vec::new(), version: start, switched, lock })
            }
            Err(refused) => clear().and(Err(refused)),
        }
    }

    /// What says that there is a service. Whoever holds it keeps others from beginning.
    pub fn lock(&self) -> BorrowedFd<'_> {
        self.lock.file.as_fd()
    }

    /// Makes the kernel keep to the wires of what is known on these bridges, and notes their marks there. `ports` are the numbers that
    /// devices had before libvirt was asked: one that has come since under the same name may be another domain's.
    ///
    /// # Errors
    /// The kernel cannot be asked, or refuses: then it is as it was before.
    pub fn keep_to(&mut self, known: &mut Known, bridges: &BTreeSet<String>, ports: &BTreeMap<String, u32>) -> Result<()> {
        let mut wires = Vec::new();
        for (uuid, card) in cards(known).filter(|(_, card)| bridges.contains(&card.bridge)) {
            let before = card.port.as_ref().and_then(|port| ports.get(port).copied());
            let now = card.port.as_deref().map(number).transpose()?.flatten();
            let port = now.filter(|_| now == before);
            // nft would take the number for that device.
            let port = port.filter(|port| number(&port.to_string()).is_ok_and(|other| other.is_none()));
            let wire = port.map(|port| Wire { port, mac: card.mac });
            wires.extend(wire.map(|wire| (card, wire, uuid)));
        }
        self.marks.give(&wires.iter().map(|(_, wire, uuid)| (*wire, *uuid)).collect());
        for (card, wire, uuid) in wires {
            card.mark = self.marks.of(wire, uuid);
        }
        let elements = self.marks.elements();
        if self.elements.as_ref() != Some(&elements) {
            let (before, now) = (self.elements.as_ref().map(|_| self.version), self.version.wrapping_add(1));
            nft(&format!("{elements}{}", version(before, now)))?;
            self.version = now;
            self.elements = Some(elements);
            self.listed = listed()?;
        }
        Ok(())
    }

    /// Puts the rules back where somebody has taken them away, or put others there. Whether they had to be; so too where connections were
    /// not to have marks any more.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn restore(&mut self) -> Result<bool> {
        let gone = match &self.elements {
            Some(elements) if !self.is_in_force()? => {
                nft(&format!("{}{elements}{}", rules(), version(None, self.version)))?;
                true
            }
            _ => false,
        };
        let switched = let_connections_have_marks()?;
        self.switched |= switched;
        Ok(gone || switched)
    }

    fn is_in_force(&self) -> Result<bool> {
        let listed = listed()?;
        // They may have gone before they were listed for the first time.
        Ok(listed == self.listed && listed.iter().all(|table| !table.is_empty()))
    }

    /// Takes the rules away. For when no connection is left.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn end(self) -> Result<()> {
        thread::sleep(ON_ITS_WAY);
        clear()?;
        if self.switched {
            fs::write(ACCEPT, "0").with_context(|| format!("setting {ACCEPT} back to 0"))?;
        }
        self.lock.end();
        Ok(())
    }
}

/// Makes the kernel let connections have marks. Whether it did not before.
fn let_connections_have_marks() -> Result<bool> {
    let is_off = fs::read_to_string(ACCEPT).with_context(|| format!("reading {ACCEPT}"))?.trim() == "0";
    if is_off && let Err(error) = fs::write(ACCEPT, "1") {
        let advice = "as root: sysctl -w net.ipv4.tcp_fwmark_accept=1";
        return Err(Refusal::new(format!("{ACCEPT} cannot be set to 1: {error}")).advise(advice).into());
    }
    Ok(is_off)
}

/// All cards, and whose they are.
fn cards(known: &mut Known) -> impl Iterator<Item = (Uuid, &mut Card)> {
    known.instances.iter_mut().flat_map(|instance| {
        let uuid = instance.uuid;
        instance.cards.iter_mut().map(move |card| (uuid, card))
    })
}

/// The rules as they are, without the elements of their sets; nothing where there are none.
fn listed() -> Result<Vec<String>> {
    let path = process::find("nft").context("looking for nft: it was here when the service began")?;
    let list = |family| process::output_of(&path, &["-t", "list", "table", family, TABLE], DEADLINE).map(|listed| listed.stdout);
    FAMILIES.into_iter().map(list).collect()
}

/// Whether there are rules.
///
/// # Errors
/// `nft` does not run.
pub fn are_there() -> Result<bool> {
    Ok(process::find("nft").is_some() && listed()?.iter().any(|table| !table.is_empty()))
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
