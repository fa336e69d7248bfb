//! [`Files`] by libguestfs.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use guestfs::{GlobExpandOptArgs, StatNS};

use super::{Disks as _, Entry, FileKind, FileStat, Files, appliance::Session};

/// libguestfs's messages end at 4 MiB.
const PIECE: usize = 1 << 20;
/// The unit in which filesystems free blocks, at the least.
const BLOCK: u64 = 4096;
static ZEROS: [u8; PIECE] = [0; PIECE];

impl Files for Session {
    fn glob(&self, patterns: &[&str]) -> Result<Vec<String>> {
        if patterns.is_empty() {
            return Ok(Vec::new());
        }
        // All in one round trip: the appliance's glob knows braces, though not before the first slash.
        let pattern = match patterns {
            [one] => (*one).to_owned(),
            _ => format!("/{{{}}}", patterns.iter().map(|pattern| pattern.trim_start_matches('/')).collect::<Vec<_>>().join(",")),
        };
        let options = GlobExpandOptArgs { directoryslash: Some(false) };
        let mut paths = self.call(&format!("listing {pattern}"), |g| g.glob_expand(&pattern, options))?;
        paths.sort();
        paths.dedup();
        Ok(paths)
    }

    fn stat(&self, path: &str) -> Result<Option<FileStat>> {
        Ok(self.find(&format!("looking at {path}"), |g| g.statns(path))?.as_ref().map(file_stat))
    }

    fn lstat(&self, path: &str) -> Result<Option<FileStat>> {
        Ok(self.find(&format!("looking at {path}"), |g| g.lstatns(path))?.as_ref().map(file_stat))
    }

    fn walk(&self, directory: &str) -> Result<Vec<Entry>> {
        if self.stat(directory)?.is_none_or(|stat| stat.kind != FileKind::Directory) {
            return Ok(Vec::new());
        }
        let what = format!("listing {directory}");
        let found = self.call(&what, |g| g.find(directory))?;
        let mut folders: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for name in found.iter().map(|name| name.trim_start_matches('/')).filter(|name| !name.is_empty()) {
            let (folder, name) = name.rsplit_once('/').unwrap_or(("", name));
            folders.entry(folder).or_default().push(name);
        }
        let mut entries = Vec::with_capacity(found.len());
        for (folder, names) in folders {
            // Asked for by folder: that is one round trip for many files, which may not have a slash in their names.
            let folder = if folder.is_empty() { directory.to_owned() } else { format!("{directory}/{folder}") };
            let stats = self.call(&what, |g| g.lstatnslist(&folder, &names))?;
            let entry = |(name, stat): (&&str, &StatNS)| Entry { path: format!("{folder}/{name}"), stat: file_stat(stat) };
            entries.extend(names.iter().zip(&stats).map(entry));
        }
        Ok(entries)
    }

    fn read(&self, path: &str, limit: usize) -> Result<Option<Vec<u8>>> {
        // Looked at first: opening a pipe would wait for ever.
        let Some(size) = self.stat(path)?.filter(|stat| stat.kind == FileKind::Regular).map(|stat| stat.size) else {
            return Ok(None);
        };
        ensure!(size <= limit as u64, "reading {path}: it has {size} bytes, and {limit} is the limit");
        let mut content = Vec::with_capacity(usize::try_from(size)?);
        while (content.len() as u64) < size {
            let offset = i64::try_from(content.len())?;
            let piece = self.call(&format!("reading {path}"), |g| g.pread(path, PIECE as i32, offset))?;
            if piece.is_empty() {
                break;
            }
            content.extend(piece);
        }
        Ok(Some(content))
    }

    fn head(&self, path: &str, length: usize) -> Result<Option<Vec<u8>>> {
        if self.stat(path)?.is_none_or(|stat| stat.kind != FileKind::Regular) {
            return Ok(None);
        }
        let length = i32::try_from(length.min(PIECE))?;
        Ok(Some(self.call(&format!("reading {path}"), |g| g.pread(path, length, 0))?))
    }

    fn zero_from(&self, path: &str, offset: u64) -> Result<bool> {
        let what = format!("overwriting {path}");
        let size = self.stat(path)?.filter(|stat| stat.kind == FileKind::Regular).map(|stat| stat.size);
        let size = size.with_context(|| format!("{what}: it is no plain file"))?;
        let (mut position, mut found) = (offset, false);
        while position < size {
            // Read first: zeros over zeros would take room in an image that is sparse there.
            let piece = self.call(&what, |g| g.pread(path, PIECE as i32, i64::try_from(position).unwrap_or(i64::MAX)))?;
            if piece.is_empty() {
                break;
            }
            if piece.iter().any(|byte| *byte != 0) {
                self.overwrite(path, position, &ZEROS[..piece.len()])?;
                found = true;
            }
            position += piece.len() as u64;
        }
        Ok(found)
    }

    fn write(&self, path: &str, content: &[u8]) -> Result<()> {
        let what = format!("writing {path}");
        let Some(old) = self.stat(path)?.filter(|stat| stat.size > 0 || stat.kind != FileKind::Regular) else {
            return self.call(&what, |g| g.write(path, content));
        };
        ensure!(old.kind == FileKind::Regular, "{what}: it is no plain file");
        self.overwrite(path, 0, content)?;
        let length = content.len() as u64;
        if length < old.size {
            self.zero(path, length, old.size)?;
            if length.div_ceil(BLOCK) < old.size.div_ceil(BLOCK) {
                // Blocks get free below: unless the zeros are on the disk by then, the filesystem drops them.
                self.call(&what, guestfs::Handle::sync)?;
            }
            self.call(&what, |g| g.truncate_size(path, i64::try_from(length).unwrap_or(0)))?;
        }
        Ok(())
    }

    fn erase(&self, paths: &[String]) -> Result<()> {
        let mut erased = Vec::new();
        for path in paths {
            if let Some(stat) = self.stat(path)?.filter(|stat| stat.kind == FileKind::Regular && stat.size > 0) {
                self.zero(path, 0, stat.size)?;
                erased.push(path);
            }
        }
        if !erased.is_empty() {
            // One for all; see `write`.
            self.call("writing out", guestfs::Handle::sync)?;
        }
        erased.iter().try_for_each(|path| self.truncate(path))
    }

    fn truncate(&self, path: &str) -> Result<()> {
        self.call(&format!("emptying {path}"), |g| g.truncate(path))
    }

    fn remove(&self, path: &str) -> Result<()> {
        // Unlinking is one round trip; removing a tree starts a program in the appliance, which costs twenty.
        if self.find("unlinking", |g| g.rm_f(path)).is_ok() {
            return Ok(());
        }
        self.call(&format!("removing {path}"), |g| g.rm_rf(path))
    }

    fn rpm_packages(&self) -> Result<Vec<(String, String)>> {
        // Inspection looks at all disks.
        ensure!(!self.crowded.get(), "listing packages: there are other disks in the appliance");
        let mounts = self.mounts.take();
        let listed = self.call("inspecting the guest", |g| {
            let mut packages = Vec::new();
            for root in g.inspect_os()? {
                packages.extend(g.inspect_list_applications2(&root)?);
            }
            Ok(packages)
        });
        // Inspection unmounts everything; the caller's view must not change.
        self.unmount_all()?;
        mounts.iter().try_for_each(|mount| self.mount(mount))?;
        let version = |package: &guestfs::Application2| {
            let epoch = if package.app2_epoch > 0 { format!("{}:", package.app2_epoch) } else { String::new() };
            format!("{epoch}{}-{}", package.app2_version, package.app2_release)
        };
        Ok(listed?.into_iter().map(|package| (package.app2_name.clone(), version(&package))).collect())
    }
}

impl Session {
    fn overwrite(&self, path: &str, offset: u64, content: &[u8]) -> Result<()> {
        let mut done = 0;
        while done < content.len() {
            let piece = &content[done..content.len().min(done + PIECE)];
            let position = i64::try_from(offset)? + i64::try_from(done)?;
            let written = self.call(&format!("writing {path}"), |g| g.pwrite(path, piece, position))?;
            ensure!(written > 0, "writing {path}: nothing was written");
            done += usize::try_from(written)?;
        }
        Ok(())
    }

    fn zero(&self, path: &str, from: u64, to: u64) -> Result<()> {
        let mut offset = from;
        while offset < to {
            let length = (to - offset).min(PIECE as u64);
            self.overwrite(path, offset, &ZEROS[..usize::try_from(length)?])?;
            offset += length;
        }
        Ok(())
    }
}

fn file_stat(stat: &StatNS) -> FileStat {
    // Inode mode bits as in stat(2), whose layout is the same on every Linux.
    let kind = match stat.st_mode & 0o170_000 {
        0o100_000 => FileKind::Regular,
        0o040_000 => FileKind::Directory,
        0o120_000 => FileKind::Symlink,
        _ => FileKind::Other,
    };
    let mode = u32::try_from(stat.st_mode & 0o7777).unwrap_or_default();
    FileStat { kind, size: u64::try_from(stat.st_size).unwrap_or_default(), mode }
}
