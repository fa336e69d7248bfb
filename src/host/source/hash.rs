//! The digest of bytes as they come, in either algorithm.

use std::{
    fs::File,
    io::{self, Read as _},
};

use sha2::{Digest as _, Sha256, Sha512};

use crate::core::{
    sha256::Sha256Digest,
    source::{Algorithm, Digest},
};

/// How much is read at a time.
pub const BUFFER: usize = 256 << 10;

/// A digest in the making.
#[derive(Clone)]
pub enum Hasher {
    /// SHA-256.
    Sha256(Sha256),
    /// SHA-512.
    Sha512(Sha512),
}

impl Hasher {
    /// The digest of nothing, so far.
    pub fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(Sha512::new()),
        }
    }

    /// Takes further bytes in.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }

    /// The digest of all bytes so far.
    pub fn finish(self) -> Digest {
        match self {
            Self::Sha256(hasher) => Digest::Sha256(Sha256Digest(hasher.finalize().into())),
            Self::Sha512(hasher) => Digest::Sha512(hasher.finalize().into()),
        }
    }
}

/// The SHA-256 of a text.
pub fn sha256(bytes: impl AsRef<[u8]>) -> Sha256Digest {
    Sha256Digest(Sha256::digest(bytes).into())
}

/// Takes the rest of a file into each of the digests; says how many bytes it has come to. The length of what was read.
///
/// # Errors
/// The file cannot be read.
pub fn hash_rest(file: &mut File, hashers: &mut [Hasher], said: &mut dyn FnMut(u64)) -> io::Result<u64> {
    let mut buffer = vec![0; BUFFER];
    let mut length = 0;
    loop {
        let count = match file.read(&mut buffer) {
            Ok(0) => return Ok(length),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hashers.iter_mut().for_each(|hasher| hasher.update(&buffer[..count]));
        length += count as u64;
        said(length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_algorithms_at_once() {
        // Made with: printf abc | sha256sum; printf abc | sha512sum
        let expected = [
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        ];
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, "abc").unwrap();
        let mut hashers = Algorithm::ALL.map(Hasher::new);
        let mut said = Vec::new();
        let length = hash_rest(&mut File::open(&path).unwrap(), &mut hashers, &mut |length| said.push(length)).unwrap();
        assert_eq!((length, said), (3, vec![3]));
        assert_eq!(hashers.map(|hasher| hasher.finish().to_string()), expected);
        assert_eq!(sha256("abc").to_string(), expected[0]);
    }
}
