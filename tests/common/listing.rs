//! A guest's files, each with content, mode, owner and extended attributes, read without tpl: guestfish makes a tar archive,
//! Python reads it. Two listings and what sealing named are compared here.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::{Command, Stdio},
};

use serde::Deserialize;

/// A file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Listed {
    /// `file`, `directory`, `link`, …
    pub kind: String,
    /// Mode, owner and extended attributes.
    pub meta: String,
    /// The content's SHA-256; where a link leads.
    pub content: String,
}

/// A guest's files by path.
pub type Listing = BTreeMap<String, Listed>;

/// Lists the files on a disk, opened read-only. `mounts` as guestfish takes them (`/dev/sda1:/`); none: what inspection finds.
#[expect(clippy::disallowed_methods, reason = "the rule is for the program, not for its tests")]
pub fn list(disk: &Path, format: &str, tcg: bool, mounts: &[&str]) -> Listing {
    let mut fish = Command::new("/usr/bin/guestfish");
    fish.env("LIBGUESTFS_BACKEND", "direct").env("LIBGUESTFS_BACKEND_SETTINGS", if tcg { "force_tcg" } else { "" });
    fish.args(["--ro", &format!("--format={format}"), "-a"]).arg(disk);
    mounts.iter().for_each(|mount| {
        fish.args(["-m", mount]);
    });
    if mounts.is_empty() {
        fish.arg("-i");
    }
    fish.args(["tar-out", "/", "-", "numericowner:true", "xattrs:true", "selinux:true", "acls:true"]);
    let mut fish = fish.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/common/listing.py");
    let python = Command::new("/usr/bin/python3").arg(script).stdin(fish.stdout.take().unwrap()).output().unwrap();
    assert!(fish.wait().unwrap().success(), "guestfish failed");
    assert!(python.status.success(), "{}", String::from_utf8_lossy(&python.stderr));
    serde_json::from_slice(&python.stdout).unwrap()
}

/// What is another now: paths that are gone, and paths that changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// Not there any more.
    pub removed: BTreeSet<String>,
    /// Another content, and nothing else.
    pub rewritten: BTreeSet<String>,
    /// New, or with another kind, mode, owner or attribute: sealing does none of that.
    pub wrong: BTreeSet<String>,
}

/// Compares two listings.
pub fn differences(before: &Listing, after: &Listing) -> Differences {
    let mut found = Differences::default();
    for (path, old) in before {
        match after.get(path) {
            None => found.removed.insert(path.clone()),
            Some(new) if new == old => continue,
            Some(new) if new.meta == old.meta && new.kind == old.kind => found.rewritten.insert(path.clone()),
            Some(_) => found.wrong.insert(path.clone()),
        };
    }
    found.wrong.extend(after.keys().filter(|path| !before.contains_key(*path)).cloned());
    found
}

/// What sealing did and did not name, or named and did not do; both empty where the report is true.
pub fn unexplained(before: &Listing, found: &Differences, named: &[String]) -> (Vec<String>, Vec<String>) {
    let named: Vec<String> = named.iter().map(|path| resolve(before, path)).collect();
    let below = |path: &str, folder: &str| path == folder || path.starts_with(&format!("{folder}/"));
    let all: Vec<&String> = found.removed.iter().chain(&found.rewritten).chain(&found.wrong).collect();
    let not_named = all.iter().filter(|path| !named.iter().any(|named| below(path, named)));
    let not_done = named.iter().filter(|named| !all.iter().any(|path| below(path, named)));
    (not_named.map(|path| (*path).clone()).collect(), not_done.cloned().collect())
}

/// A path without links in its folders: `/var/mail/root` is `/var/spool/mail/root` on Debian.
fn resolve(listing: &Listing, path: &str) -> String {
    let mut done = String::new();
    let mut parts: Vec<String> = path.split('/').filter(|part| !part.is_empty()).rev().map(str::to_owned).collect();
    let mut links = 0;
    while let Some(part) = parts.pop() {
        if part == ".." {
            done.truncate(done.rfind('/').unwrap_or(0));
            continue;
        }
        let next = format!("{done}/{part}");
        match listing.get(&next).filter(|listed| listed.kind == "link" && !parts.is_empty()) {
            Some(link) if links < 40 => {
                links += 1;
                if link.content.starts_with('/') {
                    done.clear();
                }
                parts.extend(link.content.split('/').filter(|part| !part.is_empty() && *part != ".").rev().map(str::to_owned));
            }
            _ => done = next,
        }
    }
    done
}
