//! The outside world. Each part stands behind a trait that speaks the domain; here are the real ones.

pub mod bytes;
pub mod config_file;
pub mod dns;
mod gate;
pub mod guest;
pub mod guest_files;
pub mod hypervisor;
pub mod identity;
pub mod image;
pub mod images;
pub mod imds;
pub mod keys;
pub mod known_hosts;
pub mod libvirt;
pub mod local;
pub mod lvm;
pub mod machine;
pub mod medium;
pub mod pool;
pub mod portable;
pub mod process;
pub mod reach;
pub mod seed_image;
pub mod shell;
pub mod source;
pub mod ssh_keys;
pub mod unpack;
pub mod whole_file;

use std::path::Path;

/// The folder that a file is in, or is to be in. A bare name has an empty parent: this folder.
fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
