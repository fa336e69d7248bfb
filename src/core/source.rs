//! What a build is made from: files, where they are, and who vouches for them.

use std::{fmt, path::PathBuf, str::FromStr};

use serde::{Deserialize, Serialize};

use super::mirror;

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
    /// The digest of the one file, in hexadecimal.
    pub digest: Option<String>,
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
    /// Whether the operator named them in this call: then a file is taken as it is.
    pub given: bool,
    /// Whether a missing proof is noted and not refused.
    pub allow_unsigned: bool,
}
