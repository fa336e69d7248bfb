//! `[source]`: where an installer, or an installed system, comes from.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;

use super::words::{MediumPath, Place, PlainText, Word};
use crate::core::{
    mirror,
    sha256::Sha256Digest,
    source::{Arch, Location, Proof},
};

/// Where an installer, or an installed system, comes from, as the pipeline says it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
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
    /// What is elsewhere for arm64: vendors keep its media on other servers, with lists of their own.
    #[serde(default)]
    pub arm64: Option<Elsewhere>,
}

/// Where the files of another architecture are; what it does not name is the same.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Elsewhere {
    /// The file.
    pub url: Place,
    /// Its digest in hexadecimal, in the place of a list: SHA-256.
    #[serde(default)]
    pub sha256: Option<Word>,
    /// Its checksum list.
    #[serde(default)]
    pub checksums: Option<Place>,
    /// The list's detached signature; without it the list itself is signed.
    #[serde(default)]
    pub signature: Option<Place>,
    /// The keyring, where it is another one.
    #[serde(default)]
    pub keyring: Option<PathBuf>,
    /// The certificates of the keyring that count; all where it is empty.
    #[serde(default)]
    pub fingerprints: Option<Vec<Word>>,
}

/// The kinds of source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
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
        let mut faults = Vec::new();
        match (self.decide(arch, &mut faults), faults.into_iter().next()) {
            (Some(origin), None) => Ok(origin),
            (_, Some(fault)) => Err(fault),
            (None, None) => Err(("kind", "this source cannot be understood".to_owned())),
        }
    }

    /// Every key that is missing, or too much.
    pub(super) fn faults(&self, arch: Arch) -> Vec<Fault> {
        let mut faults = Vec::new();
        self.decide(arch, &mut faults);
        if self.arm64.is_some() && arch != Arch::Arm64 && faults.is_empty() {
            self.decide(Arch::Arm64, &mut faults);
        }
        faults
    }

    /// The origin, where there is no fault.
    fn decide(&self, arch: Arch, faults: &mut Vec<Fault>) -> Option<Origin> {
        match &self.arm64 {
            Some(_) if self.kind == SourceKind::Netboot => {
                faults.push(("arm64", "arm64 means nothing for this source of kind netboot".to_owned()));
                None
            }
            Some(elsewhere) if arch == Arch::Arm64 => self.moved(elsewhere).decide(arch, faults),
            _ => self.decide_here(arch, faults),
        }
    }

    /// The same source, with its files in another place.
    fn moved(&self, elsewhere: &Elsewhere) -> Self {
        let Elsewhere { url, sha256, checksums, signature, keyring, fingerprints } = elsewhere.clone();
        Self {
            url: Some(url),
            sha256,
            checksums,
            signature,
            keyring: keyring.or_else(|| self.keyring.clone()),
            fingerprints: fingerprints.unwrap_or_else(|| self.fingerprints.clone()),
            arm64: None,
            ..self.clone()
        }
    }

    fn decide_here(&self, arch: Arch, faults: &mut Vec<Fault>) -> Option<Origin> {
        let suite = self.suite.as_ref().map(Word::as_str);
        match (self.kind, suite) {
            (SourceKind::Netboot, Some(suite)) => self.archive(suite, faults),
            (SourceKind::Netboot, None) => self.netboot(arch, faults),
            (SourceKind::Iso, _) => {
                self.only_here(&["suite", "mirror"], faults);
                for (key, path) in [("kernel", &self.kernel), ("initrd", &self.initrd)] {
                    let read = path.as_ref().map(|path| path.as_str().parse::<MediumPath>()).transpose();
                    faults.extend(read.map_err(|fault| (key, fault)).err());
                }
                let (medium, proof) = (self.file(arch, faults), self.proof(arch, faults));
                Some(Origin::Iso { medium: medium?, proof })
            }
            (SourceKind::Image, _) => {
                self.only_here(&["suite", "mirror", "kernel", "initrd"], faults);
                let (image, proof) = (self.file(arch, faults), self.proof(arch, faults));
                Some(Origin::Image { image: image?, proof })
            }
        }
    }

    /// The paths of kernel and initrd inside a medium, where they are named.
    pub fn medium_paths(&self) -> (Option<MediumPath>, Option<MediumPath>) {
        let path = |word: &Option<Word>| word.as_ref().and_then(|word| word.as_str().parse().ok());
        (path(&self.kernel), path(&self.initrd))
    }

    fn archive(&self, suite: &str, faults: &mut Vec<Fault>) -> Option<Origin> {
        let plain = suite.chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c)) && !suite.contains("..");
        if !plain {
            faults.push(("suite", "a suite is one name, as in \"trixie\"".to_owned()));
        }
        self.only_here(&["url", "kernel", "initrd", "sha256", "checksums", "signature"], faults);
        let mirror = self.mirror.as_ref().map(|mirror| mirror.as_str().to_owned());
        if let Some(fault) = mirror.as_deref().and_then(|mirror| mirror::checked(mirror).err()) {
            faults.push(("mirror", fault));
        }
        Some(Origin::Archive { suite: suite.to_owned(), mirror, keyring: self.keyring.clone() })
    }

    fn netboot(&self, arch: Arch, faults: &mut Vec<Fault>) -> Option<Origin> {
        self.only_here(&["mirror", "url", "sha256"], faults);
        if self.kernel.is_none() && self.initrd.is_none() {
            faults.push(("kernel", "netboot needs a suite of a Debian archive, or a kernel and an initrd".to_owned()));
        }
        let mut place = |key: &'static str, word: &Option<Word>| {
            let Some(word) = word else {
                // Where both are missing, that has been said.
                if self.kernel.is_some() || self.initrd.is_some() {
                    faults.push((key, format!("{key} is missing: netboot needs a kernel and an initrd")));
                }
                return None;
            };
            let expanded = word.as_str().parse::<Place>().and_then(|place| place.expand(arch, self.release.as_str()));
            expanded.map_err(|fault| faults.push((key, fault))).ok()
        };
        let (kernel, initrd) = (place("kernel", &self.kernel), place("initrd", &self.initrd));
        let proof = self.proof(arch, faults);
        Some(Origin::Netboot { kernel: kernel?, initrd: initrd?, proof })
    }

    fn file(&self, arch: Arch, faults: &mut Vec<Fault>) -> Option<Location> {
        let Some(url) = &self.url else {
            faults.push(("kind", format!("{} needs url, the file's place", self.kind.as_str())));
            return None;
        };
        url.expand(arch, self.release.as_str()).map_err(|fault| faults.push(("url", fault))).ok()
    }

    fn proof(&self, arch: Arch, faults: &mut Vec<Fault>) -> Proof {
        let digest = self.sha256.as_ref().and_then(|word| {
            let wrong = |_| faults.push(("sha256", "a SHA-256 has 64 hexadecimal digits".to_owned()));
            word.as_str().parse::<Sha256Digest>().map_err(wrong).ok()
        });
        if self.sha256.is_some() && self.checksums.is_some() {
            faults.push(("sha256", "sha256 stands in the place of checksums: one of both".to_owned()));
        }
        if self.signature.is_some() && self.checksums.is_none() {
            faults.push(("signature", "a signature is one of a list: checksums names it".to_owned()));
        }
        let hex = |word: &Word| word.as_str().len() >= 40 && word.as_str().bytes().all(|b| b.is_ascii_hexdigit());
        for odd in self.fingerprints.iter().filter(|word| !hex(word)) {
            faults.push(("fingerprints", format!("{:?} is no fingerprint: 40 or 64 hexadecimal digits", odd.as_str())));
        }
        let mut url = |key: &'static str, place: &Option<Place>| {
            let expanded = place.as_ref()?.expand(arch, self.release.as_str());
            expanded.map(|location| location.to_string()).map_err(|fault| faults.push((key, fault))).ok()
        };
        Proof {
            digest,
            checksums: url("checksums", &self.checksums),
            signature: url("signature", &self.signature),
            keyring: self.keyring.clone(),
            keyring_from: self.keyring_from.as_ref().map(|text| text.as_str().to_owned()),
            fingerprints: self.fingerprints.iter().map(|word| word.as_str().to_ascii_uppercase()).collect(),
        }
    }

    /// Notes keys that mean nothing for this kind.
    fn only_here(&self, keys: &[&'static str], faults: &mut Vec<Fault>) {
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
        let odd = keys.iter().filter(|key| set(key));
        faults.extend(odd.map(|key| (*key, format!("{key} means nothing for this source of kind {}", self.kind.as_str()))));
    }
}
