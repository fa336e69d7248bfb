//! The bytes of disks, behind a trait: [`super::image`] does the work on this machine.

use std::{
    fs::{File, Metadata},
    io::{ErrorKind, Read as _, Seek as _, SeekFrom},
    os::{
        fd::AsRawFd as _,
        unix::fs::{FileTypeExt as _, MetadataExt as _},
    },
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

use super::portable::Export;
use crate::core::{digest::ChunkList, facts::VolumeFormat, progress::Progress, units::ByteSize};

/// OVMF's variables take half a MiB, those of AAVMF 64.
const SMALL: u64 = 64 << 20;

/// A disk, to be read. Nothing in it is ever written.
#[derive(Debug)]
pub struct DiskImage {
    /// Its layers, each standing on the next one.
    pub layers: Vec<Layer>,
    /// What a guest sees of it, in bytes.
    pub size: u64,
    /// Keeps a file that may have no name.
    _held: Option<File>,
}

/// One image of a disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Its path.
    pub path: PathBuf,
    /// Its format.
    pub format: VolumeFormat,
    /// What tells whether somebody has written to it.
    stamp: Stamp,
}

/// What tells a file that has been written to from one that has not. Nothing tells it of a block device.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Stamp {
    File { device: u64, inode: u64, length: u64, changed: (i64, i64) },
    Block,
}

impl Stamp {
    fn of(data: &Metadata) -> Self {
        if data.file_type().is_block_device() {
            return Self::Block;
        }
        Self::File { device: data.dev(), inode: data.ino(), length: data.len(), changed: (data.mtime(), data.mtime_nsec()) }
    }
}

impl Layer {
    /// An image, and how long it is.
    ///
    /// # Errors
    /// It is not there, or neither a file nor a block device.
    pub fn open(path: &Path, format: VolumeFormat) -> Result<(Self, u64)> {
        let mut file = File::open(path)?;
        let data = file.metadata()?;
        let is_block = data.file_type().is_block_device();
        ensure!(data.is_file() || is_block, "it is neither a file nor a block device");
        // A device's length is not in its metadata.
        let length = if is_block { file.seek(SeekFrom::End(0))? } else { data.len() };
        Ok((Self { path: path.to_owned(), format, stamp: Stamp::of(&data) }, length))
    }

    fn is_unchanged(&self) -> Result<bool> {
        Ok(Stamp::of(&std::fs::metadata(&self.path)?) == self.stamp)
    }
}

impl DiskImage {
    /// A disk of these layers, as large as that.
    pub fn of(layers: Vec<Layer>, size: u64) -> Self {
        Self { layers, size, _held: None }
    }

    /// A disk in one open file, which need not have a name.
    ///
    /// # Errors
    /// The file cannot be looked at.
    pub fn held(file: File, format: VolumeFormat, size: u64) -> Result<Self> {
        let path = PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()));
        let stamp = Stamp::of(&file.metadata()?);
        Ok(Self { layers: vec![Layer { path, format, stamp }], size, _held: Some(file) })
    }

    /// Makes sure that nobody has written to it since it was opened.
    ///
    /// # Errors
    /// Somebody has.
    pub fn ensure_unchanged(&self) -> Result<()> {
        for layer in &self.layers {
            ensure!(layer.is_unchanged()?, "{} has been written to in the meantime", layer.path.display());
        }
        Ok(())
    }
}

/// Moves and digests the bytes of volumes, by their paths.
pub trait Images: Sync {
    /// Copies the first `size` bytes of a disk into an existing raw volume.
    ///
    /// # Errors
    /// As for [`super::image::copy`].
    fn copy(&self, source: &Path, format: VolumeFormat, target: &Path, size: u64) -> Result<()>;
    /// Opens an image that somebody else has made, packed or not. `folder` has room for it unpacked; larger than `largest` it
    /// must not be.
    ///
    /// # Errors
    /// As for [`super::unpack::open`].
    fn open(&self, image: &Path, folder: &Path, largest: ByteSize, progress: &dyn Progress) -> Result<DiskImage>;
    /// Opens a disk of this hypervisor, of this format, with the images that it stands on.
    ///
    /// # Errors
    /// As for [`super::unpack::layers`].
    fn layers(&self, disk: &Path, format: VolumeFormat) -> Result<DiskImage>;
    /// Copies a disk into an existing, empty qcow2 volume of at least its size.
    ///
    /// # Errors
    /// As for [`super::image::take`].
    fn take(&self, disk: &DiskImage, target: &Path) -> Result<()>;
    /// Writes a volume into a file, and its document beside it; the file's length in bytes.
    ///
    /// # Errors
    /// As for [`super::portable::export`].
    fn export(&self, export: &Export<'_>, progress: &dyn Progress) -> Result<u64>;
    /// The bytes of a file of a few MiB; none, if there is no such file.
    ///
    /// # Errors
    /// It cannot be read, or is larger.
    fn read_small(&self, path: &Path) -> Result<Option<Vec<u8>>>;
    /// Digests the first `size` bytes of a raw volume.
    ///
    /// # Errors
    /// As for [`super::image::digest`].
    fn digest(&self, path: &Path, size: u64, progress: &dyn Progress) -> Result<ChunkList>;
}

/// The volumes are on this machine.
pub struct LocalImages;

impl Images for LocalImages {
    fn copy(&self, source: &Path, format: VolumeFormat, target: &Path, size: u64) -> Result<()> {
        super::image::copy(source, format, target, size)
    }

    fn open(&self, image: &Path, folder: &Path, largest: ByteSize, progress: &dyn Progress) -> Result<DiskImage> {
        super::unpack::open(image, folder, largest, progress)
    }

    fn layers(&self, disk: &Path, format: VolumeFormat) -> Result<DiskImage> {
        super::unpack::layers(disk, format)
    }

    fn take(&self, disk: &DiskImage, target: &Path) -> Result<()> {
        super::image::take(disk, target)
    }

    fn export(&self, export: &Export<'_>, progress: &dyn Progress) -> Result<u64> {
        super::portable::export(export, progress)
    }

    fn read_small(&self, path: &Path) -> Result<Option<Vec<u8>>> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("opening {}", path.display())),
        };
        let mut bytes = Vec::new();
        file.take(SMALL + 1).read_to_end(&mut bytes).with_context(|| format!("reading {}", path.display()))?;
        ensure!(bytes.len() as u64 <= SMALL, "{} is larger than any UEFI variables are", path.display());
        Ok(Some(bytes))
    }

    fn digest(&self, path: &Path, size: u64, progress: &dyn Progress) -> Result<ChunkList> {
        super::image::digest(path, size, progress)
    }
}
