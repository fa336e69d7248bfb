//! `SHA256SUMS`: a list as `sha256sum` of the GNU coreutils writes it.

use std::collections::BTreeMap;

use super::sha256::Sha256Digest;

/// The digests of a list, by path without a leading `./`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checksums(BTreeMap<String, Sha256Digest>);

impl Checksums {
    /// Reads a list: `DIGEST  PATH`, or `DIGEST *PATH` for a file read as binary.
    ///
    /// # Errors
    /// A line of another shape, or two digests for one path: which of them would be right?
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut digests = BTreeMap::new();
        for (index, line) in text.lines().enumerate() {
            // coreutils marks a name with a newline in it by a backslash in front; no file looked for has such a name.
            if line.trim().is_empty() || line.starts_with(['#', '\\']) {
                continue;
            }
            let number = index + 1;
            let (digest, path) = entry(line)
                .ok_or_else(|| format!("line {number} is no line of a SHA256SUMS list: 'DIGEST  PATH' is expected"))?;
            if digests.insert(path.to_owned(), digest).is_some_and(|other| other != digest) {
                return Err(format!("line {number} gives a second digest for {path:?}"));
            }
        }
        Ok(Self(digests))
    }

    /// The digest of a file; `path` may begin with `./`.
    pub fn find(&self, path: &str) -> Option<Sha256Digest> {
        self.0.get(bare(path)).copied()
    }
}

fn entry(line: &str) -> Option<(Sha256Digest, &str)> {
    let (digest, rest) = line.split_once(' ')?;
    let path = bare(rest.strip_prefix([' ', '*'])?);
    (!path.is_empty()).then_some((digest.parse().ok()?, path))
}

fn bare(path: &str) -> &str {
    path.strip_prefix("./").unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(digit: &str) -> String {
        digit.repeat(64)
    }

    #[test]
    fn finds_a_file_however_it_is_written() {
        let (a, b, c) = (hex("a"), hex("b"), hex("c"));
        let list = format!("# images\n{a}  ./netboot/linux\r\n\n{b} *netboot/initrd.gz\n{c}  ./two words\n\\{c}  a\\nb\n");
        let list = Checksums::parse(&list).unwrap();
        let table = [
            ("netboot/linux", Some(&a)),
            ("./netboot/linux", Some(&a)),
            ("netboot/initrd.gz", Some(&b)),
            ("two words", Some(&c)),
            ("linux", None),
            ("a\nb", None),
            ("", None),
        ];
        for (path, digest) in table {
            assert_eq!(list.find(path).map(|found| found.to_string()).as_ref(), digest, "{path}");
        }
    }

    #[test]
    fn a_list_of_another_shape_is_refused() {
        let (a, b) = (hex("a"), hex("b"));
        let shape = |line| format!("line {line} is no line of a SHA256SUMS list: 'DIGEST  PATH' is expected");
        let table = [
            ("<html>".to_owned(), shape(1)),
            (format!("{a}  x\n{a}"), shape(2)),
            (format!("{a} x"), shape(1)),
            (format!("{a}  "), shape(1)),
            (format!("{a}  ./"), shape(1)),
            (format!("{}  x", &a[1..]), shape(1)),
            (format!("SHA256 (x) = {a}"), shape(1)),
            (format!("{a}  x\n{b}  ./x"), "line 2 gives a second digest for \"x\"".to_owned()),
        ];
        for (text, error) in table {
            assert_eq!(Checksums::parse(&text), Err(error), "{text}");
        }
        assert!(Checksums::parse(&format!("{a}  x\n{a}  ./x")).is_ok(), "said twice");
    }
}
