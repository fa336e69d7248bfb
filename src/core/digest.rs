//! The content digest: what identifies a template's bytes, wherever and however they are stored.
//!
//! # Encoding
//!
//! A disk of `size` bytes is cut into chunks of 1 MiB; the last may be shorter. All integers are unsigned, 64 bits, big-endian.
//!
//! - A chunk's digest is the SHA-256 of its bytes. A chunk of nothing but zeros has none: it counts as a hole, whether it
//!   is stored as one or not.
//! - The content digest is the SHA-256 of: `size`; then for each chunk that is no hole, in ascending order, its index
//!   from 0 and the 32 bytes of its digest.
//! - A chunk list as a file is [`MAGIC`], then `size`, then 32 bytes for every chunk: its digest, or zeros for a hole.

use std::fmt;

use sha2::{Digest as _, Sha256};

/// The length of a chunk in bytes.
pub const CHUNK: u64 = 1 << 20;
/// The first bytes of a stored chunk list; the digit is the version of the encoding.
pub const MAGIC: [u8; 8] = *b"TPLCHNK1";

const HEADER: usize = MAGIC.len() + 8;
const LENGTH: usize = 32;

/// A SHA-256.
pub type Digest = [u8; LENGTH];

/// The digests of a disk's chunks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkList {
    virtual_size: u64,
    chunks: Vec<Option<Digest>>,
}

/// Why bytes are no chunk list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// They begin otherwise.
    Magic,
    /// They are cut off, or something follows.
    Length,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Magic => "this is no chunk list of tpl",
            Self::Length => "the chunk list is cut off, or something follows it",
        })
    }
}

impl std::error::Error for Malformed {}

/// How many chunks a disk of `virtual_size` bytes has.
pub fn chunk_count(virtual_size: u64) -> u64 {
    virtual_size.div_ceil(CHUNK)
}

/// The digest of one chunk; none if it holds nothing but zeros.
pub fn chunk_digest(bytes: &[u8]) -> Option<Digest> {
    // Compared by the page: that is memcmp, far faster than a loop over bytes.
    const ZEROS: [u8; 4096] = [0; 4096];
    let zero = bytes.chunks(ZEROS.len()).all(|part| part == &ZEROS[..part.len()]);
    (!zero).then(|| Sha256::digest(bytes).into())
}

/// Bytes as lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl ChunkList {
    /// The list of a disk's chunks; none if their number does not fit the size.
    pub fn new(virtual_size: u64, chunks: Vec<Option<Digest>>) -> Option<Self> {
        (chunk_count(virtual_size) == chunks.len() as u64).then_some(Self { virtual_size, chunks })
    }

    /// The disk's size in bytes.
    pub fn virtual_size(&self) -> u64 {
        self.virtual_size
    }

    /// One entry for each chunk: its digest, or none for a hole.
    pub fn chunks(&self) -> &[Option<Digest>] {
        &self.chunks
    }

    /// The digest that identifies the disk's content.
    pub fn content_digest(&self) -> Digest {
        let mut hash = Sha256::new();
        hash.update(self.virtual_size.to_be_bytes());
        for (index, digest) in (0_u64..).zip(&self.chunks) {
            if let Some(digest) = digest {
                hash.update(index.to_be_bytes());
                hash.update(digest);
            }
        }
        hash.finalize().into()
    }

    /// The list as a file's content.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER + self.chunks.len() * LENGTH);
        bytes.extend(MAGIC);
        bytes.extend(self.virtual_size.to_be_bytes());
        for digest in &self.chunks {
            bytes.extend(digest.unwrap_or_default());
        }
        bytes
    }

    /// Reads what [`ChunkList::to_bytes`] wrote.
    ///
    /// # Errors
    /// Anything else.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let rest = bytes.strip_prefix(&MAGIC).ok_or(Malformed::Magic)?;
        let (size, digests) = rest.split_first_chunk::<8>().ok_or(Malformed::Length)?;
        let (digests, odd) = digests.as_chunks::<LENGTH>();
        if !odd.is_empty() {
            return Err(Malformed::Length);
        }
        let chunks = digests.iter().map(|digest| (*digest != [0; LENGTH]).then_some(*digest)).collect();
        Self::new(u64::from_be_bytes(*size), chunks).ok_or(Malformed::Length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(disk: &[u8]) -> ChunkList {
        ChunkList::new(disk.len() as u64, disk.chunks(CHUNK as usize).map(chunk_digest).collect()).unwrap()
    }

    #[test]
    fn digests_are_what_the_encoding_says() {
        let mebibyte = CHUNK as usize;
        let mut sparse = vec![0; 2 * mebibyte + 3];
        sparse[2 * mebibyte] = b'a';
        // Made with: python3 -c 'import hashlib as h,struct as s; print(h.sha256(s.pack(">Q",SIZE)+…).hexdigest())'
        let table: [(&[u8], &str); 4] = [
            (&[], "af5570f5a1810b7af78caf4bc70a660f0df51e42baf91d4de5b2328de0e83dfc"),
            (&[0], "cd2662154e6d76b2b2b92e70c0cac3ccf534f9b74eb5b89819ec509083d00a50"),
            (b"abc", "43be183b3c81f908f461d999f8bf7f32ce7afdd6fe00cbc97ec73517494580c4"),
            (&sparse, "05ef91aabec4e315d41060002b800aea54e185486d0dd610e6a9b3de8c175289"),
        ];
        for (disk, digest) in table {
            assert_eq!(hex(&list(disk).content_digest()), digest, "{} bytes", disk.len());
        }
    }

    #[test]
    fn the_size_counts_even_where_all_is_zero() {
        assert_ne!(list(&[0; 10]).content_digest(), list(&[0; 11]).content_digest());
    }

    #[test]
    fn what_is_written_reads_back() {
        let mut disk = vec![0; 3 * CHUNK as usize + 1];
        disk[0] = 1;
        disk[3 * CHUNK as usize] = 2;
        let list = list(&disk);
        assert_eq!(list.chunks().iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, false, true]);
        assert_eq!(ChunkList::parse(&list.to_bytes()), Ok(list));
    }

    #[test]
    fn anything_else_is_refused_without_a_panic() {
        let good = list(&[1; 10]).to_bytes();
        let huge = [&MAGIC[..], &u64::MAX.to_be_bytes()].concat();
        let table: [(&[u8], Malformed); 7] = [
            (b"", Malformed::Magic),
            (b"TPLCHNK2", Malformed::Magic),
            (b"TPLCHNK1", Malformed::Length),
            (&good[..good.len() - 1], Malformed::Length),
            (&[&good[..], &[0]].concat(), Malformed::Length),
            (&[&good[..], &[0; LENGTH]].concat(), Malformed::Length),
            (&huge, Malformed::Length),
        ];
        for (bytes, fault) in table {
            assert_eq!(ChunkList::parse(bytes), Err(fault), "{bytes:?}");
        }
    }
}
