//! The bytes of a pool's raw volumes, wherever their hypervisor is: to be read, written and digested in place.
//!
//! | hypervisor | pool | bytes go |
//! |---|---|---|
//! | this machine | any | through the file or the device itself |
//! | another one | a directory | through libvirt's streams; written and digested by the hypervisor's own programs, where it has a shell for us that may |
//! | another one | logical | through a shell: libvirt does not know thin volumes |

mod local;
mod shell;

use std::sync::OnceLock;

use anyhow::Result;

use crate::{
    core::{
        digest::{ChunkList, Digest},
        facts::is_local,
        progress::Progress,
        transfer::Piece,
    },
    host::{hypervisor::Storage, libvirt::PoolStreams, shell::Shell},
};

/// What takes the bytes of a chunk, with its index.
pub type Take<'a> = &'a mut dyn FnMut(u64, Vec<u8>) -> Result<()>;

/// A raw volume that is being written.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its size in bytes.
    pub size: u64,
    /// Whether it has just been made: then what is left out is zeros, and stays so.
    pub fresh: bool,
    /// The part of it that is written now, in bytes. Of a fresh one the parts come one after the other.
    pub part: (u64, u64),
}

/// The bytes of the raw volumes of one pool.
pub trait VolumeBytes: Sync {
    /// The first `length` bytes of a volume; fewer where it has no more.
    ///
    /// # Errors
    /// It does not exist, or cannot be read.
    fn head(&self, volume: &str, length: u64) -> Result<Vec<u8>>;
    /// Reads chunks, in ascending order, of a volume of `size` bytes.
    ///
    /// # Errors
    /// It cannot be read; [`Cut`](crate::core::error::Cut) where the connection broke. Or those of `take`.
    fn read(&self, volume: &str, size: u64, chunks: &[u64], take: Take<'_>) -> Result<()>;
    /// How long a run of zeros must be to be worth leaving out of what is written to a volume, in bytes.
    ///
    /// # Errors
    /// The pool cannot be asked how it keeps its volumes.
    fn grain(&self, volume: &str) -> Result<usize>;
    /// That so many bytes can be written, where it would do harm if they could not.
    ///
    /// # Errors
    /// [`Refusal`](crate::core::error::Refusal): there is no room for them.
    fn ensure_room(&self, bytes: u64) -> Result<()>;
    /// Writes pieces that come in ascending order, until they end; all of it is there when this returns. `sent` hears of the
    /// bytes on their way. How many they were is returned.
    ///
    /// # Errors
    /// As for [`Self::read`], or one among the pieces.
    fn write(
        &self,
        target: Target<'_>,
        pieces: &mut dyn Iterator<Item = Result<Piece>>,
        sent: &mut dyn FnMut(u64),
    ) -> Result<u64>;
    /// Digests what a volume of `size` bytes holds now. What is missing at its end counts as zeros.
    ///
    /// # Errors
    /// As for [`Self::read`].
    fn digest(&self, volume: &str, size: u64, progress: &dyn Progress) -> Result<ChunkList>;
    /// Whether a part of a volume can be digested while another is written, and at no cost for that.
    ///
    /// # Errors
    /// The pool cannot be asked how it keeps its volumes.
    fn digests_beside(&self, volume: &str) -> Result<bool>;
    /// Digests some chunks of a volume of `size` bytes: the first, and how many.
    ///
    /// # Errors
    /// As for [`Self::read`].
    fn digest_part(&self, volume: &str, size: u64, chunks: (u64, u64)) -> Result<Vec<Option<Digest>>>;
}

/// The bytes of one pool of a real hypervisor.
pub struct PoolBytes<'a> {
    uri: &'a str,
    storage: &'a dyn Storage,
    streams: PoolStreams<'a>,
    shell: &'a dyn Shell,
    logical: OnceLock<bool>,
    readable: OnceLock<bool>,
    writable: OnceLock<bool>,
}

/// How the bytes of a pool are reached.
enum Way<'a> {
    Local,
    Streams(&'a PoolStreams<'a>),
    Shell,
}

impl<'a> PoolBytes<'a> {
    /// The bytes of a pool at the hypervisor that the URI names.
    pub fn new(uri: &'a str, storage: &'a dyn Storage, streams: PoolStreams<'a>, shell: &'a dyn Shell) -> Self {
        Self { uri, storage, streams, shell, logical: OnceLock::new(), readable: OnceLock::new(), writable: OnceLock::new() }
    }

    /// Whether the hypervisor's own programs can read the pool's volumes.
    fn is_readable(&self, path: &str) -> bool {
        *self.readable.get_or_init(|| shell::can_read(self.shell, path))
    }

    /// How a volume is written. Where the hypervisor's own programs may, by them: libvirt would pack each byte once more, and so take half
    /// as much CPU again on both sides.
    fn way_to_write(&self, path: &str) -> Result<Way<'_>> {
        Ok(match self.way()? {
            Way::Streams(_) if *self.writable.get_or_init(|| shell::can_write(self.shell, path)) => Way::Shell,
            way => way,
        })
    }

    fn way(&self) -> Result<Way<'_>> {
        if is_local(self.uri) {
            return Ok(Way::Local);
        }
        let logical = match self.logical.get() {
            Some(logical) => *logical,
            None => *self.logical.get_or_init({
                let logical = self.storage.size()?.kind.is_logical();
                move || logical
            }),
        };
        Ok(if logical { Way::Shell } else { Way::Streams(&self.streams) })
    }
}

impl VolumeBytes for PoolBytes<'_> {
    fn head(&self, volume: &str, length: u64) -> Result<Vec<u8>> {
        let path = self.storage.path_of(volume)?;
        match self.way()? {
            Way::Local => local::head(&path, length),
            Way::Streams(streams) => streams.head(volume, length),
            Way::Shell => shell::head(self.shell, &path, length),
        }
    }

    fn read(&self, volume: &str, size: u64, chunks: &[u64], take: Take<'_>) -> Result<()> {
        let path = self.storage.path_of(volume)?;
        match self.way()? {
            Way::Local => local::read(&path, size, chunks, take),
            Way::Streams(streams) => streams.read(volume, size, chunks, take),
            Way::Shell => shell::read(self.shell, &path, size, chunks, take),
        }
    }

    fn grain(&self, volume: &str) -> Result<usize> {
        Ok(match self.way_to_write(&self.storage.path_of(volume)?)? {
            // A block of a file system.
            Way::Local | Way::Streams(_) => 4096,
            // Each run is a process over there.
            Way::Shell => 65536,
        })
    }

    fn ensure_room(&self, bytes: u64) -> Result<()> {
        match self.way()? {
            Way::Streams(streams) => streams.ensure_room(bytes),
            // What cannot be written is an error there, and no more.
            Way::Local | Way::Shell => Ok(()),
        }
    }

    fn write(
        &self,
        target: Target<'_>,
        pieces: &mut dyn Iterator<Item = Result<Piece>>,
        sent: &mut dyn FnMut(u64),
    ) -> Result<u64> {
        let path = self.storage.path_of(target.name)?;
        match self.way_to_write(&path)? {
            Way::Local => local::write(&path, target, pieces, sent),
            Way::Streams(streams) => streams.write(target, pieces, sent),
            Way::Shell => shell::write(self.shell, &path, pieces, sent),
        }
    }

    fn digest(&self, volume: &str, size: u64, progress: &dyn Progress) -> Result<ChunkList> {
        let path = self.storage.path_of(volume)?;
        match self.way()? {
            Way::Local => local::digest(&path, size, progress),
            // Where the hypervisor reads it itself, nothing goes over the line.
            Way::Shell => shell::digest(self.shell, &path, size, progress),
            Way::Streams(_) if self.is_readable(&path) => shell::digest(self.shell, &path, size, progress),
            Way::Streams(streams) => streams.digest(volume, size, progress),
        }
    }

    fn digests_beside(&self, volume: &str) -> Result<bool> {
        Ok(match self.way()? {
            Way::Local => false,
            Way::Shell => true,
            Way::Streams(_) => self.is_readable(&self.storage.path_of(volume)?),
        })
    }

    fn digest_part(&self, volume: &str, size: u64, chunks: (u64, u64)) -> Result<Vec<Option<Digest>>> {
        shell::digest_part(self.shell, &self.storage.path_of(volume)?, size, chunks)
    }
}

/// Chunks that follow each other, as runs: the first chunk of each, and how many they are.
pub(super) fn runs(chunks: &[u64]) -> Vec<(u64, u64)> {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for chunk in chunks {
        match runs.last_mut() {
            Some((first, count)) if *first + *count == *chunk => *count += 1,
            _ => runs.push((*chunk, 1)),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_that_follow_each_other_are_one_run() {
        type Run = (u64, u64);
        let table: [(&[u64], &[Run]); 4] =
            [(&[], &[]), (&[0], &[(0, 1)]), (&[3, 4, 5, 7, 9, 10], &[(3, 3), (7, 1), (9, 2)]), (&[5, 3], &[(5, 1), (3, 1)])];
        for (chunks, expected) in table {
            assert_eq!(runs(chunks), expected, "{chunks:?}");
        }
    }
}
