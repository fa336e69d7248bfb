//! Vendors' lists of digests, in the shapes that they use:
//!
//! ```text
//! DIGEST  PATH                  sha256sum and sha512sum of the GNU coreutils; ` *PATH` for a file read as binary
//! SHA256 (PATH) = DIGEST        BSD's, and coreutils with --tag
//! # PATH: 1234 bytes            a comment, as Fedora and Rocky have them
//! ```
//!
//! One list may have all of them. Digests of other kinds are passed over; a line of another shape is an error: it may be the
//! page of a captive portal.

use std::collections::BTreeMap;

use super::{
    quoted::quoted,
    source::{Algorithm, Digest},
};

const CLEARSIGNED: &str = "-----BEGIN PGP SIGNED MESSAGE-----";
const SIGNATURE: &str = "-----BEGIN PGP SIGNATURE-----";
/// The lengths of digests that lists have besides: MD5, SHA-1, SHA-224, SHA-384.
const OTHER_DIGITS: [usize; 4] = [32, 40, 56, 96];

/// The digests of a list, by path without a leading `./`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checksums(BTreeMap<(String, Algorithm), Digest>);

impl Checksums {
    /// Reads a list.
    ///
    /// # Errors
    /// A line of another shape, or two digests of one kind for one path: which of them would be right?
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut digests = BTreeMap::new();
        for (index, line) in text.lines().enumerate() {
            // coreutils marks a name with a newline in it by a backslash in front; no file looked for has such a name.
            if line.trim().is_empty() || line.starts_with(['#', '\\']) {
                continue;
            }
            let number = index + 1;
            let entry = tagged(line).or_else(|| plain(line)).ok_or_else(|| {
                format!("line {number} is no line of a list of checksums: 'DIGEST  PATH' or 'SHA256 (PATH) = DIGEST' is expected")
            })?;
            let Entry::Known(path, digest) = entry else { continue };
            if digests.insert((path.to_owned(), digest.algorithm()), digest).is_some_and(|other| other != digest) {
                return Err(format!("line {number} gives a second digest for {}", quoted(path)));
            }
        }
        Ok(Self(digests))
    }

    /// The digest of a file by its path in the list; `path` may begin with `./`. SHA-256 where there are both.
    pub fn find(&self, path: &str) -> Option<Digest> {
        let path = bare(path);
        Algorithm::ALL.iter().find_map(|algorithm| self.0.get(&(path.to_owned(), *algorithm)).copied())
    }

    /// The digest of a file that is at `location`, a URL's path or that of a file. Of the list's entries the one counts whose
    /// path is the longest end of the location; or else, for a file that was moved, the only one of the same name.
    ///
    /// # Errors
    /// The list does not have it, or has several files of that name: which it was is said as a clause about the list.
    pub fn locate(&self, location: &str) -> Result<Digest, String> {
        let ends = |path: &str| {
            location.strip_suffix(path).is_some_and(|rest| rest.is_empty() || rest.ends_with('/')) && !path.is_empty()
        };
        let longest = self.0.keys().map(|(path, _)| path.as_str()).filter(|path| ends(path)).max_by_key(|path| path.len());
        if let Some(digest) = longest.and_then(|path| self.find(path)) {
            return Ok(digest);
        }
        let name = file_name(location);
        let mut same = self.0.iter().filter(|((path, _), _)| file_name(path) == name);
        let Some(((first, _), _)) = same.next() else {
            return Err(format!("it does not list {}", quoted(name)));
        };
        if same.any(|((path, _), _)| path != first) {
            return Err(format!("it lists several files with the name {}", quoted(name)));
        }
        self.find(first).ok_or_else(|| format!("it does not list {}", quoted(name)))
    }
}

/// The text of a clear-signed message, its signature unseen; any other text as it is. For a list that the operator takes on
/// trust: what is signed comes out of the signature's check instead.
pub fn without_signature(text: &str) -> String {
    let Some(message) = text.strip_prefix(CLEARSIGNED) else { return text.to_owned() };
    let mut lines = message.lines().skip(1).skip_while(|line| !line.trim().is_empty());
    // The empty line that ends the headers.
    lines.next();
    let body = lines.take_while(|line| line.trim_end() != SIGNATURE);
    body.fold(String::new(), |text, line| text + line.strip_prefix("- ").unwrap_or(line) + "\n")
}

enum Entry<'a> {
    Known(&'a str, Digest),
    Other,
}

/// `SHA256 (PATH) = DIGEST`.
fn tagged(line: &str) -> Option<Entry<'_>> {
    let (tag, rest) = line.split_once(" (")?;
    // From the right: a path may hold anything, a digest does not.
    let (path, digest) = rest.rsplit_once(") = ")?;
    let (path, digest) = (bare(path), digest.trim_end());
    if path.is_empty() || tag.is_empty() || !tag.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'/') {
        return None;
    }
    let Some(algorithm) = Algorithm::ALL.into_iter().find(|algorithm| algorithm.word().eq_ignore_ascii_case(tag)) else {
        // `SIZE (x) = 12`, `MD5 (x) = …`, `BLAKE2b (x) = …`.
        return digest.bytes().all(|b| b.is_ascii_hexdigit()).then_some(Entry::Other);
    };
    let digest: Digest = digest.parse().ok()?;
    (digest.algorithm() == algorithm).then_some(Entry::Known(path, digest))
}

/// `DIGEST  PATH`.
fn plain(line: &str) -> Option<Entry<'_>> {
    let (digest, rest) = line.split_once(' ')?;
    let path = bare(rest.strip_prefix([' ', '*'])?);
    if path.is_empty() {
        return None;
    }
    if OTHER_DIGITS.contains(&digest.len()) && digest.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Some(Entry::Other);
    }
    Some(Entry::Known(path, digest.parse().ok()?))
}

fn bare(path: &str) -> &str {
    path.strip_prefix("./").unwrap_or(path)
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

#[cfg(test)]
#[path = "checksums_tests.rs"]
mod tests;
