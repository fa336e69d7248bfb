//! Updates of a real server.

use super::{FINGERPRINT, failure, host, provider, servers::Server};

const REVERSE: &str = "reverse = [\"2.0.192.in-addr.arpa\", \"8.b.d.0.1.0.0.2.ip6.arpa\"]";

/// The table of a provider that updates this server's zone with the key in this file.
pub fn table(server: &Server, zone: &str, key: &str, more: &str) -> String {
    let key = server.path(key);
    format!("kind = \"rfc2136\"\nserver = \"127.0.0.1:{}\"\nzone = \"{zone}\"\nkey_file = {key:?}\n{more}", server.port)
}

/// All that the server has of web01.
fn web01(server: &Server) -> [Vec<String>; 5] {
    let name = "web01.lab.example";
    [
        server.dig(name, "A"),
        server.dig(name, "AAAA"),
        server.dig(name, "SSHFP"),
        server.dig_reverse("192.0.2.7"),
        server.dig_reverse("2001:db8::7"),
    ]
}

#[test]
fn a_host_comes_and_goes_with_all_its_records() {
    let server = Server::named();
    let provider = provider(&table(&server, "lab.example", "key", REVERSE));
    let web = host("web01", &["192.0.2.7", "2001:db8::7", "198.51.100.7"]);
    assert_eq!(provider.domain().unwrap().as_str(), "lab.example");
    assert_eq!(provider.taken(&web).unwrap(), [""; 0]);
    assert_eq!(web01(&server), [const { Vec::<String>::new() }; 5]);
    for _ in 0..2 {
        provider.add(&web).unwrap();
        let expected: [&[&str]; 5] =
            [&["192.0.2.7", "198.51.100.7"], &["2001:db8::7"], &[FINGERPRINT], &["web01.lab.example."], &["web01.lab.example."]];
        assert_eq!(web01(&server), expected);
        assert_eq!(provider.taken(&web).unwrap(), [""; 0]);
    }
    for _ in 0..2 {
        provider.remove(&web).unwrap();
        assert_eq!(web01(&server), [const { Vec::<String>::new() }; 5]);
    }
    assert_eq!(provider.taken(&web).unwrap(), [""; 0]);
}

#[test]
fn what_others_have_is_refused_and_stays() {
    let server = Server::named();
    let at = format!("127.0.0.1:{}", server.port);
    let provider = provider(&table(&server, "lab.example", "key", REVERSE));
    let cases = [
        (host("other", &["192.0.2.7"]), vec!["other.lab.example has A 192.0.2.99"]),
        (host("other", &["192.0.2.99"]), vec!["other.lab.example has A 192.0.2.99"]),
        (host("alias", &["192.0.2.7"]), vec!["alias.lab.example has CNAME other.lab.example"]),
        (host("note", &["192.0.2.7"]), vec!["note.lab.example has TXT kept for later"]),
        (host("both", &["192.0.2.20"]), vec!["both.lab.example has A 192.0.2.20", "both.lab.example has A 192.0.2.21"]),
    ];
    for (host, lines) in cases {
        let reasons: Vec<String> = lines.iter().map(|line| format!("{line} on {at}")).collect();
        assert_eq!(provider.taken(&host).unwrap(), reasons);
        let text = format!(
            "adding the records of {}.lab.example: {}\nthese records are not tpl's to replace",
            host.name,
            reasons.join("\n")
        );
        assert_eq!(failure(provider.add(&host)), (text, 3));
    }
    // Only what is just ours goes.
    provider.remove(&host("other", &["192.0.2.7"])).unwrap();
    provider.remove(&host("alias", &["192.0.2.7"])).unwrap();
    provider.remove(&host("both", &["192.0.2.20"])).unwrap();
    assert_eq!(server.dig("other.lab.example", "A"), ["192.0.2.99"]);
    assert_eq!(server.dig("alias.lab.example", "CNAME"), ["other.lab.example."]);
    assert_eq!(server.dig("both.lab.example", "A"), ["192.0.2.21"]);
    // A host of our own that has moved is another's as well: the zone does not tell who wrote a record.
    let (here, there) = (host("web01", &["192.0.2.7"]), host("web01", &["192.0.2.8"]));
    provider.add(&here).unwrap();
    assert_eq!(failure(provider.add(&there)).1, 3);
    provider.remove(&there).unwrap();
    assert_eq!(server.dig("web01.lab.example", "A"), ["192.0.2.7"]);
    assert_eq!(server.dig_reverse("192.0.2.7"), ["web01.lab.example."]);
}

#[test]
fn a_reverse_name_that_is_taken_leaves_nothing_behind() {
    let server = Server::named();
    let provider = provider(&table(&server, "lab.example", "key", REVERSE));
    let web = host("web01", &["192.0.2.7", "192.0.2.50"]);
    let reason = format!("50.2.0.192.in-addr.arpa has PTR other.lab.example on 127.0.0.1:{}", server.port);
    assert_eq!(provider.taken(&web).unwrap(), [reason.as_str()]);
    let text = format!(
        "the records of web01.lab.example, 7.2.0.192.in-addr.arpa are taken back: adding the records of \
         50.2.0.192.in-addr.arpa: {reason}\nthese records are not tpl's to replace"
    );
    assert_eq!(failure(provider.add(&web)), (text, 3));
    assert_eq!(web01(&server), [const { Vec::<String>::new() }; 5]);
    assert_eq!(server.dig_reverse("192.0.2.50"), ["other.lab.example."]);
}

#[test]
fn without_sshfp_and_reverse_zones_there_are_addresses_only() {
    let server = Server::named();
    let web = host("web01", &["192.0.2.7"]);
    let plain = provider(&table(&server, "lab.example", "key", "sshfp = false\nttl = 77"));
    plain.add(&web).unwrap();
    let only: [&[&str]; 5] = [&["192.0.2.7"], &[], &[], &[], &[]];
    assert_eq!(web01(&server), only);
    assert_eq!(server.ttl("web01.lab.example", "A"), 77);
    // With fingerprints it would be another registration, which is not what is there.
    let with_keys = provider(&table(&server, "lab.example", "key", ""));
    assert_eq!(failure(with_keys.add(&web)).1, 3);
    assert_eq!(plain.taken(&web).unwrap(), [""; 0]);
    plain.remove(&web).unwrap();
    // What was registered with fingerprints goes with them, although they are not told any more.
    with_keys.add(&web).unwrap();
    assert_eq!(server.dig("web01.lab.example", "SSHFP"), [FINGERPRINT]);
    assert_eq!(server.ttl("web01.lab.example", "SSHFP"), 300);
    plain.remove(&web).unwrap();
    assert_eq!(web01(&server), [const { Vec::<String>::new() }; 5]);
}

#[test]
fn a_wildcard_takes_no_name() {
    let server = Server::named();
    let provider = provider(&table(&server, "wild.example", "key", ""));
    let web = host("web01", &["192.0.2.7"]);
    assert_eq!(server.dig("web01.wild.example", "A"), ["192.0.2.200"]);
    assert_eq!(provider.taken(&web).unwrap(), [""; 0]);
    provider.add(&web).unwrap();
    assert_eq!(server.dig("web01.wild.example", "A"), ["192.0.2.7"]);
}
