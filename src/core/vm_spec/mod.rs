//! What an operator can ask of a VM, in a call's flags or in a fleet's file. All of it may be absent: what the VM does not say
//! its group says, then the call, then the template.

mod flags;
mod merge;
mod values;

use std::{net::IpAddr, path::PathBuf};

use schemars::JsonSchema;
use serde::Deserialize;

use super::{
    names::UserName,
    pipeline::{PlainText, Word},
    ssh_key::PublicKey,
    units::ByteSize,
};
pub use values::{
    Addressing, DomainName, FileMode, FileSystem, Firmware, GuestPath, IpChoice, Label, MacChoice, SeedWay, Topology,
};

/// What is asked of one VM.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct VmSpec {
    /// vCPUs.
    pub vcpus: Option<u32>,
    /// How the vCPUs are shown to the guest; their product is the number of vCPUs.
    pub topology: Option<Topology>,
    /// Memory.
    pub memory: Option<ByteSize>,
    /// The system disk's virtual size; the root file system grows into it at the first boot.
    pub disk: Option<ByteSize>,
    /// A disk that is a whole copy, instead of one that stands on the template's volume.
    pub full: Option<bool>,
    /// The room of a disk that is a classic LVM snapshot, for what comes to differ from the template.
    pub snapshot_size: Option<ByteSize>,
    /// Disks besides the system disk.
    pub disks: Vec<ExtraDisk>,
    /// The firmware that the template must have been built for.
    pub firmware: Option<Firmware>,
    /// What its first network card is plugged into.
    pub network: Option<Label>,
    /// A bridge of the hypervisor instead of a libvirt network.
    pub bridge: Option<Label>,
    /// How the address comes about.
    pub addressing: Option<Addressing>,
    /// The address of a single VM, or those of several.
    pub ip: Option<IpChoice>,
    /// The length of the subnet's prefix, for static addresses outside libvirt's networks.
    pub prefix: Option<u8>,
    /// The router, for static addresses.
    pub gateway: Option<IpAddr>,
    /// Name servers, for static addresses.
    pub nameservers: Vec<IpAddr>,
    /// Domains in which the guest looks for short names.
    pub search: Vec<DomainName>,
    /// Where MAC addresses come from.
    pub mac: Option<MacChoice>,
    /// Start with the hypervisor.
    pub autostart: Option<bool>,
    /// What people read in virt-manager.
    pub description: Option<PlainText>,
    /// A snapshot of this name is taken once the VM is ready.
    pub snapshot: Option<Label>,
    /// Where its cloud-init reads its seed.
    pub seed: Option<SeedWay>,
    /// What the guest does with itself at its first boot.
    pub guest: GuestSpec,
}

/// What the guest is told. Files are named here and read elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GuestSpec {
    /// Who logs in.
    pub user: Option<UserName>,
    /// Keys that may log in as `user`.
    pub ssh_keys: Vec<PublicKey>,
    /// Files of such keys.
    pub ssh_key_files: Vec<PathBuf>,
    /// A file with the crypt(3) hash of `user`'s password. Never the hash itself: this may come from a command line.
    pub password_hash_file: Option<PathBuf>,
    /// Further users.
    pub users: Vec<GuestUser>,
    /// Packages to install.
    pub packages: Vec<Word>,
    /// The time zone: `Europe/Vienna`.
    pub timezone: Option<Word>,
    /// The locale: `en_US.UTF-8`.
    pub locale: Option<Word>,
    /// Where apt finds packages.
    pub apt_mirror: Option<Word>,
    /// Files to write.
    pub write_files: Vec<GuestFile>,
    /// Commands that run once, as root, by the guest's shell, at the end of the first boot.
    pub runcmd: Vec<String>,
    /// A file of cloud-init user-data, merged behind tpl's own.
    pub user_data: Option<PathBuf>,
}

/// A further user of a guest.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GuestUser {
    /// The user's name.
    pub name: UserName,
    /// Keys that may log in.
    #[serde(default)]
    pub ssh_keys: Vec<PublicKey>,
    /// Files of such keys.
    #[serde(default)]
    pub ssh_key_files: Vec<PathBuf>,
    /// A file with the crypt(3) hash of the password.
    #[serde(default)]
    pub password_hash_file: Option<PathBuf>,
    /// Groups besides the user's own.
    #[serde(default)]
    pub groups: Vec<UserName>,
    /// Whether everything is allowed by sudo.
    #[serde(default)]
    pub sudo: bool,
}

/// A file that the guest writes at its first boot: with `content`, or with what the file `source` here holds.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GuestFile {
    /// Where, in the guest.
    pub path: GuestPath,
    /// The text.
    #[serde(default)]
    pub content: Option<String>,
    /// A file on this machine.
    #[serde(default)]
    pub source: Option<PathBuf>,
    /// Its mode, in octal digits.
    #[serde(default)]
    pub mode: Option<FileMode>,
    /// Who owns it: `user` or `user:group`.
    #[serde(default)]
    pub owner: Option<Word>,
}

/// A disk besides the system disk, with a file system on it or without.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExtraDisk {
    /// Its virtual size.
    pub size: ByteSize,
    /// The file system that the guest makes on it; none leaves it blank.
    #[serde(default)]
    pub fs: Option<FileSystem>,
    /// The file system's label.
    #[serde(default)]
    pub label: Option<Label>,
    /// Where it is mounted.
    #[serde(default)]
    pub mount: Option<GuestPath>,
    /// Mount options: `noatime,nofail`.
    #[serde(default)]
    pub options: Option<Word>,
    /// Mount it even where the template has files of its own, which it then hides.
    #[serde(default)]
    pub force: bool,
    /// Move the files that the template has there to it, at the first boot: /home, /opt, /srv or /var.
    #[serde(default, rename = "move")]
    pub moved: bool,
}
