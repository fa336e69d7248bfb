//! What a build is made of, and who vouches for it: installers, media and images, by URL or as files.

mod age;
mod digest;

use std::{fmt, path::PathBuf};

pub use age::Age;
pub(in crate::core) use digest::hex_bytes;
pub use digest::{Algorithm, Digest};

use super::{quoted::quoted, sha256::Sha256Digest};

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// An installer's kernel.
    Kernel,
    /// An installer's initrd.
    Initrd,
    /// An installation medium: an ISO image.
    Medium,
    /// The image of an installed system.
    Image,
}

impl Role {
    /// One word for people.
    pub fn word(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Initrd => "initrd",
            Self::Medium => "medium",
            Self::Image => "image",
        }
    }
}

/// Where a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// Behind `http` or `https`.
    Url(String),
    /// On this machine.
    File(PathBuf),
}

impl Location {
    /// Reads a URL, or else a path. What has a scheme is a URL.
    ///
    /// # Errors
    /// A URL that tpl does not fetch: see [`url_fault`]; or an empty text.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("a URL or a path is expected".to_owned());
        }
        if !text.contains("://") {
            return Ok(Self::File(PathBuf::from(text)));
        }
        match url_fault(text) {
            None => Ok(Self::Url(text.to_owned())),
            Some(fault) => Err(format!("{} cannot be fetched: {fault}", quoted(text))),
        }
    }

    /// The last part of its path, under which a vendor's list has it.
    pub fn name(&self) -> String {
        match self {
            Self::Url(url) => url_path(url).rsplit('/').next().unwrap_or_default().to_owned(),
            Self::File(path) => path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        }
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => f.write_str(url),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

/// What speaks against fetching a URL. Credentials in it would end up in logs and manifests.
pub fn url_fault(url: &str) -> Option<&'static str> {
    let Some((scheme, rest)) = url.split_once("://") else { return Some("http://HOST/PATH is expected") };
    if !matches!(scheme, "http" | "https") {
        return Some("only http and https are possible");
    }
    if !url.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}')) {
        return Some("it holds something that no URL may");
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Some("it must not hold a user name or a password");
    }
    if authority.is_empty() || authority.starts_with(':') {
        return Some("it names no host");
    }
    None
}

/// A URL's path, without what follows it.
pub fn url_path(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = rest.find('/').map_or("", |at| &rest[at..]);
    path.split(['?', '#']).next().unwrap_or_default()
}

/// Who vouches for a source's files. Empty: nobody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proof {
    /// The SHA-256 of the one file, instead of a list.
    pub sha256: Option<Sha256Digest>,
    /// The vendor's list of digests: URL or absolute path.
    pub checksums: Option<String>,
    /// The list's detached signature: URL or absolute path. None: the list itself is a clear-signed text.
    pub signature: Option<String>,
    /// The certificates whose signature counts.
    pub keyring: Option<PathBuf>,
    /// Where the keyring comes from, for people: `the package ubuntu-keyring`.
    pub keyring_from: Option<String>,
    /// The fingerprints of those certificates in the keyring that count; empty: all.
    pub fingerprints: Vec<String>,
}

/// Files by URL or path, and who vouches for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesRequest {
    /// The files.
    pub files: Vec<(Role, Location)>,
    /// Who vouches for them.
    pub proof: Proof,
    /// They were named on the command line, and not in a pipeline: decides what a refusal advises.
    pub given: bool,
    /// Whether a missing proof is noted and not refused.
    pub allow_unsigned: bool,
}

/// A fingerprint as people write it, with blanks and in either case, as OpenPGP prints it.
///
/// # Errors
/// It has another number of digits than the fingerprint of a version 4 or a version 6 key.
pub fn fingerprint(text: &str) -> Result<String, String> {
    let digits: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect::<String>().to_ascii_uppercase();
    let digits = digits.strip_prefix("0X").unwrap_or(&digits);
    if matches!(digits.len(), 40 | 64) && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(digits.to_owned());
    }
    // A short key id can be had by anybody in minutes.
    Err(format!("{} is no fingerprint: 40 hexadecimal digits are expected", quoted(text)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::*;

    #[test]
    fn locations() {
        let file = |path: &str| Ok(Location::File(path.into()));
        let fault = |text: &str, fault: &str| Err(format!("\"{text}\" cannot be fetched: {fault}"));
        let table = [
            ("https://a.example/x-1.iso", Ok(Location::Url("https://a.example/x-1.iso".into()))),
            ("http://a.example:8080/x?y=1&z=%20", Ok(Location::Url("http://a.example:8080/x?y=1&z=%20".into()))),
            ("/srv/x y.iso", file("/srv/x y.iso")),
            ("x.iso", file("x.iso")),
            ("", Err("a URL or a path is expected".to_owned())),
            ("ftp://a.example/x", fault("ftp://a.example/x", "only http and https are possible")),
            ("file:///etc/passwd", fault("file:///etc/passwd", "only http and https are possible")),
            ("http:///x", fault("http:///x", "it names no host")),
            ("http://me:secret@a.example/", fault("http://me:secret@a.example/", "it must not hold a user name or a password")),
            ("http://a.example/a b", fault("http://a.example/a b", "it holds something that no URL may")),
            ("http://a.example/{arch}.iso", fault("http://a.example/{arch}.iso", "it holds something that no URL may")),
        ];
        for (text, expected) in table {
            assert_eq!(Location::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn names_are_the_last_part_of_the_path() {
        let table = [
            ("https://a.example/r/x-1.iso", "x-1.iso"),
            ("https://a.example/r/x.iso?mirror=/b/c#d", "x.iso"),
            ("https://a.example", ""),
            ("https://a.example/r/", ""),
            ("/srv/x.iso", "x.iso"),
        ];
        for (text, name) in table {
            assert_eq!(Location::parse(text).unwrap().name(), name, "{text}");
        }
    }

    #[test]
    fn fingerprints() {
        let whole = "843938DF228D22F7B3742BC0D94AA3F0EFE21092";
        let wrong = |text: &str| Err(format!("\"{text}\" is no fingerprint: 40 hexadecimal digits are expected"));
        let table = [
            (whole, Ok(whole.to_owned())),
            ("8439 38df 228d 22f7 b374  2bc0 d94a a3f0 efe2 1092", Ok(whole.to_owned())),
            ("0x843938DF228D22F7B3742BC0D94AA3F0EFE21092", Ok(whole.to_owned())),
            ("D94AA3F0EFE21092", wrong("D94AA3F0EFE21092")),
            ("", wrong("")),
            ("G43938DF228D22F7B3742BC0D94AA3F0EFE21092", wrong("G43938DF228D22F7B3742BC0D94AA3F0EFE21092")),
        ];
        for (text, expected) in table {
            assert_eq!(fingerprint(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in any::<String>()) {
            let _ = fingerprint(&text);
            let _ = url_fault(&text);
            let _ = url_path(&text);
            if let Ok(location) = Location::parse(&text) {
                let _ = location.name();
            }
        }
    }
}
