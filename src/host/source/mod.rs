//! Debian's netboot kernel and initrd, checked along the archive's own chain, and kept in a cache:
//!
//! ```text
//! keyring ─signature→ dists/SUITE/InRelease ─SHA-256→ …/images/SHA256SUMS ─SHA-256→ linux, initrd.gz
//! ```
//!
//! Where a link is missing, [`Source::resolve`] refuses, unless the request allows that. The last link always holds.

pub mod cache;
pub mod http;
pub mod mirror;
pub mod openpgp;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use sha2::{Digest as _, Sha256};

use self::{
    cache::{Cache, Watch},
    http::Http,
    openpgp::Keyring,
};
use crate::core::{
    checksums::Checksums,
    error::{Invalid, Refusal},
    mirror::checked,
    progress::Progress,
    release::Release,
    sha256::Sha256Digest,
    source::{ArchiveRequest, Request, Role},
    trust::Trust,
};

/// Where Debian's package `debian-archive-keyring` puts the archive's keys, newest form first.
const KEYRINGS: [&str; 2] = ["/usr/share/keyrings/debian-archive-keyring.pgp", "/usr/share/keyrings/debian-archive-keyring.gpg"];

/// A file and the digest it must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Where it is.
    pub url: String,
    /// What it must be.
    pub sha256: Sha256Digest,
}

/// What a build will fetch: nothing of it is downloaded yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// Each file, and what it is for.
    pub files: Vec<(Role, Wanted)>,
    /// Who vouches for them.
    pub trust: Trust,
}

/// The files on this machine. They are shared: read them, and never write them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched(pub Vec<(Role, PathBuf)>);

impl Fetched {
    /// The file for a purpose.
    ///
    /// # Errors
    /// There is none.
    pub fn path(&self, role: Role) -> Result<&Path> {
        let found = self.0.iter().find(|(other, _)| *other == role);
        found.map(|(_, path)| path.as_path()).with_context(|| format!("the source has not brought {}", role.as_str()))
    }
}

/// Where installers come from.
pub trait Source: Sync {
    /// Finds the files' digests, along the chain of trust.
    ///
    /// # Errors
    /// [`Invalid`] for a mirror, suite or architecture that cannot be one; [`Refusal`] for a missing link; else the mirror
    /// cannot be reached, or does not have this installer.
    fn resolve(&self, request: &Request, progress: &dyn Progress) -> Result<Resolved>;

    /// Fetches the files, or finds them in the cache.
    ///
    /// # Errors
    /// One cannot be had, or has another digest.
    fn fetch(&self, resolved: &Resolved, progress: &dyn Progress) -> Result<Fetched>;
}

/// A Debian mirror behind HTTP, with a cache in front.
pub struct DebianSource {
    http: Http,
    cache: Cache,
}

impl DebianSource {
    /// A source that keeps its files in that folder.
    ///
    /// # Errors
    /// HTTP cannot be prepared.
    pub fn new(cache: PathBuf) -> Result<Self> {
        Ok(Self { http: Http::new()?, cache: Cache::new(cache) })
    }

    fn resolve_archive(&self, request: &ArchiveRequest, progress: &dyn Progress) -> Result<Resolved> {
        let place = Place::of(request)?;
        progress.update("checking the installer's signature", None);
        let signed = self.signed_digest(request, &place)?;
        if let Err(reason) = &signed {
            // Before anything else is fetched.
            tolerate(request, reason)?;
        }
        let url = place.sums();
        let list = self.http.list(&url)?.with_context(|| {
            format!("{url} does not exist\nThe mirror has no installer of {} for {}: try another", request.suite, request.arch)
        })?;
        let found = Sha256Digest(Sha256::digest(&list).into());
        let trust = match signed {
            Ok((expected, fingerprint)) if found == expected => Ok(fingerprint),
            Ok((expected, _)) => Err(format!("{url}: its SHA-256 is {found}, and {expected} was signed")),
            Err(reason) => Err(reason),
        };
        let trust = match trust {
            Ok(fingerprint) => Trust::Signed { fingerprint },
            Err(reason) => {
                tolerate(request, &reason)?;
                progress.note(&format!("the installer is not verified: {reason}"));
                Trust::Unsigned { reason }
            }
        };
        let sums = Checksums::parse(&String::from_utf8_lossy(&list)).map_err(|fault| anyhow!("reading {url}: {fault}"))?;
        let wanted = |name| {
            let path = place.file(name);
            let sha256 = sums.find(&path).with_context(|| format!("{url} does not list {path}"))?;
            Ok::<_, anyhow::Error>(Wanted { url: format!("{}/{path}", place.images()), sha256 })
        };
        let files = vec![(Role::Kernel, wanted("linux")?), (Role::Initrd, wanted("initrd.gz")?)];
        Ok(Resolved { files, trust })
    }

    /// The digest that the archive's signed list gives for the checksum list, and who signed; inside, which link is missing.
    fn signed_digest(&self, request: &ArchiveRequest, place: &Place) -> Result<Result<(Sha256Digest, String), String>> {
        let keyring = match request.keyring.as_deref().map(Keyring::read) {
            None => return Ok(Err("no keyring is given".to_owned())),
            Some(Err(reason)) => return Ok(Err(reason)),
            Some(Ok(keyring)) => keyring,
        };
        let url = place.in_release();
        let Some(message) = self.http.list(&url)? else {
            return Ok(Err(format!("{url} does not exist")));
        };
        Ok(listed_digest(&keyring, &message, request, place).map_err(|reason| format!("{url}: {reason}")))
    }
}

fn listed_digest(
    keyring: &Keyring,
    message: &[u8],
    request: &ArchiveRequest,
    place: &Place,
) -> Result<(Sha256Digest, String), String> {
    let signed = keyring.verify(message)?;
    let release = Release::parse(&signed.text)?;
    release.check(&request.suite, jiff::Timestamp::now()).map_err(|fault| format!("it {fault}"))?;
    let path = place.sums_in_release();
    let listed = release.find(&path).ok_or_else(|| format!("it does not list {path}"))?;
    Ok((listed.sha256, signed.fingerprint))
}

impl Source for DebianSource {
    fn resolve(&self, request: &Request, progress: &dyn Progress) -> Result<Resolved> {
        match request {
            Request::Archive(request) => self.resolve_archive(request, progress),
            Request::Files(_) => Err(anyhow!("only Debian archives can be resolved")),
        }
    }

    fn fetch(&self, resolved: &Resolved, progress: &dyn Progress) -> Result<Fetched> {
        let mut files = Vec::new();
        for (index, (role, wanted)) in resolved.files.iter().enumerate() {
            let share = |index: usize| (index * 100 / resolved.files.len()) as u64;
            let mut meter = Meter { progress, name: role.as_str(), from: share(index), to: share(index + 1), last: None };
            files.push((*role, self.cache.get(&self.http, wanted, &mut meter)?));
        }
        Ok(Fetched(files))
    }
}

/// Debian's own keyring, if it is installed.
pub fn debian_keyring() -> Option<PathBuf> {
    KEYRINGS.iter().map(Path::new).find(|path| path.is_file()).map(Path::to_owned)
}

/// Lets a missing link pass where the operator allowed that.
fn tolerate(request: &ArchiveRequest, reason: &str) -> Result<(), Refusal> {
    if request.allow_unsigned {
        return Ok(());
    }
    let way_out = "--allow-unsigned (or TPL_ALLOW_UNSIGNED=1) goes on without that check";
    let advice = match request.keyring {
        None => format!("Debian's keys are in the package debian-archive-keyring; {way_out}"),
        Some(_) => way_out.to_owned(),
    };
    let ArchiveRequest { suite, arch, .. } = request;
    Err(Refusal::new(format!("the installer of {suite} for {arch} cannot be verified: {reason}")).advise(advice))
}

/// The places in an archive, from names that have been checked.
struct Place {
    mirror: String,
    suite: String,
    arch: String,
}

impl Place {
    fn of(request: &ArchiveRequest) -> Result<Self, Invalid> {
        let word = |what: &str, name: &str| {
            // It becomes a part of a URL.
            let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
            let fits = name.bytes().all(plain) && name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.len() <= 64;
            if fits { Ok(name.to_owned()) } else { Err(Invalid::argument(format!("{name:?} is no {what}"))) }
        };
        Ok(Self {
            mirror: checked(&request.mirror).map_err(Invalid::argument)?,
            suite: word("suite", &request.suite)?,
            arch: word("architecture", &request.arch)?,
        })
    }

    fn in_release(&self) -> String {
        format!("{}/dists/{}/InRelease", self.mirror, self.suite)
    }

    /// A Release lists the installer under `current`, and besides under its version.
    fn images_in_release(&self) -> String {
        format!("main/installer-{}/current/images", self.arch)
    }

    fn sums_in_release(&self) -> String {
        format!("{}/SHA256SUMS", self.images_in_release())
    }

    fn images(&self) -> String {
        format!("{}/dists/{}/{}", self.mirror, self.suite, self.images_in_release())
    }

    fn sums(&self) -> String {
        format!("{}/SHA256SUMS", self.images())
    }

    fn file(&self, name: &str) -> String {
        format!("netboot/debian-installer/{}/{name}", self.arch)
    }
}

/// Shows one download as a part of the stage; says each percent once.
struct Meter<'a> {
    progress: &'a dyn Progress,
    name: &'static str,
    from: u64,
    to: u64,
    last: Option<u8>,
}

impl Watch for Meter<'_> {
    fn bytes(&mut self, done: u64, total: Option<u64>) {
        let total = total.unwrap_or(0).max(done).max(1);
        let percent = u8::try_from(self.from + (self.to - self.from) * done / total).ok();
        if percent != self.last {
            self.last = percent;
            self.progress.update(&format!("fetching {}", self.name), percent);
        }
    }

    fn waits(&mut self) {
        self.progress.note(&format!("waiting for another tpl that fetches {} just now", self.name));
    }
}
