//! Images are made here byte by byte; tests/iso.rs reads those of another program.

use std::collections::BTreeMap;

use proptest::prelude::{any, prop_assert, proptest};

use super::*;

/// How a test writes names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::core) enum Names {
    Plain,
    RockRidge,
    Joliet,
}

impl Bytes for Vec<u8> {
    fn length(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let part = self.get(offset..).and_then(|rest| rest.get(..buffer.len()));
        buffer.copy_from_slice(part.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

fn both(number: usize) -> Vec<u8> {
    let number = u32::try_from(number).unwrap();
    [number.to_le_bytes(), number.to_be_bytes()].concat()
}

fn record(name: &[u8], sector: usize, length: usize, folder: bool, system: &[u8]) -> Vec<u8> {
    let mut record = vec![0, 0];
    record.extend(both(sector));
    record.extend(both(length));
    record.extend([0; 7]);
    record.extend([if folder { 2 } else { 0 }, 0, 0, 1, 0, 0, 1, name.len() as u8]);
    record.extend(name);
    if name.len().is_multiple_of(2) {
        record.push(0);
    }
    record.extend(system);
    record[0] = record.len() as u8;
    record
}

fn written(name: &str, names: Names, folder: bool) -> (Vec<u8>, Vec<u8>) {
    let version = if folder { "" } else { ";1" };
    let plain = format!("{}{version}", name.to_ascii_uppercase()).into_bytes();
    match names {
        Names::Plain => (plain, Vec::new()),
        Names::Joliet => (format!("{name}{version}").encode_utf16().flat_map(u16::to_be_bytes).collect(), Vec::new()),
        Names::RockRidge => {
            // The name in two parts, as a long one is, and one in another field between.
            let (a, b) = name.split_at(name.len() / 2);
            let part = |text: &str, flags: u8| [&[b'N', b'M', 5 + text.len() as u8, 1, flags], text.as_bytes()].concat();
            (b"X".to_vec(), [part(a, 1), b"PX\x04\x01".to_vec(), part(b, 0)].concat())
        }
    }
}

/// An image with these files.
pub(in crate::core) fn image(label: &str, names: Names, files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut folders: BTreeMap<String, Vec<(String, bool)>> = BTreeMap::from([(String::new(), Vec::new())]);
    for (path, _) in files {
        let mut above = String::new();
        let parts: Vec<&str> = path.split('/').collect();
        for (index, name) in parts.iter().enumerate() {
            let entry = ((*name).to_owned(), index + 1 < parts.len());
            let siblings = folders.entry(above.clone()).or_default();
            if !siblings.contains(&entry) {
                siblings.push(entry);
            }
            above = if above.is_empty() { (*name).to_owned() } else { format!("{above}/{name}") };
        }
    }
    // Descriptors to sector 18, a sector for each folder, then the files.
    let place: BTreeMap<&String, usize> = folders.keys().enumerate().map(|(index, path)| (path, 19 + index)).collect();
    let mut next = 19 + folders.len();
    let mut starts = BTreeMap::new();
    let mut image = vec![0; next * 2048];
    for (path, bytes) in files {
        starts.insert((*path).to_owned(), (next, bytes.len()));
        image.extend(*bytes);
        image.resize(image.len().next_multiple_of(2048), 0);
        next = image.len() / 2048;
    }
    let announce: &[u8] = if names == Names::RockRidge { b"SP\x07\x01\xbe\xef\x00" } else { b"" };
    for (path, entries) in &folders {
        let mut bytes = record(&[0], place[path], 2048, true, if path.is_empty() { announce } else { b"" });
        bytes.extend(record(&[1], 19, 2048, true, b""));
        for (name, folder) in entries {
            let whole = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
            let (sector, length) = if *folder { (place[&whole], 2048) } else { starts[&whole] };
            let (written, system) = written(name, names, *folder);
            bytes.extend(record(&written, sector, length, *folder, &system));
        }
        assert!(bytes.len() <= 2048);
        image[place[path] * 2048..][..bytes.len()].copy_from_slice(&bytes);
    }
    let mut descriptor = |sector: usize, kind: u8, root: bool| {
        let bytes = &mut image[sector * 2048..][..2048];
        bytes[..7].copy_from_slice(&[kind, b'C', b'D', b'0', b'0', b'1', 1]);
        bytes[40..72].fill(b' ');
        bytes[40..40 + label.len()].copy_from_slice(label.as_bytes());
        bytes[128..130].copy_from_slice(&2048u16.to_le_bytes());
        let length = if root { 2048 } else { 0 };
        bytes[156..190].copy_from_slice(&record(&[0], 19, length, true, b""));
    };
    descriptor(16, 1, true);
    if names == Names::Joliet {
        descriptor(17, 2, true);
        image[17 * 2048 + 88..][..3].copy_from_slice(b"%/E");
        // What the primary descriptor knows are other names, which Joliet's go before.
    } else {
        descriptor(17, 0, false);
    }
    image[18 * 2048..][..6].copy_from_slice(b"\xffCD001");
    image
}

const FILES: [(&str, &[u8]); 4] =
    [("a.txt", b"hello"), ("casper/vmlinuz", b"kernel"), ("casper/deep/er/still.bin", b""), ("x", &[7; 5000])];

fn read(iso: &Iso<'_>, path: &str) -> Option<Vec<u8>> {
    match iso.find(path).unwrap()? {
        Node::File(extents) => Some(iso.head(&extents, 1 << 20).unwrap()),
        Node::Folder(_) => None,
    }
}

#[test]
fn files_are_found_by_each_kind_of_name() {
    for names in [Names::Plain, Names::RockRidge, Names::Joliet] {
        let bytes = image("A Label 1", names, &FILES);
        let iso = Iso::open(&bytes).unwrap();
        assert_eq!(iso.label(), "A Label 1");
        for (path, content) in FILES {
            assert_eq!(read(&iso, path).as_deref(), Some(content), "{names:?} {path}");
            assert_eq!(read(&iso, &format!("/{path}")).as_deref(), Some(content), "{names:?} {path}");
        }
        for nothing in ["b", "a.txt/b", "casper", "", "casper/deep/er/..", "."] {
            assert_eq!(read(&iso, nothing), None, "{names:?} {nothing}");
        }
    }
}

#[test]
fn what_is_no_image_is_told_from_one_that_is_damaged() {
    let good = image("L", Names::RockRidge, &FILES);
    let changed = |at: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[at] = byte;
        bytes
    };
    let table = [
        (Vec::new(), "it is no ISO 9660 image"),
        (vec![0; 1 << 20], "it is no ISO 9660 image"),
        (good[..17 * 2048].to_vec(), "it is cut off: it ends before what it says it holds"),
        (good[..19 * 2048].to_vec(), "it is cut off: it ends before what it says it holds"),
        (changed(16 * 2048, 3), "its file system is damaged: it has no primary descriptor"),
        (changed(16 * 2048 + 129, 9), "its file system is damaged: its blocks have a size that is none"),
        (changed(16 * 2048 + 156, 1), "its file system is damaged: its top folder has no entry"),
        (changed(16 * 2048 + 156 + 13, 9), "its file system is damaged: a folder on it is larger than any folder is"),
        (
            changed(16 * 2048 + 156 + 26, 1),
            "its file system is damaged: a file on it is interleaved, which only compact discs for players know",
        ),
    ];
    for (bytes, expected) in table {
        assert_eq!(Iso::open(&bytes).unwrap_err().to_string(), expected);
    }
}

#[test]
fn a_file_that_is_cut_off_is_known() {
    let mut bytes = image("L", Names::RockRidge, &FILES);
    bytes.truncate(bytes.len() - 2048);
    let iso = Iso::open(&bytes).unwrap();
    let Some(Node::File(extents)) = iso.find("x").unwrap() else { panic!("x is a file") };
    assert_eq!(iso.whole(&extents).unwrap_err().to_string(), "it is cut off: it ends before what it says it holds");
}

#[test]
fn areas_that_go_on_in_circles_end() {
    let mut bytes = image("L", Names::RockRidge, &[("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", b"")]);
    // The entry's own area becomes a reference to one that refers to itself.
    let area = bytes.len();
    bytes.resize(area + 2048, 0);
    let reference: Vec<u8> = [b"CE\x1c\x01".to_vec(), both(area / 2048), both(0), both(28)].concat();
    bytes[area..area + 28].copy_from_slice(&reference);
    let at = bytes.windows(2).position(|pair| pair == b"NM").unwrap();
    bytes[at..at + 28].copy_from_slice(&reference);
    let iso = Iso::open(&bytes).unwrap();
    assert_eq!(iso.entries(iso.root()).unwrap().len(), 1);
}

/// Walks all of it, as far as there is an end.
fn walk(bytes: &Vec<u8>) -> usize {
    let Ok(iso) = Iso::open(bytes) else { return 0 };
    let (mut folders, mut count) = (vec![iso.root()], 0);
    while let (Some(folder), true) = (folders.pop(), count < 2000) {
        for entry in iso.entries(folder).unwrap_or_default() {
            count += 1;
            match entry.node {
                Node::Folder(extent) => folders.push(extent),
                Node::File(extents) => drop((iso.head(&extents, 4096), iso.whole(&extents))),
            }
        }
    }
    count
}

proptest! {
    #[test]
    fn any_bytes_are_taken(bytes in proptest::collection::vec(any::<u8>(), 0..8192)) {
        let mut whole = vec![0; 16 * 2048];
        whole.extend(bytes);
        walk(&whole);
    }

    #[test]
    fn any_damage_is_taken(
        kind in 0..3usize,
        damage in proptest::collection::vec((16 * 2048..27 * 2048usize, any::<u8>()), 0..60),
        length in 0..40 * 2048usize,
    ) {
        let names = [Names::Plain, Names::RockRidge, Names::Joliet][kind];
        let mut bytes = image("L", names, &FILES);
        for (at, byte) in damage {
            if let Some(place) = bytes.get_mut(at) {
                *place = byte;
            }
        }
        walk(&bytes);
        bytes.truncate(length);
        walk(&bytes);
        prop_assert!(bytes.len() <= length);
    }
}
