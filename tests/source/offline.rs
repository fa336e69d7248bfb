//! Builds without a network, and what the cache keeps for them.

use std::{fs, path::Path, time::Duration};

use jiff::Timestamp;
use tpl::{
    core::{
        error::Refusal,
        progress::Silent,
        source::{FilesRequest, Proof, Request, Role},
        trust::Trust,
    },
    host::source::{
        Access, Source as _,
        cache::Cache,
        stock::{Fate, Stored},
    },
};

use crate::{
    server::Server,
    vendor::{ISO, SIGNATURE, SUMS, Vendor, key, refusal},
    world::{IN_RELEASE, Recorded, SUMS as ARCHIVE_SUMS, World, digest},
};

fn missing(urls: &[String]) -> Refusal {
    let reasons = urls.iter().map(|url| format!("--offline: the cache has no {url}")).collect();
    let advice = "`tpl cache fetch PIPELINE` fetches what is missing, where there is a network";
    Refusal { reasons, advice: Some(advice.into()) }
}

/// Fetches online, and lets the server go: another one, without files, stands for the network from then on.
fn fetched() -> Vendor {
    let vendor = Vendor::new();
    vendor.assert_good(&vendor.request(), &vendor.signed());
    for path in [ISO, SUMS, SIGNATURE] {
        vendor.server.remove(path);
    }
    vendor.server.seen();
    vendor
}

fn file_of(folder: &Path, name: &str) -> std::path::PathBuf {
    folder.join("cache/sha256").join(&name[..2]).join(name)
}

#[test]
fn what_was_fetched_once_is_enough() {
    let vendor = fetched();
    let resolved = vendor.resolve(&vendor.request(), Access::Offline).unwrap();
    assert_eq!(resolved.trust, vendor.signed());
    let files = vendor.fetch(&resolved, Access::Offline).unwrap();
    assert_eq!(fs::read(files.path(Role::Medium).unwrap()).unwrap(), vendor.iso);
    assert_eq!(vendor.server.seen(), Vec::<String>::new());
    // The signature is checked again: a key that is no longer trusted is not trusted offline either.
    vendor.trust(&key());
    let error = vendor.resolve(&vendor.request(), Access::Offline).unwrap_err();
    assert!(refusal(&error).reasons[0].ends_with("is not in the keyring"), "{error:#}");
}

#[test]
fn an_archives_chain_is_kept_too() {
    let world = World::new();
    let request = Request::Archive(world.request());
    let resolved = world.source().resolve(&request, Access::Offline, &Silent).unwrap_err();
    let base = format!("http://{}", world.server.address);
    let images = format!("{base}{}", crate::world::IMAGES);
    let files = ["linux", "initrd.gz"].map(|name| format!("{images}/netboot/debian-installer/amd64/{name}"));
    let lists = [format!("{base}{IN_RELEASE}"), format!("{base}{ARCHIVE_SUMS}")];
    assert_eq!(*refusal(&resolved), missing(&[lists, files.clone()].concat()));
    let online = world.source().resolve(&request, Access::Online, &Silent).unwrap();
    // The lists are there now, the files are not.
    let error = world.source().resolve(&request, Access::Offline, &Silent).unwrap_err();
    assert_eq!(*refusal(&error), missing(&files));
    world.source().fetch(&online, Access::Online, &Silent).unwrap();
    world.server.seen();
    let offline = world.source().resolve(&request, Access::Offline, &Silent).unwrap();
    assert_eq!(offline, online);
    world.assert_fetched(&world.source().fetch(&offline, Access::Offline, &Silent).unwrap());
    assert_eq!(world.server.seen(), Vec::<String>::new());
}

#[test]
fn a_missing_signature_that_was_allowed_is_remembered() {
    let world = World::new();
    world.server.remove(IN_RELEASE);
    let allowed = tpl::core::source::ArchiveRequest { allow_unsigned: true, ..world.request() };
    let request = Request::Archive(allowed);
    let online = world.source().resolve(&request, Access::Online, &Silent).unwrap();
    world.source().fetch(&online, Access::Online, &Silent).unwrap();
    assert_eq!(world.source().resolve(&request, Access::Offline, &Silent).unwrap(), online);
}

#[test]
fn everything_that_is_missing_is_named_at_once() {
    let vendor = Vendor::new();
    let error = vendor.resolve(&vendor.request(), Access::Offline).unwrap_err();
    assert_eq!(*refusal(&error), missing(&[SUMS, SIGNATURE, ISO].map(|path| vendor.url(path))));
    let allowed = FilesRequest { allow_unsigned: true, ..vendor.unproven() };
    let error = vendor.resolve(&allowed, Access::Offline).unwrap_err();
    let expected = missing(&[vendor.url(ISO)]).advise("a build without --offline fetches it, and it is kept");
    assert_eq!(*refusal(&error), expected);
    let pinned = FilesRequest { proof: Proof { digest: Some(digest(b"x")), ..Proof::default() }, ..vendor.request() };
    let error = vendor.resolve(&pinned, Access::Offline).unwrap_err();
    assert_eq!(*refusal(&error), missing(&[vendor.url(ISO)]));
    assert_eq!(vendor.server.seen(), Vec::<String>::new());
}

#[test]
fn a_download_that_nobody_vouches_for_is_found_again_by_its_url() {
    let vendor = Vendor::new();
    let allowed = FilesRequest { allow_unsigned: true, ..vendor.unproven() };
    let online = vendor.resolve(&allowed, Access::Online).unwrap();
    vendor.server.seen();
    let offline = vendor.resolve(&allowed, Access::Offline).unwrap();
    assert_eq!(offline, online);
    assert!(matches!(offline.trust, Trust::Unsigned { .. }));
    vendor.fetch(&offline, Access::Offline).unwrap();
    assert_eq!(vendor.server.seen(), Vec::<String>::new());
}

#[test]
fn a_damaged_file_is_missing() {
    let vendor = fetched();
    let resolved = vendor.resolve(&vendor.request(), Access::Offline).unwrap();
    let path = file_of(vendor.folder.path(), &digest(&vendor.iso).to_string());
    fs::write(&path, vec![0; vendor.iso.len()]).unwrap();
    let error = vendor.fetch(&resolved, Access::Offline).unwrap_err();
    assert_eq!(*refusal(&error), missing(&[format!("{} (damaged)", vendor.url(ISO))]));
}

#[test]
fn what_led_to_nothing_does_not_take_the_place_of_what_did() {
    let vendor = fetched();
    // A captive portal answers.
    for path in [SUMS, SIGNATURE] {
        vendor.server.put(path, "<html>log in</html>");
    }
    assert!(vendor.resolve(&vendor.request(), Access::Online).is_err());
    assert_eq!(vendor.resolve(&vendor.request(), Access::Offline).unwrap().trust, vendor.signed());
}

#[test]
fn a_cache_that_cannot_be_written_can_be_used() {
    let vendor = Vendor::new();
    vendor.assert_good(&vendor.request(), &vendor.signed());
    // Where even root cannot write a list: a file is in the place of the folder.
    let lists = vendor.folder.path().join("cache/lists");
    fs::remove_dir_all(&lists).unwrap();
    fs::write(&lists, "").unwrap();
    let progress = Recorded::default();
    let request = Request::Files(vendor.request());
    let resolved = vendor.source().resolve(&request, Access::Online, &progress).unwrap();
    vendor.fetch(&resolved, Access::Online).unwrap();
    let notes = progress.0.into_inner().unwrap();
    assert!(notes.iter().any(|note| note.starts_with("! --offline will not find this: writing ")), "{notes:?}");
}

fn age(path: &Path, days: u64) {
    let time = std::time::SystemTime::now() - Duration::from_secs(days * 86_400);
    fs::File::open(path).unwrap().set_modified(time).unwrap();
}

#[test]
fn the_stock_says_what_came_from_where() {
    let vendor = Vendor::new();
    let cache = Cache::new(vendor.folder.path().join("cache"));
    assert_eq!(cache.stock().unwrap(), []);
    vendor.assert_good(&vendor.request(), &vendor.signed());
    let partial = file_of(vendor.folder.path(), &format!("{}.partial", digest(b"begun")));
    fs::create_dir_all(partial.parent().unwrap()).unwrap();
    fs::write(&partial, "beg").unwrap();
    age(&partial, 3);
    // What somebody else has put there is not tpl's.
    fs::write(partial.with_file_name("notes.txt"), "x").unwrap();
    fs::write(vendor.folder.path().join("cache/sha256").join("stray"), "x").unwrap();
    let stock = cache.stock().unwrap();
    let [iso, begun] = stock.as_slice() else { panic!("{stock:?}") };
    assert_eq!((iso.digest, iso.partial, iso.size), (Some(digest(&vendor.iso).into()), false, 400_000));
    assert_eq!(iso.urls, [vendor.url(ISO)]);
    assert!(iso.fetched_at.unwrap() <= Timestamp::now());
    assert_eq!((begun.digest, begun.partial, begun.size), (Some(digest(b"begun").into()), true, 3));
    assert_eq!((begun.urls.as_slice(), begun.idle(Timestamp::now()).to_string()), ([].as_slice(), "3d".to_owned()));
}

#[test]
fn use_makes_a_file_young_and_held_files_stay() {
    let vendor = fetched();
    let cache = Cache::new(vendor.folder.path().join("cache"));
    let path = file_of(vendor.folder.path(), &digest(&vendor.iso).to_string());
    age(&path, 90);
    let stock = || -> Stored { cache.stock().unwrap().remove(0) };
    assert_eq!(stock().idle(Timestamp::now()).to_string(), "90d");
    let resolved = vendor.resolve(&vendor.request(), Access::Offline).unwrap();
    let held = vendor.fetch(&resolved, Access::Offline).unwrap();
    assert_eq!(stock().idle(Timestamp::now()).to_string(), "0m");
    // Two builds may use it at once; as long as one does, it stays.
    let other = vendor.fetch(&resolved, Access::Offline).unwrap();
    drop(held);
    assert_eq!(cache.remove(&stock(), false).unwrap(), Fate::InUse);
    assert!(path.exists());
    drop(other);
    assert_eq!(cache.remove(&stock(), true).unwrap(), Fate::Removed);
    assert!(path.exists(), "a dry run");
    assert_eq!(cache.remove(&stock(), false).unwrap(), Fate::Removed);
    assert!(!path.exists());
    // Its URL is forgotten with it; the lists are young, and stay.
    let count = |folder: &str| fs::read_dir(vendor.folder.path().join("cache").join(folder)).unwrap().count();
    assert_eq!((count("urls"), count("lists")), (1, 2));
    let ago = |hours: i64| Timestamp::now() - jiff::SignedDuration::from_hours(hours);
    cache.forget(ago(1));
    assert_eq!((count("urls"), count("lists")), (0, 2));
    cache.forget(ago(-1));
    assert_eq!((count("urls"), count("lists")), (0, 0));
}

#[test]
fn a_partial_that_somebody_downloads_stays() {
    let vendor = Vendor::new();
    let path = file_of(vendor.folder.path(), &format!("{}.partial", digest(b"begun")));
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let file = fs::File::create(&path).unwrap();
    file.lock().unwrap();
    let cache = Cache::new(vendor.folder.path().join("cache"));
    let stored = cache.stock().unwrap().remove(0);
    assert_eq!(cache.remove(&stored, false).unwrap(), Fate::InUse);
    drop(file);
    assert_eq!(cache.remove(&stored, false).unwrap(), Fate::Removed);
    assert_eq!(cache.stock().unwrap(), []);
}

#[test]
fn a_dead_network_is_not_asked() {
    // Nothing listens there any more.
    let vendor = fetched();
    let address = Server::dead();
    let mut request = vendor.request();
    let swap = |url: &str| url.replace(&vendor.server.address, &address);
    request.proof.checksums = request.proof.checksums.as_deref().map(swap);
    let error = vendor.resolve(&request, Access::Offline).unwrap_err();
    assert_eq!(*refusal(&error), missing(&[swap(&vendor.url(SUMS))]));
}
