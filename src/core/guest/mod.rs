//! What a clone's guest is told to become, with the contents of all files that the operator's wishes name: the resolved
//! counterpart of [`GuestSpec`].

mod password;
mod user_data;

use std::collections::BTreeSet;

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::{
    digest::hex,
    mirror,
    names::UserName,
    pipeline::Word,
    secret::Secret,
    ssh_key::PublicKey,
    timezone,
    vm_spec::{FileMode, GuestPath, GuestSpec},
};
pub use password::PasswordHash;
pub(in crate::core) use user_data::declares_mime;
pub use user_data::{IDENTITY_KEYS, MAX_USER_DATA, UserData, UserDataKind};

/// What all files and commands of a guest may have together, in bytes: a seed holds them in base64, some of it twice over.
pub const MAX_CONTENT: usize = 768 << 10;

/// What a guest is told.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Guest {
    /// Who logs in; none, if the template has its own users.
    pub user: Option<UserName>,
    /// Keys that may log in as `user`.
    pub keys: Vec<PublicKey>,
    /// The hash of `user`'s password; without one the password is locked.
    pub password_hash: Option<PasswordHash>,
    /// Further users.
    pub users: Vec<User>,
    /// Packages to install.
    pub packages: Vec<Word>,
    /// The time zone.
    pub timezone: Option<Word>,
    /// The locale.
    pub locale: Option<Word>,
    /// Where apt finds packages.
    pub apt_mirror: Option<Word>,
    /// Files to write.
    pub write_files: Vec<File>,
    /// Commands that run once.
    pub runcmd: Vec<String>,
    /// The operator's own user-data.
    pub user_data: Option<UserData>,
}

/// A further user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The name.
    pub name: UserName,
    /// Keys that may log in.
    pub keys: Vec<PublicKey>,
    /// The hash of the password; without one the password is locked.
    pub password_hash: Option<PasswordHash>,
    /// Groups besides the user's own.
    pub groups: Vec<UserName>,
    /// Whether everything is allowed by sudo.
    pub sudo: bool,
}

/// A file that the guest writes. What is in it may be secret, as tokens and keys are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Where.
    pub path: GuestPath,
    /// What is in it.
    pub content: Secret<Vec<u8>>,
    /// Its mode; cloud-init's default is 0644.
    pub mode: Option<FileMode>,
    /// Who owns it: `user` or `user:group`; root by default.
    pub owner: Option<Word>,
}

/// Everything about a specification that is wrong by itself, whatever is in the files that it names.
pub fn faults(spec: &GuestSpec) -> Vec<String> {
    let mut faults = Vec::new();
    let mut names = BTreeSet::new();
    for name in spec.user.iter().chain(spec.users.iter().map(|user| &user.name)) {
        if !names.insert(name) {
            faults.push(format!("the user {name} is asked for twice"));
        }
    }
    let plain = |word: &Word| word.as_str().starts_with(|c: char| c.is_ascii_alphanumeric());
    // apt and dnf would take a dash for an option of theirs.
    let bad = |word: &&Word| !plain(word);
    faults.extend(spec.packages.iter().filter(bad).map(|word| format!("{:?} is no package", word.as_str())));
    faults.extend(spec.timezone.iter().filter_map(|word| timezone::checked(word.as_str()).err()));
    faults.extend(spec.locale.iter().filter(bad).map(|word| format!("{:?} is no locale, as in en_US.UTF-8", word.as_str())));
    faults.extend(spec.apt_mirror.iter().filter_map(|word| mirror::checked(word.as_str()).err()));
    let empty = |command: &&String| command.trim().is_empty() || command.contains('\0');
    faults.extend(spec.runcmd.iter().filter(empty).map(|_| "a command of runcmd is empty, or holds a NUL".to_owned()));
    let mut paths = BTreeSet::new();
    for file in &spec.write_files {
        let path = &file.path;
        if path.as_str().starts_with("/etc/ssh/ssh_host_") {
            faults.push(format!("{path} is the VM's host key, which tpl makes"));
        }
        if path.as_str() == "/" {
            faults.push("/ is no file to write".to_owned());
        }
        if !paths.insert(path) {
            faults.push(format!("{path} is written twice"));
        }
        if file.content.is_some() == file.source.is_some() {
            faults.push(format!("{path} needs one of the two: content, or the source that it is in"));
        }
        if file.owner.as_ref().is_some_and(|owner| !is_owner(owner.as_str())) {
            faults.push(format!("{path} has no such owner: write user or user:group"));
        }
    }
    faults
}

/// `user` or `user:group`, as a system's own accounts are called, too: `_apt`, `Debian-exim`.
fn is_owner(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let name = |name: &str| {
        (1..=32).contains(&name.len())
            && name.bytes().all(plain)
            && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
    };
    text.split(':').all(name) && text.split(':').count() <= 2
}

/// What [`Guest::digest`] is over: everything in an order of its own, so that only a difference in meaning makes a difference.
#[derive(Serialize)]
struct Canonical<'a> {
    users: Vec<CanonicalUser<'a>>,
    packages: BTreeSet<&'a str>,
    timezone: Option<&'a str>,
    locale: Option<&'a str>,
    apt_mirror: Option<&'a str>,
    write_files: BTreeSet<(&'a str, String, Option<String>, Option<&'a str>)>,
    runcmd: &'a [String],
    user_data: Option<&'a str>,
}

#[derive(Serialize, PartialEq, Eq, PartialOrd, Ord)]
struct CanonicalUser<'a> {
    name: Option<&'a str>,
    keys: BTreeSet<String>,
    password: bool,
    groups: BTreeSet<&'a str>,
    sudo: bool,
}

impl Guest {
    /// SHA-256, in hexadecimal, over what the guest is told: the same for the same wishes in another order, another one for
    /// other wishes. Password hashes are left out, so that it can be shown: of those only counts whether there is one.
    pub fn digest(&self) -> String {
        let first = CanonicalUser {
            name: self.user.as_ref().map(UserName::as_str),
            keys: self.keys.iter().map(PublicKey::key).collect(),
            password: self.password_hash.is_some(),
            groups: BTreeSet::new(),
            sudo: true,
        };
        let mut further: Vec<CanonicalUser<'_>> = self.users.iter().map(User::canonical).collect();
        further.sort();
        let file = |file: &'_ File| hex(&Sha256::digest(file.content.expose()));
        let canonical = Canonical {
            users: std::iter::once(first).chain(further).collect(),
            packages: self.packages.iter().map(Word::as_str).collect(),
            timezone: self.timezone.as_ref().map(Word::as_str),
            locale: self.locale.as_ref().map(Word::as_str),
            apt_mirror: self.apt_mirror.as_ref().map(Word::as_str),
            write_files: self
                .write_files
                .iter()
                .map(|f| (f.path.as_str(), file(f), f.mode.map(|mode| mode.to_string()), f.owner.as_ref().map(Word::as_str)))
                .collect(),
            runcmd: &self.runcmd,
            user_data: self.user_data.as_ref().map(|data| data.text().expose().as_str()),
        };
        // serde_json cannot fail here: all keys are text, and nothing writes itself by hand.
        hex(&Sha256::digest(serde_json::to_vec(&canonical).unwrap_or_default()))
    }

    /// How many bytes its files, commands and user-data have together.
    pub fn content_size(&self) -> usize {
        let files: usize = self.write_files.iter().map(|file| file.content.expose().len()).sum();
        let commands: usize = self.runcmd.iter().map(String::len).sum();
        files + commands + self.user_data.as_ref().map_or(0, |data| data.text().expose().len())
    }
}

impl User {
    fn canonical(&self) -> CanonicalUser<'_> {
        CanonicalUser {
            name: Some(self.name.as_str()),
            keys: self.keys.iter().map(PublicKey::key).collect(),
            password: self.password_hash.is_some(),
            groups: self.groups.iter().map(UserName::as_str).collect(),
            sudo: self.sudo,
        }
    }
}

#[cfg(test)]
mod tests;
