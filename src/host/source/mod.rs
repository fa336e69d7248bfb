//! Where a build's files come from: an archive's netboot installer, or files by URL or path; checked along the vendor's own chain,
//! and kept in a cache.
//!
//! ```text
//! archive: keyring ─signature→ dists/SUITE/InRelease ─SHA-256→ …/images/SHA256SUMS ─SHA-256→ linux, initrd.gz
//! files:   keyring ─signature→ the vendor's list ─SHA-256 or SHA-512→ medium, image, kernel, initrd
//! ```
//!
//! Where a link is missing, [`Source::resolve`] refuses, unless the request allows that. The last link always holds.

mod archive;
pub mod cache;
mod files;
mod hash;
pub mod http;
mod lists;
pub mod mirror;
pub mod openpgp;
mod partial;
mod progress;
pub mod records;
pub mod stock;
mod vouching;

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};

pub use self::archive::debian_keyring;
use self::{cache::Cache, http::Http, lists::Lists, progress::Meters};
use crate::{
    core::{
        progress::Progress,
        source::{Digest, Request, Role},
        trust::Trust,
    },
    host::local::Stop,
};

/// Whether the network may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It may.
    Online,
    /// Only what the cache has is used.
    Offline,
}

/// A file that was found, and the digest that it must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// It is downloaded, or in the cache already.
    Download {
        /// Where it is.
        url: String,
        /// What it must be.
        digest: Digest,
    },
    /// It is a file of this machine.
    Local {
        /// Where it is.
        path: PathBuf,
        /// The SHA-256 that was read off it.
        digest: Digest,
    },
}

impl Wanted {
    /// Its URL or path.
    pub fn location(&self) -> String {
        match self {
            Self::Download { url, .. } => url.clone(),
            Self::Local { path, .. } => path.display().to_string(),
        }
    }

    /// Its digest.
    pub fn digest(&self) -> Digest {
        match self {
            Self::Download { digest, .. } | Self::Local { digest, .. } => *digest,
        }
    }
}

/// What a build will fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The files.
    pub files: Vec<(Role, Wanted)>,
    /// Who vouches for them.
    pub trust: Trust,
}

impl Resolved {
    /// The file for a role.
    pub fn wanted(&self, role: Role) -> Option<&Wanted> {
        self.files.iter().find(|(held, _)| *held == role).map(|(_, wanted)| wanted)
    }
}

/// The files. Those of the cache are shared: read them, and never write them. As long as this is there, nobody prunes them.
#[derive(Debug, Default)]
pub struct Fetched {
    files: Vec<(Role, PathBuf)>,
    _held: Vec<File>,
}

impl Fetched {
    /// Files that nobody has to hold.
    pub fn new(files: Vec<(Role, PathBuf)>) -> Self {
        Self { files, _held: Vec::new() }
    }

    /// Where the file for a role is.
    ///
    /// # Errors
    /// There is none.
    pub fn path(&self, role: Role) -> Result<&Path> {
        let found = self.files.iter().find(|(held, _)| *held == role).map(|(_, path)| path.as_path());
        found.with_context(|| format!("the source has not brought {}", role.as_str()))
    }

    /// All files.
    pub fn files(&self) -> &[(Role, PathBuf)] {
        &self.files
    }
}

/// Where a build's files come from.
pub trait Source: Sync {
    /// Finds the files' digests, along the chain of trust. Nothing large is downloaded, but for a file whose digest nobody knows
    /// and for which the request allows that.
    ///
    /// # Errors
    /// [`Invalid`](crate::core::error::Invalid) for names that cannot be; [`Refusal`](crate::core::error::Refusal) for a missing
    /// link, and offline for what the cache lacks: all of it at once; else a server cannot be reached, or does not have a file.
    fn resolve(&self, request: &Request, access: Access, progress: &dyn Progress) -> Result<Resolved>;

    /// Fetches the files, or finds them in the cache.
    ///
    /// # Errors
    /// One cannot be had, or has another digest; offline [`Refusal`](crate::core::error::Refusal) for those that the cache lacks.
    fn fetch(&self, resolved: &Resolved, access: Access, progress: &dyn Progress) -> Result<Fetched>;
}

/// The web and this machine's files, with a cache in front.
pub struct Sources {
    http: Http,
    cache: Cache,
}

impl Sources {
    /// Sources that keep what they download in that folder, and end a download when `stop` says so.
    ///
    /// # Errors
    /// HTTP cannot be prepared.
    pub fn new(cache: PathBuf, stop: Stop) -> Result<Self> {
        Ok(Self { http: Http::new(stop)?, cache: Cache::new(cache) })
    }

    fn lists(&self, access: Access) -> Lists<'_> {
        Lists::new(&self.http, &self.cache, access)
    }
}

impl Source for Sources {
    fn resolve(&self, request: &Request, access: Access, progress: &dyn Progress) -> Result<Resolved> {
        let lists = self.lists(access);
        let resolved = match request {
            Request::Archive(request) => archive::resolve(&lists, request, progress)?,
            Request::Files(request) => files::resolve(self, &lists, request, progress)?,
        };
        lists.require_files(&resolved)?;
        // Only now: what led to nothing is not worth keeping, and must not take the place of what did. In a cache that another
        // user fills nothing can be kept, and everything be used.
        if let Err(error) = lists.keep() {
            progress.note(&format!("--offline will not find this: {error:#}"));
        }
        Ok(resolved)
    }

    fn fetch(&self, resolved: &Resolved, access: Access, progress: &dyn Progress) -> Result<Fetched> {
        self.lists(access).require_files(resolved)?;
        let meters = Meters::of(resolved);
        let mut fetched = Fetched::default();
        for (index, (role, wanted)) in resolved.files.iter().enumerate() {
            let mut meter = meters.meter(progress, index);
            let path = match wanted {
                Wanted::Local { path, digest } => {
                    files::check_unchanged(path, *digest, &mut meter)?;
                    path.clone()
                }
                Wanted::Download { url, digest } => {
                    let held = match access {
                        Access::Online => self.cache.get(&self.http, url, *digest, &mut meter)?,
                        Access::Offline => {
                            self.cache.whole(*digest, &mut meter)?.ok_or_else(|| lists::missing(&[format!("{url} (damaged)")]))?
                        }
                    };
                    fetched._held.push(held.file);
                    held.path
                }
            };
            fetched.files.push((*role, path));
        }
        Ok(fetched)
    }
}
