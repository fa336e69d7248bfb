//! Files by URL or path: the vendor's list in its shapes, his signature beside or in it, a digest, or nobody's word.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use sequoia_openpgp::{cert::CertBuilder, serialize::Serialize as _, types::ReasonForRevocation};
use sha2::{Digest as _, Sha512};
use tpl::{
    core::{
        error::{Invalid, Refusal},
        progress::{Progress, Silent},
        source::{Digest, FilesRequest, Location, Proof, Request, Role},
        trust::Trust,
    },
    host::source::{Access, Source as _, Sources, Wanted},
};

use crate::{
    server::Trick,
    vendor::{ISO, SIGNATURE, SUMS, Vendor, key, refusal, sign},
    world::{Recorded, bytes, digest, revoked},
};

const WAY_OUT: &str = "--allow-unsigned (or TPL_ALLOW_UNSIGNED=1) goes on without that check";

fn sha512(bytes: &[u8]) -> Digest {
    Digest::Sha512(Sha512::digest(bytes).into())
}

#[test]
fn lists_in_every_shape_lead_to_the_medium() {
    let name = "jammy-live-server-amd64.iso";
    let vendor = Vendor::new();
    let (short, long) = (digest(&vendor.iso).to_string(), sha512(&vendor.iso).to_string());
    let table = [
        ("coreutils", format!("{short}  {name}\n"), "sha256"),
        ("coreutils, binary", format!("{short} *{name}\n"), "sha256"),
        ("BSD", format!("# {name}: 400000 bytes\nSHA256 ({name}) = {short}\n"), "sha256"),
        ("SHA-512", format!("{long}  ./{name}\n"), "sha512"),
        ("BSD, SHA-512", format!("SHA512 ({name}) = {long}\n"), "sha512"),
    ];
    for (shape, text, folder) in table {
        for clearsigned in [false, true] {
            let vendor = Vendor::new();
            let mut request = vendor.request();
            if clearsigned {
                vendor.server.put(SUMS, sign(&vendor.key, text.as_bytes(), false));
                request.proof.signature = None;
            } else {
                vendor.list(&text);
            }
            vendor.assert_good(&request, &vendor.signed());
            let cached = vendor.folder.path().join("cache").join(folder);
            assert!(cached.is_dir(), "{shape}");
            // The second time only the list and its signature are asked for.
            vendor.server.seen();
            vendor.assert_good(&request, &vendor.signed());
            let expected: &[&str] = if clearsigned { &["SHA256SUMS"] } else { &["SHA256SUMS", "SHA256SUMS.gpg"] };
            assert_eq!(vendor.server.seen(), expected, "{shape}");
        }
    }
}

/// Breaks one link, and says the reason that must be given for it, and the advice before the way out.
type Break = fn(&Vendor, &mut FilesRequest) -> (String, Option<&'static str>);

const BREAKS: [(&str, Break); 10] = [
    ("no keyring", |_, request| {
        request.proof.keyring = None;
        let hint = "name the vendor's keys in the pipeline's `keyring`; they come with the package vendor-keyring";
        ("no keyring is given".into(), Some(hint))
    }),
    ("a keyring that is not installed", |vendor, _| {
        fs::remove_file(vendor.keyring()).unwrap();
        let reason = "No such file or directory (os error 2)";
        let reason = format!("the keyring {} cannot be read: {reason}", vendor.keyring().display());
        (reason, Some("the keyring comes with the package vendor-keyring"))
    }),
    ("no signature", |vendor, _| {
        vendor.server.remove(SIGNATURE);
        (format!("{} does not exist", vendor.url(SIGNATURE)), None)
    }),
    ("an unknown key", |vendor, _| {
        let other = key();
        vendor.trust(&other);
        let subkey = vendor.key.keys().last().unwrap().key().fingerprint();
        (format!("{}: key {subkey} is not in the keyring", vendor.url(SIGNATURE)), None)
    }),
    ("a revoked key", |vendor, _| {
        vendor.trust(&revoked(&vendor.key, ReasonForRevocation::KeyCompromised));
        let key = vendor.key.fingerprint();
        (format!("{}: key {key} cannot be trusted: it is revoked", vendor.url(SIGNATURE)), None)
    }),
    ("a key that does not count", |vendor, request| {
        let other = key();
        let mut keyring = fs::OpenOptions::new().append(true).open(vendor.keyring()).unwrap();
        other.serialize(&mut keyring).unwrap();
        request.proof.fingerprints = vec![other.fingerprint().to_hex()];
        let key = vendor.key.fingerprint();
        let fault = "is in the keyring, and not among the fingerprints that count";
        (format!("{}: key {key} {fault}", vendor.url(SIGNATURE)), None)
    }),
    ("a key that the keyring lacks", |vendor, request| {
        request.proof.fingerprints = vec!["0".repeat(40)];
        (format!("{}: the keyring holds no key {}", vendor.keyring().display(), "0".repeat(40)), None)
    }),
    ("a changed list", |vendor, _| {
        let text = format!("{} *jammy-live-server-amd64.iso\n# more\n", digest(&vendor.iso));
        vendor.server.put(SUMS, text);
        let key = vendor.key.fingerprint();
        (format!("{}: the signature of key {key} is bad: Message has been manipulated", vendor.url(SIGNATURE)), None)
    }),
    ("a list without the signature in it", |vendor, request| {
        request.proof.signature = None;
        (format!("{}: it is no text with an OpenPGP signature", vendor.url(SUMS)), None)
    }),
    ("nothing at all", |vendor, request| {
        request.proof = Proof::default();
        let hint = "the pipeline's `sha256`, or `checksums` with `keyring`, says what it must be";
        (format!("nothing says what {} must be", vendor.url(ISO)), Some(hint))
    }),
];

#[test]
fn a_missing_link_is_refused_and_named() {
    for (name, break_link) in BREAKS {
        let vendor = Vendor::new();
        let mut request = vendor.request();
        let (reason, hint) = break_link(&vendor, &mut request);
        let error = vendor.resolve(&request, Access::Online).unwrap_err();
        let advice = hint.map_or_else(|| WAY_OUT.to_owned(), |hint| format!("{hint}; {WAY_OUT}"));
        let what = format!("jammy-live-server-amd64.iso cannot be verified: {reason}");
        assert_eq!(*refusal(&error), Refusal::new(what).advise(advice), "{name}");
        assert!(!vendor.server.seen().contains(&"jammy-live-server-amd64.iso".to_owned()), "{name}");
    }
}

#[test]
fn a_missing_link_may_be_allowed_and_is_written_down() {
    for (name, break_link) in BREAKS {
        let vendor = Vendor::new();
        let mut request = FilesRequest { allow_unsigned: true, ..vendor.request() };
        let (reason, _) = break_link(&vendor, &mut request);
        let progress = Recorded::default();
        vendor.source().resolve(&Request::Files(request.clone()), Access::Online, &progress).unwrap();
        let note = format!("! jammy-live-server-amd64.iso is not verified: {reason}");
        assert!(progress.0.into_inner().unwrap().contains(&note), "{name}");
        vendor.assert_good(&request, &Trust::Unsigned { reason });
    }
}

#[test]
fn an_expired_key_is_refused_with_its_fingerprint() {
    let vendor = Vendor::new();
    let day = Duration::from_secs(86_400);
    let builder = CertBuilder::new().add_userid("Vendor").add_signing_subkey();
    let expired = builder.set_creation_time(SystemTime::now() - 10 * day).set_validity_period(2 * day).generate().unwrap().0;
    vendor.trust(&expired);
    vendor
        .server
        .put(SIGNATURE, sign(&expired, format!("{} *jammy-live-server-amd64.iso\n", digest(&vendor.iso)).as_bytes(), true));
    let error = vendor.resolve(&vendor.request(), Access::Online).unwrap_err();
    let key = expired.fingerprint();
    let expected = format!(
        "jammy-live-server-amd64.iso cannot be verified: {}: key {key} cannot be trusted: The primary key is not live: Expired on ",
        vendor.url(SIGNATURE)
    );
    assert!(refusal(&error).reasons[0].starts_with(&expected), "{error:#}");
}

#[test]
fn a_clear_signed_list_is_read_also_where_nobody_may_vouch_for_it() {
    let vendor = Vendor::new();
    let text = format!("SHA256 (jammy-live-server-amd64.iso) = {}\n", digest(&vendor.iso));
    vendor.server.put(SUMS, sign(&vendor.key, text.as_bytes(), false));
    let proof = Proof { checksums: Some(vendor.url(SUMS)), ..Proof::default() };
    let request = FilesRequest { proof, allow_unsigned: true, ..vendor.request() };
    vendor.assert_good(&request, &Trust::Unsigned { reason: "no keyring is given".into() });
}

#[test]
fn the_last_link_always_holds() {
    let vendor = Vendor::new();
    let pinned = |bytes: &[u8]| FilesRequest {
        proof: Proof { digest: Some(digest(bytes)), ..Proof::default() },
        allow_unsigned: true,
        ..vendor.request()
    };
    vendor.assert_good(&pinned(&vendor.iso), &Trust::Pinned);
    let resolved = vendor.resolve(&pinned(b"another"), Access::Online).unwrap();
    let error = vendor.fetch(&resolved, Access::Online).unwrap_err();
    let (found, wanted) = (digest(&vendor.iso), digest(b"another"));
    let url = vendor.url(ISO);
    assert_eq!(format!("{error:#}"), format!("fetching {url}: its SHA-256 is {found}, and {wanted} was expected"));
    // A list of SHA-512 says so.
    vendor.list(&format!("{}  jammy-live-server-amd64.iso\n", sha512(b"another")));
    let resolved = vendor.resolve(&vendor.request(), Access::Online).unwrap();
    let error = vendor.fetch(&resolved, Access::Online).unwrap_err();
    let (found, wanted) = (sha512(&vendor.iso), sha512(b"another"));
    assert_eq!(format!("{error:#}"), format!("fetching {url}: its SHA-512 is {found}, and {wanted} was expected"));
}

#[test]
fn a_download_with_sha_512_is_resumed() {
    let vendor = Vendor::new();
    vendor.list(&format!("{}  jammy-live-server-amd64.iso\n", sha512(&vendor.iso)));
    vendor.server.trick(ISO, &[Trick::Cut(100_000)]);
    vendor.assert_good(&vendor.request(), &vendor.signed());
    let iso = "jammy-live-server-amd64.iso";
    assert_eq!(vendor.server.seen(), ["SHA256SUMS", "SHA256SUMS.gpg", iso, &format!("{iso} 100000-")]);
}

/// Interrupts as soon as something has come.
struct Impatient(Arc<AtomicBool>);

impl Progress for Impatient {
    fn update(&self, _: &str, _: Option<u8>) {
        self.0.store(true, Ordering::Relaxed);
    }
    fn note(&self, _: &str) {}
}

#[test]
fn an_interrupted_download_ends_and_is_resumed() {
    let vendor = Vendor::new();
    let resolved = vendor.resolve(&vendor.request(), Access::Online).unwrap();
    let impatient = Impatient(Arc::default());
    let source = Sources::new(vendor.folder.path().join("cache"), Arc::clone(&impatient.0).into()).unwrap();
    let error = source.fetch(&resolved, Access::Online, &impatient).unwrap_err();
    assert_eq!(format!("{error:#}"), format!("fetching {}: interrupted", vendor.url(ISO)));
    let error = source.resolve(&Request::Files(vendor.request()), Access::Online, &Silent).unwrap_err();
    assert!(format!("{error:#}").ends_with(": interrupted"), "{error:#}");
    vendor.assert_good(&vendor.request(), &vendor.signed());
    let seen = vendor.server.seen();
    assert!(seen.last().unwrap().starts_with("jammy-live-server-amd64.iso "), "{seen:?}");
}

#[test]
fn a_file_that_the_list_lacks_is_named_with_advice() {
    let vendor = Vendor::new();
    vendor.list(&format!("{} *jammy-live-server-arm64.iso\n", digest(&vendor.iso)));
    let error = vendor.resolve(&vendor.request(), Access::Online).unwrap_err();
    let advice = "the vendor may have put a newer one in its place: name one that is listed";
    let sums = vendor.url(SUMS);
    assert_eq!(format!("{error:#}"), format!("reading {sums}: it does not list \"jammy-live-server-amd64.iso\"\n{advice}"));
    vendor.list("<html>\n");
    let error = vendor.resolve(&vendor.request(), Access::Online).unwrap_err();
    let shape = "line 1 is no line of a list of checksums: 'DIGEST  PATH' or 'SHA256 (PATH) = DIGEST' is expected";
    assert_eq!(format!("{error:#}"), format!("reading {sums}: {shape}"));
}

#[test]
fn a_file_of_this_machine_is_taken_as_it_is_unless_something_says_what_it_must_be() {
    let vendor = Vendor::new();
    let path = vendor.local();
    let files = vec![(Role::Medium, Location::File(path.clone()))];
    let given = FilesRequest { files: files.clone(), ..vendor.unproven() };
    vendor.assert_good(&given, &Trust::Given);
    let resolved = vendor.resolve(&given, Access::Offline).unwrap();
    let wanted = Wanted::Local { path: path.clone(), digest: digest(&vendor.iso).into() };
    assert_eq!(resolved.files, [(Role::Medium, wanted)]);
    // A list counts for it as for a download, whichever digests it has; the manifest gets the SHA-256.
    let listed = FilesRequest { files: files.clone(), ..vendor.request() };
    vendor.assert_good(&listed, &vendor.signed());
    vendor.list(&format!("{}  jammy-live-server-amd64.iso\n", sha512(&vendor.iso)));
    vendor.assert_good(&listed, &vendor.signed());
    assert_eq!(vendor.resolve(&listed, Access::Online).unwrap().files, resolved.files);
    fs::write(&path, "other").unwrap();
    let error = vendor.fetch(&resolved, Access::Offline).unwrap_err();
    assert_eq!(error.to_string(), format!("{} has changed while the build was prepared", path.display()));
    let error = vendor.resolve(&listed, Access::Online).unwrap_err();
    let (found, wanted, sums) = (sha512(b"other"), sha512(&vendor.iso), vendor.url(SUMS));
    assert_eq!(error.to_string(), format!("{}: its SHA-512 is {found}, and {wanted} stands in {sums}", path.display()));
    let proof = Proof { digest: Some(digest(&vendor.iso)), ..Proof::default() };
    let error = vendor.resolve(&FilesRequest { files, proof, ..vendor.request() }, Access::Online).unwrap_err();
    let (found, wanted) = (digest(b"other"), digest(&vendor.iso));
    assert_eq!(error.to_string(), format!("{}: its SHA-256 is {found}, and {wanted} stands in the pipeline", path.display()));
}

#[test]
fn a_list_may_be_a_file_too() {
    let vendor = Vendor::new();
    let text = format!("{}  jammy-live-server-amd64.iso\n", digest(&vendor.iso));
    let [list, signature] = ["sums", "sums.gpg"].map(|name| vendor.folder.path().join(name));
    fs::write(&list, &text).unwrap();
    fs::write(&signature, sign(&vendor.key, text.as_bytes(), true)).unwrap();
    let mut request = vendor.request();
    request.proof.checksums = Some(list.display().to_string());
    request.proof.signature = Some(signature.display().to_string());
    vendor.assert_good(&request, &vendor.signed());
    fs::remove_file(&list).unwrap();
    let error = vendor.resolve(&request, Access::Online).unwrap_err();
    let expected = format!("{} does not exist\nThe pipeline's `checksums` names it", list.display());
    assert_eq!(error.to_string(), expected);
}

#[test]
fn kernel_and_initrd_are_found_by_their_paths_in_the_list() {
    let vendor = Vendor::new();
    let path = |name: &str| format!("/22.04/netboot/amd64/{name}");
    let (kernel, initrd) = (bytes(4, 1000), bytes(5, 2000));
    vendor.server.put(&path("linux"), kernel.clone());
    vendor.server.put(&path("initrd"), initrd.clone());
    let line = |bytes: &[u8], path: &str| format!("{}  {path}\n", digest(bytes));
    let lines = [
        line(&kernel, "netboot/amd64/linux"),
        line(b"x", "netboot/arm64/linux"),
        line(&initrd, "netboot/amd64/initrd"),
        line(b"y", "netboot/arm64/initrd"),
    ];
    vendor.list(&lines.concat());
    let file = |role, name: &str| (role, Location::Url(vendor.url(&path(name))));
    let request = FilesRequest { files: vec![file(Role::Kernel, "linux"), file(Role::Initrd, "initrd")], ..vendor.request() };
    let resolved = vendor.resolve(&request, Access::Online).unwrap();
    let fetched = vendor.fetch(&resolved, Access::Online).unwrap();
    for (role, bytes) in [(Role::Kernel, kernel), (Role::Initrd, initrd)] {
        assert_eq!(fs::read(fetched.path(role).unwrap()).unwrap(), bytes);
    }
    assert_eq!(fetched.path(Role::Image).unwrap_err().to_string(), "the source has not brought the image");
}

#[test]
fn a_url_that_nobody_vouches_for_has_to_be_allowed_and_is_not_fetched_twice() {
    let vendor = Vendor::new();
    let error = vendor.resolve(&vendor.unproven(), Access::Online).unwrap_err();
    let url = vendor.url(ISO);
    let reason = format!("nothing says what {url} must be");
    let advice = format!("download it, check it, and name the file instead; {WAY_OUT}");
    let expected = Refusal::new(format!("jammy-live-server-amd64.iso cannot be verified: {reason}")).advise(advice);
    assert_eq!(*refusal(&error), expected);
    let allowed = FilesRequest { allow_unsigned: true, ..vendor.unproven() };
    vendor.server.validator(ISO, "\"one\"");
    vendor.server.trick(ISO, &[Trick::Cut(1000)]);
    let trust = Trust::Unsigned { reason };
    vendor.assert_good(&allowed, &trust);
    let iso = "jammy-live-server-amd64.iso";
    assert_eq!(vendor.server.seen(), [iso, iso], "from the beginning, for nobody knows the end");
    vendor.assert_good(&allowed, &trust);
    assert_eq!(vendor.server.seen(), [format!("{iso} unless \"one\"")]);
    // It has changed behind its URL: the new one comes, and the old one stays.
    let old = vendor.iso.clone();
    let changed = Vendor { iso: bytes(9, 1000), ..vendor };
    changed.server.put(ISO, changed.iso.clone());
    changed.server.validator(ISO, "\"two\"");
    changed.assert_good(&allowed, &trust);
    for bytes in [&old, &changed.iso] {
        let name = digest(bytes).to_string();
        assert!(changed.folder.path().join("cache/sha256").join(&name[..2]).join(name).is_file());
    }
}

#[test]
fn requests_that_cannot_be_are_invalid_and_every_fault_is_named() {
    let vendor = Vendor::new();
    let folder = vendor.folder.path().display().to_string();
    let request = FilesRequest {
        files: vec![
            (Role::Kernel, Location::File("/nowhere/linux".into())),
            (Role::Initrd, Location::File(folder.clone().into())),
            (Role::Medium, Location::Url("ftp://a.example/x".into())),
        ],
        proof: Proof { digest: Some(digest(b"")), checksums: Some("gopher://a.example/".into()), ..Proof::default() },
        ..vendor.request()
    };
    let error = vendor.resolve(&request, Access::Online).unwrap_err();
    let invalid: &Invalid = error.downcast_ref().unwrap();
    assert_eq!(
        invalid.to_string(),
        format!(
            "sha256 is the digest of one file, and there are 3: name the vendor's list in checksums\n\
             sha256 and checksums exclude each other: only one of them can be right\n\
             /nowhere/linux cannot be read: No such file or directory (os error 2)\n{folder} is no file\n\
             \"ftp://a.example/x\" cannot be a source: only http and https are possible\n\
             \"gopher://a.example/\" cannot be a source: only http and https are possible"
        )
    );
    let error = vendor.resolve(&FilesRequest { files: Vec::new(), ..vendor.request() }, Access::Online).unwrap_err();
    assert_eq!(error.downcast_ref(), Some(&Invalid::argument("no file is named")));
}

#[test]
fn a_server_that_announces_too_much_is_not_listened_to() {
    let vendor = Vendor::new();
    let resolved = vendor.resolve(&vendor.request(), Access::Online).unwrap();
    vendor.server.trick(ISO, &[Trick::Announce(17 << 30)]);
    let error = vendor.fetch(&resolved, Access::Online).unwrap_err();
    let url = vendor.url(ISO);
    assert_eq!(format!("{error:#}"), format!("fetching {url}: larger than 16 GiB, which no medium is"));
}
