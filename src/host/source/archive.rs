//! The netboot installer of a Debian archive.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};

use super::{Resolved, Wanted, hash::sha256, lists::Lists, openpgp::Keyring, vouching::Vouching};
use crate::core::{
    checksums::Checksums,
    error::Invalid,
    mirror::checked,
    progress::Progress,
    release::Release,
    sha256::Sha256Digest,
    source::{ArchiveRequest, Role},
};

/// Where Debian's package `debian-archive-keyring` puts the archive's keys, newest form first.
const KEYRINGS: [&str; 2] = ["/usr/share/keyrings/debian-archive-keyring.pgp", "/usr/share/keyrings/debian-archive-keyring.gpg"];

/// Debian's own keyring, if it is installed.
pub fn debian_keyring() -> Option<PathBuf> {
    KEYRINGS.iter().map(Path::new).find(|path| path.is_file()).map(Path::to_owned)
}

/// Finds kernel and initrd.
pub(super) fn resolve(lists: &Lists<'_>, request: &ArchiveRequest, progress: &dyn Progress) -> Result<Resolved> {
    let place = Place::of(request)?;
    let files = [(Role::Kernel, place.file("linux")), (Role::Initrd, place.file("initrd.gz"))];
    let urls = files.each_ref().map(|(_, path)| format!("{}/{path}", place.images()));
    let (in_release, url) = (place.in_release(), place.sums());
    let needed: &[&str] = if request.keyring.is_some() { &[&in_release, &url] } else { &[&url] };
    lists.require(needed, &urls.each_ref().map(String::as_str))?;
    progress.update("checking the installer's signature", None);
    let vouching = Vouching {
        what: format!("the installer of {} for {}", request.suite, request.arch),
        allow_unsigned: request.allow_unsigned,
        hint: request.keyring.is_none().then(|| "Debian's keys are in the package debian-archive-keyring".to_owned()),
    };
    let signed = signed_digest(lists, request, &place)?;
    if let Err(reason) = &signed {
        // Before anything else is fetched.
        vouching.tolerate(reason)?;
    }
    let list = lists.get(&url)?.with_context(|| {
        format!("{url} does not exist\nThe mirror has no installer of {} for {}: try another", request.suite, request.arch)
    })?;
    let found = sha256(&list);
    let signed = signed.and_then(|(expected, fingerprint)| {
        if found == expected { Ok(fingerprint) } else { Err(format!("{url}: its SHA-256 is {found}, and {expected} was signed")) }
    });
    let trust = vouching.trust(signed, progress)?;
    let sums = Checksums::parse(&String::from_utf8_lossy(&list)).map_err(|fault| anyhow!("reading {url}: {fault}"))?;
    let wanted = files.into_iter().zip(urls).map(|((role, path), file)| {
        let digest = sums.find(&path).with_context(|| format!("{url} does not list {path}"))?;
        Ok((role, Wanted::Download { url: file, digest }))
    });
    Ok(Resolved { files: wanted.collect::<Result<_>>()?, trust })
}

/// The digest that the archive's signed list gives for the checksum list, and who signed; inside, which link is missing.
fn signed_digest(lists: &Lists<'_>, request: &ArchiveRequest, place: &Place) -> Result<Result<(Sha256Digest, String), String>> {
    let keyring = match request.keyring.as_deref().map(Keyring::read) {
        None => return Ok(Err("no keyring is given".to_owned())),
        Some(Err(reason)) => return Ok(Err(reason)),
        Some(Ok(keyring)) => keyring,
    };
    let url = place.in_release();
    let Some(message) = lists.get(&url)? else {
        return Ok(Err(format!("{url} does not exist")));
    };
    Ok(listed_digest(&keyring, &message, request, place).map_err(|reason| format!("{url}: {reason}")))
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
