//! What the service tells domains that tpl has not made: `/etc/tpl/metadata.toml`.
//!
//! ```toml
//! [defaults]
//! ssh_keys = ["ssh-ed25519 AAAA… operator"]
//!
//! [[rule]]
//! name = "web*"
//! user_data = "web.yaml"
//! one_shot = true
//! ```
//! Each rule that fits a domain adds to what is before it, key by key: the last one that says something counts.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    document,
    instance::{Content, Instance, Kind},
};
use crate::core::{
    check::document::Document,
    error::Invalid,
    guest::{PasswordHash, UserData},
    pipeline::PlainText,
    schema,
    ssh_key::PublicKey,
    units::Span,
    vm_spec::DomainName,
};

/// How long after the first time it is handed out again what is for once, unless the file says so.
const WINDOW: Span = Span(Duration::from_secs(120));

/// What can be handed out once only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Item {
    /// The user-data, which the password is in.
    UserData,
    /// The SSH keys.
    Keys,
}

impl Item {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::UserData, Self::Keys];

    /// Its word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UserData => "user-data",
            Self::Keys => "keys",
        }
    }
}

/// The keys that say which domains a rule is for.
const FITS: [&str; 3] = ["host", "network", "name"];

/// The file, as it is written.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct File {
    /// For all domains.
    #[serde(default)]
    #[schemars(extend("not" = {"anyOf": FITS.map(|key| json!({"required": [key]}))}))]
    defaults: Entry,
    /// For some.
    #[serde(default)]
    rule: Vec<Entry>,
}

/// Which domains, and what they are told.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// Those of the hypervisor of this host name: one file may serve many.
    host: Option<Pattern>,
    /// Those on this network of libvirt's, or on this bridge.
    network: Option<Pattern>,
    /// Those of such names.
    name: Option<Pattern>,
    /// The SSH keys that open it.
    ssh_keys: Option<Vec<PublicKey>>,
    /// The file with the hash of the default user's password.
    password_hash_file: Option<PathBuf>,
    /// The file with its user-data.
    user_data: Option<PathBuf>,
    /// The file with its vendor-data.
    vendor_data: Option<PathBuf>,
    /// The domain of DNS that it is in.
    search: Option<DomainName>,
    /// Whether keys, password and user-data are handed out once only.
    one_shot: Option<bool>,
    /// How long after the first time they are handed out again. cloud-init's datasource Ec2 reads everything twice at a first boot.
    one_shot_window: Option<Span>,
}

/// The schema of the file.
pub fn schema() -> Value {
    schema::titled("what tpl's metadata service tells domains, metadata.toml", schema::of::<File>())
}

/// Names with `*` for any text and `?` for any one character in them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
struct Pattern(PlainText);

impl Pattern {
    fn fits(&self, name: &str) -> bool {
        let (pattern, name): (Vec<char>, Vec<char>) = (self.0.as_str().chars().collect(), name.chars().collect());
        let (mut p, mut n, mut star) = (0, 0, None);
        // Back to the last star only: time is at most the product of the lengths.
        while n < name.len() {
            match pattern.get(p) {
                Some('*') => {
                    star = Some((p, n));
                    p += 1;
                }
                Some(c) if *c == '?' || *c == name[n] => (p, n) = (p + 1, n + 1),
                _ => {
                    let Some((at, taken)) = star else { return false };
                    star = Some((at, taken + 1));
                    (p, n) = (at + 1, taken + 1);
                }
            }
        }
        pattern[p..].iter().all(|c| *c == '*')
    }
}

/// What domains are told by default, with its files read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Defaults {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    host: Option<Pattern>,
    network: Option<Pattern>,
    name: Option<Pattern>,
    settings: Settings,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Settings {
    keys: Option<Vec<PublicKey>>,
    password: Option<PasswordHash>,
    user_data: Option<UserData>,
    vendor_data: Option<UserData>,
    search: Option<DomainName>,
    one_shot: Option<bool>,
    window: Option<Span>,
}

/// Reads a file beside the configuration, one for its owner's eyes alone where that is so: its bytes, or what is wrong.
pub type ReadFile<'a> = &'a dyn Fn(&Path, bool) -> Result<Vec<u8>, String>;

impl Defaults {
    /// Reads the file's text, and by `read` the files that it names. `file` names it in errors.
    ///
    /// # Errors
    /// [`Invalid`]: every fault at once, in it and in the others.
    pub fn parse(file: &str, text: &str, read: ReadFile<'_>) -> Result<Self, Invalid> {
        let mut document = Document::parse(file, text)?;
        document.check::<File>();
        let defaults = toml::from_str::<toml::Table>(text).ok().and_then(|mut table| table.remove("defaults"));
        for key in FITS {
            if defaults.as_ref().is_some_and(|defaults| defaults.get(key).is_some()) {
                document.add_at(&["defaults", key], format!("{key} is for a [[rule]]: defaults are for all domains"));
            }
        }
        let file: File = document.read()?;
        let mut findings = Vec::new();
        let mut rules = Vec::new();
        for entry in std::iter::once(file.defaults).chain(file.rule) {
            rules.push(entry.rule(read, &mut findings));
        }
        if findings.is_empty() { Ok(Self { rules }) } else { Err(Invalid { findings }) }
    }

    /// What a domain is told: none of it where it is tpl's own.
    pub fn apply(&self, host: &str, instance: &mut Instance) {
        if instance.kind != Kind::Other {
            return;
        }
        let mut told = Settings::default();
        for rule in self.rules.iter().filter(|rule| rule.fits(host, instance)) {
            told = rule.settings.clone().over(told);
        }
        let user_data = document::with_password(told.user_data.as_ref(), told.password.as_ref());
        instance.search = told.search.map(|search| search.to_string());
        instance.content = Content {
            keys: told.keys.unwrap_or_default().iter().map(ToString::to_string).collect(),
            user_data,
            vendor_data: told.vendor_data.map(|data| data.text().expose().clone()),
            nocloud: None,
            once: if told.one_shot.unwrap_or_default() { Item::ALL.into() } else { [].into() },
            again: told.window.unwrap_or(WINDOW).0.as_secs(),
        };
    }
}

impl Entry {
    fn rule(self, read: ReadFile<'_>, findings: &mut Vec<crate::core::error::Finding>) -> Rule {
        let mut data = |path: Option<PathBuf>| {
            let path = path?;
            let name = path.display().to_string();
            let bytes = read(&path, false).map_err(|message| Invalid::file(&name, message));
            bytes.and_then(|bytes| UserData::parse(&name, &bytes)).map_err(|wrong| findings.extend(wrong.findings)).ok()
        };
        let (user_data, vendor_data) = (data(self.user_data), data(self.vendor_data));
        let password = self.password_hash_file.and_then(|path| {
            let parse = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).trim().parse::<PasswordHash>();
            let parsed = read(&path, true).and_then(parse);
            parsed.map_err(|message| findings.extend(Invalid::file(&path.display().to_string(), message).findings)).ok()
        });
        let (search, one_shot, window) = (self.search, self.one_shot, self.one_shot_window);
        let settings = Settings { keys: self.ssh_keys, password, user_data, vendor_data, search, one_shot, window };
        Rule { host: self.host, network: self.network, name: self.name, settings }
    }
}

impl Rule {
    fn fits(&self, host: &str, instance: &Instance) -> bool {
        let fits = |pattern: &Option<Pattern>, name: &str| pattern.as_ref().is_none_or(|pattern| pattern.fits(name));
        let on = |pattern: &Pattern| {
            let of = |card: &super::instance::Card| {
                pattern.fits(&card.bridge) || card.network.as_ref().is_some_and(|network| pattern.fits(network))
            };
            instance.cards.iter().any(of)
        };
        fits(&self.host, host) && fits(&self.name, &instance.domain) && self.network.as_ref().is_none_or(on)
    }
}

impl Settings {
    fn over(self, earlier: Self) -> Self {
        Self {
            keys: self.keys.or(earlier.keys),
            password: self.password.or(earlier.password),
            user_data: self.user_data.or(earlier.user_data),
            vendor_data: self.vendor_data.or(earlier.vendor_data),
            search: self.search.or(earlier.search),
            one_shot: self.one_shot.or(earlier.one_shot),
            window: self.window.or(earlier.window),
        }
    }
}

#[cfg(test)]
#[path = "defaults_tests.rs"]
mod tests;
