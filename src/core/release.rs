//! The `Release` file of a Debian archive: the text inside `InRelease`.
//!
//! Its format: <https://wiki.debian.org/DebianRepository/Format#A.22Release.22_files>

use std::collections::BTreeMap;

use jiff::{Timestamp, fmt::rfc2822};

use super::sha256::Sha256Digest;

/// What a Release says that matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// What the suite is called for now: `stable`.
    pub suite: Option<String>,
    /// What it is always called: `trixie`.
    pub codename: Option<String>,
    /// From when on it must not be believed.
    pub valid_until: Option<Timestamp>,
    sha256: BTreeMap<String, Listed>,
}

/// A file that a Release vouches for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Listed {
    /// Its digest.
    pub sha256: Sha256Digest,
    /// Its size in bytes.
    pub size: u64,
}

impl Release {
    /// Reads the fields of a Release's one paragraph; fields that do not matter here are passed over.
    ///
    /// # Errors
    /// A line that is no field, a field that stands there twice, or an entry of `SHA256` of another shape.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut release = Self { suite: None, codename: None, valid_until: None, sha256: BTreeMap::new() };
        let mut field = "";
        let mut seen = std::collections::BTreeSet::new();
        for (index, line) in text.lines().enumerate() {
            let at = |message: String| format!("line {}: {message}", index + 1);
            if line.trim().is_empty() {
                // An empty line ends the paragraph, and a Release has one.
                if seen.is_empty() { continue } else { break }
            }
            if line.starts_with([' ', '\t']) {
                if field == "sha256" {
                    release.list(line).map_err(at)?;
                }
                continue;
            }
            let (name, value) = line.split_once(':').ok_or_else(|| at("no field: 'Name: value' is expected".to_owned()))?;
            // Field names are the same in any case, as everywhere in Debian's control files.
            let name = name.to_ascii_lowercase();
            field = if name == "sha256" { "sha256" } else { "" };
            if !seen.insert(name.clone()) {
                return Err(at(format!("the field {name:?} stands there twice")));
            }
            release.field(&name, value.trim()).map_err(at)?;
        }
        Ok(release)
    }

    /// What the Release says about a file; `path` is relative to the Release.
    pub fn find(&self, path: &str) -> Option<Listed> {
        self.sha256.get(path).copied()
    }

    /// Checks that this is the Release of the suite with that codename, and that it is still to be believed.
    ///
    /// # Errors
    /// What does not hold, as half a sentence about the Release: `is of bookworm, not of trixie`.
    pub fn check(&self, codename: &str, now: Timestamp) -> Result<(), String> {
        match &self.codename {
            None => return Err("names no codename".to_owned()),
            Some(found) if found != codename => return Err(format!("is of {found:?}, not of {codename:?}")),
            Some(_) => {}
        }
        match self.valid_until {
            // An old list with a good signature would bring back every hole that was mended since.
            Some(end) if end <= now => Err(format!("was valid until {end} and is out of date")),
            _ => Ok(()),
        }
    }

    fn field(&mut self, name: &str, value: &str) -> Result<(), String> {
        match name {
            "suite" => self.suite = Some(value.to_owned()),
            "codename" => self.codename = Some(value.to_owned()),
            "valid-until" => {
                self.valid_until = Some(date(value).ok_or_else(|| format!("{value:?} is no date"))?);
            }
            _ => {}
        }
        Ok(())
    }

    fn list(&mut self, line: &str) -> Result<(), String> {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        let entry = match words[..] {
            [digest, size, path] => {
                digest.parse().ok().zip(size.parse().ok()).map(|(sha256, size)| (path, Listed { sha256, size }))
            }
            _ => None,
        };
        let (path, listed) = entry.ok_or("no entry of SHA256: 'DIGEST SIZE PATH' is expected")?;
        match self.sha256.insert(path.to_owned(), listed) {
            Some(other) if other != listed => Err(format!("a second digest for {path:?}")),
            _ => Ok(()),
        }
    }
}

/// Reads `Sat, 12 Sep 2026 07:55:41 UTC`: RFC 2822 but for the zone, which is always UTC.
fn date(text: &str) -> Option<Timestamp> {
    let time = text.strip_suffix("UTC").map(|time| format!("{time}GMT"));
    rfc2822::DateTimeParser::new().parse_timestamp(time.as_deref().unwrap_or(text)).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;

    const LIST: &str = "main/installer-amd64/current/images/SHA256SUMS";

    fn text() -> String {
        let (a, b) = ("a".repeat(64), "b".repeat(64));
        format!(
            "Origin: Debian\nSuite: stable\nCodename: trixie\nValid-Until: Sat, 12 Sep 2026 07:55:41 UTC\nMD5Sum:\n \
             {}  80699 {LIST}\nsha256:\n {a}    80699 {LIST}\n {b} 0 main/x\n",
            "c".repeat(32)
        )
    }

    #[test]
    fn reads_what_matters() {
        let release = Release::parse(&text()).unwrap();
        assert_eq!(release.suite.as_deref(), Some("stable"));
        assert_eq!(release.codename.as_deref(), Some("trixie"));
        assert_eq!(release.valid_until.unwrap().to_string(), "2026-09-12T07:55:41Z");
        assert_eq!(release.find(LIST), Some(Listed { sha256: Sha256Digest([0xaa; 32]), size: 80_699 }));
        assert_eq!(release.find("main/y"), None);
    }

    #[test]
    fn only_the_first_paragraph_counts() {
        let release = Release::parse(&format!("\nCodename: trixie\n\nSHA256:\n {} 1 {LIST}\n", "a".repeat(64))).unwrap();
        assert_eq!((release.codename.as_deref(), release.find(LIST)), (Some("trixie"), None));
    }

    #[test]
    fn faults_are_named_with_their_line() {
        let digest = "a".repeat(64);
        let entry = "line 2: no entry of SHA256: 'DIGEST SIZE PATH' is expected";
        let table = [
            ("<html>\n".to_owned(), "line 1: no field: 'Name: value' is expected"),
            ("Suite: a\nsuite: b\n".to_owned(), "line 2: the field \"suite\" stands there twice"),
            ("Valid-Until: tomorrow\n".to_owned(), "line 1: \"tomorrow\" is no date"),
            (format!("SHA256:\n {digest} x\n"), entry),
            (format!("SHA256:\n {digest} -1 x\n"), entry),
            (format!("SHA256:\n {digest} 99999999999999999999 x\n"), entry),
            (format!("SHA256:\n {} 1 x\n", &digest[2..]), entry),
            (format!("SHA256:\n {digest} 1 x y\n"), entry),
            (format!("SHA256:\n {digest} 1 x\n {digest} 2 x\n"), "line 3: a second digest for \"x\""),
        ];
        for (text, error) in table {
            assert_eq!(Release::parse(&text), Err(error.to_owned()), "{text}");
        }
    }

    #[test]
    fn the_codename_and_the_date_decide() {
        let release = Release::parse(&text()).unwrap();
        let nameless = Release::parse("Suite: trixie\n").unwrap();
        let endless = Release::parse("Codename: trixie\n").unwrap();
        let table = [
            (&release, "trixie", "2026-09-12T07:55:40Z", None),
            (&release, "trixie", "2026-09-12T07:55:41Z", Some("was valid until 2026-09-12T07:55:41Z and is out of date")),
            (&release, "stable", "2026-01-01T00:00:00Z", Some("is of \"trixie\", not of \"stable\"")),
            (&release, "bookworm", "2026-01-01T00:00:00Z", Some("is of \"trixie\", not of \"bookworm\"")),
            (&nameless, "trixie", "2026-01-01T00:00:00Z", Some("names no codename")),
            (&endless, "trixie", "2099-01-01T00:00:00Z", None),
        ];
        for (release, codename, now, fault) in table {
            assert_eq!(release.check(codename, now.parse().unwrap()).err().as_deref(), fault, "{codename} {now}");
        }
    }

    #[test]
    fn no_text_makes_it_panic() {
        let whole = text();
        for (cut, _) in whole.char_indices() {
            let _ = Release::parse(&whole[..cut]);
            let _ = Release::parse(&whole[cut..]);
            let _ = Release::parse(&format!("{}\u{0}ä\r{}", &whole[..cut], &whole[cut..]));
        }
        for zone in ["", "UTC", "Sat, UTC", "99 Sep 2026 99:99:99 UTC", "Sat, 12 Sep 9999999 07:55:41 UTC"] {
            assert_eq!(date(zone), None, "{zone}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>(), value in "[ A-Za-z0-9:,]{0,40}", entry in "( [0-9a-f]{0,64} [0-9-]{0,20} [a-z/]{0,5}\n){0,3}") {
            let _ = Release::parse(&String::from_utf8_lossy(&bytes));
            if let Ok(release) = Release::parse(&format!("Codename: trixie\nValid-Until: {value}\nSHA256:\n{entry}")) {
                let _ = release.check("trixie", Timestamp::MAX);
            }
        }
    }
}
