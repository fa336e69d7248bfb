//! One file as a cpio archive that the kernel unpacks over an initrd: `newc`, as `Documentation/driver-api/early-userspace/
//! buffer-format.rst` in the kernel's source has it.

const TRAILER: &str = "TRAILER!!!";

/// An archive with one file, `name`, readable by root alone, at the top of the tree.
pub fn single_file(name: &str, content: &[u8]) -> Vec<u8> {
    let mut archive = Vec::with_capacity(content.len() + 512);
    entry(&mut archive, name, 0o100_600, content);
    entry(&mut archive, TRAILER, 0, &[]);
    archive
}

/// How many zeros go between an initrd and an archive that is put behind it: the kernel looks for one at multiples of four.
pub fn padding(length: u64) -> u64 {
    length.wrapping_neg() % 4
}

fn entry(archive: &mut Vec<u8>, name: &str, mode: u32, content: &[u8]) {
    let size = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
    // Inode, mode, owner, group, links, time, size, device and special device in two parts each, name's length, checksum.
    let fields = [1, mode, 0, 0, 1, 0, size(content.len()), 0, 0, 0, 0, size(name.len() + 1), 0];
    archive.extend(b"070701");
    for field in fields {
        archive.extend(format!("{field:08X}").bytes());
    }
    archive.extend(name.bytes());
    archive.push(0);
    align(archive);
    archive.extend(content);
    align(archive);
}

fn align(archive: &mut Vec<u8>) {
    let missing = padding(archive.len() as u64);
    archive.extend((0..missing).map(|_| 0));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_laid_out_as_the_kernel_reads_it() {
        let archive = single_file("preseed.cfg", b"hello");
        // Header 110 bytes, name 12 with its NUL, padded to 124; content 5, padded to 132; then the trailer.
        assert_eq!(&archive[..6], b"070701");
        assert_eq!(&archive[14..22], b"00008180");
        assert_eq!(&archive[54..62], b"00000005");
        assert_eq!(&archive[94..102], b"0000000C");
        assert_eq!(&archive[110..122], b"preseed.cfg\0");
        assert_eq!(&archive[124..129], b"hello");
        assert_eq!(&archive[132..138], b"070701");
        assert_eq!(archive.len() % 4, 0);
    }

    #[test]
    fn padding_reaches_the_next_multiple_of_four() {
        assert_eq!([0, 1, 2, 3, 4, 5].map(padding), [0, 3, 2, 1, 0, 3]);
    }
}
