//! What a device holds, told by its first bytes. Reading them is one quick call; asking blkid starts a program for each.

/// How much of a device [`probe`] wants to see: btrfs has its superblock at 64 KiB.
pub const HEAD: usize = 68 << 10;

/// What kind of content a device has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// ext2, ext3 or ext4.
    Ext,
    /// XFS.
    Xfs,
    /// btrfs.
    Btrfs,
    /// FAT: an EFI system partition.
    Fat,
    /// A swap area.
    Swap,
    /// An LVM physical volume.
    Physical,
    /// An encrypted device.
    Luks,
}

/// What a device holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// The kind.
    pub kind: Kind,
    /// The UUID as fstab writes it; empty where the kind has none.
    pub uuid: String,
    /// The label; may be empty.
    pub label: String,
}

impl Kind {
    /// Whether it is a filesystem.
    pub fn is_filesystem(self) -> bool {
        matches!(self, Self::Ext | Self::Xfs | Self::Btrfs | Self::Fat)
    }

    /// Whether it is a filesystem that can be a root.
    pub fn can_be_root(self) -> bool {
        self.is_filesystem() && self != Self::Fat
    }
}

/// What a device that begins with `head` holds; none if that is nothing known.
pub fn probe(head: &[u8]) -> Option<Content> {
    let has = |offset: usize, magic: &[u8]| head.get(offset..).is_some_and(|rest| rest.starts_with(magic));
    let found = |kind, uuid: String, label: String| Some(Content { kind, uuid, label });
    let plain = |kind, id: usize, name: usize, length: usize| found(kind, uuid(head, id), text(head, name, length));
    if (0..4).any(|sector| has(sector * 512, b"LABELONE") && has(sector * 512 + 24, b"LVM2 001")) {
        return found(Kind::Physical, String::new(), String::new());
    }
    if has(0, b"LUKS\xba\xbe") {
        return found(Kind::Luks, text(head, 168, 40), String::new());
    }
    if has(0, b"XFSB") {
        return plain(Kind::Xfs, 32, 108, 12);
    }
    if has(4086, b"SWAPSPACE2") {
        return plain(Kind::Swap, 1036, 1052, 16);
    }
    if has(0x1_0040, b"_BHRfS_M") {
        return plain(Kind::Btrfs, 0x1_0020, 0x1_012b, 256);
    }
    if has(1024 + 0x38, &[0x53, 0xef]) {
        return plain(Kind::Ext, 1024 + 0x68, 1024 + 0x78, 16);
    }
    if has(0x52, b"FAT32   ") {
        return found(Kind::Fat, serial(head, 0x43), text(head, 0x47, 11));
    }
    if has(0x36, b"FAT16   ") || has(0x36, b"FAT12   ") {
        return found(Kind::Fat, serial(head, 0x27), text(head, 0x2b, 11));
    }
    None
}

fn uuid(head: &[u8], offset: usize) -> String {
    let bytes = head.get(offset..).and_then(|rest| rest.first_chunk::<16>());
    bytes.map(|bytes| uuid::Uuid::from_bytes(*bytes).to_string()).unwrap_or_default()
}

fn serial(head: &[u8], offset: usize) -> String {
    let number = head.get(offset..).and_then(|rest| rest.first_chunk::<4>()).map(|bytes| u32::from_le_bytes(*bytes));
    number.map(|number| format!("{:04X}-{:04X}", number >> 16, number & 0xffff)).unwrap_or_default()
}

fn text(head: &[u8], offset: usize, length: usize) -> String {
    let bytes = head.get(offset..).map(|rest| &rest[..rest.len().min(length)]).unwrap_or_default();
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(parts: &[(usize, &[u8])]) -> Vec<u8> {
        let mut head = vec![0; HEAD];
        for (offset, bytes) in parts {
            head[*offset..][..bytes.len()].copy_from_slice(bytes);
        }
        head
    }

    #[test]
    fn each_kind_is_known_by_its_magic() {
        let id: [u8; 16] = std::array::from_fn(|index| index as u8);
        let text = "00010203-0405-0607-0809-0a0b0c0d0e0f";
        let table: [(Vec<u8>, Kind, &str, &str); 9] = [
            (head(&[(1080, &[0x53, 0xef]), (1128, &id), (1144, b"cloudimg")]), Kind::Ext, text, "cloudimg"),
            (head(&[(0, b"XFSB"), (32, &id), (108, b"twelve-chars")]), Kind::Xfs, text, "twelve-chars"),
            (head(&[(0x10040, b"_BHRfS_M"), (0x10020, &id), (0x1012b, b"fedora")]), Kind::Btrfs, text, "fedora"),
            (head(&[(4086, b"SWAPSPACE2"), (1036, &id), (1052, b"swap")]), Kind::Swap, text, "swap"),
            (head(&[(512, b"LABELONE"), (536, b"LVM2 001")]), Kind::Physical, "", ""),
            (head(&[(0, b"LUKS\xba\xbe\0\x02"), (168, text.as_bytes())]), Kind::Luks, text, ""),
            (
                head(&[(0x52, b"FAT32   "), (0x43, &[0x78, 0x56, 0x34, 0x12]), (0x47, b"EFI        ")]),
                Kind::Fat,
                "1234-5678",
                "EFI",
            ),
            (head(&[(0x36, b"FAT16   "), (0x27, &[1, 0, 0, 0])]), Kind::Fat, "0000-0001", ""),
            (head(&[(0x36, b"FAT12   ")]), Kind::Fat, "0000-0000", ""),
        ];
        for (head, kind, uuid, label) in table {
            let content = Content { kind, uuid: uuid.to_owned(), label: label.to_owned() };
            assert_eq!(probe(&head), Some(content), "{kind:?}");
        }
    }

    #[test]
    fn short_or_empty_devices_hold_nothing() {
        for length in [0, 1, 511, 1081, 4090, HEAD] {
            assert_eq!(probe(&vec![0; length]), None, "{length}");
        }
    }
}
