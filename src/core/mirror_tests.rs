use proptest::prelude::{any, proptest};

use super::*;

#[test]
fn only_plain_urls_are_mirrors() {
    let table = [
        ("http://mirror.example/debian", Ok("http://mirror.example/debian")),
        ("https://mirror.example:8443/debian/", Ok("https://mirror.example:8443/debian")),
        ("http://[::1]:3142/debian", Ok("http://[::1]:3142/debian")),
        ("http://127.0.0.1", Ok("http://127.0.0.1")),
        ("", Err("\"\" cannot be a mirror: http://HOST/PATH is expected")),
        ("mirror.example/debian", Err("\"mirror.example/debian\" cannot be a mirror: http://HOST/PATH is expected")),
        (
            "ftp://mirror.example/debian",
            Err("\"ftp://mirror.example/debian\" cannot be a mirror: only http and https are possible"),
        ),
        ("file:///debian", Err("\"file:///debian\" cannot be a mirror: only http and https are possible")),
        ("http://me:secret@mirror.example/debian", Err("a mirror's URL must not hold a user name or a password")),
        ("http:///debian", Err("\"http:///debian\" cannot be a mirror: its host or port is none")),
        ("http://a b/debian", Err("\"http://a b/debian\" cannot be a mirror: its host or port is none")),
        ("http://a:/debian", Err("\"http://a:/debian\" cannot be a mirror: its host or port is none")),
        ("http://a:+80/debian", Err("\"http://a:+80/debian\" cannot be a mirror: its host or port is none")),
        ("http://a:99999/debian", Err("\"http://a:99999/debian\" cannot be a mirror: its host or port is none")),
        ("http://[::g]/debian", Err("\"http://[::g]/debian\" cannot be a mirror: its host or port is none")),
    ];
    for (url, expected) in table {
        assert_eq!(checked(url), expected.map(str::to_owned).map_err(str::to_owned), "{url}");
    }
    for bad in
        ["http://a/b c", "http://a/b\nd-i x", "http://a/?q", "http://a/#f", "http://a/../b", "http://a/\u{e4}", "http://a/'"]
    {
        let error = format!("{bad:?} cannot be a mirror: its path holds something else than letters, digits and / . - _ ~ + %");
        assert_eq!(checked(bad), Err(error));
    }
}

#[test]
fn a_guest_sees_a_loopback_mirror_at_its_gateway() {
    let table = [
        ("http://mirror.example/debian", "http", "mirror.example", "/debian", false),
        ("https://mirror.example:8443/a/debian/", "https", "mirror.example:8443", "/a/debian", false),
        ("http://mirror.example", "http", "mirror.example", "/", false),
        ("http://127.0.0.1:3142/debian", "http", "10.0.2.2:3142", "/debian", true),
        ("http://127.1.2.3/debian", "http", "10.0.2.2", "/debian", true),
        ("http://LOCALHOST:80/debian", "http", "10.0.2.2:80", "/debian", true),
        ("http://[::1]:3142/debian", "http", "10.0.2.2:3142", "/debian", true),
        ("http://[::ffff:127.0.0.1]/debian", "http", "10.0.2.2", "/debian", true),
        ("http://[2001:db8::1]/debian", "http", "[2001:db8::1]", "/debian", false),
        ("http://192.0.2.7/debian", "http", "192.0.2.7", "/debian", false),
        ("http://127.0.0.1.mirror.example/debian", "http", "127.0.0.1.mirror.example", "/debian", false),
    ];
    for (url, protocol, host, path, loopback) in table {
        let expected = GuestMirror { protocol: protocol.into(), host: host.into(), path: path.into(), loopback };
        assert_eq!(guest_view(url), expected, "{url}");
    }
}

#[test]
fn apt_sources() {
    let archive = Some("http://mirror.example/debian");
    let table = [
        ("deb http://mirror.example/debian trixie main", archive),
        ("deb\t[ arch=amd64 signed-by=/k.gpg ]  http://mirror.example/debian/  trixie main contrib # ours", archive),
        ("#deb http://old.example/debian trixie main\n deb http://mirror.example/debian trixie main", archive),
        ("deb-src http://mirror.example/debian trixie main", None),
        ("deb http://mirror.example/debian-security trixie-security main", None),
        ("deb http://mirror.example/debian trixie-security main\ndeb http://mirror.example/debian stretch/updates main", None),
        ("deb cdrom:[Debian]/ trixie main\ndeb file:/srv/debian trixie main", None),
        ("deb http://vendor.example/linux/debian trixie stable", None),
        ("deb http://vendor.example/db/debian trixie main\ndeb http://mirror.example/debian trixie main", archive),
        ("deb http://mirror.example/ubuntu noble main", None),
        ("deb http://me:secret@mirror.example/debian trixie main", None),
        ("deb", None),
        ("deb [arch=amd64", None),
        ("", None),
        (
            "Types: deb\n# a snapshot\nURIs: http://mirror.example/debian\nSuites: trixie trixie-updates\nComponents: main\n\n\
             Types: deb\nURIs: http://mirror.example/debian-security\nSuites: trixie-security\nComponents: main\n",
            archive,
        ),
        (
            "types: deb-src deb\nuris:\n http://vendor.example/x\n# y\n\thttp://mirror.example/debian/\nSuites: sid\nComponents: main\n",
            archive,
        ),
        ("Enabled: no\nTypes: deb\nURIs: http://mirror.example/debian\nSuites: sid\nComponents: main\n", None),
        ("Types: deb-src\nURIs: http://mirror.example/debian\nSuites: sid\nComponents: main\n", None),
        ("#Types: deb\n#URIs: http://mirror.example/debian\n#Suites: sid\n#Components: main\n", None),
        ("Types: deb\nURIs: http://vendor.example/linux/debian\nSuites: trixie\nComponents: stable\n", None),
    ];
    for (text, expected) in table {
        assert_eq!(from_apt_sources(text).as_deref(), expected, "{text}");
    }
}

#[test]
fn debootstrap_scripts() {
    let archive = Some("http://mirror.example/debian");
    let table = [
        ("mirror_style release\ndefault_mirror http://mirror.example/debian\nkeyring /k.gpg\n", archive),
        (
            "case $ARCH in\n  amd64|i386)\n\tdefault_mirror http://other.example/debian\n\t;;\n  riscv64)\n\tdefault_mirror \
             http://ports.example/debian-ports ;;\n  *)\n\tdefault_mirror http://mirror.example/debian/\n\t;;\nesac\n",
            archive,
        ),
        (
            "case $ARCH in\n  hppa) default_mirror http://ports.example/ports ;;\n  *) default_mirror http://mirror.example/debian ;;\nesac\n",
            archive,
        ),
        (
            "case $ARCH in\n *) x=1 ;;\nesac\ndefault_mirror http://mirror.example/debian\ndefault_mirror http://other.example/debian\n",
            archive,
        ),
        ("DEF_MIRROR=\"http://mirror.example/debian\"\nMIRRORS=\"$DEF_MIRROR\"\n", archive),
        ("# default_mirror http://mirror.example/debian\n", None),
        ("default_mirror http://mirror.example/kali\n", None),
        ("default_mirror () {\n\tDEF_MIRROR=\"$1\"\n}\n", None),
        ("default_mirror", None),
        ("", None),
    ];
    for (script, expected) in table {
        assert_eq!(from_debootstrap(script).as_deref(), expected, "{script}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in any::<String>(), words in "(deb|Types:|URIs:|default_mirror|[*][)]|http://a.b/debian| |\n|\\[|:|;;){0,20}") {
        for text in [text.as_str(), words.as_str()] {
            let _ = from_apt_sources(text);
            let _ = from_debootstrap(text);
            if let Ok(mirror) = checked(text) {
                let _ = guest_view(&mirror);
            }
        }
    }
}
