//! Volumes of another machine, through a shell there: with what every system has, and one program for many places.

use std::{
    io::{self, Read, Write},
    time::Duration,
};

use anyhow::{Context as _, Error, Result, bail, ensure};

use super::{Take, runs};
use crate::{
    core::{
        digest::{CHUNK, ChunkList, Digest, chunk_count},
        error::Cut,
        progress::Progress,
        transfer::{Piece, length_of, printed},
    },
    host::shell::{self, Shell},
};

/// Each run of chunks is read by a program of its own; so many runs go into one call, whose length is limited.
const RUNS: usize = 1000;
/// For a call that does next to nothing.
const SHORT: Duration = Duration::from_secs(60);

/// Prints the chunks that its arguments name, each argument as FIRST+COUNT.
const READ: &str = r#"volume=$1; shift
for run; do
  dd if="$volume" bs=1M skip="${run%+*}" count="${run#*+}" status=none || exit
done"#;

/// Reads lines, `d PLACE LENGTH` with as many bytes behind it, or `z PLACE LENGTH` for zeros, and puts them there. Says `done` only if
/// the end was told: what is cut off looks like an end too. A shell's `read` takes no byte more than its line.
const WRITE: &str = r#"volume=$1
put() { dd "$@" of="$volume" bs=64K seek="$at" count="$length" oflag=seek_bytes conv=notrunc,nocreat status=none; }
while read -r kind at length; do
  case $kind in
    d) put iflag=fullblock,count_bytes || exit ;;
    z) put if=/dev/zero iflag=count_bytes || exit ;;
    e) sync "$volume" && echo done; exit ;;
    *) echo "a line was not understood" >&2; exit 9 ;;
  esac
done
exit 8"#;

/// Prints a line for each chunk of the `$3` bytes from chunk `$2` on: its digest, and its number among sixteen. So many are cut out at
/// once, into memory: a program for each of them would take longer than its digest. As many such blocks are digested side by side as
/// there are processors, by `openssl` where it is installed: it uses their instructions for this, which few builds of `sha256sum` do.
const DIGEST: &str = r#"volume=$1 at=$2 left=$3
[ -r "$volume" ] || { echo "it cannot be read" >&2; exit 1; }
folder=$(mktemp -d -p /dev/shm 2>/dev/null || mktemp -d) && cd "$folder" || exit
trap 'rm -rf "$folder"' EXIT
trap 'exit 1' HUP INT PIPE TERM
jobs=$(nproc 2>/dev/null) || jobs=1
[ "$jobs" -le 4 ] || jobs=4
block() {
  mkdir "$1" "$1/cut" && cd "$1/cut" || exit
  { dd if="$volume" bs=1M skip="$2" count="$3" iflag=fullblock,count_bytes status=none || : >../failed; } |
    split -b 1M -d -a 2 - '' && [ ! -e ../failed ] || exit 1
  [ ! -e 00 ] || { openssl dgst -sha256 -r * >../sums 2>/dev/null && sed 's/ \*/  /' ../sums || sha256sum *; } >../printed
}
while [ "$left" -gt 0 ]; do
  job=0 all=
  while [ "$job" -lt "$jobs" ] && [ "$left" -gt 0 ]; do
    length=16777216
    [ "$left" -gt "$length" ] || length=$left
    block "$job" "$at" "$length" &
    all="$all $!" job=$((job + 1)) at=$((at + 16)) left=$((left - length))
  done
  for process in $all; do wait "$process" || exit 1; done
  number=0
  while [ "$number" -lt "$job" ]; do
    [ -e "$number/printed" ] || exit 0
    cat "$number/printed" && rm -r "$number" && number=$((number + 1)) || exit
  done
done"#;

fn sh<'a>(script: &'a str, path: &'a str) -> [&'a str; 5] {
    ["sh", "-c", script, "sh", path]
}

/// Whoever logs in there may read it.
pub fn can_read(shell: &dyn Shell, path: &str) -> bool {
    matches!(shell.run(&["test", "-r", path], SHORT), Ok(output) if output.code == Some(0))
}

/// Whoever logs in there may write it.
pub fn can_write(shell: &dyn Shell, path: &str) -> bool {
    matches!(shell.run(&["test", "-w", path], SHORT), Ok(output) if output.code == Some(0))
}

/// Takes no more than so many bytes: the other side may be broken, or hostile.
struct Limited<'a> {
    bytes: &'a mut Vec<u8>,
    most: u64,
}

impl Write for Limited<'_> {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        if (self.bytes.len() + part.len()) as u64 > self.most {
            return Err(io::Error::other("more came than was asked for"));
        }
        self.bytes.extend_from_slice(part);
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub fn head(shell: &dyn Shell, path: &str, length: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let count = length.to_string();
    let argv = ["head", "-c", &count, path];
    let what = || format!("reading {path}");
    let output = shell.read(&argv, &mut Limited { bytes: &mut bytes, most: length }).with_context(what)?;
    shell::succeeded(&argv, output).with_context(what)?;
    Ok(bytes)
}

/// Puts what comes together to chunks.
struct Chunks<'a> {
    wanted: &'a [u64],
    size: u64,
    chunk: Vec<u8>,
    take: Take<'a>,
    /// What has gone wrong on this side.
    failed: Option<Error>,
}

impl Write for Chunks<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some((index, rest)) = self.wanted.split_first() else {
            return Err(io::Error::other("more came than was asked for"));
        };
        let whole = usize::try_from(length_of(*index, self.size)).map_err(io::Error::other)?;
        let taken = bytes.len().min(whole.saturating_sub(self.chunk.len()));
        self.chunk.extend_from_slice(&bytes[..taken]);
        if self.chunk.len() == whole {
            self.wanted = rest;
            if let Err(error) = (self.take)(*index, std::mem::take(&mut self.chunk)) {
                self.failed = Some(error);
                return Err(io::Error::other("it is not wanted any more"));
            }
            // A volume's last chunk may be shorter than the device: what is behind it is nobody's.
            if whole < usize::try_from(CHUNK).map_err(io::Error::other)? {
                return Ok(bytes.len());
            }
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub fn read(shell: &dyn Shell, path: &str, size: u64, chunks: &[u64], take: Take<'_>) -> Result<()> {
    let all = runs(chunks);
    let mut rest = chunks;
    for some in all.chunks(RUNS) {
        let count: u64 = some.iter().map(|(_, count)| count).sum();
        let (now, later) = rest.split_at(usize::try_from(count)?);
        rest = later;
        let named: Vec<String> = some.iter().map(|(first, count)| format!("{first}+{count}")).collect();
        let mut argv = sh(READ, path).to_vec();
        argv.extend(named.iter().map(String::as_str));
        let mut sink = Chunks { wanted: now, size, chunk: Vec::new(), take: &mut *take, failed: None };
        let result = shell.read(&argv, &mut sink);
        if let Some(error) = sink.failed {
            return Err(error);
        }
        let left = sink.wanted.len();
        shell::succeeded(&["dd"], result?).with_context(|| format!("reading {path}"))?;
        ensure!(left == 0, "reading {path}: it is shorter than it was");
    }
    Ok(())
}

/// The lines and bytes of pieces.
struct Lines<'a> {
    pieces: &'a mut dyn Iterator<Item = Result<Piece>>,
    sent: &'a mut dyn FnMut(u64),
    now: io::Cursor<Vec<u8>>,
    total: u64,
    ended: bool,
    failed: Option<Error>,
}

impl Read for Lines<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = self.now.read(buffer)?;
            if read > 0 || buffer.is_empty() || self.ended {
                return Ok(read);
            }
            let text = match self.pieces.next() {
                Some(Ok(Piece::Data { at, bytes })) => {
                    self.total += bytes.len() as u64;
                    (self.sent)(bytes.len() as u64);
                    [format!("d {at} {}\n", bytes.len()).into_bytes(), bytes].concat()
                }
                Some(Ok(Piece::Zeros { at, length })) => format!("z {at} {length}\n").into_bytes(),
                Some(Err(error)) => {
                    self.failed = Some(error);
                    return Err(io::Error::other("there is nothing more to send"));
                }
                None => {
                    self.ended = true;
                    b"e 0 0\n".to_vec()
                }
            };
            self.now = io::Cursor::new(text);
            if self.ended {
                return self.now.read(buffer);
            }
        }
    }
}

pub fn write(
    shell: &dyn Shell,
    path: &str,
    pieces: &mut dyn Iterator<Item = Result<Piece>>,
    sent: &mut dyn FnMut(u64),
) -> Result<u64> {
    let mut lines = Lines { pieces, sent, now: io::Cursor::default(), total: 0, ended: false, failed: None };
    let result = shell.feed(&sh(WRITE, path), &mut lines);
    if let Some(error) = lines.failed {
        return Err(error);
    }
    let what = || format!("writing {path}");
    let printed = match result {
        // It has said what was wrong before it stopped to listen.
        Ok(output) if output.code != Some(0) && !output.stderr.trim().is_empty() => {
            return Err(shell::succeeded(&["dd"], output).err().with_context(what)?).with_context(what);
        }
        Ok(output) => output.stdout,
        Err(error) => return Err(error).with_context(what),
    };
    if printed.trim_end() != "done" {
        bail!(Error::new(Cut::new("the other side did not hear the end")).context(what()));
    }
    Ok(lines.total)
}

/// In parts, so that it can be told how far it is.
pub fn digest(shell: &dyn Shell, path: &str, size: u64, progress: &dyn Progress) -> Result<ChunkList> {
    const AT_ONCE: u64 = 1024;
    let all = chunk_count(size);
    let mut chunks = Vec::new();
    let mut first = 0;
    while first < all {
        progress.update("digest", u8::try_from(first * 100 / all).ok());
        let count = AT_ONCE.min(all - first);
        chunks.extend(digest_part(shell, path, size, (first, count))?);
        first += count;
    }
    ChunkList::new(size, chunks).context("counting chunks")
}

pub fn digest_part(shell: &dyn Shell, path: &str, size: u64, (first, count): (u64, u64)) -> Result<Vec<Option<Digest>>> {
    let length = (count * CHUNK).min(size.saturating_sub(first * CHUNK));
    let words = [first, length].map(|number| number.to_string());
    // It gives way to the hypervisor's guests, and to what still arrives.
    let mut argv = [&["nice", "-n", "19"][..], &sh(DIGEST, path)].concat();
    argv.extend(words.iter().map(String::as_str));
    let mut text = Vec::new();
    let what = || format!("digesting {path} over there");
    let output = shell.read(&argv, &mut Limited { bytes: &mut text, most: printed::longest(length) }).with_context(what)?;
    shell::succeeded(&["sha256sum"], output).with_context(what)?;
    printed::digests(&text, length).map_err(Error::msg).with_context(what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{core::digest::chunk_digest, host::shell::LocalShell};

    #[test]
    fn a_part_is_digested_chunk_for_chunk() {
        // One chunk is zeros, and the last one is short.
        let mut disk: Vec<u8> = (0..36_u8).flat_map(|index| vec![if index == 20 { 0 } else { index + 1 }; 1 << 20]).collect();
        disk.truncate((35 << 20) + 700);
        let size = disk.len() as u64;
        let expected: Vec<_> = disk.chunks(1 << 20).map(chunk_digest).collect();
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        // As a logical volume is longer than its disk.
        std::fs::write(path, [disk, vec![7; 4096]].concat()).unwrap();
        for (first, count) in [(0, 36), (0, 16), (3, 20), (16, 17), (35, 1)] {
            let found = digest_part(&LocalShell, path, size, (first, count)).unwrap();
            assert_eq!(found, expected[first as usize..(first + count) as usize], "{count} from {first}");
        }
        // What is missing counts as zeros.
        file.as_file().set_len(17 << 20).unwrap();
        let found = digest_part(&LocalShell, path, size, (0, 36)).unwrap();
        assert_eq!((&found[..17], &found[17..]), (&expected[..17], &[None; 19][..]));
        let error = digest_part(&LocalShell, "/nowhere/at/all", size, (0, 1)).unwrap_err();
        assert_eq!(format!("{error:#}"), "digesting /nowhere/at/all over there: sha256sum: it cannot be read");
    }
}
