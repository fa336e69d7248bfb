//! The bytes of a pool's volumes, through libvirt's streams: from another machine too, and without a hypervisor's shell.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use virt::{connect::Connect, storage_vol::StorageVol};

use super::{
    LibvirtPool, plain,
    stream::{Flow, Received, failed},
};
use crate::{
    core::{
        digest::{CHUNK, ChunkList, chunk_count, chunk_digest},
        progress::Progress,
        transfer::{Piece, length_of},
    },
    host::bytes::{Take, Target, runs},
};

/// How much is asked for at once: libvirt's messages hold no more.
const BUFFER: usize = 256 * 1024;

/// What takes a part of a volume: its bytes, or none for zeros, and how many.
type TakePart<'a> = &'a mut dyn FnMut(Option<&[u8]>, usize) -> Result<()>;

/// The volumes of a directory pool.
pub struct PoolStreams<'a> {
    connect: &'a Connect,
    pool: LibvirtPool<'a>,
}

impl<'a> PoolStreams<'a> {
    pub(super) fn new(connect: &'a Connect, pool: LibvirtPool<'a>) -> Self {
        Self { connect, pool }
    }

    fn volume(&self, name: &str) -> Result<StorageVol> {
        self.pool.find(name)?.with_context(|| format!("volume {name} does not exist"))
    }

    /// The first `length` bytes of a volume; fewer where it has no more.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn head(&self, name: &str, length: u64) -> Result<Vec<u8>> {
        let volume = self.volume(name)?;
        let length = volume.info().map_err(plain)?.capacity.min(length);
        let mut bytes = Vec::new();
        if length > 0 {
            let what = || format!("reading volume {name}");
            self.receive(&volume, 0, length, &mut |part, count| {
                bytes.extend_from_slice(part.unwrap_or(&vec![0; count]));
                Ok(())
            })
            .with_context(what)?;
        }
        Ok(bytes)
    }

    /// Hands over what is in a part of a volume: bytes, or so many zeros. What is behind its end is zeros.
    fn receive(&self, volume: &StorageVol, at: u64, length: u64, take: TakePart<'_>) -> Result<()> {
        let flow = Flow::down(self.connect, volume, at, length)?;
        let mut buffer = vec![0; BUFFER];
        let mut left = length;
        loop {
            match flow.receive(&mut buffer)? {
                Received::Data(count) => {
                    left = left.checked_sub(count as u64).context("there is more of it than was asked for")?;
                    take(Some(&buffer[..count]), count)?;
                }
                Received::Hole(count) => {
                    left = left.checked_sub(count).context("there is more of it than was asked for")?;
                    zeros(count, take)?;
                }
                Received::End => break,
            }
        }
        zeros(left, take)?;
        flow.finish()
    }

    /// Reads chunks.
    ///
    /// # Errors
    /// As for [`crate::host::bytes::VolumeBytes::read`].
    pub fn read(&self, name: &str, size: u64, chunks: &[u64], take: Take<'_>) -> Result<()> {
        let volume = self.volume(name)?;
        let what = || format!("reading volume {name}");
        for (first, count) in runs(chunks) {
            let (at, mut index) = (first * CHUNK, first);
            let length = (count * CHUNK).min(size.saturating_sub(at));
            let mut chunk = Vec::with_capacity(usize::try_from(CHUNK)?);
            self.receive(&volume, at, length, &mut |part, count| {
                let mut done = 0;
                while done < count {
                    let room = usize::try_from(length_of(index, size))?.saturating_sub(chunk.len());
                    let taken = room.min(count - done);
                    match part {
                        Some(bytes) => chunk.extend_from_slice(&bytes[done..done + taken]),
                        None => chunk.resize(chunk.len() + taken, 0),
                    }
                    done += taken;
                    if taken == room {
                        take(index, std::mem::take(&mut chunk))?;
                        index += 1;
                    }
                }
                Ok(())
            })
            .with_context(what)?;
            ensure!(index == first + count, "{}: it is shorter than it was", what());
        }
        Ok(())
    }

    /// That so many bytes can be written.
    ///
    /// # Errors
    /// As for [`crate::host::bytes::VolumeBytes::ensure_room`].
    pub fn ensure_room(&self, bytes: u64) -> Result<()> {
        self.pool.ensure_room(bytes)
    }

    /// Writes pieces.
    ///
    /// # Errors
    /// As for [`crate::host::bytes::VolumeBytes::write`].
    pub fn write(
        &self,
        target: Target<'_>,
        pieces: &mut dyn Iterator<Item = Result<Piece>>,
        sent: &mut dyn FnMut(u64),
    ) -> Result<u64> {
        let volume = self.volume(target.name)?;
        let what = || format!("writing volume {}", target.name);
        let mut upload =
            Upload { connect: self.connect, volume: &volume, sparse: target.fresh, from: target.part.0, flow: None, sent: 0 };
        for piece in pieces {
            let piece = piece?;
            let before = upload.sent;
            upload.put(&piece).with_context(what)?;
            sent(upload.sent - before);
        }
        upload.end(target.part.1).with_context(what)?;
        let sent = upload.sent;
        if target.part.1 >= target.size {
            self.lengthen(&volume, target.size).with_context(what)?;
        }
        Ok(sent)
    }

    /// What was broken off behind a hole has been left shorter than it was made.
    fn lengthen(&self, volume: &StorageVol, size: u64) -> Result<()> {
        let there = volume.info().map_err(|error| failed(self.connect, error))?.capacity;
        if there < size {
            volume.resize(size, 0).map_err(|error| failed(self.connect, error))?;
        }
        Ok(())
    }

    /// Digests a volume, whose bytes all come here for it; its holes do not.
    ///
    /// # Errors
    /// As for [`crate::host::bytes::VolumeBytes::digest`].
    pub fn digest(&self, name: &str, size: u64, progress: &dyn Progress) -> Result<ChunkList> {
        let count = chunk_count(size);
        let mut digests = BTreeMap::new();
        let all: Vec<u64> = (0..count).collect();
        self.read(name, size, &all, &mut |index, bytes| {
            digests.insert(index, chunk_digest(&bytes));
            progress.update("digest", u8::try_from(index * 100 / count.max(1)).ok());
            Ok(())
        })?;
        ChunkList::new(size, digests.into_values().collect()).context("counting chunks")
    }
}

/// Hands over zeros, in parts that fit into memory.
fn zeros(mut count: u64, take: TakePart<'_>) -> Result<()> {
    while count > 0 {
        let part = count.min(CHUNK);
        take(None, usize::try_from(part)?)?;
        count -= part;
    }
    Ok(())
}

/// An upload: one stream with holes into a new volume, or a stream for each run of bytes.
struct Upload<'a> {
    connect: &'a Connect,
    volume: &'a StorageVol,
    sparse: bool,
    /// Where a stream with holes begins.
    from: u64,
    /// The stream that is open, and where it is.
    flow: Option<(Flow<'a>, u64)>,
    sent: u64,
}

impl Upload<'_> {
    fn put(&mut self, piece: &Piece) -> Result<()> {
        let (at, length) = match piece {
            Piece::Data { at, bytes } => (*at, bytes.len() as u64),
            Piece::Zeros { at, length } => (*at, *length),
        };
        if self.sparse {
            if let Piece::Zeros { .. } = piece {
                return Ok(());
            }
            let (flow, place) = match self.flow.take() {
                Some(open) => open,
                None => (Flow::up(self.connect, self.volume, self.from, true)?, self.from),
            };
            let hole = at.checked_sub(place).context("pieces are out of order")?;
            if hole > 0 {
                flow.send_hole(hole)?;
            }
            self.flow = Some((flow, at));
        } else if self.flow.as_ref().is_none_or(|(_, place)| *place != at) {
            if let Some((flow, _)) = self.flow.take() {
                flow.finish()?;
            }
            self.flow = Some((Flow::up(self.connect, self.volume, at, false)?, at));
        }
        let Some((flow, place)) = &mut self.flow else { return Ok(()) };
        match piece {
            Piece::Data { bytes, .. } => flow.send(bytes)?,
            // As bytes: a hole would cut off what is behind it.
            Piece::Zeros { .. } => zeros(length, &mut |_, count| flow.send(&vec![0; count]))?,
        }
        *place = at + length;
        self.sent += length;
        Ok(())
    }

    fn end(&mut self, end: u64) -> Result<()> {
        let Some((flow, place)) = self.flow.take() else { return Ok(()) };
        if self.sparse && place < end {
            flow.send_hole(end - place)?;
        }
        flow.finish()
    }
}
