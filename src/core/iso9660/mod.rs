//! Reading an ISO 9660 file system: ECMA-119, with Rock Ridge (IEEE P1282) or Joliet for the names.
//!
//! A medium may come from anywhere. So each read has a limit, all of them together have one too, whatever points outside of the
//! medium is an error, and nothing recurses.

mod record;
#[cfg(test)]
pub(super) mod tests;

use std::{cell::Cell, fmt, io};

use record::{Record, SharedUse};

/// The size of a sector. Descriptors are one sector each.
const SECTOR: u64 = 2048;
/// Where the descriptors begin: what lies before is for boot loaders.
const FIRST_DESCRIPTOR: u64 = 16;
/// A medium has three or four.
const MOST_DESCRIPTORS: u64 = 32;
/// A folder with ten thousand packages takes 2 MiB.
const LARGEST_FOLDER: u64 = 16 << 20;
/// What may be read of folders and of the beginnings of files together: a thousandfold of what installers' media need.
const BUDGET: u64 = 256 << 20;

/// Bytes that can be read at any place.
pub trait Bytes {
    /// How many there are.
    fn length(&self) -> u64;
    /// Fills the buffer with what begins at `offset`.
    ///
    /// # Errors
    /// They end before that, or cannot be read.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
}

/// Why a file system cannot be read.
#[derive(Debug)]
pub enum Fault {
    /// It is none.
    NotIso,
    /// It is damaged, or not made for honest use.
    Damaged(&'static str),
    /// It ends before something that it says it holds.
    CutOff,
    /// The bytes cannot be read.
    Unreadable(io::Error),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotIso => f.write_str("it is no ISO 9660 image"),
            Self::Damaged(what) => write!(f, "its file system is damaged: {what}"),
            Self::CutOff => f.write_str("it is cut off: it ends before what it says it holds"),
            Self::Unreadable(error) => write!(f, "it cannot be read: {error}"),
        }
    }
}

impl std::error::Error for Fault {}

/// A stretch of the medium, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Extent {
    /// Where it begins.
    pub offset: u64,
    /// How long it is.
    pub length: u64,
}

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Node {
    /// A folder.
    Folder(Extent),
    /// A file: its stretches, one behind the other.
    File(Vec<Extent>),
}

/// A name in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name.
    pub name: String,
    /// What it stands for.
    pub node: Node,
}

/// How names are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Naming {
    /// As the standard has it: upper case, with a version. Linux shows them in lower case, and so does this.
    Plain,
    /// In the system use area, of which the first bytes are somebody else's.
    RockRidge { skip: usize },
    /// UCS-2.
    Joliet,
}

/// A file system.
pub struct Iso<'a> {
    bytes: &'a dyn Bytes,
    label: String,
    root: Extent,
    block: u64,
    naming: Naming,
    budget: Cell<u64>,
}

impl fmt::Debug for Iso<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Iso").field("label", &self.label).field("naming", &self.naming).finish_non_exhaustive()
    }
}

/// A little-endian number of 32 bits; each number stands there in both orders, and this one comes first.
fn number(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..at + 4).and_then(|part| part.try_into().ok()).map_or(0, |part| u64::from(u32::from_le_bytes(part)))
}

impl<'a> Iso<'a> {
    /// Reads the descriptors.
    ///
    /// # Errors
    /// It is no such file system, or damaged.
    pub fn open(bytes: &'a dyn Bytes) -> Result<Self, Fault> {
        let (mut primary, mut joliet) = (None, None);
        for index in 0..MOST_DESCRIPTORS {
            let mut sector = [0; SECTOR as usize];
            let offset = (FIRST_DESCRIPTOR + index) * SECTOR;
            if offset + SECTOR > bytes.length() {
                return Err(if index == 0 { Fault::NotIso } else { Fault::CutOff });
            }
            bytes.read_at(offset, &mut sector).map_err(Fault::Unreadable)?;
            match (&sector[1..6] == b"CD001", sector[0]) {
                (false, _) if index == 0 => return Err(Fault::NotIso),
                (false, _) | (true, 255) => break,
                (true, 1) if primary.is_none() => primary = Some(sector),
                // The three levels of UCS-2.
                (true, 2) if matches!(&sector[88..91], b"%/@" | b"%/C" | b"%/E") => joliet = Some(sector),
                _ => {}
            }
        }
        let primary = primary.ok_or(Fault::Damaged("it has no primary descriptor"))?;
        let block = u64::from(u16::from_le_bytes([primary[128], primary[129]]));
        if !matches!(block, 512 | 1024 | 2048) {
            return Err(Fault::Damaged("its blocks have a size that is none"));
        }
        let label = String::from_utf8_lossy(&primary[40..72]).trim_end_matches([' ', '\0']).to_owned();
        let root = Extent { offset: 0, length: 0 };
        let mut iso = Self { bytes, label, root, block, naming: Naming::Plain, budget: Cell::new(BUDGET) };
        iso.root = iso.root_of(&primary)?;
        iso.naming = iso.rock_ridge()?;
        if let (Naming::Plain, Some(joliet)) = (iso.naming, &joliet) {
            (iso.root, iso.naming) = (iso.root_of(joliet)?, Naming::Joliet);
        }
        Ok(iso)
    }

    /// The volume's label.
    pub fn label(&self) -> &str {
        &self.label
    }

    /// The top folder.
    pub fn root(&self) -> Extent {
        self.root
    }

    fn root_of(&self, descriptor: &[u8]) -> Result<Extent, Fault> {
        let record = Record::parse(&descriptor[156..190]).ok_or(Fault::Damaged("its top folder has no entry"))?;
        self.extent(&record)
    }

    /// Whether the first entry of the top folder announces Rock Ridge.
    fn rock_ridge(&self) -> Result<Naming, Fault> {
        let folder = self.folder(self.root)?;
        let system = Record::parse(&folder).map(|record| record.system).unwrap_or_default();
        let announced = system.len() >= 7 && system.starts_with(b"SP") && system[4..6] == [0xbe, 0xef];
        Ok(if announced { Naming::RockRidge { skip: usize::from(system[6]) } } else { Naming::Plain })
    }

    fn extent(&self, record: &Record<'_>) -> Result<Extent, Fault> {
        if record.interleaved {
            return Err(Fault::Damaged("a file on it is interleaved, which only compact discs for players know"));
        }
        Ok(Extent { offset: (record.block + record.attributes) * self.block, length: record.length })
    }

    /// Reads bytes that the file system is made of.
    fn take(&self, extent: Extent) -> Result<Vec<u8>, Fault> {
        let left = self.budget.get().checked_sub(extent.length);
        self.budget.set(left.ok_or(Fault::Damaged("its folders hold more than those of any medium do"))?);
        if extent.offset.saturating_add(extent.length) > self.bytes.length() {
            return Err(Fault::CutOff);
        }
        let length = usize::try_from(extent.length).map_err(|_| Fault::CutOff)?;
        let mut bytes = vec![0; length];
        self.bytes.read_at(extent.offset, &mut bytes).map_err(Fault::Unreadable)?;
        Ok(bytes)
    }

    fn folder(&self, extent: Extent) -> Result<Vec<u8>, Fault> {
        if extent.length > LARGEST_FOLDER {
            return Err(Fault::Damaged("a folder on it is larger than any folder is"));
        }
        self.take(extent)
    }

    /// What a folder holds.
    ///
    /// # Errors
    /// It is damaged, or cannot be read.
    pub fn entries(&self, folder: Extent) -> Result<Vec<Entry>, Fault> {
        let bytes = self.folder(folder)?;
        let mut entries = Vec::new();
        // The stretches so far of a file that has several.
        let mut open: Vec<Extent> = Vec::new();
        for sector in bytes.chunks(SECTOR as usize) {
            let mut rest = sector;
            // The rest of a sector is empty where the next entry does not fit.
            while let Some(record) = Record::parse(rest) {
                rest = rest.get(record.size..).unwrap_or_default();
                if matches!(record.name, [0] | [1]) {
                    continue;
                }
                let shared = match self.naming {
                    Naming::RockRidge { skip } => self.shared_use(&record, skip)?,
                    Naming::Plain | Naming::Joliet => SharedUse::default(),
                };
                if shared.relocated {
                    continue;
                }
                let name = shared.name.unwrap_or_else(|| record.plain_name(self.naming == Naming::Joliet));
                let extent = self.extent(&record)?;
                if let Some(child) = shared.child {
                    entries.push(Entry { name, node: Node::Folder(self.own_extent(child)?) });
                } else if record.folder {
                    entries.push(Entry { name, node: Node::Folder(extent) });
                } else {
                    open.push(extent);
                    if !record.goes_on {
                        entries.push(Entry { name, node: Node::File(std::mem::take(&mut open)) });
                    }
                }
            }
        }
        Ok(entries)
    }

    /// The extent of a folder that was put elsewhere, from its entry for itself.
    fn own_extent(&self, block: u64) -> Result<Extent, Fault> {
        let first = self.take(Extent { offset: block * self.block, length: SECTOR })?;
        let record = Record::parse(&first).ok_or(Fault::Damaged("a folder that was moved is not there"))?;
        self.extent(&record)
    }

    fn shared_use(&self, record: &Record<'_>, skip: usize) -> Result<SharedUse, Fault> {
        let mut shared = SharedUse::default();
        let mut next = shared.read(record.system.get(skip..).unwrap_or_default());
        // Two hold the longest name.
        for _ in 0..8 {
            let Some(area) = next else { break };
            let offset = area.block * self.block + area.offset;
            let bytes = self.take(Extent { offset, length: area.length.min(SECTOR) })?;
            next = shared.read(&bytes);
        }
        Ok(shared)
    }

    /// What stands at a path below the top folder; none where there is nothing.
    ///
    /// # Errors
    /// A folder on the way is damaged, or cannot be read.
    pub fn find(&self, path: &str) -> Result<Option<Node>, Fault> {
        let mut node = Node::Folder(self.root);
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let Node::Folder(folder) = node else { return Ok(None) };
            match self.entries(folder)?.into_iter().find(|entry| entry.name == name) {
                Some(entry) => node = entry.node,
                None => return Ok(None),
            }
        }
        Ok(Some(node))
    }

    /// The first bytes of a file, `most` or as many as it has.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn head(&self, file: &[Extent], most: u64) -> Result<Vec<u8>, Fault> {
        // Stretches but the last are many GiB long.
        let Some(first) = file.first() else { return Ok(Vec::new()) };
        self.take(Extent { length: first.length.min(most), ..*first })
    }

    /// Checks that all of a file is there.
    ///
    /// # Errors
    /// It is not.
    pub fn whole(&self, file: &[Extent]) -> Result<(), Fault> {
        let inside = |extent: &Extent| extent.offset.saturating_add(extent.length) <= self.bytes.length();
        if file.iter().all(inside) { Ok(()) } else { Err(Fault::CutOff) }
    }
}
