//! Sources against servers of their own. Here: the chain of trust of an archive; the rest is in `source/`.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

#[path = "source/downloads.rs"]
mod downloads;
#[path = "source/files.rs"]
mod files;
#[path = "source/offline.rs"]
mod offline;
#[path = "source/program.rs"]
mod program;
#[path = "source/server.rs"]
mod server;
#[path = "source/vendor.rs"]
mod vendor;
#[path = "source/world.rs"]
mod world;

use std::fs;

use sequoia_openpgp::{cert::CertBuilder, serialize::Serialize as _, types::ReasonForRevocation};
use server::Trick;
use tpl::core::{
    error::{Invalid, Refusal},
    progress::Silent,
    source::{ArchiveRequest, Role},
    trust::Trust,
};
use world::{IMAGES, IN_RELEASE, Recorded, SUMS, World, digest, revoked, url_of};

#[test]
fn a_good_chain_leads_to_both_files() {
    let world = World::new();
    let progress = Recorded::default();
    let resolved = world.resolve(&world.request(), &progress).unwrap();
    assert_eq!(resolved.trust, Trust::Signed { fingerprint: world.key.fingerprint().to_hex() });
    let images = format!("http://{}{IMAGES}/netboot/debian-installer/amd64", world.server.address);
    assert_eq!(url_of(&resolved, Role::Kernel), format!("{images}/linux"));
    assert_eq!(url_of(&resolved, Role::Initrd), format!("{images}/initrd.gz"));
    let files = world.fetch(&resolved, &progress).unwrap();
    world.assert_fetched(&files);
    assert_eq!(world.server.seen(), ["InRelease", "SHA256SUMS", "linux", "initrd.gz"]);
    let seen = progress.0.into_inner().unwrap();
    assert_eq!(seen[0], "checking the installer's signature");
    assert!(seen.contains(&"fetching linux 20%".to_owned()), "{seen:?}");
    assert_eq!(seen.last().unwrap(), "fetching initrd.gz 100%", "{seen:?}");
    // The second time nothing but the cache is asked.
    assert_eq!(world.fetch(&resolved, &Silent).unwrap().files(), files.files());
    assert_eq!(world.server.seen(), Vec::<String>::new());
}

/// Breaks one link, and says the reason that must be given for it.
type Break = fn(&World, &mut ArchiveRequest) -> String;

const BREAKS: [(&str, Break); 10] = [
    ("no keyring", |_, request| {
        request.keyring = None;
        "no keyring is given".into()
    }),
    ("a keyring without keys", |world, _| {
        fs::write(world.keyring(), "").unwrap();
        format!("the keyring {} holds no OpenPGP key", world.keyring().display())
    }),
    ("no InRelease", |world, _| {
        world.server.remove(IN_RELEASE);
        format!("http://{}{IN_RELEASE} does not exist", world.server.address)
    }),
    ("an InRelease without a signature", |world, _| {
        world.server.put(IN_RELEASE, "Codename: trixie\n");
        format!("http://{}{IN_RELEASE}: it is no text with an OpenPGP signature", world.server.address)
    }),
    ("an unknown key", |world, _| {
        let (other, _) = CertBuilder::new().add_userid("Archive").add_signing_subkey().generate().unwrap();
        world.release(&other, "Codename: trixie\n");
        let key = other.keys().last().unwrap().key().fingerprint();
        format!("http://{}{IN_RELEASE}: key {key} is not in the keyring", world.server.address)
    }),
    ("a revoked key", |world, _| {
        let revoked = revoked(&world.key, ReasonForRevocation::KeyCompromised);
        revoked.serialize(&mut fs::File::create(world.keyring()).unwrap()).unwrap();
        let key = world.key.fingerprint();
        format!("http://{}{IN_RELEASE}: key {key} cannot be trusted: it is revoked", world.server.address)
    }),
    ("another suite's InRelease", |world, _| {
        world.release(&world.key, &format!("Codename: bookworm\n{}", world.listing(&world.sums())));
        format!("http://{}{IN_RELEASE}: it is of \"bookworm\", not of \"trixie\"", world.server.address)
    }),
    ("an old InRelease", |world, _| {
        let until = "Valid-Until: Sat, 12 Sep 2020 07:55:41 UTC\n";
        world.release(&world.key, &format!("Codename: trixie\n{until}{}", world.listing(&world.sums())));
        format!("http://{}{IN_RELEASE}: it was valid until 2020-09-12T07:55:41Z and is out of date", world.server.address)
    }),
    ("an InRelease without the installer", |world, _| {
        world.release(&world.key, "Codename: trixie\n");
        let list = "main/installer-amd64/current/images/SHA256SUMS";
        format!("http://{}{IN_RELEASE}: it does not list {list}", world.server.address)
    }),
    ("another SHA256SUMS", |world, _| {
        world.release(&world.key, &format!("Codename: trixie\n{}", world.listing("")));
        let (found, signed) = (digest(world.sums().as_bytes()), digest(b""));
        format!("http://{}{SUMS}: its SHA-256 is {found}, and {signed} was signed", world.server.address)
    }),
];

#[test]
fn a_missing_link_is_refused_and_named() {
    for (name, break_link) in BREAKS {
        let world = World::new();
        let mut request = world.request();
        let reason = break_link(&world, &mut request);
        let error = world.resolve(&request, &Silent).unwrap_err();
        let refusal = error.downcast_ref::<Refusal>().unwrap_or_else(|| panic!("{name}: {error:#}"));
        let way_out = "--allow-unsigned (or TPL_ALLOW_UNSIGNED=1) goes on without that check";
        let advice = match request.keyring {
            None => format!("Debian's keys are in the package debian-archive-keyring; {way_out}"),
            Some(_) => way_out.to_owned(),
        };
        let expected = Refusal::new(format!("the installer of trixie for amd64 cannot be verified: {reason}")).advise(advice);
        assert_eq!(*refusal, expected, "{name}");
    }
}

#[test]
fn a_missing_link_may_be_allowed_and_is_written_down() {
    for (name, break_link) in BREAKS {
        let world = World::new();
        let mut request = ArchiveRequest { allow_unsigned: true, ..world.request() };
        let reason = break_link(&world, &mut request);
        let progress = Recorded::default();
        let resolved = world.resolve(&request, &progress).unwrap();
        assert!(
            progress.0.into_inner().unwrap().contains(&format!("! the installer of trixie for amd64 is not verified: {reason}")),
            "{name}"
        );
        assert_eq!(resolved.trust, Trust::Unsigned { reason }, "{name}");
        world.assert_fetched(&world.fetch(&resolved, &Silent).unwrap());
    }
}

#[test]
fn allowing_it_does_not_skip_a_check_that_can_be_made() {
    let world = World::new();
    let request = ArchiveRequest { allow_unsigned: true, ..world.request() };
    let resolved = world.resolve(&request, &Silent).unwrap();
    assert_eq!(resolved.trust, Trust::Signed { fingerprint: world.key.fingerprint().to_hex() });
    // And a mirror that is down is no missing link.
    world.server.trick(IN_RELEASE, &[Trick::Status(403)]);
    let error = world.resolve(&request, &Silent).unwrap_err();
    let url = format!("http://{}{IN_RELEASE}", world.server.address);
    assert_eq!(format!("{error:#}"), format!("fetching {url}: the server answered 403 Forbidden"));
}

#[test]
fn requests_that_cannot_be_are_invalid() {
    let world = World::new();
    let good = world.request();
    let table = [
        (
            ArchiveRequest { mirror: "mirror.example".into(), ..good.clone() },
            "\"mirror.example\" cannot be a mirror: http://HOST/PATH is expected",
        ),
        (
            ArchiveRequest { mirror: "http://a:b@mirror.example/".into(), ..good.clone() },
            "a mirror's URL must not hold a user name or a password",
        ),
        (ArchiveRequest { suite: "../trixie".into(), ..good.clone() }, "\"../trixie\" is no suite"),
        (ArchiveRequest { suite: String::new(), ..good.clone() }, "\"\" is no suite"),
        (ArchiveRequest { arch: "amd64\n".into(), ..good }, "\"amd64\\n\" is no architecture"),
    ];
    for (request, expected) in table {
        let error = world.resolve(&request, &Silent).unwrap_err();
        assert_eq!(error.downcast_ref(), Some(&Invalid::argument(expected)));
    }
    assert_eq!(world.server.seen(), Vec::<String>::new());
}

#[test]
fn an_installer_that_the_mirror_lacks() {
    let world = World::new();
    world.server.remove(SUMS);
    let error = world.resolve(&world.request(), &Silent).unwrap_err();
    let advice = "The mirror has no installer of trixie for amd64: try another";
    assert_eq!(format!("{error:#}"), format!("http://{}{SUMS} does not exist\n{advice}", world.server.address));
}

#[test]
fn a_list_without_an_end_is_not_read() {
    let world = World::new();
    world.server.put(IN_RELEASE, vec![b'x'; 5 << 20]);
    let error = world.resolve(&world.request(), &Silent).unwrap_err();
    let url = format!("http://{}{IN_RELEASE}", world.server.address);
    assert_eq!(format!("{error:#}"), format!("fetching {url}: larger than 4 MiB, which no list is"));
}
