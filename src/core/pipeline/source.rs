//! `[source]`: where an installer, or an installed system, comes from.

use std::path::PathBuf;

use serde::Deserialize;

use super::words::{MediumPath, Place, PlainText, Word};
use crate::core::{
    sha256::Sha256Digest,
    source::{Arch, Location, Proof},
};

/// Where an installer, or an installed system, comes from, as the pipeline says it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The kind of source.
    pub kind: SourceKind,
    /// The guest's architecture.
    #[serde(default)]
    pub arch: Arch,
    /// The vendor's word for the release: `22.04`.
    #[serde(default)]
    pub release: Word,
    /// netboot from a Debian archive: the release's code name, `trixie`.
    #[serde(default)]
    pub suite: Option<Word>,
    /// netboot from a Debian archive: the mirror; by default the one that the machine's own configuration names.
    #[serde(default)]
    pub mirror: Option<Word>,
    /// iso and image: the file.
    #[serde(default)]
    pub url: Option<Place>,
    /// netboot: the kernel. iso: its path inside the medium, where it is not found by itself.
    #[serde(default)]
    pub kernel: Option<Word>,
    /// The same of the initrd.
    #[serde(default)]
    pub initrd: Option<Word>,
    /// The digest of `url` in hexadecimal, in the place of a list: SHA-256.
    #[serde(default)]
    pub sha256: Option<Word>,
    /// The vendor's checksum list.
    #[serde(default)]
    pub checksums: Option<Place>,
    /// The list's detached signature; without it the list itself is signed.
    #[serde(default)]
    pub signature: Option<Place>,
    /// The OpenPGP keyring that signatures are checked against.
    #[serde(default)]
    pub keyring: Option<PathBuf>,
    /// The certificates of the keyring that count; all where it is empty.
    #[serde(default)]
    pub fingerprints: Vec<Word>,
    /// Where the keyring comes from, for people.
    #[serde(default)]
    pub keyring_from: Option<PlainText>,
}

/// The kinds of source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceKind {
    /// An installer's kernel and initrd, of a Debian archive or by their places.
    Netboot,
    /// An installer's medium.
    Iso,
    /// A disk image with an installed system.
    Image,
}

impl SourceKind {
    /// As the pipeline writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Netboot => "netboot",
            Self::Iso => "iso",
            Self::Image => "image",
        }
    }
}

/// The same with everything decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The netboot installer of a Debian archive.
    Archive {
        /// The release's code name.
        suite: String,
        /// The mirror, where the pipeline names one.
        mirror: Option<String>,
        /// The keyring.
        keyring: Option<PathBuf>,
    },
    /// An installer's kernel and initrd.
    Netboot {
        /// The kernel.
        kernel: Location,
        /// The initrd.
        initrd: Location,
        /// Who vouches for them.
        proof: Proof,
    },
    /// An installer's medium.
    Iso {
        /// The medium.
        medium: Location,
        /// Who vouches for it.
        proof: Proof,
    },
    /// A disk image.
    Image {
        /// The image.
        image: Location,
        /// Who vouches for it.
        proof: Proof,
    },
}

/// A key of `[source]` that does not go with the others, and why.
pub type Fault = (&'static str, String);

impl Source {
    /// Decides what the keys mean together, for an architecture.
    ///
    /// # Errors
    /// The first key that is missing, or too much.
    pub fn origin(&self, arch: Arch) -> Result<Origin, Fault> {
        let suite = self.suite.as_ref().map(Word::as_str);
        match (self.kind, suite) {
            (SourceKind::Netboot, Some(suite)) => self.archive(suite),
            (SourceKind::Netboot, None) => self.netboot(arch),
            (SourceKind::Iso, _) => {
                self.only_here(&["suite", "mirror"])?;
                for key in [("kernel", &self.kernel), ("initrd", &self.initrd)] {
                    key.1.as_ref().map(|path| path.as_str().parse::<MediumPath>()).transpose().map_err(|fault| (key.0, fault))?;
                }
                Ok(Origin::Iso { medium: self.file(arch)?, proof: self.proof(arch)? })
            }
            (SourceKind::Image, _) => {
                self.only_here(&["suite", "mirror", "kernel", "initrd"])?;
                Ok(Origin::Image { image: self.file(arch)?, proof: self.proof(arch)? })
            }
        }
    }

    /// The paths of kernel and initrd inside a medium, where they are named.
    pub fn medium_paths(&self) -> (Option<MediumPath>, Option<MediumPath>) {
        let path = |word: &Option<Word>| word.as_ref().and_then(|word| word.as_str().parse().ok());
        (path(&self.kernel), path(&self.initrd))
    }

    fn archive(&self, suite: &str) -> Result<Origin, Fault> {
        let plain = suite.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c)) && !suite.contains("..");
        if !plain {
            return Err(("suite", "a suite is one name, as in \"trixie\"".to_owned()));
        }
        self.only_here(&["url", "kernel", "initrd", "sha256", "checksums", "signature"])?;
        let mirror = self.mirror.as_ref().map(|mirror| mirror.as_str().to_owned());
        Ok(Origin::Archive { suite: suite.to_owned(), mirror, keyring: self.keyring.clone() })
    }

    fn netboot(&self, arch: Arch) -> Result<Origin, Fault> {
        self.only_here(&["mirror", "url", "sha256"])?;
        let place = |key: &'static str, word: &Option<Word>| {
            let missing = || (key, "netboot needs a suite of a Debian archive, or a kernel and an initrd".to_owned());
            let place: Place = word.as_ref().ok_or_else(missing)?.as_str().parse().map_err(|fault| (key, fault))?;
            place.expand(arch, self.release.as_str()).map_err(|fault| (key, fault))
        };
        Ok(Origin::Netboot {
            kernel: place("kernel", &self.kernel)?,
            initrd: place("initrd", &self.initrd)?,
            proof: self.proof(arch)?,
        })
    }

    fn file(&self, arch: Arch) -> Result<Location, Fault> {
        let missing = || ("kind", format!("{} needs url, the file's place", self.kind.as_str()));
        self.url.as_ref().ok_or_else(missing)?.expand(arch, self.release.as_str()).map_err(|fault| ("url", fault))
    }

    fn proof(&self, arch: Arch) -> Result<Proof, Fault> {
        let url = |key: &'static str, place: &Option<Place>| {
            let expanded = place.as_ref().map(|place| place.expand(arch, self.release.as_str())).transpose();
            Ok::<_, Fault>(expanded.map_err(|fault| (key, fault))?.map(|location| location.to_string()))
        };
        let digest = self.sha256.as_ref().map(|word| word.as_str().parse::<Sha256Digest>()).transpose();
        let digest = digest.map_err(|_| ("sha256", "a SHA-256 has 64 hexadecimal digits".to_owned()))?;
        if digest.is_some() && self.checksums.is_some() {
            return Err(("sha256", "sha256 stands in the place of checksums: one of both".to_owned()));
        }
        if self.signature.is_some() && self.checksums.is_none() {
            return Err(("signature", "a signature is one of a list: checksums names it".to_owned()));
        }
        let hex = |word: &Word| word.as_str().len() >= 40 && word.as_str().bytes().all(|b| b.is_ascii_hexdigit());
        if let Some(odd) = self.fingerprints.iter().find(|word| !hex(word)) {
            return Err(("fingerprints", format!("{:?} is no fingerprint: 40 or 64 hexadecimal digits", odd.as_str())));
        }
        Ok(Proof {
            digest,
            checksums: url("checksums", &self.checksums)?,
            signature: url("signature", &self.signature)?,
            keyring: self.keyring.clone(),
            keyring_from: self.keyring_from.as_ref().map(|text| text.as_str().to_owned()),
            fingerprints: self.fingerprints.iter().map(|word| word.as_str().to_ascii_uppercase()).collect(),
        })
    }

    /// Refuses keys that mean nothing for this kind.
    fn only_here(&self, keys: &[&'static str]) -> Result<(), Fault> {
        let set = |key: &str| match key {
            "suite" => self.suite.is_some(),
            "mirror" => self.mirror.is_some(),
            "url" => self.url.is_some(),
            "kernel" => self.kernel.is_some(),
            "initrd" => self.initrd.is_some(),
            "sha256" => self.sha256.is_some(),
            "checksums" => self.checksums.is_some(),
            _ => self.signature.is_some(),
        };
        match keys.iter().find(|key| set(key)) {
            Some(key) => Err((key, format!("{key} means nothing for this source of kind {}", self.kind.as_str()))),
            None => Ok(()),
        }
    }
}
