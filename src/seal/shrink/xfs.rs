//! XFS, which cannot shrink: what of an old filesystem a new, smaller one must have, so that the guest's own kernel mounts it.

use crate::seal::probe::{Content, Kind, probe};

const MIB: u64 = 1 << 20;
/// mkfs.xfs makes none that is smaller, since 5.19.
const SMALLEST: u64 = 300 * MIB;
/// The journal that mkfs.xfs makes by default from that size on; the system may be enlarged, and its journal never is.
const LOG: u64 = 64 * MIB;

/// Features that can be chosen: mkfs.xfs's letter and word for one, and where the superblock has it.
const FEATURES: [(&str, &str, Bit); 12] = [
    ("-m", "crc", Bit::Version5),
    ("-m", "finobt", Bit::ReadOnly(1)),
    ("-m", "rmapbt", Bit::ReadOnly(2)),
    ("-m", "reflink", Bit::ReadOnly(4)),
    ("-m", "inobtcount", Bit::ReadOnly(8)),
    ("-m", "bigtime", Bit::Incompatible(8)),
    ("-i", "sparse", Bit::Incompatible(2)),
    ("-i", "nrext64", Bit::Incompatible(32)),
    ("-i", "exchange", Bit::Incompatible(64)),
    ("-n", "parent", Bit::Incompatible(128)),
    ("-n", "ftype", Bit::FileType),
    ("-i", "projid32bit", Bit::ProjectId),
];

/// Where a superblock has a feature. Source: the kernel's fs/xfs/libxfs/xfs_format.h.
#[derive(Debug, Clone, Copy)]
enum Bit {
    Version5,
    ReadOnly(u32),
    Incompatible(u32),
    FileType,
    ProjectId,
}

/// What a superblock says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Xfs {
    /// The filesystem's size in bytes.
    pub(super) size: u64,
    /// Bytes in use, without the journal.
    pub(super) used: u64,
    /// Why it cannot be made anew, if so.
    pub(super) odd: Option<&'static str>,
    content: Content,
    block: u64,
    sector: u64,
    inode: u64,
    directory: u64,
    version: u64,
    features2: u64,
    read_only: u64,
    incompatible: u64,
}

impl Xfs {
    /// Reads a device's first bytes; none if they are no superblock of XFS. All numbers are big-endian.
    pub(super) fn parse(head: &[u8]) -> Option<Self> {
        let content = probe(head).filter(|content| content.kind == Kind::Xfs)?;
        let number = |offset: usize, length: usize| -> Option<u64> {
            Some(head.get(offset..offset + length)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
        };
        let (block, blocks, log) = (number(4, 4)?, number(8, 8)?, number(96, 4)?);
        let version = number(100, 2)?;
        let five = version & 0xf == 5;
        let directory = block.checked_shl(u32::try_from(number(192, 1)?).ok()?)?;
        let plausible = (512..=1 << 16).contains(&block) && blocks < 1 << 50 && directory <= 1 << 16;
        if !plausible {
            return None;
        }
        let odd = if number(48, 8)? == 0 {
            Some("its journal is on another device")
        } else if number(16, 8)? != 0 {
            Some("it has a real-time section")
        } else if number(176, 2)? != 0 {
            Some("it has quotas")
        } else if version & 0x4000 != 0 {
            Some("its names ignore case")
        } else {
            None
        };
        let free = number(144, 8)?;
        Some(Self {
            size: blocks * block,
            used: blocks.saturating_sub(free).saturating_sub(log) * block,
            odd,
            content,
            block,
            sector: number(102, 2)?,
            inode: number(104, 2)?,
            directory,
            version: version & 0xf,
            features2: number(200, 4)?,
            read_only: if five { number(212, 4)? } else { 0 },
            incompatible: if five { number(216, 4)? } else { 0 },
        })
    }

    /// The size in bytes that leaves 5 % of what is in use, and `room`, free.
    pub(super) fn wanted(&self, room: u64) -> u64 {
        let wanted = self.used + self.used / 20 + LOG + room;
        // What XFS keeps for its own trees while it is mounted is nobody's to write to.
        (wanted + wanted / 64).max(SMALLEST)
    }

    fn has(&self, bit: Bit) -> bool {
        match bit {
            Bit::Version5 => self.version == 5,
            Bit::ReadOnly(bit) => self.read_only & u64::from(bit) != 0,
            Bit::Incompatible(bit) => self.incompatible & u64::from(bit) != 0,
            Bit::FileType if self.version == 5 => self.incompatible & 1 != 0,
            Bit::FileType => self.features2 & 0x200 != 0,
            Bit::ProjectId => self.version == 5 || self.features2 & 0x80 != 0,
        }
    }

    /// The program that makes one like this: the same UUID, label and sizes, and the features that it has, as far as the
    /// mkfs.xfs at hand (whose options are `known`) has a word for them.
    pub(super) fn program(&self, known: &str) -> Vec<String> {
        let mut words: Vec<String> = ["mkfs.xfs", "-q", "-f", "-K"].map(str::to_owned).to_vec();
        let mut add = |letter: &str, value: String| words.extend([letter.to_owned(), value]);
        add("-b", format!("size={}", self.block));
        add("-s", format!("size={}", self.sector));
        add("-l", format!("size={LOG}"));
        add("-m", format!("uuid={}", self.content.uuid));
        add("-i", format!("size={}", self.inode));
        add("-n", format!("size={}", self.directory));
        if !self.content.label.is_empty() {
            add("-L", self.content.label.clone());
        }
        for (letter, word, bit) in FEATURES {
            if known.contains(&format!("{word}=0|1")) {
                add(letter, format!("{word}={}", u8::from(self.has(bit))));
            }
        }
        words
    }

    /// Whether it has a feature that `old` has not: then the guest's kernel may refuse it.
    pub(super) fn exceeds(&self, old: &Self) -> bool {
        self.version > old.version || self.read_only & !old.read_only != 0 || self.incompatible & !old.incompatible != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::probe::HEAD;

    /// Options of xfsprogs 6.1 and of one before inobtcount.
    const NEW: &str = "/* metadata */ [-m crc=0|1,finobt=0|1,uuid=xxx,rmapbt=0|1,reflink=0|1,\n inobtcount=0|1,bigtime=0|1]\n\
                       [-i perblock=n|size=num,projid32bit=0|1,sparse=0|1,nrext64=0|1] [-n size=num,version=2|ci,ftype=0|1]";
    const OLD: &str = "[-m crc=0|1,finobt=0|1,uuid=xxx] [-i size=num,sparse=0|1] [-n ftype=0|1]";

    fn superblock(version: u16, read_only: u32, incompatible: u32) -> Vec<u8> {
        let mut head = vec![0; HEAD];
        let mut put = |offset: usize, bytes: &[u8]| head[offset..offset + bytes.len()].copy_from_slice(bytes);
        put(0, b"XFSB");
        put(4, &4096_u32.to_be_bytes());
        put(8, &262_144_u64.to_be_bytes());
        put(32, &[0x11; 16]);
        put(48, &1_u64.to_be_bytes());
        put(96, &16_384_u32.to_be_bytes());
        put(100, &version.to_be_bytes());
        put(102, &512_u16.to_be_bytes());
        put(104, &512_u16.to_be_bytes());
        put(108, b"a root");
        put(144, &122_880_u64.to_be_bytes());
        put(212, &read_only.to_be_bytes());
        put(216, &incompatible.to_be_bytes());
        head
    }

    #[test]
    fn the_figures_are_read() {
        let xfs = Xfs::parse(&superblock(5, 0, 1)).unwrap();
        assert_eq!((xfs.size, xfs.used, xfs.odd), (1024 * MIB, 480 * MIB, None));
        // 480 + 24 + 64 + 64, and a 64th of it.
        assert_eq!(xfs.wanted(64 * MIB), 632 * MIB + 632 * MIB / 64);
        assert_eq!(Xfs { used: MIB, ..xfs }.wanted(64 * MIB), SMALLEST);
    }

    #[test]
    fn what_cannot_be_made_anew_is_known() {
        let table: [(usize, u8, Option<&str>); 5] = [
            (55, 0, Some("its journal is on another device")),
            (23, 1, Some("it has a real-time section")),
            (100, 0x40, Some("its names ignore case")),
            (177, 1, Some("it has quotas")),
            (55, 1, None),
        ];
        for (offset, byte, odd) in table {
            let mut head = superblock(5, 0, 1);
            head[offset] = byte;
            assert_eq!(Xfs::parse(&head).unwrap().odd, odd, "{offset}");
        }
        for (offset, byte) in [(4, 0xff), (8, 0xff), (192, 0xff), (192, 30), (0, b'Y')] {
            let mut head = superblock(5, 0, 1);
            head[offset] = byte;
            assert_eq!(Xfs::parse(&head), None, "{offset}");
        }
        assert_eq!(Xfs::parse(&superblock(5, 0, 1)[..150]), None);
    }

    #[test]
    fn a_new_one_has_the_features_of_the_old_one() {
        let fixed = "mkfs.xfs -q -f -K -b size=4096 -s size=512 -l size=67108864 -m uuid=11111111-1111-1111-1111-111111111111 \
                     -i size=512 -n size=4096 -L|a root";
        // CentOS 7, as its installer makes it; Rocky 9; a v4 of CentOS 6.
        let table = [
            (5, 0, 1, OLD, "crc=1 finobt=0 sparse=0 ftype=1"),
            (5, 0, 1, NEW, "crc=1 finobt=0 rmapbt=0 reflink=0 inobtcount=0 bigtime=0 sparse=0 nrext64=0 ftype=1 projid32bit=1"),
            (
                5,
                0b1101,
                0b1011,
                NEW,
                "crc=1 finobt=1 rmapbt=0 reflink=1 inobtcount=1 bigtime=1 sparse=1 nrext64=0 ftype=1 projid32bit=1",
            ),
            (4, 0xff, 0xff, OLD, "crc=0 finobt=0 sparse=0 ftype=0"),
        ];
        for (version, read_only, incompatible, known, features) in table {
            let program = Xfs::parse(&superblock(version, read_only, incompatible)).unwrap().program(known);
            let at = fixed.split([' ', '|']).count() - 1;
            assert_eq!(program[..at - 1].join(" "), fixed.split('|').next().unwrap());
            assert_eq!(program[at - 1], "a root");
            let words: Vec<_> = program[at..].iter().filter(|word| !word.starts_with('-')).map(String::as_str).collect();
            assert_eq!(words.join(" "), features);
        }
    }

    #[test]
    fn a_feature_too_many_is_noticed() {
        let old = Xfs::parse(&superblock(5, 1, 3)).unwrap();
        for (version, read_only, incompatible, exceeds) in
            [(5, 1, 3, false), (5, 0, 1, false), (5, 5, 3, true), (5, 1, 11, true), (4, 0, 0, false)]
        {
            assert_eq!(Xfs::parse(&superblock(version, read_only, incompatible)).unwrap().exceeds(&old), exceeds);
        }
    }
}
