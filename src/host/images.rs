//! The bytes of disks, behind a trait: [`super::image`] does the work on this machine.

use std::{
    fs::File,
    io::{ErrorKind, Read as _},
    path::Path,
};

use anyhow::{Context as _, Result, ensure};

use crate::core::{digest::ChunkList, facts::VolumeFormat, progress::Progress};

/// OVMF's variables take half a MiB, those of AAVMF 64.
const SMALL: u64 = 64 << 20;

/// Moves and digests the bytes of volumes, by their paths.
pub trait Images: Sync {
    /// Copies the first `size` bytes of a disk into an existing raw volume.
    ///
    /// # Errors
    /// As for [`super::image::copy`].
    fn copy(&self, source: &Path, format: VolumeFormat, target: &Path, size: u64) -> Result<()>;
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
