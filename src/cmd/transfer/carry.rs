//! The way itself: one thread reads at the source and looks at each chunk, another writes at the target.

use std::{
    sync::mpsc::{SyncSender, sync_channel},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::{
    cmd::world::World,
    core::{
        digest::{CHUNK, ChunkList, chunk_count, chunk_digest},
        progress::Progress as _,
        transfer::{Needed, Piece, length_of, pieces},
        units::{ByteSize, Span},
    },
    host::bytes::Target,
    ui::StageLine,
};

/// How many pieces wait to be written: each has at most a chunk.
const WAITING: usize = 8;
/// How many chunks are sent before they are read back, at least and at most.
const PART: (usize, usize) = (16, 256);
/// How often it is looked whether a part has been digested.
const PAUSE: Duration = Duration::from_millis(5);
/// How often a line that is seen changes.
const TICK: Duration = Duration::from_millis(500);

/// The way of one volume.
#[derive(Clone, Copy)]
pub struct Carry<'a, 'f, 't> {
    /// Where it comes from.
    pub from: World<'f>,
    /// Where it goes.
    pub to: World<'t>,
    /// Its name at both ends.
    pub name: &'a str,
    /// What it is to be.
    pub list: &'a ChunkList,
}

impl Carry<'_, '_, '_> {
    /// Sends what is needed, and digests all that is there then; how many bytes were sent, and what was found. `tail` are zeros that
    /// go behind the volume's own bytes.
    pub fn carry(&self, needed: &Needed, fresh: bool, tail: Option<Piece>) -> Result<(u64, ChunkList)> {
        let (to, size) = (self.to, self.list.virtual_size());
        let line = StageLine::begin("sending");
        let mut meter = Meter::new(needed.bytes(size), &line);
        let mut room = needed.room(size);
        let looking = || format!("looking for room for {}", self.name);
        to.bytes.ensure_room(room).with_context(looking)?;
        if !to.bytes.digests_beside(self.name)? {
            let sent = self.part((0, size), needed, fresh, tail, &mut meter)?;
            line.done();
            let line = StageLine::begin("reading back");
            let found = to.bytes.digest(self.name, size, &line)?;
            line.done();
            return Ok((sent, found));
        }
        // While a part is on its way, the hypervisor digests the one before it.
        let parts = needed.parts(chunk_count(size), PART.0, PART.1);
        let last = parts.len() - 1;
        let mut sent = 0;
        let mut tail = tail;
        let digests = thread::scope(|scope| {
            let mut digests = Vec::new();
            for (number, ((first, end), part)) in parts.iter().enumerate() {
                let tail = if number == last { tail.take() } else { None };
                // Others write there, too.
                if number > 0 {
                    to.bytes.ensure_room(room).with_context(looking)?;
                }
                room = room.saturating_sub(part.room(size));
                let bytes = (first * CHUNK, end.saturating_mul(CHUNK).min(size));
                sent += self.part(bytes, part, fresh, tail, &mut meter)?;
                let count = end - first;
                digests.push(scope.spawn(move || to.bytes.digest_part(self.name, size, (*first, count))));
                // One at a time: more would only be in each other's way.
                if let Some(before) = digests.iter().rev().nth(1) {
                    while !before.is_finished() {
                        to.local.go_on()?;
                        thread::sleep(PAUSE);
                    }
                }
            }
            line.update("reading back", Some(100));
            let all: Result<Vec<_>> = digests
                .into_iter()
                .map(|digest| digest.join().unwrap_or_else(|_| Err(anyhow!("a thread ended early"))))
                .collect();
            all
        })?;
        line.done();
        Ok((sent, ChunkList::new(size, digests.concat()).context("counting chunks")?))
    }

    /// Sends what is needed in a part of the volume.
    fn part(&self, part: (u64, u64), needed: &Needed, fresh: bool, tail: Option<Piece>, meter: &mut Meter<'_>) -> Result<u64> {
        let (from, to) = (self.from, self.to);
        let grain = to.bytes.grain(self.name)?;
        let (sender, receiver) = sync_channel::<Result<Piece>>(WAITING);
        let target = Target { name: self.name, size: self.list.virtual_size(), fresh, part };
        thread::scope(|scope| {
            scope.spawn(move || {
                if let Err(error) = read(from, self.name, self.list, needed, grain, &sender) {
                    // Where nobody listens any more, the other side has an error of its own.
                    let _ = sender.send(Err(error));
                    return;
                }
                if let Some(tail) = tail {
                    let _ = sender.send(Ok(tail));
                }
            });
            let mut coming = receiver.into_iter().map(|piece| to.local.go_on().and(piece));
            to.bytes.write(target, &mut coming, &mut |bytes| meter.add(bytes))
        })
    }
}

/// Reads the chunks that are needed, and hands over the pieces that are to be written.
fn read(
    from: World<'_>,
    name: &str,
    list: &ChunkList,
    needed: &Needed,
    grain: usize,
    sender: &SyncSender<Result<Piece>>,
) -> Result<()> {
    let size = list.virtual_size();
    let gone = || anyhow!("the target has stopped to listen");
    let zeros = |index: u64| Piece::Zeros { at: index * CHUNK, length: length_of(index, size) };
    for index in &needed.clear {
        sender.send(Ok(zeros(*index))).map_err(|_| gone())?;
    }
    let wanted: Vec<u64> = needed.send.iter().map(|part| part.index).collect();
    let mut parts = needed.send.iter();
    from.bytes.read(name, size, &wanted, &mut |index, bytes| {
        let part = parts.next().filter(|part| part.index == index).context("a chunk came that was not asked for")?;
        let expected = usize::try_from(index).ok().and_then(|at| list.chunks().get(at).copied()).flatten();
        if chunk_digest(&bytes) != expected {
            bail!("the volume {name} at {} is damaged: chunk {index} is not what was published", from.hypervisor.name());
        }
        for piece in pieces(index * CHUNK, bytes, part.blank, grain) {
            sender.send(Ok(piece)).map_err(|_| gone())?;
        }
        Ok(())
    })
}

/// Says how far it is, and how fast.
struct Meter<'a> {
    total: u64,
    done: u64,
    began: Instant,
    said: Instant,
    tenth: u64,
    line: &'a StageLine,
}

impl<'a> Meter<'a> {
    fn new(total: u64, line: &'a StageLine) -> Self {
        let now = Instant::now();
        Self { total, done: 0, began: now, said: now, tenth: 0, line }
    }

    fn add(&mut self, bytes: u64) {
        self.done += bytes;
        let tenth = self.done.saturating_mul(10) / self.total.max(1);
        let due = if self.line.is_live() { self.said.elapsed() >= TICK } else { tenth != self.tenth };
        if !due {
            return;
        }
        (self.said, self.tenth) = (Instant::now(), tenth);
        let percent = u8::try_from((self.done.saturating_mul(100) / self.total.max(1)).min(100)).ok();
        let rate = rate(self.done, self.began.elapsed());
        self.line.update(&format!("{} of {}, {rate}", ByteSize(self.done), ByteSize(self.total)), percent);
    }
}

/// So many bytes in such a time, for people.
pub fn rate(bytes: u64, time: Duration) -> String {
    let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1);
    format!("{}/s", ByteSize(bytes.saturating_mul(1000) / millis))
}

/// A time for people: below a minute with tenths.
pub fn seconds(time: Duration) -> String {
    if time.as_secs() < 60 { format!("{:.1} s", time.as_secs_f64()) } else { Span(time).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_and_times_are_for_people() {
        assert_eq!(rate(3 << 20, Duration::from_millis(1500)), "2 MiB/s");
        assert_eq!(rate(1000, Duration::ZERO), "976.6 KiB/s");
        assert_eq!(rate(0, Duration::from_secs(1)), "0 B/s");
        assert_eq!(seconds(Duration::from_millis(2340)), "2.3 s");
        assert_eq!(seconds(Duration::from_secs(90)), "1m30s");
    }
}
