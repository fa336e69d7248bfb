//! Files by URL or path: the vendor's list, his signature on it, or the digest in the pipeline.

use std::{
    fs::{self, File},
    io::Read as _,
    path::Path,
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};

use super::{
    Access, Resolved, Sources, Wanted,
    cache::Watch,
    hash::{Hasher, hash_rest},
    http::MAX_LIST,
    lists::{self, Lists},
    openpgp::{Keyring, Verified},
    progress::Meter,
    vouching::Vouching,
};
use crate::core::{
    checksums::{Checksums, without_signature},
    error::{Advised, Invalid},
    progress::Progress,
    source::{Algorithm, Digest, FilesRequest, Location, Proof, Role, url_path},
    trust::Trust,
};

/// Finds the digests of all files.
pub(super) fn resolve(sources: &Sources, lists: &Lists<'_>, request: &FilesRequest, progress: &dyn Progress) -> Result<Resolved> {
    check(request)?;
    let names: Vec<String> = request.files.iter().map(|(_, location)| location.name()).collect();
    let vouching = Vouching { what: names.join(" and "), allow_unsigned: request.allow_unsigned, hint: hint(request) };
    let wanted = |digest: &dyn Fn(&Location) -> Result<Digest>, source: &str| {
        let wanted = |(role, location): &(Role, Location)| {
            let digest = digest(location)?;
            let wanted = match location {
                Location::Url(url) => Wanted::Download { url: url.clone(), digest },
                Location::File(path) => local(path, Some((digest, source)), progress)?,
            };
            Ok((*role, wanted))
        };
        request.files.iter().map(wanted).collect::<Result<Vec<_>>>()
    };
    if let Some(digest) = request.proof.digest {
        return Ok(Resolved { files: wanted(&|_| Ok(digest.into()), "the pipeline")?, trust: Trust::Pinned });
    }
    let Some(list) = &request.proof.checksums else {
        return unproven(sources, lists, request, &vouching, progress);
    };
    let (checksums, trust) = listed(lists, request, list, &vouching, progress)?;
    let digest = |location: &Location| {
        let place = match location {
            Location::Url(url) => url_path(url).to_owned(),
            Location::File(path) => path.display().to_string(),
        };
        let advice = "the vendor may have put a newer one in its place: name one that is listed";
        checksums.locate(&place).map_err(|fault| Advised::new(anyhow!("reading {list}: {fault}"), advice).into())
    };
    Ok(Resolved { files: wanted(&digest, list)?, trust })
}

/// What can be seen to be wrong before anything is fetched, all of it at once.
fn check(request: &FilesRequest) -> Result<(), Invalid> {
    let mut faults = Vec::new();
    if request.files.is_empty() {
        faults.push("no file is named".to_owned());
    }
    let proof = &request.proof;
    if proof.digest.is_some() && request.files.len() > 1 {
        let count = request.files.len();
        faults.push(format!("sha256 is the digest of one file, and there are {count}: name the vendor's list in checksums"));
    }
    if proof.digest.is_some() && proof.checksums.is_some() {
        faults.push("sha256 and checksums exclude each other: only one of them can be right".to_owned());
    }
    for (_, location) in &request.files {
        match location {
            Location::Url(url) => faults.extend(url.parse::<Location>().err()),
            Location::File(path) => match fs::metadata(path) {
                Ok(data) if data.is_file() => {}
                Ok(_) => faults.push(format!("{} is no file", path.display())),
                Err(error) => faults.push(format!("{} cannot be read: {error}", path.display())),
            },
        }
    }
    for place in proof.checksums.iter().chain(&proof.signature) {
        faults.extend(place.parse::<Location>().err());
    }
    if faults.is_empty() {
        Ok(())
    } else {
        Err(Invalid { findings: faults.into_iter().flat_map(|fault| Invalid::argument(fault).findings).collect() })
    }
}

/// What the operator can do where a link is missing.
fn hint(request: &FilesRequest) -> Option<String> {
    let Proof { digest, checksums, keyring, keyring_from, .. } = &request.proof;
    match (checksums, keyring, keyring_from) {
        (None, ..) if digest.is_none() && request.given => Some("download it, check it, and name the file instead".to_owned()),
        (None, ..) => Some("the pipeline's `sha256`, or `checksums` with `keyring`, says what it must be".to_owned()),
        (Some(_), Some(path), Some(from)) if !path.exists() => Some(format!("the keyring comes with {from}")),
        (Some(_), None, Some(from)) => Some(format!("name the vendor's keys in the pipeline's `keyring`; they come with {from}")),
        (Some(_), None, None) => Some("name the vendor's keys in the pipeline's `keyring`".to_owned()),
        _ => None,
    }
}

/// Files for which nobody vouches: those of this machine are the operator's own, and downloads have to be allowed.
fn unproven(
    sources: &Sources,
    lists: &Lists<'_>,
    request: &FilesRequest,
    vouching: &Vouching,
    progress: &dyn Progress,
) -> Result<Resolved> {
    let urls: Vec<&str> = request.files.iter().filter_map(|(_, location)| url(location)).collect();
    let trust = match urls.first() {
        None => Trust::Given,
        Some(url) => vouching.trust(Err(format!("nothing says what {url} must be")), progress)?,
    };
    if lists.access() == Access::Offline {
        let lacking: Vec<String> = urls.iter().filter(|url| known(sources, url).is_none()).map(|url| (*url).to_owned()).collect();
        if !lacking.is_empty() {
            return Err(lists::missing(&lacking).advise("a build without --offline fetches it, and it is kept").into());
        }
    }
    let mut files = Vec::new();
    for (role, location) in &request.files {
        let wanted = match location {
            Location::File(path) => local(path, None, progress)?,
            Location::Url(url) => {
                let digest = match lists.access() {
                    Access::Offline => known(sources, url).with_context(|| format!("{url} has left the cache meanwhile"))?,
                    Access::Online => {
                        let name = location.name();
                        sources.cache.get_unknown(&sources.http, url, &mut Meter::new(progress, &name, 0, 100))?
                    }
                };
                Wanted::Download { url: url.clone(), digest }
            }
        };
        files.push((*role, wanted));
    }
    Ok(Resolved { files, trust })
}

fn url(location: &Location) -> Option<&str> {
    match location {
        Location::Url(url) => Some(url),
        Location::File(_) => None,
    }
}

/// The file that came from a URL the last time, if it is still there.
fn known(sources: &Sources, url: &str) -> Option<Digest> {
    sources.cache.record(url).map(|record| record.digest).filter(|digest| sources.cache.has(*digest))
}

/// The vendor's list, and who vouches for it.
fn listed(
    lists: &Lists<'_>,
    request: &FilesRequest,
    list: &str,
    vouching: &Vouching,
    progress: &dyn Progress,
) -> Result<(Checksums, Trust)> {
    let proof = &request.proof;
    let remote = |place: &&str| place.contains("://");
    let signature = proof.signature.as_deref().filter(|_| proof.keyring.is_some());
    let needed: Vec<&str> = [Some(list), signature].into_iter().flatten().filter(remote).collect();
    let files: Vec<&str> = request.files.iter().filter_map(|(_, location)| url(location)).collect();
    lists.require(&needed, &files)?;
    progress.update("checking the vendor's signature", None);
    let keyring = match &proof.keyring {
        None => Err("no keyring is given".to_owned()),
        Some(path) => Keyring::read(path)
            .and_then(|keyring| keyring.only(&proof.fingerprints).map_err(|fault| format!("{}: {fault}", path.display()))),
    };
    if let Err(reason) = &keyring {
        // Before anything is fetched.
        vouching.tolerate(reason)?;
    }
    let bytes = read(lists, list)?.with_context(|| format!("{list} does not exist\nThe pipeline's `checksums` names it"))?;
    let verified = match keyring {
        Err(reason) => Err(reason),
        Ok(keyring) => verify(&keyring, lists, proof, list, &bytes)?,
    };
    let text = match &verified {
        Ok(verified) => verified.text.clone(),
        Err(_) => without_signature(&String::from_utf8_lossy(&bytes)),
    };
    let trust = vouching.trust(verified.map(|verified| verified.fingerprint), progress)?;
    let checksums = Checksums::parse(&text).map_err(|fault| anyhow!("reading {list}: {fault}"))?;
    Ok((checksums, trust))
}

/// The list's text and who signed it; inside, why nobody did.
fn verify(keyring: &Keyring, lists: &Lists<'_>, proof: &Proof, list: &str, bytes: &[u8]) -> Result<Result<Verified, String>> {
    let Some(place) = &proof.signature else {
        return Ok(keyring.verify(bytes).map_err(|reason| format!("{list}: {reason}")));
    };
    let Some(signature) = read(lists, place)? else {
        return Ok(Err(format!("{place} does not exist")));
    };
    Ok(keyring.verify_detached(&signature, bytes).map_err(|reason| format!("{place}: {reason}")))
}

/// A list or a signature, by URL or path; none if it is not there.
fn read(lists: &Lists<'_>, place: &str) -> Result<Option<Vec<u8>>> {
    match place.parse().map_err(Invalid::argument)? {
        Location::Url(url) => lists.get(&url),
        Location::File(path) => {
            let reading = || format!("reading {place}");
            if !path.try_exists().with_context(reading)? {
                return Ok(None);
            }
            let mut bytes = Vec::new();
            File::open(&path).with_context(reading)?.take(MAX_LIST + 1).read_to_end(&mut bytes).with_context(reading)?;
            ensure!(bytes.len() as u64 <= MAX_LIST, "reading {place}: larger than {} MiB, which no list is", MAX_LIST >> 20);
            Ok(Some(bytes))
        }
    }
}

/// A file of this machine, which must have the expected digest if there is one; and who says so.
fn local(path: &Path, expected: Option<(Digest, &str)>, progress: &dyn Progress) -> Result<Wanted> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let algorithms: &[Algorithm] = match expected {
        Some((Digest::Sha512(_), _)) => &Algorithm::ALL,
        _ => &[Algorithm::Sha256],
    };
    let digests = read_digests(path, algorithms, &mut Meter::new(progress, &name, 0, 100))?;
    if let Some((expected, source)) = expected
        && !digests.contains(&expected)
    {
        let kind = expected.algorithm();
        let found = digests.iter().find(|digest| digest.algorithm() == kind).context("its digest was read")?;
        bail!("{}: its {} is {found}, and {expected} stands in {source}", path.display(), kind.name());
    }
    let digest = digests.first().copied().context("its digest was read")?;
    Ok(Wanted::Local { path: path.to_owned(), digest })
}

/// Makes sure that a file is still the one whose digest was read.
pub(super) fn check_unchanged(path: &Path, digest: Digest, watch: &mut dyn Watch) -> Result<()> {
    let found = read_digests(path, &[digest.algorithm()], watch)?;
    ensure!(found == [digest], "{} has changed while the build was prepared", path.display());
    Ok(())
}

fn read_digests(path: &Path, algorithms: &[Algorithm], watch: &mut dyn Watch) -> Result<Vec<Digest>> {
    let reading = || format!("reading {}", path.display());
    let mut file = File::open(path).with_context(reading)?;
    let size = file.metadata().with_context(reading)?.len();
    let mut hashers: Vec<Hasher> = algorithms.iter().copied().map(Hasher::new).collect();
    hash_rest(&mut file, &mut hashers, &mut |done| watch.checked(done, size)).with_context(reading)?;
    Ok(hashers.into_iter().map(Hasher::finish).collect())
}
