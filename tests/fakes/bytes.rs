//! The bytes of volumes: each file of a guest is one chunk, after one that holds the size of its filesystem.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use tpl::{
    core::{
        digest::{CHUNK, ChunkList, Digest, chunk_count, chunk_digest},
        progress::Progress,
        transfer::Piece,
    },
    host::bytes::{Take, Target, VolumeBytes},
};

use super::{
    machine::{FakeVolume, Node},
    run::{FakeRun, Step},
};

/// The chunks of a volume that are not zeros.
pub type Chunks = BTreeMap<u64, Vec<u8>>;

const FOLDER: &str = "\u{0}folder";

impl FakeVolume {
    /// What it holds, by the chunk.
    pub fn chunks(&self) -> Chunks {
        if let Some(partial) = &self.partial {
            return partial.clone();
        }
        let text = |(path, node): (&String, &Node)| match node {
            Node::File(text) => format!("{path}\n{text}").into_bytes(),
            Node::Directory => format!("{path}\n{FOLDER}").into_bytes(),
        };
        let files = self.tree.iter().map(text);
        (0..).zip(std::iter::once(self.filesystem.to_string().into_bytes()).chain(files)).collect()
    }

    /// The list of its chunks, as those of a disk of `size` bytes.
    pub fn list(&self, size: u64) -> Result<ChunkList> {
        let mut chunks = vec![None; usize::try_from(chunk_count(size))?];
        for (index, bytes) in self.chunks() {
            *chunks.get_mut(usize::try_from(index)?).context("the disk is too small")? = chunk_digest(&bytes);
        }
        ChunkList::new(size, chunks).context("counting chunks")
    }

    /// Takes chunks for what it holds: a filesystem, if they are one, or else a part of one.
    fn take(&mut self, chunks: Chunks) {
        let whole = chunks.keys().copied().eq(0..chunks.len() as u64);
        let texts: Vec<String> = chunks.values().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect();
        let parsed = || -> Option<_> {
            let (size, files) = texts.split_first()?;
            let files = files.iter().map(|text| {
                let (path, text) = text.split_once('\n')?;
                let node = if text == FOLDER { Node::Directory } else { Node::File(text.to_owned()) };
                Some((path.to_owned(), node))
            });
            Some((size.parse().ok()?, files.collect::<Option<BTreeMap<_, _>>>()?))
        };
        self.partial = None;
        match parsed().filter(|(_, tree)| whole && tree.len() + 1 == texts.len()) {
            Some((filesystem, tree)) => (self.filesystem, self.tree) = (filesystem, tree),
            None => self.partial = Some(chunks),
        }
    }
}

impl FakeRun {
    fn held(&self, name: &str) -> Result<FakeVolume> {
        self.machine.state().volumes.get(name).cloned().with_context(|| format!("no volume {name}"))
    }
}

impl VolumeBytes for FakeRun {
    fn head(&self, volume: &str, length: u64) -> Result<Vec<u8>> {
        self.step(Step::ReadBytes, volume)?;
        let bytes = self.held(volume)?.bytes;
        Ok(bytes[..bytes.len().min(usize::try_from(length)?)].to_vec())
    }

    fn read(&self, volume: &str, _: u64, chunks: &[u64], take: Take<'_>) -> Result<()> {
        for index in chunks {
            self.step(Step::ReadBytes, volume)?;
            take(*index, self.held(volume)?.chunks().remove(index).unwrap_or_default())?;
        }
        Ok(())
    }

    fn grain(&self, _: &str) -> Result<usize> {
        Ok(usize::try_from(CHUNK)?)
    }

    fn ensure_room(&self, _: u64) -> Result<()> {
        self.step(Step::ReadPool, "")
    }

    fn write(
        &self,
        target: Target<'_>,
        pieces: &mut dyn Iterator<Item = Result<Piece>>,
        sent: &mut dyn FnMut(u64),
    ) -> Result<u64> {
        let mut total = 0;
        for piece in pieces {
            let piece = piece?;
            self.step(Step::WriteBytes, target.name)?;
            let mut volume = self.held(target.name)?;
            let mut chunks = volume.chunks();
            // Of a volume that was made just now there is not even a filesystem.
            if target.fresh && volume.tree.is_empty() && volume.partial.is_none() {
                chunks.clear();
            }
            match piece {
                Piece::Data { at, bytes } => {
                    ensure!(at % CHUNK == 0 && target.part.0 <= at && at < target.part.1, "a piece is in no place for one");
                    total += bytes.len() as u64;
                    sent(bytes.len() as u64);
                    chunks.insert(at / CHUNK, bytes);
                }
                Piece::Zeros { at, .. } => drop(chunks.remove(&(at / CHUNK))),
            }
            volume.take(chunks);
            self.machine.state().volumes.insert(target.name.to_owned(), volume);
        }
        Ok(total)
    }

    fn digest(&self, volume: &str, size: u64, _: &dyn Progress) -> Result<ChunkList> {
        self.step(Step::Digest, volume)?;
        self.held(volume)?.list(size)
    }

    fn digests_beside(&self, _: &str) -> Result<bool> {
        // Calls must come in an order that is always the same.
        Ok(false)
    }

    fn digest_part(&self, volume: &str, size: u64, (first, count): (u64, u64)) -> Result<Vec<Option<Digest>>> {
        let list = self.held(volume)?.list(size)?;
        Ok(list.chunks()[usize::try_from(first)?..usize::try_from(first + count)?].to_vec())
    }
}
