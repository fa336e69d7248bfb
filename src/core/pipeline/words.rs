//! The texts of a pipeline, checked when they are read.

use std::{
    path::{Component, Path, PathBuf},
    str::FromStr,
};

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use crate::core::source::{Arch, Location};

/// Reads a text type out of a document by its [`FromStr`].
macro_rules! read_by_parsing {
    ($($name:ty),*) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }
    )*};
}

read_by_parsing!(Word, PlainText, Script, AnswerPath, Place, MediumPath, PackageName, GroupName, VolumeGroup);

/// One word for an answer file or a URL: printable ASCII without blanks, quotes, backslashes, and what a shell would act on.
/// An answer file has a setting a line and, in places, shell: nothing that a pipeline says may begin a new one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct Word(String);

impl Word {
    /// The word.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "+-._~:/@,=%[]?".contains(c)
}

impl FromStr for Word {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.len() <= 500 && text.chars().all(is_plain) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("{text:?} is not one plain word: letters, digits and + - . _ ~ : / @ , = % [ ] ? only"))
    }
}

/// One line of text for people.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct PlainText(String);

impl PlainText {
    /// The line.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PlainText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.len() <= 200 && !text.chars().any(char::is_control) {
            return Ok(Self(text.to_owned()));
        }
        Err("this must be one line of at most 200 characters".to_owned())
    }
}

/// One line of shell, run as root in the system that has been installed. Answer files quote it; it may hold anything else.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Script(String);

impl Script {
    /// The line.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Script {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if !text.trim().is_empty() && text.len() <= 4000 && !text.chars().any(char::is_control) {
            return Ok(Self(text.to_owned()));
        }
        Err("a command must be one line of 1 to 4000 characters: write several commands, or put a script into a package"
            .to_owned())
    }
}

/// A path below the folder that holds `pipelines/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerPath(PathBuf);

impl AnswerPath {
    /// The path, relative.
    pub fn as_path(&self) -> &Path {
        &self.0
    }
}

impl FromStr for AnswerPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some(path) = inside(text) {
            return Ok(Self(path));
        }
        Err(format!("{text:?} leaves the folder that holds pipelines/: write a path below it, as in preseed/debian.cfg"))
    }
}

/// A path inside an installer's medium.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct MediumPath(String);

impl MediumPath {
    /// The path, relative to the medium's top.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for MediumPath {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.strip_prefix('/').unwrap_or(text);
        match inside(text) {
            Some(_) => Ok(Self(text.to_owned())),
            None => Err(format!("{text:?} is no path inside a medium, as in casper/vmlinuz")),
        }
    }
}

fn inside(text: &str) -> Option<PathBuf> {
    let path = PathBuf::from(text);
    let inside = path.components().all(|part| matches!(part, Component::Normal(_)));
    (inside && !text.is_empty() && !text.chars().any(char::is_control)).then_some(path)
}

/// Where a file of a source is: an HTTP URL or an absolute path, with `{arch}`, `{cpu}` and `{release}` in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Place(String);

impl Place {
    /// As it stands in the pipeline.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The place for an architecture and a release.
    ///
    /// # Errors
    /// What cannot be meant by it.
    pub fn expand(&self, arch: Arch, release: &str) -> Result<Location, String> {
        let text = self.0.replace("{arch}", arch.debian()).replace("{cpu}", arch.cpu()).replace("{release}", release);
        if text.contains(['{', '}']) {
            return Err(format!("{:?}: only {{arch}}, {{cpu}} and {{release}} are filled in", self.0));
        }
        if release.is_empty() && self.0.contains("{release}") {
            return Err(format!("{:?} asks for the release, and the source names none", self.0));
        }
        text.parse()
    }
}

impl FromStr for Place {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let fits = text.len() <= 1000 && text.chars().all(|c| is_plain(c) || "{}".contains(c));
        if fits && (text.starts_with('/') || text.starts_with("http://") || text.starts_with("https://")) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("{text:?} is no http:// or https:// URL and no absolute path of plain characters"))
    }
}

/// A package, or a group of packages, in the words of the guest's package manager: `vim`, `@core`. What begins with another
/// character would mean something else to an installer: leave out, or the end of the list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct PackageName(String);

impl PackageName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PackageName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "+-._~:/@=^".contains(c);
        if text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '@') && text.len() <= 200 && text.chars().all(plain) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("{text:?} is no package: letters, digits and + - . _ ~ : / @ = ^, a letter, a digit or @ first"))
    }
}

/// A group of a Linux system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct GroupName(String);

impl GroupName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for GroupName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c);
        if text.starts_with(|c: char| c.is_ascii_lowercase() || c == '_') && text.len() <= 32 && text.chars().all(plain) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("{text:?} is no group: 1 to 32 lower-case letters, digits, '-' and '_', a letter first"))
    }
}

/// The name of a volume group inside the guest. What LVM would take and a device's name shows unchanged: no hyphen, which
/// device-mapper doubles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct VolumeGroup(String);

impl VolumeGroup {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for VolumeGroup {
    fn default() -> Self {
        Self("vg0".to_owned())
    }
}

impl FromStr for VolumeGroup {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.len() <= 32 && text.chars().all(plain) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("{text:?} is no name for a volume group here: 1 to 32 letters, digits and '_', a letter first"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused<T: FromStr<Err = String>>(text: &str) -> bool {
        text.parse::<T>().is_err()
    }

    #[test]
    fn places_are_filled_in() {
        let table = [
            ("http://a.example/{release}/{arch}.iso", "22.04", Some("http://a.example/22.04/arm64.iso")),
            ("/srv/{cpu}.iso", "", Some("/srv/aarch64.iso")),
            ("/srv/{release}.iso", "", None),
            ("/srv/{other}.iso", "1", None),
            ("/srv/../x.iso", "1", None),
        ];
        for (text, release, expected) in table {
            let place: Place = text.parse().unwrap();
            assert_eq!(place.expand(Arch::Arm64, release).ok().map(|place| place.to_string()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn what_could_mean_more_is_refused() {
        assert!(refused::<Place>("ftp://a.example/x") && refused::<Place>("x.iso") && refused::<Place>("http://a.example/a b"));
        assert!(refused::<Script>("a\nb") && refused::<Script>(" ") && !refused::<Script>("echo \"it's\" %end {{ x }}"));
        assert!(refused::<GroupName>("a b") && refused::<GroupName>("-x") && refused::<GroupName>(""));
        assert!(refused::<PackageName>("%end") && refused::<PackageName>("-vim") && refused::<PackageName>(""));
        assert!(!refused::<PackageName>("@^minimal-environment") && !refused::<PackageName>("vim=2:9/trixie"));
        assert!(refused::<VolumeGroup>("vg-0") && refused::<VolumeGroup>("0") && !refused::<VolumeGroup>("vg_0"));
        assert!(refused::<MediumPath>("../x") && refused::<MediumPath>("") && !refused::<MediumPath>("/casper/vmlinuz"));
        assert!(refused::<AnswerPath>("/etc/passwd") && refused::<AnswerPath>("a/../../b"));
    }
}
