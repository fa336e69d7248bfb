//! Volumes of this machine: their files and devices themselves.

use std::{
    fs::{File, OpenOptions},
    io::Read as _,
    os::unix::fs::FileExt as _,
    path::Path,
};

use anyhow::{Context as _, Result};

use super::{Take, Target};
use crate::{
    core::{
        digest::{CHUNK, ChunkList},
        progress::Progress,
        transfer::{Piece, length_of},
    },
    host::image,
};

/// How many zeros are written at once where holes cannot be made.
const BLOCK: usize = 1 << 20;

pub fn head(path: &str, length: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(length).read_to_end(&mut bytes));
    read.with_context(|| format!("reading {path}"))?;
    Ok(bytes)
}

pub fn read(path: &str, size: u64, chunks: &[u64], take: Take<'_>) -> Result<()> {
    let file = File::open(path).with_context(|| format!("opening {path}"))?;
    for index in chunks {
        let at = index * CHUNK;
        let mut bytes = vec![0; usize::try_from(length_of(*index, size))?];
        file.read_exact_at(&mut bytes, at).with_context(|| format!("reading {path} at {at}"))?;
        take(*index, bytes)?;
    }
    Ok(())
}

pub fn write(
    path: &str,
    target: Target<'_>,
    pieces: &mut dyn Iterator<Item = Result<Piece>>,
    sent: &mut dyn FnMut(u64),
) -> Result<u64> {
    let what = || format!("writing {path}");
    let file = OpenOptions::new().write(true).open(path).with_context(what)?;
    let mut written = 0;
    for piece in pieces {
        match piece? {
            Piece::Data { at, bytes } => {
                file.write_all_at(&bytes, at).with_context(what)?;
                written += bytes.len() as u64;
                sent(bytes.len() as u64);
            }
            Piece::Zeros { at, length } => zero(&file, at, length).with_context(what)?,
        }
    }
    if target.part.1 >= target.size {
        ensure_length(&file, target.size).with_context(what)?;
        file.sync_all().with_context(what)?;
    }
    Ok(written)
}

fn zero(file: &File, at: u64, length: u64) -> Result<()> {
    let zeros = vec![0; BLOCK];
    let end = at + length;
    let mut at = at;
    while at < end {
        let part = usize::try_from(end - at).unwrap_or(BLOCK).min(BLOCK);
        file.write_all_at(&zeros[..part], at)?;
        at += part as u64;
    }
    Ok(())
}

/// What was cut short comes to its length again: an upload leaves a file so that was broken off.
fn ensure_length(file: &File, size: u64) -> Result<()> {
    let data = file.metadata()?;
    if data.is_file() && data.len() < size {
        file.set_len(size)?;
    }
    Ok(())
}

pub fn digest(path: &str, size: u64, progress: &dyn Progress) -> Result<ChunkList> {
    let what = || format!("digesting {path}");
    let data = std::fs::metadata(path).with_context(what)?;
    if !data.is_file() || data.len() >= size {
        return image::digest(Path::new(path), size, progress);
    }
    let there = image::digest(Path::new(path), data.len(), progress)?;
    // The last chunk of what is there is a part of a longer one: its digest is another, and so it is sent again.
    let mut chunks = there.chunks().to_vec();
    chunks.resize(usize::try_from(crate::core::digest::chunk_count(size))?, None);
    ChunkList::new(size, chunks).context("counting chunks")
}
