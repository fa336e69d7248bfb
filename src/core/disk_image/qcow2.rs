//! The header of a qcow2 image, as far as it decides whether the image may be opened: `docs/interop/qcow2.rst` in QEMU's source.

/// QEMU's own limit on an image's L1 table, in bytes.
const MAX_L1: u64 = 32 << 20;
/// The longest name of a backing file that the format allows.
const MAX_NAME: usize = 1023;
/// Incompatible features: the image may have been left open, is corrupt, has an external data file, says how its clusters are
/// compressed, has extended L2 entries.
const DIRTY: u64 = 1;
const CORRUPT: u64 = 1 << 1;
const DATA_FILE: u64 = 1 << 2;
const COMPRESSION: u64 = 1 << 3;
const EXTENDED: u64 = 1 << 4;
/// Header extensions: the end of them, the backing file's format, the external data file's name, LUKS.
const END: u32 = 0;
const BACKING_FORMAT: u32 = 0xe279_2aca;
const DATA_FILE_NAME: u32 = 0x4441_5441;
const LUKS: u32 = 0x0537_be77;

/// What a qcow2 image says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The size of the disk that the guest sees, in bytes.
    pub size: u64,
    /// The file that the image stands on.
    pub backing: Option<Backing>,
    /// Whether it keeps its data in another file.
    pub data_file: bool,
    /// Whether it is encrypted.
    pub encrypted: bool,
    /// How many internal snapshots it holds.
    pub snapshots: u32,
}

/// The file that an image stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backing {
    /// Its name as it stands there: a path, relative to the image's own, or something else that QEMU understands.
    pub name: String,
    /// Its format, if it is said.
    pub format: Option<String>,
}

/// Whether these are the first bytes of a qcow2 image.
pub fn is_qcow2(head: &[u8]) -> bool {
    head.starts_with(b"QFI\xfb")
}

impl Header {
    /// Reads the header of an image that is `length` bytes long out of its first bytes.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(head: &[u8], length: u64) -> Result<Self, String> {
        let word = |offset: usize| be32(head, offset).ok_or_else(|| "its header is cut off".to_owned());
        let long = |offset: usize| be64(head, offset).ok_or_else(|| "its header is cut off".to_owned());
        let version = word(4)?;
        if !is_qcow2(head) || !(2..=3).contains(&version) {
            return Err(format!("it is of version {version} of the format, and QEMU knows 2 and 3"));
        }
        let (features, header) = if version == 3 { (long(72)?, u64::from(word(100)?)) } else { (0, 72) };
        let unknown = features & !(DIRTY | CORRUPT | DATA_FILE | COMPRESSION | EXTENDED);
        if unknown != 0 {
            return Err(format!("it uses features that are not known: {unknown:#x}"));
        }
        if features & CORRUPT != 0 {
            return Err("it is marked as corrupt: `qemu-img check -r all` may repair it".to_owned());
        }
        let size = long(24)?;
        geometry(head, features, size, length)?;
        let extensions = Extensions::parse(head, header)?;
        let backing = match (long(8)?, word(16)?) {
            (0, _) => None,
            (offset, size) => Some(Backing { name: name(head, offset, size)?, format: extensions.backing_format }),
        };
        Ok(Self {
            size,
            backing,
            data_file: features & DATA_FILE != 0 || extensions.data_file,
            encrypted: word(32)? != 0 || extensions.luks,
            snapshots: word(60)?,
        })
    }

    /// Whether the image stands alone: somebody else has made it, and it must not reach for other files of this machine.
    ///
    /// # Errors
    /// Why it does not.
    pub fn stands_alone(&self) -> Result<(), String> {
        if let Some(backing) = &self.backing {
            let name: String = backing.name.chars().take(80).collect();
            return Err(format!("it stands on another file, {name:?}: `qemu-img convert` makes one image of both"));
        }
        if self.data_file {
            return Err("it keeps its data in another file".to_owned());
        }
        if self.encrypted {
            return Err("it is encrypted".to_owned());
        }
        if self.snapshots > 0 {
            return Err(format!(
                "it holds snapshots, {} of them: `qemu-img convert` makes an image without them",
                self.snapshots
            ));
        }
        Ok(())
    }
}

/// Whether the tables can be those of a disk of this size, and are inside the file.
fn geometry(head: &[u8], features: u64, size: u64, length: u64) -> Result<(), String> {
    let cut = || "its header is cut off".to_owned();
    let bits = be32(head, 20).ok_or_else(cut)?;
    if !(9..=21).contains(&bits) {
        return Err(format!("its clusters have 2^{bits} bytes, and 2^9 to 2^21 are possible"));
    }
    if size == 0 || !size.is_multiple_of(512) {
        return Err(format!("its disk has {size} bytes, which are no sectors"));
    }
    let entry = if features & EXTENDED != 0 { 16 } else { 8 };
    // What one entry of the L1 table leads to.
    let reach = (1_u64 << bits) / entry * (1_u64 << bits);
    let entries = u64::from(be32(head, 36).ok_or_else(cut)?);
    if entries < size.div_ceil(reach) || entries * 8 > MAX_L1 {
        return Err(format!("its table of {entries} entries is none for a disk of {size} bytes"));
    }
    let table = be64(head, 40).ok_or_else(cut)?;
    let refcounts = be64(head, 48).ok_or_else(cut)?;
    let outside = |offset: u64, bytes: u64| offset % (1 << bits) != 0 || offset.checked_add(bytes).is_none_or(|end| end > length);
    if table == 0 || outside(table, entries * 8) || refcounts == 0 || outside(refcounts, 1) {
        return Err("its tables lie outside the file".to_owned());
    }
    Ok(())
}

#[derive(Default)]
struct Extensions {
    backing_format: Option<String>,
    data_file: bool,
    luks: bool,
}

impl Extensions {
    fn parse(head: &[u8], start: u64) -> Result<Self, String> {
        let mut found = Self::default();
        let mut at = usize::try_from(start).unwrap_or(usize::MAX);
        loop {
            let (Some(kind), Some(length)) = (be32(head, at), be32(head, at.saturating_add(4))) else {
                return Err("its header's extensions have no end".to_owned());
            };
            let length = length as usize;
            let data = at.saturating_add(8);
            let content = head.get(data..data.saturating_add(length));
            match kind {
                END => return Ok(found),
                BACKING_FORMAT => {
                    let content = content.ok_or("its header is cut off")?;
                    found.backing_format = Some(String::from_utf8_lossy(content).into_owned());
                }
                DATA_FILE_NAME => found.data_file = true,
                LUKS => found.luks = true,
                _ => {}
            }
            at = data.saturating_add(length.next_multiple_of(8));
        }
    }
}

fn name(head: &[u8], offset: u64, size: u32) -> Result<String, String> {
    let (start, size) = (usize::try_from(offset).unwrap_or(usize::MAX), size as usize);
    let bytes = head.get(start..start.saturating_add(size)).filter(|bytes| (1..=MAX_NAME).contains(&bytes.len()));
    let bytes = bytes.ok_or("the name of the file that it stands on is not where QEMU writes it")?;
    String::from_utf8(bytes.to_vec()).map_err(|_| "the name of the file that it stands on is no UTF-8".to_owned())
}

fn be32(bytes: &[u8], offset: usize) -> Option<u32> {
    bytes.get(offset..)?.first_chunk().map(|four| u32::from_be_bytes(*four))
}

fn be64(bytes: &[u8], offset: usize) -> Option<u64> {
    bytes.get(offset..)?.first_chunk().map(|eight| u64::from_be_bytes(*eight))
}

#[cfg(test)]
pub(in crate::core) mod tests {
    use proptest::prelude::*;

    use super::*;

    const LENGTH: u64 = 1 << 20;

    /// The first cluster of a good image of 1 GiB, with these bytes put in.
    pub(in crate::core) fn image(parts: &[(usize, &[u8])]) -> Vec<u8> {
        let mut head = vec![0; 64 << 10];
        let all: [(usize, &[u8]); 10] = [
            (0, b"QFI\xfb"),
            (4, &3_u32.to_be_bytes()),
            (20, &16_u32.to_be_bytes()),
            (24, &(1_u64 << 30).to_be_bytes()),
            (36, &2_u32.to_be_bytes()),
            (40, &0x3_0000_u64.to_be_bytes()),
            (48, &0x1_0000_u64.to_be_bytes()),
            (56, &1_u32.to_be_bytes()),
            (96, &4_u32.to_be_bytes()),
            (100, &104_u32.to_be_bytes()),
        ];
        for (offset, bytes) in all.iter().chain(parts) {
            head[*offset..][..bytes.len()].copy_from_slice(bytes);
        }
        head
    }

    fn extension(kind: u32, content: &[u8]) -> Vec<u8> {
        let mut bytes = [kind.to_be_bytes(), (content.len() as u32).to_be_bytes()].concat();
        bytes.extend(content);
        bytes.resize(8 + content.len().next_multiple_of(8), 0);
        bytes
    }

    #[test]
    fn headers() {
        let plain = Header { size: 1 << 30, backing: None, data_file: false, encrypted: false, snapshots: 0 };
        let backed = |format: Option<&str>| Header {
            backing: Some(Backing { name: "/etc/shadow".to_owned(), format: format.map(str::to_owned) }),
            ..plain.clone()
        };
        let name: (usize, &[u8]) = (512, b"/etc/shadow");
        let offset: (usize, &[u8]) = (8, &512_u64.to_be_bytes());
        let size: (usize, &[u8]) = (16, &11_u32.to_be_bytes());
        let raw = extension(BACKING_FORMAT, b"raw");
        let luks = extension(LUKS, &[0; 16]);
        let table: Vec<(Vec<u8>, Header, &str)> = vec![
            (image(&[]), plain.clone(), ""),
            (image(&[(4, &2_u32.to_be_bytes()), (72, &[0; 8])]), plain.clone(), ""),
            (image(&[(79, &[0b1_1001]), (39, &[4])]), plain.clone(), ""),
            (
                image(&[offset, size, name]),
                backed(None),
                "it stands on another file, \"/etc/shadow\": `qemu-img convert` makes one image of both",
            ),
            (
                image(&[offset, size, name, (104, &raw)]),
                backed(Some("raw")),
                "it stands on another file, \"/etc/shadow\": `qemu-img convert` makes one image of both",
            ),
            (image(&[(79, &[4])]), Header { data_file: true, ..plain.clone() }, "it keeps its data in another file"),
            (image(&[(35, &[1])]), Header { encrypted: true, ..plain.clone() }, "it is encrypted"),
            (image(&[(104, &luks)]), Header { encrypted: true, ..plain.clone() }, "it is encrypted"),
            (
                image(&[(63, &[2])]),
                Header { snapshots: 2, ..plain.clone() },
                "it holds snapshots, 2 of them: `qemu-img convert` makes an image without them",
            ),
        ];
        for (head, header, fault) in table {
            let found = Header::parse(&head, LENGTH).unwrap();
            assert_eq!(found, header);
            assert_eq!(found.stands_alone().err().unwrap_or_default(), fault);
        }
    }

    #[test]
    fn bad_headers() {
        let long = (1_u64 << 62).to_be_bytes();
        let table: Vec<(Vec<u8>, &str)> = vec![
            (image(&[(7, &[1])]), "it is of version 1 of the format, and QEMU knows 2 and 3"),
            (image(&[(78, &[1])]), "it uses features that are not known: 0x100"),
            (image(&[(79, &[2])]), "it is marked as corrupt: `qemu-img check -r all` may repair it"),
            (image(&[(23, &[22])]), "its clusters have 2^22 bytes, and 2^9 to 2^21 are possible"),
            (image(&[(24, &[0; 8])]), "its disk has 0 bytes, which are no sectors"),
            (image(&[(24, &long)]), "its table of 2 entries is none for a disk of 4611686018427387904 bytes"),
            (image(&[(36, &[0xff; 4])]), "its table of 4294967295 entries is none for a disk of 1073741824 bytes"),
            (image(&[(40, &long)]), "its tables lie outside the file"),
            (image(&[(48, &[0; 8])]), "its tables lie outside the file"),
            (image(&[(8, &long), (19, &[9])]), "the name of the file that it stands on is not where QEMU writes it"),
            (image(&[(15, &[200]), (18, &[4])]), "the name of the file that it stands on is not where QEMU writes it"),
            (image(&[(104, &[1, 2, 3, 4, 0xff, 0xff, 0xff, 0xff])]), "its header's extensions have no end"),
            (image(&[])[..100].to_vec(), "its header is cut off"),
        ];
        for (head, fault) in table {
            assert_eq!(Header::parse(&head, LENGTH).unwrap_err(), fault);
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(parts in prop::collection::vec((0_usize..600, prop::array::uniform8(any::<u8>())), 0..12), cut in 0_usize..1024, length: u64) {
            let parts: Vec<(usize, &[u8])> = parts.iter().map(|(offset, bytes)| (*offset, bytes.as_slice())).collect();
            let whole = image(&parts);
            for head in [&whole[..], &whole[..cut]] {
                if let Ok(header) = Header::parse(head, length) {
                    prop_assert!(header.size > 0);
                    // Who stands alone names no other file.
                    prop_assert!(header.stands_alone().is_err() || header.backing.is_none() && !header.data_file);
                }
            }
        }
    }
}
