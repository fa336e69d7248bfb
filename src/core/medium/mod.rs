//! An installer's medium: whose it is, and where its kernel and initrd are.

mod content;
#[cfg(test)]
mod tests;

use std::{collections::VecDeque, fmt};

pub use content::{is_initrd, is_kernel};

use super::{
    iso9660::{Bytes, Entry, Extent, Fault, Iso, Node},
    pipeline::{AnswersKind, MediumPath},
    source::Arch,
};

/// How many folders are searched for a kernel at most, where it is not in any of the usual ones.
const MOST_FOLDERS: usize = 2000;
/// A kernel is larger, and a boot loader is not.
const SMALLEST_KERNEL: u64 = 1 << 20;
/// How much of a file's beginning says what it is.
const HEAD: u64 = 1024;

/// A file on the medium.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its path.
    pub path: String,
    /// Where its bytes are.
    pub extents: Vec<Extent>,
}

impl File {
    /// Its length in bytes.
    pub fn length(&self) -> u64 {
        self.extents.iter().fold(0, |sum, extent| sum.saturating_add(extent.length))
    }
}

/// What an installer's medium holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Installer {
    /// The volume's label.
    pub label: String,
    /// The kernel.
    pub kernel: File,
    /// The initrd.
    pub initrd: File,
}

/// Why a medium is not the one to install from.
#[derive(Debug)]
pub enum Unfit {
    /// It cannot be read.
    Fault(Fault),
    /// It is another installer's.
    OtherFamily(AnswersKind),
    /// It holds no kernel for the architecture with an initrd beside it.
    NoKernel,
    /// Nothing is at a path that the pipeline names.
    Missing(&'static str, String),
    /// Something else is there than the pipeline says.
    NotOne(&'static str, String),
}

impl From<Fault> for Unfit {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fault(fault) => fault.fmt(f),
            Self::OtherFamily(family) => write!(f, "it is a medium of {}", installer_of(*family)),
            Self::NoKernel => f.write_str("it holds no kernel with an initrd beside it"),
            Self::Missing(what, path) => write!(f, "it has no {path}, which source.{what} names"),
            Self::NotOne(what, path) => write!(f, "its {path}, which source.{what} names, is no {what}"),
        }
    }
}

/// The installer that reads such answers, for people.
pub fn installer_of(kind: AnswersKind) -> &'static str {
    match kind {
        AnswersKind::Preseed => "debian-installer",
        AnswersKind::Autoinstall => "subiquity, Ubuntu's installer",
        AnswersKind::Kickstart => "Anaconda, the Red Hat family's installer",
    }
}

/// The usual folders of a family, with the names of kernel and initrd in them, the best first. Of Ubuntu's two kernels the one
/// that the release came with goes first; Debian's graphical installer, in a folder below, is none of them.
fn places(kind: AnswersKind) -> &'static [(&'static str, &'static [&'static str], &'static [&'static str])] {
    match kind {
        AnswersKind::Autoinstall => {
            &[("casper", &["vmlinuz", "hwe-vmlinuz"], &["initrd", "initrd.lz", "initrd.gz", "hwe-initrd"])]
        }
        AnswersKind::Kickstart => {
            &[("images/pxeboot", &["vmlinuz"], &["initrd.img"]), ("isolinux", &["vmlinuz"], &["initrd.img"])]
        }
        AnswersKind::Preseed => &[
            ("install.amd", &["vmlinuz"], &["initrd.gz"]),
            ("install.a64", &["vmlinuz"], &["initrd.gz"]),
            ("install", &["vmlinuz"], &["initrd.gz"]),
        ],
    }
}

/// What only one family's media have. Ubuntu's are told first: theirs have Debian's marks too.
const MARKS: [(AnswersKind, &[&str]); 3] = [
    (AnswersKind::Autoinstall, &["casper"]),
    (AnswersKind::Kickstart, &[".treeinfo", ".discinfo", "images/pxeboot"]),
    (AnswersKind::Preseed, &["install.amd", "install.a64", "debian"]),
];

/// Looks at a medium for an installer that reads such answers. `paths` are those of kernel and initrd, where the pipeline names
/// them.
///
/// # Errors
/// [`Unfit`].
pub fn find(
    bytes: &dyn Bytes,
    kind: AnswersKind,
    arch: Arch,
    paths: (Option<&MediumPath>, Option<&MediumPath>),
) -> Result<Installer, Unfit> {
    let iso = Iso::open(bytes)?;
    if let Some(other) = family(&iso)?.filter(|family| *family != kind) {
        return Err(Unfit::OtherFamily(other));
    }
    let named = |what, path: Option<&MediumPath>| path.map(|path| named(&iso, what, path.as_str(), arch)).transpose();
    let (kernel, initrd) = match (named("kernel", paths.0)?, named("initrd", paths.1)?) {
        (Some(kernel), Some(initrd)) => (kernel, initrd),
        (kernel, initrd) => {
            let (found_kernel, found_initrd) = search(&iso, kind, arch)?.ok_or(Unfit::NoKernel)?;
            (kernel.unwrap_or(found_kernel), initrd.unwrap_or(found_initrd))
        }
    };
    iso.whole(&kernel.extents)?;
    iso.whole(&initrd.extents)?;
    Ok(Installer { label: iso.label().to_owned(), kernel, initrd })
}

/// The family whose medium it is; none where nothing tells.
fn family(iso: &Iso<'_>) -> Result<Option<AnswersKind>, Fault> {
    for (family, marks) in MARKS {
        for mark in marks {
            if iso.find(mark)?.is_some() {
                return Ok(Some(family));
            }
        }
    }
    Ok(None)
}

fn named(iso: &Iso<'_>, what: &'static str, path: &str, arch: Arch) -> Result<File, Unfit> {
    let Some(Node::File(extents)) = iso.find(path)? else { return Err(Unfit::Missing(what, path.to_owned())) };
    let head = iso.head(&extents, HEAD)?;
    let fits = if what == "kernel" { is_kernel(&head, arch) } else { is_initrd(&head) };
    if fits { Ok(File { path: path.to_owned(), extents }) } else { Err(Unfit::NotOne(what, path.to_owned())) }
}

/// Kernel and initrd: out of the family's usual folders, or else of the first folder that holds both.
fn search(iso: &Iso<'_>, kind: AnswersKind, arch: Arch) -> Result<Option<(File, File)>, Fault> {
    for (folder, kernels, initrds) in places(kind) {
        let Some(Node::Folder(extent)) = iso.find(folder)? else { continue };
        let entries = iso.entries(extent)?;
        let one = |names: &[&str], fits: &dyn Fn(&[u8]) -> bool| {
            let candidates = names.iter().filter_map(|name| entries.iter().find(|entry| entry.name == **name));
            first(iso, folder, candidates, fits)
        };
        if let (Some(kernel), Some(initrd)) = (one(kernels, &|head| is_kernel(head, arch))?, one(initrds, &is_initrd)?) {
            return Ok(Some(pair(&entries, kernel, initrd)));
        }
    }
    let mut folders = VecDeque::from([(String::new(), iso.root())]);
    let mut seen = std::collections::BTreeSet::new();
    while let Some((path, extent)) = folders.pop_front() {
        // A folder that holds itself would never end.
        if !seen.insert(extent.offset) || seen.len() > MOST_FOLDERS {
            continue;
        }
        let entries = iso.entries(extent)?;
        // A compressed kernel for arm64 begins as an initrd does.
        let large = entries.iter().filter(|entry| size(entry) >= SMALLEST_KERNEL && !entry.name.contains("initr"));
        let kernel = first(iso, &path, large, &|head| is_kernel(head, arch))?;
        let named = entries.iter().filter(|entry| entry.name.contains("initr"));
        if let (Some(kernel), Some(initrd)) = (kernel, first(iso, &path, named, &is_initrd)?) {
            return Ok(Some((kernel, initrd)));
        }
        for entry in entries {
            if let Node::Folder(extent) = entry.node {
                folders.push_back((join(&path, &entry.name), extent));
            }
        }
    }
    Ok(None)
}

/// The two belong together: beside a kernel for newer hardware, the initrd for it.
fn pair(entries: &[Entry], kernel: File, initrd: File) -> (File, File) {
    let newer = kernel.path.rsplit('/').next().and_then(|name| name.strip_suffix("vmlinuz")).filter(|prefix| !prefix.is_empty());
    let own = newer.and_then(|prefix| entries.iter().find(|entry| entry.name == format!("{prefix}initrd")));
    match own {
        Some(Entry { name, node: Node::File(extents) }) => {
            let folder = kernel.path.rsplit_once('/').map_or("", |(folder, _)| folder);
            let own = File { path: join(folder, name), extents: extents.clone() };
            (kernel, own)
        }
        _ => (kernel, initrd),
    }
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

fn size(entry: &Entry) -> u64 {
    match &entry.node {
        Node::File(extents) => extents.iter().fold(0, |sum, extent| sum.saturating_add(extent.length)),
        Node::Folder(_) => 0,
    }
}

/// The first of these files whose beginning fits.
fn first<'e>(
    iso: &Iso<'_>,
    folder: &str,
    entries: impl Iterator<Item = &'e Entry>,
    fits: &dyn Fn(&[u8]) -> bool,
) -> Result<Option<File>, Fault> {
    for entry in entries {
        let Node::File(extents) = &entry.node else { continue };
        if fits(&iso.head(extents, HEAD)?) {
            return Ok(Some(File { path: join(folder, &entry.name), extents: extents.clone() }));
        }
    }
    Ok(None)
}
