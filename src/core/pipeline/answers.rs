//! `[answers]`: what an installer is told.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::words::{AnswerPath, GroupName, PackageName, PlainText, Script, VolumeGroup, Word};
use crate::core::{mirror, names::UserName, ssh_key::PublicKey, timezone, units::ByteSize};

/// What the installer is told.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Answers {
    /// Which installer it is, and so what the answer file is written in.
    pub kind: AnswersKind,
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
    pub packages: Vec<PackageName>,
    /// An HTTP proxy for the installer; none when empty.
    #[serde(default)]
    pub proxy: Word,
    /// The package mirror of installer and system; the vendor's, or the medium, when empty.
    #[serde(default)]
    pub mirror: Word,
    /// How the disk is laid out.
    #[serde(default)]
    pub layout: Layout,
    /// The root's file system.
    #[serde(default)]
    pub filesystem: RootFileSystem,
    /// The volume group's name, in the layout `lvm`.
    #[serde(default)]
    pub volume_group: VolumeGroup,
    /// The size of `/boot`, where the layout has one.
    #[serde(default = "half_gib")]
    pub boot: ByteSize,
    /// The size of the swap volume in the layout `lvm`; 0: none.
    #[serde(default = "half_gib")]
    pub swap: ByteSize,
    /// Whether cloud-init is installed. Without it a clone's identity is written into its disk.
    #[serde(default = "yes")]
    pub cloud_init: bool,
    /// Users that every clone has.
    #[serde(default)]
    pub users: Vec<ExtraUser>,
    /// Commands at the end of the installation.
    #[serde(default)]
    pub late_commands: Vec<Script>,
}

/// The installers, by what they read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AnswersKind {
    /// debian-installer.
    Preseed,
    /// Ubuntu's subiquity.
    Autoinstall,
    /// Anaconda, of the Red Hat family.
    Kickstart,
}

/// How a disk is laid out. Everywhere the root comes last, so that it can grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// One root filesystem on a partition.
    #[default]
    Plain,
    /// A volume group with swap and root, and a `/boot` beside it where the family needs it.
    Lvm,
}

/// The file systems that a root can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RootFileSystem {
    /// ext4.
    #[default]
    Ext4,
    /// XFS.
    Xfs,
}

/// A user that every clone has: with keys, and without a password.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ExtraUser {
    /// The name.
    pub name: UserName,
    /// What passwd calls them.
    #[serde(default)]
    pub comment: PlainText,
    /// Groups besides the user's own.
    #[serde(default)]
    pub groups: Vec<GroupName>,
    /// Whether sudo asks for no password.
    #[serde(default)]
    pub sudo: bool,
    /// The keys that may log in.
    #[serde(default)]
    pub ssh_keys: Vec<PublicKey>,
}

fn yes() -> bool {
    true
}

fn half_gib() -> ByteSize {
    ByteSize::mib(512)
}

fn locale() -> Word {
    plain("en_US.UTF-8")
}

fn keyboard() -> Word {
    plain("us")
}

fn timezone() -> Word {
    plain("Etc/UTC")
}

/// A word out of this file.
fn plain(text: &str) -> Word {
    text.parse().unwrap_or_default()
}

impl Answers {
    /// What cannot be meant, each with its key.
    pub(super) fn faults(&self) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        if !(ByteSize::mib(256)..=ByteSize::mib(16 << 10)).contains(&self.boot) {
            faults.push(("boot".to_owned(), "/boot needs 256 MiB to 16 GiB".to_owned()));
        }
        if self.swap.0 != 0 && !(ByteSize::mib(16)..=ByteSize(1 << 40)).contains(&self.swap) {
            faults.push(("swap".to_owned(), "swap is 0, or 16 MiB to 1 TiB".to_owned()));
        }
        if let Err(fault) = timezone::checked(self.timezone.as_str()) {
            faults.push(("timezone".to_owned(), fault));
        }
        for (key, url) in [("proxy", &self.proxy), ("mirror", &self.mirror)] {
            if let Err(fault) = mirror::checked(url.as_str())
                && !url.as_str().is_empty()
            {
                faults.push((key.to_owned(), fault));
            }
        }
        for (index, user) in self.users.iter().enumerate() {
            // A colon would begin another field of passwd.
            if user.comment.as_str().contains(':') {
                let message = format!("the comment of {} holds a ':', which passwd cannot", user.name);
                faults.push((format!("users.{index}.comment"), message));
            }
            // Each user has a group of that name, which is made with the user and cannot be there already.
            if self.users.iter().flat_map(|other| &other.groups).any(|group| group.as_str() == user.name.as_str()) {
                let message = format!("{} is a group of this list too, and a user's own group has the user's name", user.name);
                faults.push((format!("users.{index}.name"), message));
            }
            if user.name.as_str() == "root" {
                faults.push((format!("users.{index}.name"), "root is there already".to_owned()));
            }
            if self.users[..index].iter().any(|other| other.name == user.name) {
                faults.push((format!("users.{index}.name"), format!("the user {} stands there twice", user.name)));
            }
        }
        faults
    }
}
