//! The digests of chunks, as a hypervisor prints them in the form of `sha256sum`. It is another machine: every byte of it is looked at.

use sha2::{Digest as _, Sha256};

use super::length_of;
use crate::core::digest::{CHUNK, Digest, chunk_count};

/// A line: 64 digits, two blanks, a number of two digits, the line's end.
const LINE: u64 = 64 + 2 + 2 + 1;
/// The chunks are numbered from 0, and so many later from 0 again.
const TURN: u64 = 16;

/// How long the digests of a disk of `size` bytes are at most.
pub fn longest(size: u64) -> u64 {
    chunk_count(size).saturating_mul(LINE)
}

/// The digests of the chunks of `size` bytes, of which those at the end may be missing: they count as zeros, which have none.
///
/// # Errors
/// It is not what `sha256sum` prints.
pub fn digests(text: &[u8], size: u64) -> Result<Vec<Option<Digest>>, String> {
    let zeros = |length: u64| -> Digest {
        let mut hash = Sha256::new();
        let block = [0; 65536];
        let mut left = usize::try_from(length).unwrap_or(0);
        while left > 0 {
            hash.update(&block[..left.min(block.len())]);
            left = left.saturating_sub(block.len());
        }
        hash.finalize().into()
    };
    let whole = zeros(CHUNK);
    let mut chunks = Vec::new();
    for (index, line) in (0_u64..).zip(text.split_inclusive(|byte| *byte == b'\n')) {
        let found = digest_of(line, index % TURN).ok_or_else(|| format!("line {} is no digest", index + 1))?;
        let zero = match length_of(index, size) {
            0 => return Err("there are more digests than chunks".to_owned()),
            CHUNK => whole,
            length => zeros(length),
        };
        chunks.push((found != zero).then_some(found));
    }
    chunks.resize(usize::try_from(chunk_count(size)).map_err(|error| error.to_string())?, None);
    Ok(chunks)
}

fn digest_of(line: &[u8], number: u64) -> Option<Digest> {
    let (digits, end) = line.split_at_checked(64)?;
    if end != format!("  {number:02}\n").as_bytes() {
        return None;
    }
    let mut digest = [0; 32];
    for (byte, pair) in digest.iter_mut().zip(digits.chunks(2)) {
        let digit = |c: u8| match c {
            b'0'..=b'9' => Some(c - b'0'),
            b'a'..=b'f' => Some(c - b'a' + 10),
            _ => None,
        };
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::digest::{chunk_digest, hex};

    #[test]
    fn digests_are_read_and_zeros_are_none() {
        let size = 2 * CHUNK + 3;
        let mut disk = vec![0; usize::try_from(size).unwrap()];
        disk[5] = 1;
        let lines = |disk: &[u8]| -> String {
            let line = |(number, chunk)| format!("{}  {number:02}\n", hex(&Sha256::digest(chunk)));
            (0..).zip(disk.chunks(1 << 20)).map(line).collect()
        };
        let expected: Vec<_> = disk.chunks(1 << 20).map(chunk_digest).collect();
        assert_eq!(expected.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, false]);
        assert_eq!(digests(lines(&disk).as_bytes(), size).unwrap(), expected);
        disk[2 << 20] = 1;
        let expected: Vec<_> = disk.chunks(1 << 20).map(chunk_digest).collect();
        assert_eq!(digests(lines(&disk).as_bytes(), size).unwrap(), expected);
        // Cut off behind the first chunk.
        assert_eq!(digests(lines(&disk[..1 << 20]).as_bytes(), size).unwrap(), [expected[0], None, None]);
        assert_eq!(digests(b"", size).unwrap(), [None, None, None]);
    }

    #[test]
    fn anything_else_is_no_digest() {
        let good = format!("{}  00\n", "0a".repeat(32));
        let next = good.replace("  00", "  01");
        for (text, expected) in [
            (good.replace("  00", "  0x"), "line 1 is no digest"),
            (good.replace("  00", " *00"), "line 1 is no digest"),
            (next.clone(), "line 1 is no digest"),
            (format!("{good}{good}"), "line 2 is no digest"),
            (good.to_uppercase(), "line 1 is no digest"),
            (good.trim_end().to_owned(), "line 1 is no digest"),
            (format!("\n{good}"), "line 1 is no digest"),
            (format!("{good}x"), "line 2 is no digest"),
            (format!("{good}{next}"), "there are more digests than chunks"),
        ] {
            assert_eq!(digests(text.as_bytes(), 10), Err(expected.to_owned()), "{text}");
        }
        assert_eq!(digests(&[0xff; 70], 10), Err("line 1 is no digest".to_owned()));
        assert_eq!(longest(CHUNK + 1), 138);
    }
}
