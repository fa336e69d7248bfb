//! A guest in memory: remembers its files, and can be told to fail.

use std::{cell::RefCell, collections::BTreeMap};

use anyhow::{Result, bail, ensure};

use crate::host::guest::{Entry, FileKind, FileStat, Files};

/// Files in memory. Directories exist where files are below them.
#[derive(Default)]
pub(super) struct FakeFiles {
    pub(super) nodes: RefCell<BTreeMap<String, Node>>,
    /// The path at which every access fails.
    pub(super) broken: Option<String>,
    /// Paths that were overwritten before they were removed, in order.
    pub(super) erased: RefCell<Vec<String>>,
    pub(super) rpm: Vec<(String, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Node {
    File(Vec<u8>),
    Directory,
    Link(String),
    Pipe,
}

impl FakeFiles {
    pub(super) fn new(files: &[(&str, &str)]) -> Self {
        let fake = Self::default();
        for (path, text) in files {
            fake.put(path, Node::File(text.as_bytes().to_vec()));
        }
        fake
    }

    pub(super) fn put(&self, path: &str, node: Node) {
        let mut nodes = self.nodes.borrow_mut();
        let parents = path.match_indices('/').map(|(index, _)| &path[..index]).filter(|parent| !parent.is_empty());
        for parent in parents {
            nodes.entry(parent.to_owned()).or_insert(Node::Directory);
        }
        nodes.insert(path.to_owned(), node);
    }

    /// All files that are left, with their text.
    pub(super) fn texts(&self) -> Vec<(String, String)> {
        let nodes = self.nodes.borrow();
        let text = |(path, node): (&String, &Node)| match node {
            Node::File(bytes) => Some((path.clone(), String::from_utf8_lossy(bytes).into_owned())),
            _ => None,
        };
        nodes.iter().filter_map(text).collect()
    }

    fn check(&self, path: &str) -> Result<()> {
        ensure!(self.broken.as_deref() != Some(path), "{path}: Input/output error");
        Ok(())
    }

    fn follow(&self, path: &str) -> Option<(String, Node)> {
        let mut path = path.to_owned();
        for _ in 0..8 {
            match self.nodes.borrow().get(&path)? {
                Node::Link(target) => path = target.clone(),
                node => return Some((path, node.clone())),
            }
        }
        None
    }
}

fn stat_of(node: &Node) -> FileStat {
    let (kind, size) = match node {
        Node::File(bytes) => (FileKind::Regular, bytes.len() as u64),
        Node::Directory => (FileKind::Directory, 4096),
        Node::Link(target) => (FileKind::Symlink, target.len() as u64),
        Node::Pipe => (FileKind::Other, 0),
    };
    FileStat { kind, size, mode: 0o644 }
}

/// glob(7) for one component: `*`, `?`, `[a-c]`, `[!.]`; a dot at the start is only matched by a dot.
fn matches(pattern: &[u8], name: &[u8], start: bool) -> bool {
    match (pattern.first(), name.first()) {
        (None, None) => true,
        (Some(b'*'), Some(b'.')) if start => false,
        (Some(b'*'), _) => matches(&pattern[1..], name, false) || !name.is_empty() && matches(pattern, &name[1..], false),
        (Some(b'['), Some(byte)) => {
            let close = pattern.iter().position(|byte| *byte == b']').unwrap();
            let (set, negated) = if pattern[1] == b'!' { (&pattern[2..close], true) } else { (&pattern[1..close], false) };
            let range = set.len() == 3 && set[1] == b'-' && (set[0]..=set[2]).contains(byte);
            (range || set.contains(byte)) != negated && matches(&pattern[close + 1..], &name[1..], false)
        }
        (Some(b'?'), Some(_)) => matches(&pattern[1..], &name[1..], false),
        (Some(a), Some(b)) => a == b && matches(&pattern[1..], &name[1..], false),
        _ => false,
    }
}

fn matches_path(pattern: &str, path: &str) -> bool {
    let same_depth = pattern.matches('/').count() == path.matches('/').count();
    same_depth
        && pattern.split('/').zip(path.split('/')).all(|(pattern, name)| matches(pattern.as_bytes(), name.as_bytes(), true))
}

impl Files for FakeFiles {
    fn glob(&self, patterns: &[&str]) -> Result<Vec<String>> {
        let nodes = self.nodes.borrow();
        Ok(nodes.keys().filter(|path| patterns.iter().any(|pattern| matches_path(pattern, path))).cloned().collect())
    }

    fn stat(&self, path: &str) -> Result<Option<FileStat>> {
        self.check(path)?;
        Ok(self.follow(path).map(|(_, node)| stat_of(&node)))
    }

    fn lstat(&self, path: &str) -> Result<Option<FileStat>> {
        self.check(path)?;
        Ok(self.nodes.borrow().get(path).map(stat_of))
    }

    fn walk(&self, directory: &str) -> Result<Vec<Entry>> {
        self.check(directory)?;
        let below = format!("{directory}/");
        let nodes = self.nodes.borrow();
        let found = nodes.iter().filter(|(path, _)| path.starts_with(&below));
        Ok(found.map(|(path, node)| Entry { path: path.clone(), stat: stat_of(node) }).collect())
    }

    fn read(&self, path: &str, limit: usize) -> Result<Option<Vec<u8>>> {
        self.check(path)?;
        match self.follow(path) {
            Some((_, Node::File(bytes))) if bytes.len() > limit => bail!("{path}: too large"),
            Some((_, Node::File(bytes))) => Ok(Some(bytes)),
            _ => Ok(None),
        }
    }

    fn head(&self, path: &str, length: usize) -> Result<Option<Vec<u8>>> {
        Ok(self.read(path, usize::MAX)?.map(|bytes| bytes[..bytes.len().min(length)].to_vec()))
    }

    fn zero_from(&self, path: &str, offset: u64) -> Result<bool> {
        let Some(mut bytes) = self.read(path, usize::MAX)? else { bail!("{path}: no plain file") };
        let start = bytes.len().min(usize::try_from(offset)?);
        let found = bytes[start..].iter().any(|byte| *byte != 0);
        bytes[start..].fill(0);
        self.write(path, &bytes)?;
        Ok(found)
    }

    fn write(&self, path: &str, content: &[u8]) -> Result<()> {
        self.check(path)?;
        let path = self.follow(path).map_or_else(|| path.to_owned(), |(path, _)| path);
        self.put(&path, Node::File(content.to_vec()));
        Ok(())
    }

    fn erase(&self, paths: &[String]) -> Result<()> {
        for path in paths {
            self.truncate(path)?;
            self.erased.borrow_mut().push(path.clone());
        }
        Ok(())
    }

    fn truncate(&self, path: &str) -> Result<()> {
        ensure!(matches!(self.follow(path), Some((_, Node::File(_)))), "{path}: no plain file");
        self.write(path, b"")
    }

    fn remove(&self, path: &str) -> Result<()> {
        self.check(path)?;
        let below = format!("{path}/");
        self.nodes.borrow_mut().retain(|other, _| other != path && !other.starts_with(&below));
        Ok(())
    }

    fn rpm_packages(&self) -> Result<Vec<(String, String)>> {
        Ok(self.rpm.clone())
    }
}
