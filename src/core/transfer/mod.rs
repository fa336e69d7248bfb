//! A template on its way from one hypervisor to another: what has to be sent, and in which pieces.
//!
//! What is in the target's volume already is known by the digests of its chunks, and by nothing else: there is no journal. A copy of
//! an older version, a volume that an interrupted transfer has left, and one that arrived damaged are therefore the same case.

pub mod printed;

use super::{
    digest::{CHUNK, ChunkList},
    error::Refusal,
    inventory::{Inventory, Template},
    manifest::{Manifest, State},
    names::TemplateId,
    portable::Portable,
};

/// What a volume needs to become another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needed {
    /// The chunks whose bytes must be sent, in ascending order.
    pub send: Vec<Part>,
    /// The chunks that must become zeros, in ascending order.
    pub clear: Vec<u64>,
}

/// A chunk that must be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    /// Its index from 0.
    pub index: u64,
    /// Whether the target has nothing but zeros there: then the zeros in it need not be sent.
    pub blank: bool,
}

impl Needed {
    /// What a volume needs that has these chunks, if it is known which; one that is new has nothing but zeros. It is as long
    /// as the wanted one, or becomes so by zeros.
    pub fn of(wanted: &ChunkList, there: Option<&ChunkList>) -> Self {
        let mut needed = Self::default();
        for (index, wanted) in (0_u64..).zip(wanted.chunks()) {
            let found = usize::try_from(index).ok().and_then(|at| there?.chunks().get(at).copied()).flatten();
            match (wanted, found) {
                (Some(_), None) => needed.send.push(Part { index, blank: true }),
                (Some(wanted), Some(found)) if *wanted != found => needed.send.push(Part { index, blank: false }),
                (None, Some(_)) => needed.clear.push(index),
                _ => {}
            }
        }
        needed
    }

    /// Whether the volume is what it is to be.
    pub fn is_nothing(&self) -> bool {
        self.send.is_empty() && self.clear.is_empty()
    }

    /// The same in parts that cover a disk of so many chunks: what each part covers, its first chunk and the one behind its last, and
    /// what it needs. Each has half of the chunks that are still to be sent, but `least` and `most` are its bounds: a part costs some
    /// calls, and while the last one is read back nothing is sent any more.
    pub fn parts(&self, chunks: u64, least: usize, most: usize) -> Vec<((u64, u64), Self)> {
        let mut groups: Vec<&[Part]> = Vec::new();
        let mut rest = self.send.as_slice();
        while !rest.is_empty() {
            let (group, later) = rest.split_at((rest.len() / 2).max(least.max(1)).min(most.max(1)).min(rest.len()));
            groups.push(group);
            rest = later;
        }
        let mut parts = Vec::new();
        let mut first = 0;
        for number in 0..groups.len().max(1) {
            // The next one begins with its own first chunk.
            let end = groups.get(number + 1).and_then(|next| next.first()).map_or(chunks, |next| next.index);
            let send = groups.get(number).map_or(Vec::new(), |group| group.to_vec());
            let clear = self.clear.iter().copied().filter(|index| (first..end).contains(index)).collect();
            parts.push(((first, end), Self { send, clear }));
            first = end;
        }
        parts
    }

    /// How much room it may take to make it so, in bytes: zeros over something are written, too.
    pub fn room(&self, size: u64) -> u64 {
        self.bytes(size) + self.clear.iter().map(|index| length_of(*index, size)).sum::<u64>()
    }

    /// How many bytes the chunks to be sent have, in a disk of `size` bytes. What is zero in them may be left out.
    pub fn bytes(&self, size: u64) -> u64 {
        self.send.iter().map(|part| length_of(part.index, size)).sum()
    }
}

/// The length of a chunk of a disk of `size` bytes: all are alike but the last.
pub fn length_of(index: u64, size: u64) -> u64 {
    size.saturating_sub(index.saturating_mul(CHUNK)).min(CHUNK)
}

/// The version at the target whose copy needs the least to become the wanted one; none if no copy is worth its making: it reads and
/// writes all of a version, so it must save a tenth of what is to be sent.
pub fn best_base<'a>(wanted: &ChunkList, there: &'a [(TemplateId, ChunkList)]) -> Option<(&'a TemplateId, &'a ChunkList)> {
    let size = wanted.virtual_size();
    let whole = Needed::of(wanted, None).bytes(size);
    let costs = there.iter().map(|(id, list)| (Needed::of(wanted, Some(list)).bytes(size), id, list));
    let best = costs.min_by(|a, b| (a.0, &b.1.version).cmp(&(b.0, &a.1.version)));
    best.filter(|(bytes, ..)| bytes.saturating_mul(10) <= whole.saturating_mul(9)).map(|(_, id, list)| (id, list))
}

/// Something to be written at a place of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// These bytes, there.
    Data {
        /// The place in bytes.
        at: u64,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// Zeros.
    Zeros {
        /// The place in bytes.
        at: u64,
        /// How many.
        length: u64,
    },
}

/// The pieces of a chunk that begins at `at`: all of it, or, for a place that is `blank`, what is not zero. Zeros are left out by
/// whole blocks of `grain` bytes.
pub fn pieces(at: u64, bytes: Vec<u8>, blank: bool, grain: usize) -> Vec<Piece> {
    if !blank {
        return vec![Piece::Data { at, bytes }];
    }
    let mut pieces: Vec<Piece> = Vec::new();
    let mut open = false;
    for (number, block) in (0_u64..).zip(bytes.chunks(grain.max(1))) {
        if is_zero(block) {
            open = false;
            continue;
        }
        match pieces.last_mut() {
            Some(Piece::Data { bytes, .. }) if open => bytes.extend_from_slice(block),
            _ => pieces.push(Piece::Data { at: at + number * grain.max(1) as u64, bytes: block.to_vec() }),
        }
        open = true;
    }
    pieces
}

fn is_zero(bytes: &[u8]) -> bool {
    const ZEROS: [u8; 4096] = [0; 4096];
    bytes.chunks(ZEROS.len()).all(|part| part == &ZEROS[..part.len()])
}

/// What is at a target of the version that is to come there.
#[derive(Debug)]
pub enum There<'a> {
    /// Nothing.
    Nothing,
    /// The same version, published.
    Same,
    /// What a transfer of the very same content, or its like, has left or is still making.
    Begun(&'a Template),
}

/// Looks for a version in its target's pool.
///
/// # Errors
/// [`Refusal`]: something else has its name, or it is in another pool there.
pub fn there<'a>(inventory: &'a Inventory, portable: &Portable, pool: &str) -> Result<There<'a>, Refusal> {
    let (id, digest) = (portable.manifest.id(), portable.digest.to_string());
    let Some(there) = inventory.templates.iter().find(|template| template.manifest.id() == id) else {
        if inventory.names.contains(&id.domain()) {
            return Err(Refusal::new(format!("there is a domain {} already, which is no template of tpl's", id.domain())));
        }
        return Ok(There::Nothing);
    };
    there.manifest.ensure_pool(pool)?;
    let (state, own) = (there.manifest.state, there.manifest.digest.as_deref());
    let same = own == Some(digest.as_str());
    if state == State::Building && same {
        return Ok(There::Begun(there));
    }
    if state < State::Published {
        return Err(unfinished(&there.manifest));
    }
    if !same {
        let reason = format!("{id} is here already, with another digest: {}, and not {digest}", own.unwrap_or("none"));
        return Err(Refusal::new(reason).advise(format!("`tpl verify {id}` says which of them is as it was")));
    }
    Ok(There::Same)
}

/// That a version's name is taken by one that is not ready.
pub fn unfinished(there: &Manifest) -> Refusal {
    Refusal::new(format!("{} is here, and not published: it is {}", there.id(), there.state.as_str()))
        .advise("`tpl prune` removes it, if nobody is at work on it")
}

#[cfg(test)]
mod tests;
