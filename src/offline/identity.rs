//! What a clone is to be, as plain values.

use std::{fmt, path::PathBuf};

use uuid::Uuid;

use crate::core::{
    facts::VolumeFormat,
    names::{UserName, VmName},
    secret::Secret,
    seed::CardConfig,
    ssh_key::PublicKey,
    vm_spec::{DomainName, FileSystem, GuestPath, Label},
};

/// Everything that is written into one clone.
#[derive(Debug)]
pub struct Identity<'a> {
    /// Its hostname.
    pub name: &'a VmName,
    /// The domain that it is in, for its full name.
    pub domain: Option<&'a DomainName>,
    /// The UUID of its domain, which becomes its machine-id.
    pub uuid: Uuid,
    /// Who logs in. Those who are not there are made.
    pub users: Vec<User<'a>>,
    /// Its SSH host key, Ed25519, made outside: private half in OpenSSH's PEM form, public half as one line.
    pub host_key: (&'a Secret<String>, &'a str),
    /// Its network cards, in order.
    pub cards: Vec<CardConfig>,
    /// The time zone: `Europe/Vienna`. None leaves the template's.
    pub timezone: Option<&'a str>,
    /// The locale: `en_US.UTF-8`. None leaves the template's.
    pub locale: Option<&'a str>,
    /// Further files, in order.
    pub files: Vec<File<'a>>,
    /// Disks besides the system disk, of which the guest is to know.
    pub disks: Vec<ExtraDisk>,
}

/// One who logs in.
#[derive(Debug)]
pub struct User<'a> {
    /// The name.
    pub name: &'a UserName,
    /// Keys that may log in.
    pub keys: &'a [PublicKey],
    /// The crypt(3) hash of the password; none leaves it as it is: a new user has none.
    pub password_hash: Option<&'a Secret<String>>,
    /// Groups besides the user's own.
    pub groups: &'a [UserName],
    /// Whether everything is allowed by sudo, without a password.
    pub sudo: bool,
}

/// A file.
pub struct File<'a> {
    /// Where.
    pub path: &'a GuestPath,
    /// What is in it. May be secret.
    pub content: &'a [u8],
    /// Its permission bits; none means 0644.
    pub mode: Option<u32>,
    /// `user` or `user:group`; none means root.
    pub owner: Option<&'a str>,
}

impl fmt::Debug for File<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("File")
            .field("path", self.path)
            .field("mode", &self.mode)
            .field("owner", &self.owner)
            .finish_non_exhaustive()
    }
}

/// A disk besides the system disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtraDisk {
    /// Its volume.
    pub path: PathBuf,
    /// The volume's format.
    pub format: VolumeFormat,
    /// The serial number that the guest sees, which names it where it has no label.
    pub serial: String,
    /// The file system to make on it; none leaves it as it is.
    pub filesystem: Option<FileSystem>,
    /// The file system's label.
    pub label: Option<Label>,
    /// Where it is mounted; none leaves it unmounted.
    pub mount: Option<GuestPath>,
    /// Mount options; `nofail` is always among them.
    pub options: Option<String>,
    /// Mount it even where the template has files of its own, which it then hides.
    pub force: bool,
}
