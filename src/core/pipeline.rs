//! The pipeline file: how a template is made.

use std::path::{Component, PathBuf};

use serde::{Deserialize, Deserializer, de::Error as _};

use super::{
    error::Invalid,
    names::UserName,
    units::{ByteSize, Span},
};

/// A pipeline, as `pipelines/NAME.toml` has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pipeline {
    /// One line for people.
    pub description: PlainText,
    /// Where kernel and initrd of the installer come from.
    pub source: Source,
    /// What the installer is told.
    pub answers: Answers,
    /// The machine that the installer runs on.
    #[serde(default)]
    pub install: Install,
    /// What sealing does besides or instead of its defaults.
    #[serde(default)]
    pub seal: Seal,
    /// What clones get by default.
    pub clone: CloneSettings,
    /// How many published versions stay.
    #[serde(default = "three")]
    pub keep: usize,
}

/// Where the installer comes from.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// The kind of source.
    pub kind: SourceKind,
    /// The release's code name: `trixie`.
    pub suite: Word,
    /// The architecture, in the distribution's words: `amd64`.
    pub arch: Word,
    /// The OpenPGP keyring that the release is checked against.
    #[serde(default)]
    pub keyring: Option<PathBuf>,
    /// The mirror; by default the one that the machine's own configuration names.
    #[serde(default)]
    pub mirror: Option<Word>,
}

/// The kinds of source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceKind {
    /// The netboot kernel and initrd of a Debian mirror.
    Netboot,
}

/// What the installer is told.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answers {
    /// The answer file, relative to the folder that holds `pipelines/`.
    pub file: AnswerPath,
    /// The system's locale.
    #[serde(default = "locale")]
    pub locale: Word,
    /// The console's keymap.
    #[serde(default = "keyboard")]
    pub keyboard: Word,
    /// The time zone.
    #[serde(default = "timezone")]
    pub timezone: Word,
    /// Packages besides those that the answer file itself names.
    #[serde(default)]
    pub packages: Vec<Word>,
    /// An HTTP proxy for the installer; none when empty.
    #[serde(default)]
    pub proxy: Word,
}

/// The machine that the installer runs on.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Install {
    /// The build disk.
    pub disk: ByteSize,
    /// Memory.
    pub memory: ByteSize,
    /// vCPUs.
    pub vcpus: u32,
    /// How long the installation may take.
    pub deadline: Span,
    /// How long the boot test may take.
    pub boot_deadline: Span,
}

impl Default for Install {
    fn default() -> Self {
        let minutes = |count: u64| Span(std::time::Duration::from_secs(count * 60));
        Self {
            disk: ByteSize::mib(4096),
            memory: ByteSize::mib(1024),
            vcpus: 2,
            deadline: minutes(60),
            boot_deadline: minutes(10),
        }
    }
}

/// Changes to the seal's defaults.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Seal {
    /// Operations that are off by default.
    pub enable: Vec<String>,
    /// Operations that are on by default.
    pub disable: Vec<String>,
}

/// What clones get by default.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CloneSettings {
    /// The user that the clones' operators log in as.
    pub user: UserName,
    /// vCPUs.
    #[serde(default = "one")]
    pub vcpus: u32,
    /// Memory.
    pub memory: ByteSize,
    /// The system disk's virtual size.
    pub disk: ByteSize,
}

fn three() -> usize {
    3
}

fn one() -> u32 {
    1
}

fn locale() -> Word {
    Word("en_US.UTF-8".to_owned())
}

fn keyboard() -> Word {
    Word("us".to_owned())
}

fn timezone() -> Word {
    Word("Etc/UTC".to_owned())
}

/// One word for an answer file or a URL: printable ASCII without blanks, quotes, backslashes, and what a shell would act on.
/// An answer file has a setting a line and, in places, shell: nothing that a pipeline says may begin a new one.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize)]
#[serde(transparent)]
pub struct Word(String);

impl Word {
    /// The word.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// One line of text for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlainText(String);

impl std::str::FromStr for Word {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "+-._~:/@,=%[]?".contains(c);
        if text.len() <= 500 && text.chars().all(plain) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("{text:?} is not one plain word: letters, digits and + - . _ ~ : / @ , = % [ ] ? only"))
    }
}

impl std::str::FromStr for PlainText {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.len() <= 200 && !text.chars().any(char::is_control) {
            return Ok(Self(text.to_owned()));
        }
        Err("this must be one line of at most 200 characters".to_owned())
    }
}

impl PlainText {
    /// The line.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for PlainText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// A path below the folder that holds `pipelines/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerPath(PathBuf);

impl AnswerPath {
    /// The path, relative.
    pub fn as_path(&self) -> &std::path::Path {
        &self.0
    }
}

impl<'de> Deserialize<'de> for AnswerPath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let path = PathBuf::from(&text);
        let inside = path.components().all(|part| matches!(part, Component::Normal(_)));
        if inside && !text.is_empty() && !text.chars().any(char::is_control) {
            return Ok(Self(path));
        }
        Err(D::Error::custom(format!(
            "{text:?} leaves the folder that holds pipelines/: write a path below it, as in preseed/debian13.cfg"
        )))
    }
}

/// Reads a pipeline. `file` names it in errors.
///
/// # Errors
/// [`Invalid`] with line and column.
pub fn parse(file: &str, text: &str) -> Result<Pipeline, Invalid> {
    let pipeline: Pipeline = super::toml_text::parse(file, text)?;
    let low = |key: &str, message: &str| Err(super::toml_text::invalid_at_key(file, text, key, message));
    let plain = |word: &Word| {
        word.as_str().chars().all(|c| c.is_ascii_alphanumeric() || "-.".contains(c)) && !word.as_str().contains("..")
    };
    if !plain(&pipeline.source.suite) {
        return low("suite", "a suite is one name, as in \"trixie\"");
    }
    if pipeline.source.arch.as_str() != "amd64" {
        return low("arch", "the only architecture so far is \"amd64\"");
    }
    if !(ByteSize::mib(1024)..=ByteSize(64 << 40)).contains(&pipeline.install.disk) {
        return low("disk", "a build disk needs at least 1 GiB, and cannot have more than 64 TiB");
    }
    if pipeline.install.deadline.0.as_secs() < 60 || pipeline.install.boot_deadline.0.as_secs() < 30 {
        return low("deadline", "a deadline needs at least a minute, the boot test's 30 seconds");
    }
    if pipeline.install.memory < ByteSize::mib(256) || pipeline.clone.memory < ByteSize::mib(128) {
        return low("memory", "an installer needs at least 256 MiB of memory, a clone 128 MiB");
    }
    if !(1..=512).contains(&pipeline.install.vcpus) || !(1..=512).contains(&pipeline.clone.vcpus) {
        return low("vcpus", "vcpus must be 1 to 512");
    }
    if pipeline.keep == 0 {
        return low("keep", "keep must be at least 1: the version just built is one");
    }
    Ok(pipeline)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"description = "Debian"
[source]
kind = "netboot"
suite = "trixie"
arch = "amd64"
[answers]
file = "preseed/debian13.cfg"
[clone]
user = "debian"
memory = "512M"
disk = "8G"
"#;

    #[test]
    fn the_defaults_are_filled_in() {
        let pipeline = parse("p.toml", GOOD).unwrap();
        assert_eq!(pipeline.keep, 3);
        assert_eq!(pipeline.install, Install::default());
        assert_eq!(pipeline.answers.locale.as_str(), "en_US.UTF-8");
    }

    #[test]
    fn each_fault_has_its_place() {
        let table = [
            (
                ("suite = ", "siute = "),
                "p.toml:4:1: unknown field `siute`, expected one of `kind`, `suite`, `arch`, `keyring`, `mirror`",
            ),
            (("\"512M\"", "[1]"), "p.toml:10:10: a size: bytes, or text as in \"20G\""),
            (
                ("\"8G\"", "\"8 bananas\""),
                "p.toml:11:8: '8 bananas' is no size: write a number with a unit, as in 1536MiB or 20G",
            ),
            (
                ("\"trixie\"", "\"trixie\\nd-i\""),
                "p.toml:4:9: \"trixie\\nd-i\" is not one plain word: letters, digits and + - . _ ~ : / @ , = % [ ] ? only",
            ),
            (
                ("preseed/debian13.cfg", "../../etc/shadow"),
                "p.toml:7:8: \"../../etc/shadow\" leaves the folder that holds pipelines/: write a path below it, as in preseed/debian13.cfg",
            ),
            (
                ("user = \"debian\"", "user = \"Root;\""),
                "p.toml:9:8: \"Root;\" is no user name: 1 to 32 lower-case letters, digits, '-' and '_', a letter first",
            ),
            (("\"512M\"", "\"1M\""), "p.toml:10:1: an installer needs at least 256 MiB of memory, a clone 128 MiB"),
            (("arch = \"amd64\"", ""), "p.toml:2:1: missing field `arch`"),
        ];
        for ((from, to), expected) in table {
            assert_eq!(parse("p.toml", &GOOD.replace(from, to)).unwrap_err().to_string(), expected);
        }
    }
}
