//! What a build is made from: files, where they are, and who vouches for them.

mod age;
mod digest;

use std::{fmt, path::PathBuf, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{mirror, quoted::quoted, sha256::Sha256Digest};

pub use age::Age;
pub(in crate::core) use digest::hex_bytes;
pub use digest::{Algorithm, Digest};

/// A guest's architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Arch {
    /// 64-bit x86.
    #[default]
    Amd64,
    /// 64-bit Arm.
    Arm64,
}

impl Arch {
    /// Debian's and Ubuntu's name: `amd64`.
    pub fn debian(self) -> &'static str {
        match self {
            Self::Amd64 => "amd64",
            Self::Arm64 => "arm64",
        }
    }

    /// The kernel's, Red Hat's and libvirt's name: `x86_64`.
    pub fn cpu(self) -> &'static str {
        match self {
            Self::Amd64 => "x86_64",
            Self::Arm64 => "aarch64",
        }
    }
}

impl FromStr for Arch {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "amd64" | "x86_64" => Ok(Self::Amd64),
            "arm64" | "aarch64" => Ok(Self::Arm64),
            _ => Err(format!("{text:?} is no architecture that tpl knows: amd64 or arm64")),
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.debian())
    }
}

/// What a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The installer's kernel.
    Kernel,
    /// The installer's initrd.
    Initrd,
    /// The installer's medium.
    Medium,
    /// A disk image with an installed system.
    Image,
}

impl Role {
    /// As people call it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Kernel => "the kernel",
            Self::Initrd => "the initrd",
            Self::Medium => "the medium",
            Self::Image => "the image",
        }
    }
}

/// Where a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// Behind HTTP.
    Url(String),
    /// On this machine.
    File(PathBuf),
}

impl Location {
    /// The last part of its path, under which a vendor's list has it.
    pub fn name(&self) -> String {
        match self {
            Self::Url(url) => url_path(url).rsplit('/').next().unwrap_or_default().to_owned(),
            Self::File(path) => path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        }
    }
}

impl FromStr for Location {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains("://") {
            return mirror::checked(text).map(Self::Url).map_err(|error| error.replace("a mirror", "a source"));
        }
        let path = PathBuf::from(text);
        let plain = !text.is_empty() && !text.chars().any(char::is_control);
        if !plain || path.components().any(|part| part == std::path::Component::ParentDir) {
            return Err(format!("{text:?} is no path without '..'"));
        }
        Ok(Self::File(path))
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

/// Who vouches for files.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Proof {
    /// The SHA-256 of the one file, in the place of a list.
    pub digest: Option<Sha256Digest>,
    /// The vendor's checksum list.
    pub checksums: Option<String>,
    /// The list's detached signature; none where the list itself is signed.
    pub signature: Option<String>,
    /// The certificates whose signature counts.
    pub keyring: Option<PathBuf>,
    /// Where the keyring comes from, for people.
    pub keyring_from: Option<String>,
    /// Those of the keyring's certificates that count, by their fingerprints; all where it is empty.
    pub fingerprints: Vec<String>,
}

/// Files to find and to check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// The netboot installer of a Debian archive, along the archive's own chain of signatures.
    Archive(ArchiveRequest),
    /// Files by their places.
    Files(FilesRequest),
}

/// Which installer of a Debian archive, from where, and who vouches for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveRequest {
    /// The archive's URL: `http://HOST/debian`.
    pub mirror: String,
    /// The suite's codename: `trixie`.
    pub suite: String,
    /// Debian's name of the architecture: `amd64`.
    pub arch: String,
    /// The certificates whose signature counts; none: nobody's does.
    pub keyring: Option<PathBuf>,
    /// Whether a missing link is noted and not refused.
    pub allow_unsigned: bool,
}

/// Files by their places.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilesRequest {
    /// Each file and what it is for.
    pub files: Vec<(Role, Location)>,
    /// Who vouches for them.
    pub proof: Proof,
    /// Whether the operator named them in this call: decides what a refusal advises.
    pub given: bool,
    /// Whether a missing proof is noted and not refused.
    pub allow_unsigned: bool,
}

impl Request {
    /// Where a file for this purpose is; none where the request asks for none.
    pub fn place(&self, role: Role) -> Option<&Location> {
        match self {
            Self::Archive(_) => None,
            Self::Files(request) => request.files.iter().find(|(other, _)| *other == role).map(|(_, place)| place),
        }
    }
}

/// A URL's path, without what follows it.
pub fn url_path(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = rest.find('/').map_or("", |at| &rest[at..]);
    path.split(['?', '#']).next().unwrap_or_default()
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
        let table = [
            ("https://a.example/x-1.iso", Ok(Location::Url("https://a.example/x-1.iso".into()))),
            ("/srv/x y.iso", file("/srv/x y.iso")),
            ("x.iso", file("x.iso")),
            ("", Err("\"\" is no path without '..'".to_owned())),
            ("../x", Err("\"../x\" is no path without '..'".to_owned())),
            ("file:///etc/passwd", Err("\"file:///etc/passwd\" cannot be a source: only http and https are possible".to_owned())),
            ("http://me:secret@a.example/", Err("a source's URL must not hold a user name or a password".to_owned())),
        ];
        for (text, expected) in table {
            assert_eq!(text.parse::<Location>(), expected, "{text}");
        }
    }

    #[test]
    fn names_are_the_last_part_of_the_path() {
        let table = [
            ("https://a.example/r/x-1.iso", "x-1.iso"),
            ("https://a.example", ""),
            ("https://a.example/r/", "r"),
            ("/srv/x.iso", "x.iso"),
        ];
        for (text, name) in table {
            assert_eq!(text.parse::<Location>().unwrap().name(), name, "{text}");
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
            let _ = url_path(&text);
            if let Ok(location) = text.parse::<Location>() {
                let _ = location.name();
            }
        }
    }
}
