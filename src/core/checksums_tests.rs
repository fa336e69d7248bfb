//! Lists as the vendors write them, and as they do not.

use proptest::prelude::{ProptestConfig, any, proptest};

use super::*;

fn hex(digit: &str) -> String {
    digit.repeat(64)
}

fn long(digit: &str) -> String {
    digit.repeat(128)
}

#[test]
fn finds_a_file_however_it_is_written() {
    let (a, b, c, d) = (hex("a"), hex("b"), hex("c"), long("d"));
    let list = format!(
        "# images\n{a}  ./netboot/linux\r\n\n{b} *netboot/initrd.gz\n{c}  ./two words\n\\{c}  a\\nb\nSHA256 (tag) = {a}\n\
         SHA512 (a (b) = c) = {d}\r\nsha256 (./low) = {b}\n{d}  both\n{c}  both\n{d} *long\n{m}  old\nMD5 (old) = {m}\n\
         SIZE (tag) = 123\nBLAKE2b (tag) = {d}\n{sha1}  older\n",
        m = "1".repeat(32),
        sha1 = "2".repeat(40),
    );
    let list = Checksums::parse(&list).unwrap();
    let table = [
        ("netboot/linux", Some(&a)),
        ("./netboot/linux", Some(&a)),
        ("netboot/initrd.gz", Some(&b)),
        ("two words", Some(&c)),
        ("tag", Some(&a)),
        ("a (b) = c", Some(&d)),
        ("low", Some(&b)),
        ("both", Some(&c)),
        ("long", Some(&d)),
        ("linux", None),
        ("old", None),
        ("older", None),
        ("a\nb", None),
        ("", None),
    ];
    for (path, digest) in table {
        assert_eq!(list.find(path).map(|found| found.to_string()).as_ref(), digest, "{path}");
    }
}

/// The shapes of real lists, with other digests: Ubuntu's SHA256SUMS, Debian's SHA512SUMS, Rocky's CHECKSUM, Fedora's CHECKSUM
/// (its text), CentOS 7's sha256sum.txt, an openSUSE `.sha256`.
#[test]
fn vendors_lists() {
    let (a, b) = (hex("a"), hex("b"));
    let table = [
        (format!("{a} *ubuntu-22.04.5-live-server-amd64.iso\n"), "ubuntu-22.04.5-live-server-amd64.iso", a.clone()),
        (
            format!("{}  debian-13.1.0-amd64-DVD-1.iso\n{}  debian-13.1.0-amd64-netinst.iso\n", long("c"), long("d")),
            "debian-13.1.0-amd64-netinst.iso",
            long("d"),
        ),
        (
            format!("# Rocky-9.6-x86_64-boot.iso: 1287000064 bytes\nSHA256 (Rocky-9.6-x86_64-boot.iso) = {b}\n"),
            "Rocky-9.6-x86_64-boot.iso",
            b.clone(),
        ),
        (
            format!(
                "# Fedora-Server-netinst-x86_64-43-1.6.iso: 1148194816 bytes\nSHA256 (Fedora-Server-netinst-x86_64-43-1.6.iso) = {b}\n"
            ),
            "Fedora-Server-netinst-x86_64-43-1.6.iso",
            b.clone(),
        ),
        (format!("{b}  CentOS-7-x86_64-Minimal-2009.iso\n{a}  x\n"), "CentOS-7-x86_64-Minimal-2009.iso", b.clone()),
        (format!("{a}  openSUSE-Leap-15.6.iso\n"), "openSUSE-Leap-15.6.iso", a.clone()),
    ];
    for (text, name, digest) in table {
        let list = Checksums::parse(&text).unwrap();
        assert_eq!(list.locate(&format!("/pub/some/where/{name}")).map(|found| found.to_string()), Ok(digest), "{name}");
    }
}

#[test]
fn the_longest_end_of_the_location_counts() {
    let (a, b, c) = (hex("a"), hex("b"), hex("c"));
    let list = format!(
        "{a}  ./netboot/debian-installer/amd64/linux\n{b}  ./netboot/gtk/debian-installer/amd64/linux\n{c}  images/x.iso\n\
         {a}  twice/y\n{b}  other/y\n{a}  same/z\n{d}  same/z\n",
        d = long("d")
    );
    let list = Checksums::parse(&list).unwrap();
    let table = [
        ("/debian/images/netboot/debian-installer/amd64/linux", Ok(a.clone())),
        ("/debian/images/netboot/gtk/debian-installer/amd64/linux", Ok(b.clone())),
        ("/images/x.iso", Ok(c.clone())),
        ("images/x.iso", Ok(c.clone())),
        ("/mirror/x.iso", Ok(c.clone())),
        ("x.iso", Ok(c)),
        ("/z", Ok(a.clone())),
        ("/deep/other/y", Ok(b)),
        ("/y", Err("it lists several files with the name \"y\"".to_owned())),
        ("/debian/linux", Err("it lists several files with the name \"linux\"".to_owned())),
        ("/ax.iso", Err("it does not list \"ax.iso\"".to_owned())),
        ("", Err("it does not list \"\"".to_owned())),
        ("/images/", Err("it does not list \"\"".to_owned())),
    ];
    for (location, expected) in table {
        assert_eq!(list.locate(location).map(|found| found.to_string()), expected, "{location}");
    }
}

#[test]
fn a_list_of_another_shape_is_refused() {
    let (a, b) = (hex("a"), hex("b"));
    let shape =
        |line| format!("line {line} is no line of a list of checksums: 'DIGEST  PATH' or 'SHA256 (PATH) = DIGEST' is expected");
    let table = [
        ("<html>".to_owned(), shape(1)),
        (format!("{a}  x\n{a}"), shape(2)),
        (format!("{a} x"), shape(1)),
        (format!("{a}  "), shape(1)),
        (format!("{a}  ./"), shape(1)),
        (format!("{}  x", &a[1..]), shape(1)),
        (format!("SHA256 () = {a}"), shape(1)),
        (format!("SHA256 (x) = {}", &a[1..]), shape(1)),
        (format!("SHA512 (x) = {a}"), shape(1)),
        (format!("SHA256 (x) = {}", long("a")), shape(1)),
        (format!("SHA256(x)= {a}"), shape(1)),
        ("MD5 (x) = <html>".to_owned(), shape(1)),
        ("Hash: SHA256".to_owned(), shape(1)),
        (format!("{a}  x\n{b}  ./x"), "line 2 gives a second digest for \"x\"".to_owned()),
        (format!("{a}  x\nSHA256 (x) = {b}"), "line 2 gives a second digest for \"x\"".to_owned()),
    ];
    for (text, error) in table {
        assert_eq!(Checksums::parse(&text), Err(error), "{text}");
    }
    assert!(Checksums::parse(&format!("{a}  x\n{a}  ./x\nSHA256 (x) = {a}\n")).is_ok(), "said thrice");
}

#[test]
fn a_clear_signed_list_is_read_without_its_signature() {
    let body = format!("# x: 1 bytes\n{}  x\n- dash\n", hex("a"));
    let escaped = body.replace("- dash", "- - dash");
    let message = format!("{CLEARSIGNED}\nHash: SHA256\n\n{escaped}{SIGNATURE}\n\nabc\n-----END PGP SIGNATURE-----\n");
    assert_eq!(without_signature(&message), body);
    assert_eq!(without_signature(&message.replace('\n', "\r\n")), body);
    assert_eq!(without_signature(&body), body);
    assert_eq!(without_signature(CLEARSIGNED), "");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_it_panic(bytes in any::<Vec<u8>>(), location in any::<String>()) {
        let text = String::from_utf8_lossy(&bytes);
        if let Ok(list) = Checksums::parse(&text) {
            let _ = list.locate(&location);
        }
        let _ = without_signature(&text);
        let _ = without_signature(&format!("{CLEARSIGNED}{text}"));
    }

    // Near misses of real lines come further than random bytes.
    #[test]
    fn no_near_miss_makes_it_panic(
        text in "((SHA256|SHA512|MD5|ä)? ?[(]?(x|[.]/|ä)?[)]?( = |  | [*])?[a0]{0,2}\r?\n?){0,6}",
        digest in "[aä]{60,66}",
        path in "[./ax\u{fc}]{0,8}",
    ) {
        for text in [text.clone(), format!("{digest}  {path}\n{text}"), format!("SHA256 ({path}) = {digest}\n{text}")] {
            if let Ok(list) = Checksums::parse(&text) {
                let _ = list.locate(&path);
                let _ = list.locate(&format!("/{path}"));
            }
        }
    }

    // What is written is read again, in either shape.
    #[test]
    fn what_is_written_is_found(path in "[a-z0-9_+~-][a-z0-9._+~ ()=-]{0,20}[a-z0-9]", digest in "[0-9a-f]{64}") {
        for text in [format!("{digest}  {path}\n"), format!("{digest} *{path}\n"), format!("SHA256 ({path}) = {digest}\n")] {
            let list = Checksums::parse(&text).unwrap();
            assert_eq!(list.find(&path).map(|found| found.to_string()), Some(digest.clone()));
            assert_eq!(list.locate(&format!("/a/{path}")).map(|found| found.to_string()), Ok(digest.clone()));
        }
    }
}
