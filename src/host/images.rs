//! The bytes of disks, behind a trait: [`super::image`] does the work on this machine.

use std::path::Path;

use anyhow::Result;

use crate::core::{digest::ChunkList, facts::VolumeFormat, progress::Progress};

/// Moves and digests the bytes of volumes, by their paths.
pub trait Images: Sync {
    /// Copies the first `size` bytes of a disk into an existing raw volume.
    ///
    /// # Errors
    /// As for [`super::image::copy`].
    fn copy(&self, source: &Path, format: VolumeFormat, target: &Path, size: u64) -> Result<()>;
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

    fn digest(&self, path: &Path, size: u64, progress: &dyn Progress) -> Result<ChunkList> {
        super::image::digest(path, size, progress)
    }
}
