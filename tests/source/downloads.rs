//! Connections that break, servers that lie, and caches that were damaged: what is kept is always the right file.

use std::{fs, path::PathBuf, thread, time::Duration};

use tpl::core::{progress::Silent, source::Role};

use crate::{
    server::Trick,
    world::{KERNEL, Recorded, World, digest, url_of},
};

#[test]
fn a_broken_download_is_resumed() {
    let table: [(&str, &[Trick], &[&str]); 6] = [
        ("twice", &[Trick::Cut(100_000), Trick::Cut(50_000)], &["linux", "linux 100000-", "linux 150000-"]),
        ("the server knows no ranges", &[Trick::Cut(100_000), Trick::IgnoreRange], &["linux", "linux 100000-"]),
        ("another range comes", &[Trick::Cut(100_000), Trick::WrongRange], &["linux", "linux 100000-", "linux"]),
        ("before the first byte", &[Trick::Cut(0)], &["linux", "linux"]),
        ("the server restarts", &[Trick::Status(503), Trick::Status(502)], &["linux", "linux", "linux"]),
        ("a wrong byte", &[Trick::Corrupt], &["linux", "linux"]),
    ];
    for (name, tricks, seen) in table {
        let world = World::new();
        let resolved = world.resolved();
        world.server.trick(KERNEL, tricks);
        world.assert_fetched(&world.fetch(&resolved, &Silent).unwrap());
        assert_eq!(world.server.seen(), [seen, &["initrd.gz"]].concat(), "{name}");
    }
}

#[test]
fn what_an_earlier_run_left_is_used_if_it_is_right() {
    let world = World::new();
    let whole = world.kernel.clone();
    let wrong = vec![7; 1000];
    let long = [whole.as_slice(), b"more"].concat();
    let table: [(&str, &[u8], &[&str]); 5] = [
        ("a beginning", &whole[..1000], &["linux 1000-"]),
        ("all of it", &whole, &[]),
        ("a wrong beginning", &wrong, &["linux 1000-", "linux"]),
        ("too much", &long, &["linux 300004-", "linux"]),
        ("nothing", &[], &["linux"]),
    ];
    for (name, left, seen) in table {
        let world = World::new();
        let resolved = world.resolved();
        world.leave(&world.partial(&world.kernel), left);
        world.assert_fetched(&world.fetch(&resolved, &Silent).unwrap());
        assert_eq!(world.server.seen(), [seen, &["initrd.gz"]].concat(), "{name}");
    }
}

#[test]
fn a_damaged_file_in_the_cache_is_fetched_again() {
    for damage in [b"".as_slice(), &[0; 300_000], b"short"] {
        let world = World::new();
        let resolved = world.resolved();
        world.leave(&world.cached(&world.kernel), damage);
        world.assert_fetched(&world.fetch(&resolved, &Silent).unwrap());
        assert_eq!(world.server.seen(), ["linux", "initrd.gz"]);
    }
}

#[test]
fn a_file_that_is_wrong_twice_is_not_kept() {
    let world = World::new();
    let resolved = world.resolved();
    world.server.trick(KERNEL, &[Trick::Corrupt, Trick::Corrupt]);
    let error = world.fetch(&resolved, &Silent).unwrap_err();
    let mut corrupt = world.kernel.clone();
    corrupt[150_000] ^= 1;
    let (found, wanted) = (digest(&corrupt), digest(&world.kernel));
    assert_eq!(
        format!("{error:#}"),
        format!("fetching {}: its SHA-256 is {found}, and {wanted} was expected", url_of(&resolved, Role::Kernel))
    );
    assert_eq!(world.server.seen(), ["linux", "linux"]);
    assert_eq!(world.names(), Vec::<String>::new());
}

#[test]
fn another_try_is_made_only_where_it_may_help() {
    let world = World::new();
    let resolved = world.resolved();
    let url = url_of(&resolved, Role::Kernel);
    world.server.trick(KERNEL, &[Trick::Status(404)]);
    let error = world.fetch(&resolved, &Silent).unwrap_err();
    assert_eq!(format!("{error:#}"), format!("fetching {url}: the server answered 404 Not Found"));
    assert_eq!(world.server.seen(), ["linux"]);
    world.server.trick(KERNEL, &[Trick::Loop; 7]);
    let error = world.fetch(&resolved, &Silent).unwrap_err();
    assert_eq!(format!("{error:#}"), format!("fetching {url}: error following redirect: too many redirects"));
    assert_eq!(world.server.seen(), ["linux"; 6]);
}

#[test]
fn what_came_stays_when_the_tries_are_used_up() {
    let world = World::new();
    let resolved = world.resolved();
    world.server.trick(KERNEL, &[Trick::Cut(1000); 5]);
    let error = world.fetch(&resolved, &Silent).unwrap_err();
    let context = format!("fetching {}: receiving it: ", url_of(&resolved, Role::Kernel));
    assert!(format!("{error:#}").starts_with(&context), "{error:#}");
    assert_eq!(fs::read(world.partial(&world.kernel)).unwrap(), world.kernel[..5000]);
    world.server.seen();
    world.assert_fetched(&world.fetch(&resolved, &Silent).unwrap());
    assert_eq!(world.server.seen(), ["linux 5000-", "initrd.gz"]);
}

#[test]
fn parallel_builds_share_one_download() {
    let world = World::new();
    let resolved = world.resolved();
    world.server.trick(KERNEL, &[Trick::Late(Duration::from_millis(300))]);
    let progress = Recorded::default();
    let files: Vec<PathBuf> = thread::scope(|scope| {
        let fetch = || world.fetch(&resolved, &progress).unwrap().path(Role::Kernel).unwrap().to_owned();
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(fetch)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(files, vec![world.cached(&world.kernel); 8]);
    assert_eq!(world.server.seen(), ["linux", "initrd.gz"]);
    let note = "! waiting for another tpl that fetches linux just now";
    assert!(progress.0.into_inner().unwrap().contains(&note.to_owned()));
    world.assert_fetched(&world.fetch(&resolved, &Silent).unwrap());
}
