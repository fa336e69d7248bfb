//! How small an ext filesystem should be.

use anyhow::Result;

use crate::{
    host::guest::{Disks, Usage},
    seal::probe::HEAD,
};

const MIB: u64 = 1 << 20;
/// What stays free in a shrunk filesystem besides 5 % of what is in use: enough for a first boot on a disk that nobody enlarged.
pub(super) const ROOM: u64 = 64 * MIB;

/// The figures of an ext filesystem's superblock that decide how small it can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Geometry {
    /// The filesystem's size in bytes.
    pub(super) size: u64,
    /// The size of its inode tables, which shrinks with it.
    inode_tables: u64,
}

impl Geometry {
    /// Reads them from a device; none if it holds no such filesystem.
    pub(super) fn read(guest: &dyn Disks, device: &str) -> Result<Option<Self>> {
        Ok(Self::parse(&guest.read_device(device, 0, HEAD)?))
    }

    /// Reads a device's first bytes. Reference: the kernel's Documentation/filesystems/ext4/super.rst.
    fn parse(head: &[u8]) -> Option<Self> {
        let number = |offset: usize| -> Option<u64> {
            let bytes = head.get(1024 + offset..)?.first_chunk::<4>()?;
            Some(u32::from_le_bytes(*bytes).into())
        };
        let has_64bit = number(0x60)? & 0x80 != 0;
        let blocks = number(0x4)? | if has_64bit { number(0x150)? << 32 } else { 0 };
        let block = 1024_u64.checked_shl(u32::try_from(number(0x18)?).ok()?).filter(|block| *block <= 1 << 16)?;
        let inode = number(0x58)? & 0xffff;
        Some(Self { size: blocks.checked_mul(block)?, inode_tables: number(0)?.checked_mul(inode)? })
    }

    /// The size in bytes that leaves 5 % of what is in use, and `room`, free.
    pub(super) fn wanted(self, usage: Usage, room: u64) -> u64 {
        // The filesystem does not count its own structures as used: the journal and the like, which stay, and the
        // inode tables, which are a fixed share of any size.
        let fixed = self.size.saturating_sub(usage.size).saturating_sub(self.inode_tables);
        let wanted = u128::from(usage.used + usage.used / 20 + fixed + room);
        let scaled = wanted * u128::from(self.size) / u128::from(self.size.saturating_sub(self.inode_tables).max(1));
        u64::try_from(scaled).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wanted_size_leaves_room() {
        // Size, inode tables, the filesystem's own count of its size and use; the wanted size, all in MiB.
        let table = [
            (4094, 64, 3950, 447, 623),
            // A large disk with little on it: the inode tables shrink with it.
            (40_960, 640, 40_064, 447, 801),
            (900, 16, 884, 884, 1010),
        ];
        for (size, tables, counted, used, wanted) in table {
            let geometry = Geometry { size: size * MIB, inode_tables: tables * MIB };
            let usage = Usage { size: counted * MIB, used: used * MIB };
            assert_eq!(geometry.wanted(usage, ROOM) / MIB, wanted, "{size}");
        }
    }

    #[test]
    fn a_broken_superblock_makes_no_size() {
        let mut head = vec![0xff; HEAD];
        assert_eq!(Geometry::parse(&head), None);
        assert_eq!(Geometry::parse(&head[..1100]), None);
        head[1024 + 0x18..][..4].copy_from_slice(&[2, 0, 0, 0]);
        assert_eq!(Geometry::parse(&head), None, "more blocks than bytes can be");
        assert_eq!(Geometry::parse(&vec![0; HEAD]), Some(Geometry { size: 0, inode_tables: 0 }));
    }
}
