//! One entry of a folder, and what Rock Ridge adds to it.

use super::number;

/// An entry without its name and without what stands behind it.
const SMALLEST: usize = 33;
/// Longer names are nobody's.
const LONGEST_NAME: usize = 4096;

/// An entry of a folder.
#[derive(Debug, Default)]
pub(super) struct Record<'a> {
    /// How many bytes the entry takes.
    pub size: usize,
    /// The block at which the content begins.
    pub block: u64,
    /// How many blocks of attributes lie before the content.
    pub attributes: u64,
    /// The content's length in bytes.
    pub length: u64,
    pub folder: bool,
    /// Whether the next entry is of the same file.
    pub goes_on: bool,
    pub interleaved: bool,
    /// The name as it stands there: one byte 0 is the folder itself, one byte 1 the one above.
    pub name: &'a [u8],
    /// What other standards add.
    pub system: &'a [u8],
}

impl<'a> Record<'a> {
    /// The entry at the beginning of these bytes; none where there is none, or no whole one.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let size = usize::from(*bytes.first()?);
        let entry = bytes.get(..size).filter(|_| size > SMALLEST)?;
        let name_length = usize::from(entry[32]);
        let name = entry.get(SMALLEST..SMALLEST + name_length)?;
        // What follows begins at an even place.
        let behind = SMALLEST + name_length + usize::from(name_length.is_multiple_of(2));
        let flags = entry[25];
        Some(Self {
            size,
            block: number(entry, 2),
            attributes: u64::from(entry[1]),
            length: number(entry, 10),
            folder: flags & 0x02 != 0,
            goes_on: flags & 0x80 != 0,
            interleaved: entry[26] != 0 || entry[27] != 0,
            name,
            system: entry.get(behind..).unwrap_or_default(),
        })
    }

    /// The name by the standard itself, or Joliet's: without a version, and without the dot of a name that has no extension.
    pub fn plain_name(&self, joliet: bool) -> String {
        let name = if joliet {
            let units = self.name.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
            char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
        } else {
            String::from_utf8_lossy(self.name).to_ascii_lowercase()
        };
        let name = name.split_once(';').map_or(name.as_str(), |(name, _)| name);
        name.strip_suffix('.').unwrap_or(name).to_owned()
    }
}

/// What Rock Ridge says of an entry.
#[derive(Debug, Default)]
pub(super) struct SharedUse {
    /// The name.
    pub name: Option<String>,
    /// The block of the folder that this entry stands for: those that lie too deep are put elsewhere.
    pub child: Option<u64>,
    /// Whether this is such a folder, where it was put.
    pub relocated: bool,
}

/// Where more of it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Area {
    pub block: u64,
    pub offset: u64,
    pub length: u64,
}

impl SharedUse {
    /// Reads an area; where it goes on, if it does.
    pub fn read(&mut self, mut rest: &[u8]) -> Option<Area> {
        let mut more = None;
        while rest.len() >= 4 {
            let length = usize::from(rest[2]);
            let Some(field) = rest.get(..length).filter(|_| length >= 4) else { break };
            rest = &rest[length..];
            match (&field[..2], field.len()) {
                // Flags: 2 and 4 stand for the folder itself and the one above.
                (b"NM", 5..) if field[4] & 6 == 0 => {
                    let name = self.name.get_or_insert_default();
                    if name.len() < LONGEST_NAME {
                        name.push_str(&String::from_utf8_lossy(&field[5..]));
                    }
                }
                (b"CL", 12..) => self.child = Some(number(field, 4)),
                (b"RE", _) => self.relocated = true,
                (b"CE", 28..) => {
                    more = Some(Area { block: number(field, 4), offset: number(field, 12), length: number(field, 20) });
                }
                (b"ST", _) => break,
                _ => {}
            }
        }
        more
    }
}
