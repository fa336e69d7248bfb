//! Who is at the other end of a connection: known by the wire that it came in by, and by nothing that a guest can say.
//!
//! A wire is a port of a bridge, which is the host's end of a domain's network card, with that card's address. Each has a mark. The kernel
//! marks what comes in by a wire, a connection keeps the mark of its first packet, and all that goes out on it has that mark. So a
//! connection is that domain's whose wire it began on; nothing comes in on it by another wire, and nothing of it leaves by another:
//! whatever is claimed of addresses and cards between, in ARP messages, in forged frames, as a router; not when it is sent again, and not
//! when the wire is gone.
//!
//! The rules are nftables': <https://wiki.nftables.org/wiki-nftables/index.php/Bridge_filtering>. They are made once; what changes later are
//! the elements of their sets, which the kernel exchanges all at once.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::{ADDRESS, PORT};
use crate::core::{error::Refusal, mac::Mac};

/// The rules' table, in the families of bridges and of IPv4. All in it is tpl's.
pub const TABLE: &str = "tpl-metadata";
/// The families that it is in.
pub const FAMILIES: [&str; 2] = ["bridge", "ip"];
/// The first byte of each mark: other marks of a host's are not meant.
const OURS: u32 = 0x7400_0000;
const OURS_MASK: u32 = 0xff00_0000;

/// Where a running domain is plugged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wire {
    /// The port's number. One that is made again under the same name has another.
    pub port: u32,
    /// The card's address.
    pub mac: Mac,
}

/// The marks of all wires. A wire keeps its own while its domain is there, and no other gets it.
#[derive(Debug)]
pub struct Marks {
    last: u32,
    given: BTreeMap<(Wire, Uuid), u32>,
}

impl Marks {
    /// None yet. `start` is a number of chance: connections of a service that was here before have other marks.
    pub fn new(start: u32) -> Self {
        Self { last: start, given: BTreeMap::new() }
    }

    /// Gives marks to these wires of these domains, and takes back those of all others. A wire that several have gets none: what comes by
    /// it could be any of theirs.
    pub fn give(&mut self, wires: &BTreeSet<(Wire, Uuid)>) {
        let is_only = |wire: Wire| wires.iter().filter(|(other, _)| *other == wire).count() == 1;
        self.given.retain(|key, _| wires.contains(key) && is_only(key.0));
        for key in wires.iter().filter(|(wire, _)| is_only(*wire)) {
            if !self.given.contains_key(key) {
                let taken: BTreeSet<u32> = self.given.values().copied().collect();
                let mark = (1..=!OURS_MASK).map(|step| OURS | (self.last.wrapping_add(step) & !OURS_MASK));
                let free = mark.into_iter().find(|mark| !taken.contains(mark));
                if let Some(mark) = free {
                    self.last = mark;
                    self.given.insert(*key, mark);
                }
            }
        }
    }

    /// The mark of a wire of a domain.
    pub fn of(&self, wire: Wire, instance: Uuid) -> Option<u32> {
        self.given.get(&(wire, instance)).copied()
    }

    /// What makes the kernel's rules those for these wires: a script for `nft`, which takes it as a whole or not at all.
    pub fn elements(&self) -> String {
        let wires = elements("bridge", "wires", self.each(|wire, mark| format!("{} . {} : {mark:#x}", wire.port, wire.mac)));
        let ways = elements("bridge", "ways", self.each(|wire, mark| format!("{mark:#x} . {} . {}", wire.port, wire.mac)));
        let own = elements("ip", "own", self.each(|_, mark| format!("{mark:#x} . {mark:#x}")));
        [wires, ways, own].concat()
    }

    fn each(&self, line: impl Fn(&Wire, u32) -> String) -> impl Iterator<Item = String> {
        self.given.iter().map(move |((wire, _), mark)| line(wire, *mark))
    }
}

/// What a set is to have instead of what it has.
fn elements(family: &str, set: &str, all: impl Iterator<Item = String>) -> String {
    let all: Vec<String> = all.collect();
    let kind = if set == "wires" { "map" } else { "set" };
    let add = format!("add element {family} {TABLE} {set} {{ {} }}\n", all.join(", "));
    // None must not be written as an empty list.
    format!("flush {kind} {family} {TABLE} {set}\n{}", if all.is_empty() { "" } else { &add })
}

/// An empty chain whose name says which elements are in force, instead of the one before.
pub fn version(before: Option<u32>, now: u32) -> String {
    let delete = before.map(|before| format!("delete chain bridge {TABLE} v{before}\n")).unwrap_or_default();
    format!("{delete}add chain bridge {TABLE} v{now}\n")
}

/// The rules, for no wires yet.
pub fn rules() -> String {
    // Of a connection that is not whole yet the kernel has no mark: nothing comes in on it but what makes it whole, without content.
    let bare: String =
        (5..=15).map(|words| format!("\t\tip hdrlength 5 tcp doff {words} ip length {} accept\n", 20 + 4 * words)).collect();
    format!(
        "{}\
         table bridge {TABLE} {{\n\
         \tmap wires {{ type iface_index . ether_addr : mark; }}\n\
         \tset ways {{ type mark . iface_index . ether_addr; }}\n\
         \tchain come {{\n\
         \t\ttype filter hook input priority 300; policy accept;\n\
         \t\tip daddr {ADDRESS} meta mark set 0\n\
         \t\tip daddr {ADDRESS} meta mark set meta iif . ether saddr map @wires\n\
         \t}}\n\
         \tchain go {{\n\
         \t\ttype filter hook output priority 300; policy accept;\n\
         \t\tip saddr {ADDRESS} meta mark and {OURS_MASK:#x} == {OURS:#x} meta mark . meta oif . ether daddr != @ways drop\n\
         \t}}\n\
         }}\n\
         table ip {TABLE} {{\n\
         \tset own {{ type mark . mark; }}\n\
         \tchain come {{\n\
         \t\ttype filter hook input priority 0; policy accept;\n\
         \t\tiif lo accept\n\
         \t\tip daddr {ADDRESS} tcp dport {PORT} jump connections\n\
         \t}}\n\
         \tchain connections {{\n\
         \t\tmeta mark . socket mark @own accept\n\
         \t\tsocket mark and {OURS_MASK:#x} == {OURS:#x} drop\n\
         \t\tsocket mark 0 accept\n\
         {bare}\
         \t\tdrop\n\
         \t}}\n\
         }}\n",
        no_rules()
    )
}

/// What takes the rules away again. Where there are none, it is no error.
pub fn no_rules() -> String {
    FAMILIES.map(|family| format!("add table {family} {TABLE}\ndelete table {family} {TABLE}\n")).concat()
}

/// That the program is missing which takes the rules.
pub fn no_nft() -> Refusal {
    let advice = "install nftables, which Debian, Ubuntu and Red Hat have under that name";
    Refusal::new("there is no nft here, without which guests cannot be told apart").advise(advice)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wire(port: u32, last: u8) -> Wire {
        Wire { port, mac: format!("52:54:00:00:00:{last:02x}").parse().unwrap() }
    }

    #[test]
    fn a_mark_is_one_domains_at_one_wire() {
        let (one, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let mut marks = Marks::new(0xdead_fffe);
        marks.give(&[(wire(5, 1), one), (wire(6, 1), other)].into());
        let first = marks.of(wire(5, 1), one);
        assert_eq!((first, marks.of(wire(6, 1), other)), (Some(0x74ad_ffff), Some(0x74ae_0000)));
        // Plugged in again, at another port: another mark. The one that stays keeps its own.
        marks.give(&[(wire(7, 1), one), (wire(6, 1), other)].into());
        assert_eq!((marks.of(wire(5, 1), one), marks.of(wire(7, 1), one)), (None, Some(0x74ae_0001)));
        assert_eq!(marks.of(wire(6, 1), other), Some(0x74ae_0000));
        // One that several have is nobody's.
        marks.give(&[(wire(6, 1), one), (wire(6, 1), other)].into());
        assert_eq!((marks.of(wire(6, 1), one), marks.of(wire(6, 1), other)), (None, None));
        // The last number is followed by the first.
        let mut marks = Marks::new(0x00ff_ffff);
        marks.give(&[(wire(5, 1), one)].into());
        assert_eq!(marks.of(wire(5, 1), one), Some(0x7400_0000));
    }

    #[test]
    fn what_changes_with_the_wires() {
        let mut marks = Marks::new(0);
        let expected = "flush map bridge tpl-metadata wires\n\
                        flush set bridge tpl-metadata ways\n\
                        flush set ip tpl-metadata own\n";
        assert_eq!(marks.elements(), expected);
        assert_eq!(version(None, 7), "add chain bridge tpl-metadata v7\n");
        assert_eq!(version(Some(7), 8), "delete chain bridge tpl-metadata v7\nadd chain bridge tpl-metadata v8\n");
        marks.give(&[(wire(5, 1), Uuid::from_u128(1)), (wire(6, 2), Uuid::from_u128(2))].into());
        let elements = marks.elements();
        for line in [
            "add element bridge tpl-metadata wires { 5 . 52:54:00:00:00:01 : 0x74000001, 6 . 52:54:00:00:00:02 : 0x74000002 }",
            "add element bridge tpl-metadata ways { 0x74000001 . 5 . 52:54:00:00:00:01, 0x74000002 . 6 . 52:54:00:00:00:02 }",
            "add element ip tpl-metadata own { 0x74000001 . 0x74000001, 0x74000002 . 0x74000002 }",
        ] {
            assert!(elements.lines().any(|found| found == line), "{line} is not in\n{elements}");
        }
    }
}
