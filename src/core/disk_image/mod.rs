//! What a file that should be a disk image is, told by its bytes and never by its name. Only qcow2 and raw are taken: others
//! are QEMU's to read, and QEMU reads them for those who trust them.

pub mod qcow2;

use super::facts::VolumeFormat;
use qcow2::Header;

/// How much of a file's beginning [`content`] wants to see: btrfs has its superblock at 64 KiB.
pub const HEAD: usize = 68 << 10;
/// How much of its end: a fixed VHD is a raw image with a footer.
pub const TAIL: usize = 512;

/// What images are packed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// gzip.
    Gzip,
    /// xz.
    Xz,
    /// Zstandard.
    Zstd,
}

impl Packing {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
        }
    }
}

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Something packed.
    Packed(Packing),
    /// A disk.
    Disk {
        /// The format.
        format: VolumeFormat,
        /// What the guest sees of it, in bytes.
        size: u64,
    },
}

/// Formats that are told by their first bytes and not taken: where they stand, what stands there, what it is.
const OTHERS: [(usize, &[u8], &str); 18] = [
    (0, b"KDMV", "a VMDK image"),
    (0, b"COWD", "a VMDK image"),
    (0, b"# Disk DescriptorFile", "the descriptor of a VMDK image"),
    (0, b"conectix", "a VHD image"),
    (0, b"vhdxfile", "a VHDX image"),
    (0x40, &[0x7f, 0x10, 0xda, 0xbe], "a VDI image"),
    (0, b"QED\0", "a QED image"),
    (0, b"WithoutFreeSpace", "a Parallels image"),
    (0, b"WithouFreSpacExt", "a Parallels image"),
    (0, b"LUKS\xba\xbe", "an encrypted disk"),
    (0x8001, b"CD001", "the medium of an installer: a pipeline takes it as a source of kind \"iso\""),
    (257, b"ustar", "a tar archive: the image has to be taken out of it"),
    (0, b"PK\x03\x04", "a zip archive: the image has to be taken out of it"),
    (0, b"BZh", "packed with bzip2, and gzip, xz and zstd are known"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive: the image has to be taken out of it"),
    (0, b"hsqs", "a squashfs, which is no disk"),
    (0, b"<!", "a web page: the address leads to no file"),
    (0, b"<html", "a web page: the address leads to no file"),
];

/// Filesystems that can fill a disk without a partition table: where they are told by, and how.
const FILESYSTEMS: [(usize, &[u8]); 3] = [(1024 + 0x38, &[0x53, 0xef]), (0, b"XFSB"), (0x1_0040, b"_BHRfS_M")];

/// Tells what a file of `length` bytes holds, by its beginning and its end.
///
/// # Errors
/// Why it is not taken, as the end of "this is".
pub fn content(head: &[u8], tail: &[u8], length: u64) -> Result<Content, String> {
    let has = |offset: usize, magic: &[u8]| head.get(offset..).is_some_and(|rest| rest.starts_with(magic));
    for (magic, packing) in
        [(&b"\x1f\x8b"[..], Packing::Gzip), (b"\xfd7zXZ\0", Packing::Xz), (b"\x28\xb5\x2f\xfd", Packing::Zstd)]
    {
        if has(0, magic) {
            return Ok(Content::Packed(packing));
        }
    }
    if qcow2::is_qcow2(head) {
        let judged = Header::parse(head, length).and_then(|header| header.stands_alone().map(|()| header));
        let header = judged.map_err(|fault| format!("a qcow2 image that is not taken: {fault}"))?;
        return Ok(Content::Disk { format: VolumeFormat::Qcow2, size: header.size });
    }
    if let Some((.., what)) = OTHERS.iter().find(|(offset, magic, _)| has(*offset, magic)) {
        let advice = if what.ends_with("image") { ": `qemu-img convert -O qcow2` makes one that is taken" } else { "" };
        return Err(format!("{what}{advice}"));
    }
    if tail.starts_with(b"conectix") {
        return Err("a VHD image: `qemu-img convert -O qcow2` makes one that is taken".to_owned());
    }
    let partitions = has(510, &[0x55, 0xaa]) || has(512, b"EFI PART");
    if !partitions && !FILESYSTEMS.iter().any(|(offset, magic)| has(*offset, magic)) {
        return Err("no disk: it has neither a partition table nor a filesystem".to_owned());
    }
    if !length.is_multiple_of(512) {
        return Err(format!("no whole disk: its {length} bytes are no sectors"));
    }
    Ok(Content::Disk { format: VolumeFormat::Raw, size: length })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn head(parts: &[(usize, &[u8])]) -> Vec<u8> {
        let mut head = vec![0; HEAD];
        for (offset, bytes) in parts {
            head[*offset..][..bytes.len()].copy_from_slice(bytes);
        }
        head
    }

    const MBR: (usize, &[u8]) = (510, &[0x55, 0xaa]);

    #[test]
    fn what_is_taken() {
        let raw = |size| Content::Disk { format: VolumeFormat::Raw, size };
        let table = [
            (head(&[(0, b"\x1f\x8b\x08")]), Content::Packed(Packing::Gzip)),
            (head(&[(0, b"\xfd7zXZ\0")]), Content::Packed(Packing::Xz)),
            (head(&[(0, b"\x28\xb5\x2f\xfd")]), Content::Packed(Packing::Zstd)),
            (qcow2::tests::image(&[]), Content::Disk { format: VolumeFormat::Qcow2, size: 1 << 30 }),
            (head(&[MBR]), raw(1 << 20)),
            (head(&[(512, b"EFI PART")]), raw(1 << 20)),
            (head(&[(1080, &[0x53, 0xef])]), raw(1 << 20)),
            (head(&[(0, b"XFSB")]), raw(1 << 20)),
            (head(&[(0x1_0040, b"_BHRfS_M")]), raw(1 << 20)),
        ];
        for (head, expected) in table {
            assert_eq!(content(&head, &[0; TAIL], 1 << 20), Ok(expected));
        }
    }

    #[test]
    fn what_is_not_taken() {
        let convert = ": `qemu-img convert -O qcow2` makes one that is taken";
        let snapshots = qcow2::tests::image(&[(63, &[1])]);
        let table = [
            (head(&[(0, b"KDMV"), MBR]), format!("a VMDK image{convert}")),
            (head(&[(0, b"vhdxfile")]), format!("a VHDX image{convert}")),
            (head(&[(0x40, &[0x7f, 0x10, 0xda, 0xbe])]), format!("a VDI image{convert}")),
            // A medium can have a partition table, too.
            (
                head(&[(0x8001, b"CD001"), MBR]),
                "the medium of an installer: a pipeline takes it as a source of kind \"iso\"".to_owned(),
            ),
            (head(&[(257, b"ustar  ")]), "a tar archive: the image has to be taken out of it".to_owned()),
            (head(&[(0, b"<!DOCTYPE html>")]), "a web page: the address leads to no file".to_owned()),
            (head(&[(0, b"LUKS\xba\xbe")]), "an encrypted disk".to_owned()),
            (
                snapshots,
                "a qcow2 image that is not taken: it holds snapshots, 1 of them: `qemu-img convert` makes an image without them"
                    .to_owned(),
            ),
            (head(&[]), "no disk: it has neither a partition table nor a filesystem".to_owned()),
            (vec![], "no disk: it has neither a partition table nor a filesystem".to_owned()),
        ];
        for (head, expected) in table {
            assert_eq!(content(&head, &[0; TAIL], 1 << 20), Err(expected));
        }
        let vhd = content(&head(&[MBR]), b"conectix", 1 << 20);
        assert_eq!(vhd, Err(format!("a VHD image{convert}")));
        let cut = content(&head(&[MBR]), &[], (1 << 20) + 1);
        assert_eq!(cut, Err("no whole disk: its 1048577 bytes are no sectors".to_owned()));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(head in prop::collection::vec(any::<u8>(), 0..2048), length: u64) {
            let _ = content(&head, &head[..head.len().min(TAIL)], length);
        }
    }
}
