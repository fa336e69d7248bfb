//! What is written into volumes, on the hypervisor itself: nothing of a disk comes here.

use std::io::{self, Read};

use anyhow::{Result, ensure};

use super::{LvmPool, long};
use crate::{
    core::{facts::NewVolume, units::ByteSize},
    host::shell::{self, succeeded},
};

/// What is read or written without a cache, or zeroed, is whole sectors; no device has larger ones.
pub(super) const SECTOR: u64 = 4096;

impl LvmPool<'_> {
    /// Zeroes a device from an offset to its end; from a little before, where that is within a sector.
    pub(super) fn zero(&self, path: &str, from: u64) -> Result<()> {
        let offset = (from - from % SECTOR).to_string();
        long(self.shell, &["blkdiscard", "--zeroout", "--offset", &offset, path])
    }

    /// Makes an empty qcow2 image in a device.
    pub(super) fn write_header(&self, volume: &NewVolume<'_>, path: &str) -> Result<()> {
        let size = volume.capacity.0.to_string();
        let mut argv = vec!["qemu-img", "create", "-q", "-f", "qcow2"];
        if let Some((backing, format)) = volume.backing {
            argv.extend(["-b", backing, "-F", format.as_str()]);
        }
        argv.extend([path, &size]);
        shell::run(self.shell, &argv, super::LVM).map(drop)
    }

    /// Copies the first `size` bytes of a device, whole sectors, onto one that holds as much. Zeros are not written where there are
    /// some already; else they are, by the
    /// device itself if it can.
    pub(super) fn copy_bytes(&self, source: &str, size: ByteSize, target: &str, reads_as_zeros: bool) -> Result<()> {
        let source = format!("driver=raw,size={},file.driver=host_device,file.filename={source}", size.0);
        let mut argv = vec!["qemu-img", "convert", "-n", "--image-opts", "-O", "raw", "-t", "none", "-T", "none"];
        if reads_as_zeros {
            argv.push("--target-is-zero");
        }
        argv.extend([source.as_str(), target]);
        long(self.shell, &argv)
    }

    /// Writes just so many bytes to the beginning of a device.
    pub(super) fn write(&self, path: &str, length: u64, bytes: &mut dyn Read) -> Result<()> {
        let target = format!("of={path}");
        let argv = ["dd", &target, "bs=1M", "iflag=fullblock", "conv=fsync,nocreat,notrunc", "status=none"];
        let mut exact = Exact { bytes, left: length };
        succeeded(&argv, self.shell.feed(&argv, &mut exact)?)?;
        ensure!(exact.left == 0, "{} bytes of it were not taken", exact.left);
        Ok(())
    }
}

/// Just so many bytes: fewer are an error, and more are as well.
struct Exact<'a> {
    bytes: &'a mut dyn Read,
    left: u64,
}

impl Read for Exact<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.bytes.read(buffer)?;
        self.left = self.left.checked_sub(read as u64).ok_or_else(|| io::Error::other("there is more of it than there was"))?;
        if read == 0 && self.left > 0 && !buffer.is_empty() {
            return Err(io::Error::other(format!("{} bytes of it are missing", self.left)));
        }
        Ok(read)
    }
}
