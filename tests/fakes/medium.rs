//! A medium of a few sectors: names as ISO 9660 itself has them, one folder deep.

fn both(number: u32) -> Vec<u8> {
    [number.to_le_bytes(), number.to_be_bytes()].concat()
}

fn entry(name: &[u8], sector: u32, length: u32, folder: bool) -> Vec<u8> {
    let mut entry = [vec![0, 0], both(sector), both(length), vec![0; 7]].concat();
    entry.extend([if folder { 2 } else { 0 }, 0, 0, 1, 0, 0, 1, name.len() as u8]);
    entry.extend(name);
    entry.resize(entry.len().next_multiple_of(2), 0);
    entry[0] = entry.len() as u8;
    entry
}

/// An image labelled LABEL with a folder, in which a kernel and an initrd are: the content of the initrd comes back from it.
pub fn image(folder: &str, kernel: &str, initrd: &str) -> Vec<u8> {
    const SECTOR: usize = 2048;
    let mut image = vec![0; 22 * SECTOR];
    let mut put = |sector: usize, at: usize, bytes: &[u8]| image[sector * SECTOR + at..][..bytes.len()].copy_from_slice(bytes);
    put(16, 0, b"\x01CD001\x01");
    put(16, 40, b"LABEL                           ");
    put(16, 128, &2048u16.to_le_bytes());
    put(16, 156, &entry(&[0], 18, 2048, true));
    put(17, 0, b"\xffCD001\x01");
    let itself = |sector| [entry(&[0], sector, 2048, true), entry(&[1], 18, 2048, true)].concat();
    put(18, 0, &[itself(18), entry(folder.as_bytes(), 19, 2048, true)].concat());
    let files =
        [entry(format!("{kernel};1").as_bytes(), 20, 2048, false), entry(format!("{initrd};1").as_bytes(), 21, 10, false)];
    put(19, 0, &[itself(19), files.concat()].concat());
    put(20, 0x1fe, &[0x55, 0xaa, 0, 0, b'H', b'd', b'r', b'S']);
    put(21, 0, b"070701 ini");
    image
}
