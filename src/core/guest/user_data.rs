//! An operator's own cloud-init user-data: which format it is, and whether cloud-init will be able to read it.
//!
//! cloud-init tells formats apart by how the text begins, white space before it and capitals aside:
//! <https://docs.cloud-init.io/en/latest/explanation/format/index.html>.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

use crate::core::{
    error::{Finding, Invalid},
    secret::Secret,
};

/// What user-data may be at most, in bytes: it has to fit on the seed, twice encoded.
pub const MAX_USER_DATA: usize = 256 << 10;
/// Where cloud-init looks for the header that makes a text a MIME message.
const MIME_WINDOW: usize = 4096;

/// The formats, and how each begins. Longer beginnings stand before those that they begin with.
const FORMATS: [(&str, UserDataKind); 9] = [
    ("#cloud-config-archive", UserDataKind::Other("text/cloud-config-archive")),
    ("#cloud-config-jsonp", UserDataKind::Other("text/cloud-config-jsonp")),
    ("## template: jinja", UserDataKind::Other("text/jinja2")),
    ("#cloud-boothook", UserDataKind::Other("text/cloud-boothook")),
    ("#include-once", UserDataKind::Other("text/x-include-once-url")),
    ("#part-handler", UserDataKind::Other("text/part-handler")),
    ("#cloud-config", UserDataKind::CloudConfig),
    ("#include", UserDataKind::Other("text/x-include-url")),
    ("#!", UserDataKind::Other("text/x-shellscript")),
];

/// The keys that tpl says for every clone: what user-data says about them is overruled.
pub const IDENTITY_KEYS: [&str; 8] = [
    "hostname",
    "fqdn",
    "prefer_fqdn_over_hostname",
    "preserve_hostname",
    "ssh_deletekeys",
    "ssh_keys",
    "growpart",
    "ssh_genkeytypes",
];
/// The key of the module that tells somebody that a guest is ready.
const PHONE_HOME: &str = "phone_home";
/// The keys under which tpl's own lists are put before the operator's. Another type there would lose one of the two.
const LISTS: [&str; 7] = ["users", "packages", "write_files", "runcmd", "bootcmd", "fs_setup", "mounts"];

/// What kind of user-data a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserDataKind {
    /// YAML for cloud-init's modules.
    CloudConfig,
    /// A MIME message, with parts of any kind in it.
    Mime,
    /// One of the other formats: its MIME type.
    Other(&'static str),
}

impl UserDataKind {
    /// Its MIME type as a part of an archive; none if it is a MIME message itself, and brings its headers along.
    pub(in crate::core) fn mime_type(self) -> Option<&'static str> {
        match self {
            Self::CloudConfig => Some("text/cloud-config"),
            Self::Other(kind) => Some(kind),
            Self::Mime => None,
        }
    }
}

/// An operator's user-data, checked. Scripts hold passwords all too often: its `Debug` shows nothing of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserData {
    kind: UserDataKind,
    text: Secret<String>,
    overruled: Vec<&'static str>,
    phones_home: bool,
}

impl UserData {
    /// Reads user-data. `file` names it in errors.
    ///
    /// # Errors
    /// [`Invalid`]: too long, no UTF-8, compressed, of no known format, or cloud-config that is no YAML mapping: then with line
    /// and column.
    pub fn parse(file: &str, bytes: &[u8]) -> Result<Self, Invalid> {
        let wrong = |message: String| Err(Invalid::file(file, message));
        if bytes.len() > MAX_USER_DATA {
            return wrong(format!("{} bytes are more than the {MAX_USER_DATA} that user-data may have", bytes.len()));
        }
        if bytes.starts_with(&[0x1f, 0x8b]) {
            return wrong("this is compressed: name the file that gunzip makes of it".to_owned());
        }
        // cloud-init decodes every text part, and damages what is not UTF-8.
        let Ok(text) = std::str::from_utf8(bytes) else {
            return wrong("this is no UTF-8 text".to_owned());
        };
        // A mark of Windows editors, which would hide the first line from cloud-init.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let Some(kind) = kind(text) else {
            return wrong(
                "its first line is none that cloud-init knows: #cloud-config, #!, #include, ## template: jinja …".to_owned(),
            );
        };
        let keys = if kind == UserDataKind::CloudConfig { check_cloud_config(file, text)? } else { BTreeSet::new() };
        let overruled = IDENTITY_KEYS.into_iter().filter(|key| keys.contains(*key)).collect();
        Ok(Self { kind, text: Secret::new(text.to_owned()), overruled, phones_home: keys.contains(PHONE_HOME) })
    }

    /// Its kind.
    pub fn kind(&self) -> UserDataKind {
        self.kind
    }

    /// The text, for the seed.
    pub fn text(&self) -> &Secret<String> {
        &self.text
    }

    /// The keys of a cloud-config that say something about the clone's identity, which is tpl's to say: worth a warning.
    pub fn overruled(&self) -> &[&'static str] {
        &self.overruled
    }

    /// Whether it is a cloud-config that lets the guest tell somebody of the operator's that it is ready.
    pub fn phones_home(&self) -> bool {
        self.phones_home
    }
}

fn kind(text: &str) -> Option<UserDataKind> {
    let begin: String = text.trim_start().chars().take(40).collect::<String>().to_ascii_lowercase();
    let format = FORMATS.iter().find(|(word, _)| begin.starts_with(word));
    // A message begins with a header.
    let header = begin.split_once(':').is_some_and(|(name, _)| name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
    let mime = || (header && declares_mime(text)).then_some(UserDataKind::Mime);
    format.map(|(_, kind)| *kind).or_else(mime)
}

/// Whether cloud-init would take a text for a MIME message.
pub(in crate::core) fn declares_mime(text: &str) -> bool {
    let window = &text.as_bytes()[..text.len().min(MIME_WINDOW)];
    window.to_ascii_lowercase().windows(13).any(|word| word == b"mime-version:")
}

/// The keys of a cloud-config.
fn check_cloud_config(file: &str, text: &str) -> Result<BTreeSet<String>, Invalid> {
    let options = serde_saphyr::options! {
        // As PyYAML does.
        duplicate_keys: serde_saphyr::options::DuplicateKeyPolicy::LastWins,
        // What is wrong is said; what stands there may be secret.
        with_snippet: false,
    };
    let keys: BTreeMap<String, Shape> = serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let at = error.location().map(|place| (place.line() as usize, place.column() as usize));
        let message = format!("this is no mapping in YAML: {}", error.to_string().lines().next().unwrap_or_default());
        Invalid { findings: vec![Finding { file: Some(file.to_owned()), at, message }] }
    })?;
    if keys.is_empty() {
        return Err(Invalid::file(file, "this cloud-config says nothing"));
    }
    let other = |key: &&&str| keys.get(**key).is_some_and(|shape| *shape != Shape::List);
    let findings: Vec<Finding> = LISTS
        .iter()
        .filter(other)
        .map(|key| Finding { file: Some(file.to_owned()), at: None, message: format!("{key} must be a list") })
        .collect();
    if !findings.is_empty() {
        return Err(Invalid { findings });
    }
    Ok(keys.into_keys().collect())
}

/// Of what shape a value is.
#[derive(PartialEq, Eq)]
enum Shape {
    List,
    Mapping,
    Scalar,
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyShape)
    }
}

struct AnyShape;

macro_rules! scalars {
    ($($visit:ident: $type:ty),*) => {$(
        fn $visit<E>(self, _: $type) -> Result<Shape, E> {
            Ok(Shape::Scalar)
        }
    )*};
}

impl<'de> Visitor<'de> for AnyShape {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    scalars! { visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_i128: i128, visit_u128: u128, visit_f64: f64,
    visit_str: &str, visit_bytes: &[u8] }

    fn visit_unit<E>(self) -> Result<Shape, E> {
        Ok(Shape::Scalar)
    }

    fn visit_none<E>(self) -> Result<Shape, E> {
        Ok(Shape::Scalar)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Shape, D::Error> {
        Shape::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Shape, A::Error> {
        while items.next_element::<Shape>()?.is_some() {}
        Ok(Shape::List)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Shape, A::Error> {
        while entries.next_entry::<IgnoredAny, Shape>()?.is_some() {}
        Ok(Shape::Mapping)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<UserData, String> {
        UserData::parse("u", text.as_bytes()).map_err(|error| error.to_string())
    }

    #[test]
    fn kinds_are_told_by_the_beginning() {
        let mime = "Content-Type: multipart/mixed; boundary=\"x\"\nMIME-Version: 1.0\n\n--x--\n";
        let table = [
            ("#cloud-config\na: 1\n", UserDataKind::CloudConfig),
            ("\u{feff}\n #Cloud-Config\na: 1\n", UserDataKind::CloudConfig),
            ("#cloud-config-archive\n- a\n", UserDataKind::Other("text/cloud-config-archive")),
            ("#cloud-config-jsonp\n[]\n", UserDataKind::Other("text/cloud-config-jsonp")),
            ("## template: jinja\n#cloud-config\n{% x", UserDataKind::Other("text/jinja2")),
            ("#!/bin/sh\n# MIME-Version: no\n", UserDataKind::Other("text/x-shellscript")),
            ("#include\nhttps://a.example/\n", UserDataKind::Other("text/x-include-url")),
            ("#include-once https://a.example/\n", UserDataKind::Other("text/x-include-once-url")),
            ("#cloud-boothook\n", UserDataKind::Other("text/cloud-boothook")),
            ("#part-handler\n", UserDataKind::Other("text/part-handler")),
            (mime, UserDataKind::Mime),
        ];
        for (text, kind) in table {
            assert_eq!(parse(text).map(|data| data.kind()), Ok(kind), "{text}");
        }
        assert!(!format!("{:?}", parse("#!/bin/sh\nsecret").unwrap()).contains("bin"));
    }

    #[test]
    fn what_cloud_init_could_not_use_is_refused() {
        let unknown = "u: its first line is none that cloud-init knows: #cloud-config, #!, #include, ## template: jinja …";
        let table = [
            ("", unknown),
            ("packages: [a]\n", unknown),
            ("Subject: x\n\nbody", unknown),
            ("#cloud-config\n", "u: this cloud-config says nothing"),
            ("#cloud-config\nusers: {a: b}\npackages: [a]\nruncmd: ls\n", "u: users must be a list\nu: runcmd must be a list"),
        ];
        for (text, message) in table {
            assert_eq!(parse(text).map(|data| data.kind()), Err(message.to_owned()), "{text}");
        }
        let bytes: [(&[u8], &str); 3] = [
            (b"#!/bin/sh\n\xff", "u: this is no UTF-8 text"),
            (b"\x1f\x8b\x08", "u: this is compressed: name the file that gunzip makes of it"),
            (&[b'#'; MAX_USER_DATA + 1], "u: 262145 bytes are more than the 262144 that user-data may have"),
        ];
        for (bytes, message) in bytes {
            assert_eq!(UserData::parse("u", bytes).unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn faults_in_yaml_have_a_place() {
        let table = [
            ("#cloud-config\n- a\n", "u:2:1: "),
            ("#cloud-config\na: [1\nb: 2\n", "u:3:"),
            ("#cloud-config\na: 1\n b: 2\n", "u:3:"),
        ];
        for (text, place) in table {
            let message = parse(text).unwrap_err();
            assert!(message.starts_with(place) && message.contains("this is no mapping in YAML"), "{message}");
            assert_eq!(message.lines().count(), 1, "{message}");
        }
    }

    #[test]
    fn yaml_as_pyyaml_takes_it_passes() {
        let text =
            "#cloud-config\na: &x {b: 1, 2: c}\na: *x\nb: !!binary aGk=\nc: 0o17\nd: 1:30\ne: ~\nhostname: x\nssh_keys: {}\n";
        assert_eq!(parse(text).unwrap().overruled(), ["hostname", "ssh_keys"]);
    }
}
