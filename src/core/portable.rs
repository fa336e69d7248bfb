//! A template as two files: its volume, and beside it `FILE.manifest.json` with all else. For sites without a connection.
//!
//! Both come from elsewhere, by whatever way, and are believed nothing. What is kept of a manifest is what a version is; state,
//! place and run are this hypervisor's own, and the domain is made anew from words out of short lists.

use std::path::{Path, PathBuf};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{error::Invalid, hardware::Hardware, manifest::Manifest, quoted::quoted, sha256::Sha256Digest, units::ByteSize};

/// The encoding of the document.
const FORMAT: u32 = 1;
/// Larger than any manifest: libvirt takes no definition beyond 4 MiB, and UEFI variables are below 1 MiB.
pub const MAX_DOCUMENT: u64 = 8 << 20;
/// What a manifest may take of a domain's definition.
const MAX_MANIFEST: usize = 3 << 20;
/// OVMF's variables take half a MiB. In a logical pool they are padded to whole extents.
pub const MAX_NVRAM: u64 = 64 << 20;
/// What is taken of them from elsewhere.
const LARGEST_NVRAM: usize = 2 << 20;
/// The size of a sector: a disk is made of whole ones.
const SECTOR: u64 = 512;

/// How the volume is put into a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// A qcow2 image.
    Qcow2,
    /// The bytes that the guest sees, packed with zstd.
    RawZst,
}

impl Packing {
    /// The packing that the end of a file's name says.
    ///
    /// # Errors
    /// [`Invalid`]: it says none.
    pub fn of(file: &Path) -> Result<Self, Invalid> {
        let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        match name {
            name if name.ends_with(".qcow2") => Ok(Self::Qcow2),
            name if name.ends_with(".raw.zst") => Ok(Self::RawZst),
            name => Err(Invalid::argument(format!("{} ends neither in .qcow2 nor in .raw.zst", quoted(&name)))),
        }
    }
}

/// The file beside a volume's.
pub fn document_of(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".manifest.json");
    name.into()
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: u32,
    manifest: Manifest,
    /// UEFI variables, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nvram: Option<String>,
}

/// A template that came in two files, checked as far as that can be done without its volume and without keys.
#[derive(Debug, Clone, PartialEq)]
pub struct Portable {
    /// What it says of itself.
    pub manifest: Manifest,
    /// The content digest that it says its volume has.
    pub digest: Sha256Digest,
    /// The machine that it depends on.
    pub hardware: Hardware,
    /// The UEFI variables that its clones begin with; their digest is right.
    pub nvram: Option<Vec<u8>>,
}

/// The document for a manifest.
///
/// # Errors
/// It cannot be written.
pub fn write(manifest: &Manifest, nvram: Option<&[u8]>) -> Result<String, serde_json::Error> {
    let document = Document { format: FORMAT, manifest: manifest.clone(), nvram: nvram.map(|bytes| STANDARD.encode(bytes)) };
    serde_json::to_string_pretty(&document).map(|text| text + "\n")
}

/// Reads a document.
///
/// # Errors
/// Why it is not taken.
pub fn parse(text: &str) -> Result<Portable, String> {
    let value: Value = serde_json::from_str(text).map_err(|error| format!("it is no manifest: {error}"))?;
    match value.get("format").and_then(Value::as_u64) {
        Some(format) if format == u64::from(FORMAT) => {}
        Some(format) => return Err(format!("it is of the format {format}, which this tpl does not know")),
        None => return Err("it is no manifest of tpl: it names no format".to_owned()),
    }
    let Document { manifest, nvram, .. } =
        serde_json::from_value(value).map_err(|error| format!("it is no manifest: {error}"))?;
    let written = serde_json::to_value(&manifest).map_err(|error| error.to_string())?;
    if written.to_string().len() > MAX_MANIFEST {
        return Err(format!("its manifest takes more than {}", ByteSize(MAX_MANIFEST as u64)));
    }
    printable(&written, "manifest")?;
    let digest = manifest.digest.as_deref().unwrap_or_default();
    let digest: Sha256Digest = digest.parse().map_err(|error| format!("its digest: {error}"))?;
    if manifest.digest != Some(digest.to_string()) {
        return Err("its digest is not in lower case".to_owned());
    }
    let size = manifest.virtual_size.0;
    if size == 0 || !size.is_multiple_of(SECTOR) {
        return Err(format!("its virtual size of {size} bytes is no disk's"));
    }
    let clone = &manifest.clone;
    if !(1..=512).contains(&clone.vcpus) || clone.memory < ByteSize::mib(128) || clone.memory > ByteSize(1 << 46) {
        return Err(format!("its clones cannot have {} vCPUs and {} memory", clone.vcpus, clone.memory));
    }
    let hardware = manifest.hardware.clone().ok_or("it does not say on which machine it runs")?;
    hardware.check()?;
    let nvram = variables(&hardware, nvram.as_deref())?;
    Ok(Portable { digest, hardware, nvram, manifest })
}

/// The UEFI variables, if they are those that the manifest names.
fn variables(hardware: &Hardware, encoded: Option<&str>) -> Result<Option<Vec<u8>>, String> {
    match (&hardware.nvram, encoded) {
        (None, None) => Ok(None),
        (None, Some(_)) => Err("it has UEFI variables that its manifest does not name".to_owned()),
        (Some(_), None) => Err("the UEFI variables are missing that its manifest names".to_owned()),
        (Some(wanted), Some(encoded)) => {
            let bytes = STANDARD.decode(encoded).map_err(|_| "its UEFI variables are no base64".to_owned())?;
            if bytes.len() > LARGEST_NVRAM {
                return Err(format!("its UEFI variables take more than {}", ByteSize(LARGEST_NVRAM as u64)));
            }
            match Sha256Digest(Sha256::digest(&bytes).into()) == *wanted {
                true => Ok(Some(bytes)),
                false => Err("its UEFI variables are not those that its manifest names".to_owned()),
            }
        }
    }
}

/// UEFI variables without the zeros that a logical volume has behind them, if they are those of this digest.
pub fn unpadded(mut bytes: Vec<u8>, wanted: &Sha256Digest) -> Vec<u8> {
    let length = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    if Sha256Digest(Sha256::digest(&bytes[..length]).into()) == *wanted {
        bytes.truncate(length);
    }
    bytes
}

/// Makes sure that no text holds what a terminal would act on. A signature has lines.
fn printable(value: &Value, place: &str) -> Result<(), String> {
    match value {
        Value::String(text) if place != "minisig" && text.chars().any(char::is_control) => {
            Err(format!("its {place} holds control characters"))
        }
        Value::Array(values) => values.iter().try_for_each(|value| printable(value, place)),
        Value::Object(fields) => fields.iter().try_for_each(|(name, value)| {
            if name.chars().any(char::is_control) {
                return Err(format!("its {place} holds control characters"));
            }
            printable(value, name)
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let mut one: Manifest = serde_json::from_str(include_str!("../../tests/fixtures/manifest.json")).unwrap();
        // Which is there to be awkward.
        one.os = None;
        one.packages.truncate(1);
        one
    }

    fn document(manifest: &Manifest, nvram: Option<&[u8]>) -> String {
        write(manifest, nvram).unwrap()
    }

    #[test]
    fn what_is_written_reads_back() {
        let mut one = manifest();
        let read = parse(&document(&one, None)).unwrap();
        assert_eq!((&read.manifest, &read.nvram), (&one, &None));
        let hardware = one.hardware.as_mut().unwrap();
        hardware.firmware = crate::core::vm_spec::Firmware::Uefi;
        hardware.nvram = Some(Sha256Digest(Sha256::digest(b"vars").into()));
        assert_eq!(parse(&document(&one, Some(b"vars"))).unwrap().nvram.as_deref(), Some(&b"vars"[..]));
        assert_eq!(
            parse(&document(&one, Some(b"vars!"))).unwrap_err(),
            "its UEFI variables are not those that its manifest names"
        );
        assert_eq!(parse(&document(&one, None)).unwrap_err(), "the UEFI variables are missing that its manifest names");
    }

    #[test]
    fn what_is_not_taken() {
        type Change = fn(&mut Manifest);
        let table: [(Change, &str); 9] = [
            (|m| m.digest = None, "its digest: no SHA-256 digest: 64 hexadecimal digits are expected"),
            (|m| m.digest = m.digest.take().map(|d| d.to_uppercase()), "its digest is not in lower case"),
            (|m| m.virtual_size.0 = 0, "its virtual size of 0 bytes is no disk's"),
            (|m| m.virtual_size.0 = 513, "its virtual size of 513 bytes is no disk's"),
            (|m| m.clone.vcpus = 0, "its clones cannot have 0 vCPUs and 1 GiB memory"),
            (|m| m.hardware = None, "it does not say on which machine it runs"),
            (|m| m.packages[0].name = "\u{1b}[2J".to_owned(), "its name holds control characters"),
            (|m| drop(m.tools.insert("\n".to_owned(), String::new())), "its tools holds control characters"),
            (|m| m.packages = vec![m.packages[0].clone(); 200_000], "its manifest takes more than 3 MiB"),
        ];
        for (change, expected) in table {
            let mut one = manifest();
            change(&mut one);
            assert_eq!(parse(&document(&one, None)).unwrap_err(), expected);
        }
        let good = document(&manifest(), None);
        let unnamed = "it has UEFI variables that its manifest does not name";
        assert_eq!(parse(&document(&manifest(), Some(b"x"))).unwrap_err(), unnamed);
        for (bad, expected) in [
            (String::new(), "it is no manifest: "),
            ("[]".to_owned(), "it is no manifest of tpl: it names no format"),
            (good.replace("\"format\": 1", "\"format\": 2"), "it is of the format 2, which this tpl does not know"),
            (good.replace("\"format\": 1", "\"format\": 1, \"x\": 1"), "it is no manifest: unknown field `x`"),
            (good.replace("\"debian13\"", "\"../x\""), "it is no manifest: \"../x\" is no template name"),
            (good.replace("\"q35\"", "\"q35'\""), "it is no manifest: unknown variant `q35'`"),
            ("[".repeat(100_000), "it is no manifest: "),
        ] {
            let error = parse(&bad).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn padding_goes_where_the_digest_says_so() {
        let digest = |bytes: &[u8]| Sha256Digest(Sha256::digest(bytes).into());
        let table: [(&[u8], &[u8], &[u8]); 4] = [
            (b"vars\0\0", b"vars", b"vars"),
            (b"vars\0\0", b"vars\0\0", b"vars\0\0"),
            (b"vars\0", b"other", b"vars\0"),
            (b"\0\0", b"", b""),
        ];
        for (bytes, of, expected) in table {
            assert_eq!(unpadded(bytes.to_vec(), &digest(of)), expected, "{bytes:?}");
        }
    }

    #[test]
    fn names_say_the_packing() {
        for (name, packing) in [("/a/x.qcow2", Packing::Qcow2), ("x.y.raw.zst", Packing::RawZst)] {
            assert_eq!(Packing::of(Path::new(name)).unwrap(), packing, "{name}");
        }
        for name in ["x.raw", "x.zst", "x", "", "/", "qcow2", "x.qcow2/.."] {
            assert!(Packing::of(Path::new(name)).is_err(), "{name}");
        }
        assert_eq!(document_of(Path::new("/a/x.qcow2")), Path::new("/a/x.qcow2.manifest.json"));
    }
}
