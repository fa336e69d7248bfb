//! Names that come from outside, checked once at the border. Inside there are only these types, so no name can leave a
//! directory, an XML attribute, a shell word or a YAML scalar: none of the permitted characters means anything there.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use super::quoted::quoted;

/// The name of a template, which is the name of its pipeline's file: `debian13`.
///
/// 1 to 48 letters, digits, `-` and `_`, beginning with a letter or digit. No dot: it separates name and version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct TemplateName(String);

/// A template's version: the UTC time at which its build began, `20261121-031000`. Sorts by age.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Version(String);

/// One version of a template. Prints as `NAME@VERSION`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TemplateId {
    /// The template.
    pub name: TemplateName,
    /// Its version.
    pub version: Version,
}

/// What an operator may write for a template: `NAME` (the current version) or `NAME@VERSION`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateRef {
    /// The template.
    pub name: TemplateName,
    /// The version, if one is named.
    pub version: Option<Version>,
}

/// The name of a VM: of its libvirt domain, and its hostname. One label of RFC 1123 in lower case, at most 63 characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct VmName(String);

/// The name of a user in a guest: what `useradd` of shadow-utils takes, at most 32 characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct UserName(String);

impl FromStr for TemplateName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        let first = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        if first && text.len() <= 48 && text.bytes().all(plain) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("{} is no template name: 1 to 48 letters, digits, '-' and '_', a letter or digit first", quoted(text)))
    }
}

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shape = |(index, b): (usize, u8)| if index == 8 { b == b'-' } else { b.is_ascii_digit() };
        if text.len() == 15 && text.bytes().enumerate().all(shape) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("{} is no version: a UTC time is expected, as in 20261121-031000", quoted(text)))
    }
}

impl FromStr for TemplateRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, version) = match text.split_once('@') {
            Some((name, version)) => (name, Some(version.parse()?)),
            None => (text, None),
        };
        Ok(Self { name: name.parse()?, version })
    }
}

/// The rule of [`is_host_label`], for people.
pub(in crate::core) const HOST_LABEL: &str = "1 to 63 lower-case letters, digits and '-', no '-' at either end";

/// Whether a text can be one part of a host's name, written as tpl writes it. Source: RFC 1123, 2.1.
pub(in crate::core) fn is_host_label(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let ends = !text.starts_with('-') && !text.ends_with('-');
    (1..=63).contains(&text.len()) && ends && text.bytes().all(plain)
}

impl FromStr for VmName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if is_host_label(text) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("{} is no VM name: {HOST_LABEL}", quoted(text)))
    }
}

impl FromStr for UserName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_');
        let first = text.bytes().next().is_some_and(|b| b.is_ascii_lowercase() || b == b'_');
        if first && text.len() <= 32 && text.bytes().all(plain) {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("{} is no user name: 1 to 32 lower-case letters, digits, '-' and '_', a letter first", quoted(text)))
    }
}

impl Version {
    /// The version of a build that begins at `now`.
    pub fn of(now: jiff::Timestamp) -> Self {
        Self(now.strftime("%Y%m%d-%H%M%S").to_string())
    }
}

impl TemplateId {
    /// The name of the template's domain and volume: `NAME.VERSION`. A logical volume's name allows no `@`.
    pub fn domain(&self) -> String {
        format!("{}.{}", self.name, self.version)
    }
}

impl fmt::Display for TemplateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.version)
    }
}

impl fmt::Display for TemplateRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Some(version) => write!(f, "{}@{version}", self.name),
            None => self.name.fmt(f),
        }
    }
}

macro_rules! text_name {
    ($($type:ident),*) => {$(
        impl $type {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
            }
        }
    )*};
}

text_name!(TemplateName, Version, VmName, UserName);

/// How the names of several clones are made: `web{}` or `web{:02}`, a number in the place of the braces; or one literal name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePattern {
    before: String,
    /// The number's width with leading zeros; none for a literal name.
    width: Option<usize>,
    after: String,
}

impl FromStr for NamePattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some((before, rest)) = text.split_once('{') else {
            let name: VmName = text.parse()?;
            return Ok(Self { before: name.0, width: None, after: String::new() });
        };
        let wrong =
            || format!("{} is no name pattern: write {{}} or {{:02}} where the number goes, as in web{{:02}}", quoted(text));
        let (spec, after) = rest.split_once('}').ok_or_else(wrong)?;
        let width = match spec {
            "" => 1,
            _ => spec
                .strip_prefix(":0")
                .and_then(|digits| digits.parse().ok())
                .filter(|w| (1..=9).contains(w))
                .ok_or_else(wrong)?,
        };
        let pattern = Self { before: before.to_owned(), width: Some(width), after: after.to_owned() };
        // The rest of the pattern must make a name; the widest number that --count can lead to decides the length.
        pattern.name(99_999)?;
        Ok(pattern)
    }
}

impl NamePattern {
    /// The pattern for clones of a template without `--name`: `debian13-1`, `debian13-2`, …
    pub fn of_template(template: &TemplateName) -> Self {
        let plain: String = template.0.to_ascii_lowercase().replace('_', "-").trim_end_matches('-').to_owned();
        Self { before: format!("{plain}-"), width: Some(1), after: String::new() }
    }

    /// Whether it has a place for a number.
    pub fn is_numbered(&self) -> bool {
        self.width.is_some()
    }

    /// The name with this number; a literal name has none, and stays.
    ///
    /// # Errors
    /// It is no name.
    pub fn name(&self, number: usize) -> Result<VmName, String> {
        match self.width {
            None => self.before.parse(),
            Some(width) => format!("{}{number:0width$}{}", self.before, self.after).parse(),
        }
    }

    /// The name with this number; one without a place for it gets it at the end.
    ///
    /// # Errors
    /// It is too long for a name.
    pub fn with_number(&self, number: usize) -> Result<VmName, String> {
        match self.width {
            None => format!("{}{number}", self.before).parse(),
            Some(_) => self.name(number),
        }
    }

    /// The name of one clone, by a pattern without a number.
    ///
    /// # Errors
    /// There is more than one clone.
    pub fn only(&self, count: usize) -> Result<VmName, String> {
        if count == 1 {
            return self.name(0);
        }
        Err(format!("{count} clones cannot all be called '{0}': write '{0}{{}}' to number them", self.before))
    }

    /// `count` names with the lowest numbers, from 1, that `taken` does not hold.
    ///
    /// # Errors
    /// They become too long.
    pub fn free(&self, count: usize, taken: &dyn Fn(&str) -> bool) -> Result<Vec<VmName>, String> {
        if !self.is_numbered() {
            return Ok(vec![self.only(count)?]);
        }
        (1..)
            .map(|number| self.name(number))
            .filter(|name| name.as_ref().map_or(true, |name| !taken(name.as_str())))
            .take(count)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_mean_something_elsewhere_are_refused() {
        for bad in [
            "",
            "../x",
            "a/b",
            "a b",
            "a\nb",
            "a\"b",
            "a'b",
            "a;b",
            "a&b",
            "a<b",
            "-a",
            ".a",
            "a.b",
            "ä",
            "a\0",
            "$(x)",
            &"a".repeat(49),
        ] {
            assert!(bad.parse::<TemplateName>().is_err(), "{bad:?}");
            assert!(bad.parse::<UserName>().is_err(), "{bad:?}");
        }
        for bad in ["", "../x", "a.b", "a b", "A", "a_b", "-a", "a-", "a\n", "a\"", &"a".repeat(64)] {
            assert!(bad.parse::<VmName>().is_err(), "{bad:?}");
        }
        for bad in ["", "20261121", "20261121_031000", "20261121-03100x", "../../etc/passwd"] {
            assert!(bad.parse::<Version>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_refusal_shows_no_control_character() {
        assert_eq!(
            "a\n\u{1b}[2J".parse::<TemplateName>().unwrap_err(),
            r#""a\n\u{1b}[2J" is no template name: 1 to 48 letters, digits, '-' and '_', a letter or digit first"#
        );
    }

    #[test]
    fn references() {
        let id: TemplateRef = "debian13@20261121-031000".parse().unwrap();
        assert_eq!(id.to_string(), "debian13@20261121-031000");
        assert_eq!("debian13".parse::<TemplateRef>().unwrap().version, None);
        assert!("debian13@".parse::<TemplateRef>().is_err());
        assert_eq!(Version::of("2026-11-21T03:10:00Z".parse().unwrap()).as_str(), "20261121-031000");
    }

    #[test]
    fn patterns_take_the_lowest_free_numbers() {
        let names = |pattern: &str, count, taken: &[&str]| {
            let pattern: NamePattern = pattern.parse()?;
            let names = pattern.free(count, &|name| taken.contains(&name))?;
            Ok::<_, String>(names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
        };
        assert_eq!(names("web{:02}", 3, &["web02"]).unwrap(), "web01 web03 web04");
        assert_eq!(names("web{}-prod", 2, &[]).unwrap(), "web1-prod web2-prod");
        assert_eq!(names("db", 1, &[]).unwrap(), "db");
        assert_eq!(names("db", 2, &[]).unwrap_err(), "2 clones cannot all be called 'db': write 'db{}' to number them");
        for bad in ["web{", "web{:2}", "web{x}", "web{}{}", "We{}", "{}-", "../{}"] {
            assert!(names(bad, 1, &[]).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_template_lends_its_name_to_clones() {
        let pattern = NamePattern::of_template(&"Debian_13".parse().unwrap());
        assert_eq!(pattern.free(1, &|_| false).unwrap()[0].as_str(), "debian-13-1");
    }
}
