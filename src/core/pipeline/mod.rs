//! The pipeline file: how a template is made.

mod answers;
mod faults;
mod source;
mod words;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    check::document::Document,
    error::Invalid,
    names::UserName,
    units::{ByteSize, Span},
    vm_spec::Firmware,
};

use faults::Parts;

pub use answers::{Answers, AnswersKind, ExtraUser, Layout, RootFileSystem};
pub use source::{Origin, Source, SourceKind};
pub use words::{AnswerPath, GroupName, MediumPath, PackageName, Place, PlainText, Script, VolumeGroup, Word};

/// A pipeline, as `pipelines/NAME.toml` has it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pipeline {
    /// One line for people.
    pub description: PlainText,
    /// Where the installer, or the installed system, comes from.
    pub source: Source,
    /// What the installer is told; not there for an image, which is installed.
    #[serde(default)]
    pub answers: Option<Answers>,
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
    #[schemars(range(min = 1))]
    pub keep: usize,
}

/// The machine that the installer runs on.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Install {
    /// The build disk.
    pub disk: ByteSize,
    /// Memory.
    pub memory: ByteSize,
    /// vCPUs.
    #[schemars(range(min = 1, max = 512))]
    pub vcpus: u32,
    /// How long the installation may take.
    pub deadline: Span,
    /// How long the boot test may take.
    pub boot_deadline: Span,
    /// What starts the machine, and the clones of the template.
    pub firmware: Firmware,
    /// Arguments for the installer's kernel besides those that it needs.
    pub arguments: Vec<Word>,
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
            firmware: Firmware::default(),
            arguments: Vec::new(),
        }
    }
}

/// Changes to the seal's defaults.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Seal {
    /// Operations that are off by default.
    pub enable: Vec<String>,
    /// Operations that are on by default.
    pub disable: Vec<String>,
    /// Whether the template gets as small as its content; else it keeps the build disk's size.
    pub shrink: bool,
}

impl Default for Seal {
    fn default() -> Self {
        Self { enable: Vec::new(), disable: Vec::new(), shrink: true }
    }
}

/// What clones get by default.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CloneSettings {
    /// The user that the clones' operators log in as.
    pub user: UserName,
    /// vCPUs.
    #[serde(default = "one")]
    #[schemars(range(min = 1, max = 512))]
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

/// Reads a pipeline. `file` names it in errors.
///
/// # Errors
/// [`Invalid`]: every fault at once, each with line and column.
pub fn parse(file: &str, text: &str) -> Result<Pipeline, Invalid> {
    parse_with(file, text, |_| {})
}

/// The same with something else that is to be looked at: what is noted in the document counts.
///
/// # Errors
/// [`Invalid`]: every fault at once, each with line and column.
pub fn parse_with(file: &str, text: &str, also: impl FnOnce(&mut Document<'_>)) -> Result<Pipeline, Invalid> {
    let mut document = Document::parse(file, text)?;
    document.check::<Pipeline>();
    for (key, message) in Parts::of(&document).faults() {
        document.add(&key, message);
    }
    also(&mut document);
    document.read()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::source::Arch;

    const GOOD: &str = r#"description = "Debian"
[source]
kind = "netboot"
suite = "trixie"
arch = "amd64"
[answers]
kind = "preseed"
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
        assert_eq!(pipeline.answers.unwrap().locale.as_str(), "en_US.UTF-8");
    }

    #[test]
    fn another_architectures_files_may_be_elsewhere() {
        let here = GOOD.replace("netboot", "iso").replace("suite = \"trixie\"", "url = \"http://a/x.iso\"\nsha256 = \"00\"");
        let here = here.replace(
            "sha256 = \"00\"",
            "checksums = \"http://a/SUMS\"\nfingerprints = [\"0123456789012345678901234567890123456789\"]",
        );
        let text = here.replace("[answers]", "[source.arm64]\nurl = \"http://b/{cpu}.iso\"\nkeyring = \"/b.gpg\"\n[answers]");
        let source = parse("p.toml", &text).unwrap().source;
        let places = |arch| match source.origin(arch).unwrap() {
            Origin::Iso { medium, proof } => (medium.to_string(), proof),
            other => panic!("{other:?}"),
        };
        let (medium, proof) = places(Arch::Amd64);
        assert_eq!((medium.as_str(), proof.checksums.as_deref(), proof.keyring), ("http://a/x.iso", Some("http://a/SUMS"), None));
        let (medium, proof) = places(Arch::Arm64);
        assert_eq!((medium.as_str(), proof.checksums, proof.keyring), ("http://b/aarch64.iso", None, Some("/b.gpg".into())));
        assert_eq!(proof.fingerprints.len(), 1);
        let broken = parse("p.toml", &text.replace("{cpu}", "{x}")).unwrap_err().to_string();
        assert!(broken.contains("only {arch}, {cpu} and {release} are filled in"), "{broken}");
    }

    #[test]
    fn each_fault_has_its_place() {
        let table = [
            (
                ("suite = ", "siute = "),
                "p.toml:4:1: unknown field `siute`, expected one of `kind`, `arch`, `release`, `suite`, `mirror`, `url`, `kernel`, \
                 `initrd`, `sha256`, `checksums`, `signature`, `keyring`, `fingerprints`, `keyring_from`, `arm64`",
            ),
            (("\"512M\"", "[1]"), "p.toml:11:10: a size: bytes, or text as in \"20G\""),
            (
                ("\"8G\"", "\"8 bananas\""),
                "p.toml:12:8: '8 bananas' is no size: write a number with a unit, as in 1536MiB or 20G",
            ),
            (
                ("\"trixie\"", "\"trixie\\nd-i\""),
                "p.toml:4:9: \"trixie\\nd-i\" is not one plain word: letters, digits and + - . _ ~ : / @ , = % [ ] ? only",
            ),
            (
                ("preseed/debian13.cfg", "../../etc/shadow"),
                "p.toml:8:8: \"../../etc/shadow\" leaves the folder that holds pipelines/: write a path below it, as in preseed/debian.cfg",
            ),
            (
                ("user = \"debian\"", "user = \"Root;\""),
                "p.toml:10:8: \"Root;\" is no user name: 1 to 32 lower-case letters, digits, '-' and '_', a letter first",
            ),
            (("\"512M\"", "\"1M\""), "p.toml:11:1: a clone needs at least 128 MiB of memory"),
            (("kind = \"netboot\"", ""), "p.toml:2:1: missing field `kind`"),
            (("suite = \"trixie\"", ""), "p.toml:2:1: netboot needs a suite of a Debian archive, or a kernel and an initrd"),
            (("suite = ", "url = \"/x.iso\"\nsuite = "), "p.toml:4:1: url means nothing for this source of kind netboot"),
            (
                ("netboot", "image"),
                "p.toml:3:1: an image is installed already: [answers] means nothing for it\n\
                 p.toml:3:1: image needs url, the file's place\n\
                 p.toml:4:1: suite means nothing for this source of kind image",
            ),
            (("preseed\"", "kickstart\""), "p.toml:7:1: a Debian archive's installer reads a preseed"),
            (("[clone]", "swap = \"1M\"\n[clone]"), "p.toml:9:1: swap is 0, or 16 MiB to 1 TiB"),
        ];
        for ((from, to), expected) in table {
            assert_eq!(parse("p.toml", &GOOD.replace(from, to)).unwrap_err().to_string(), expected);
        }
    }
}
