//! Keys that do not fit, servers that are not there, answers that are forged.

use std::{
    fs::{self, Permissions},
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    thread,
};

use super::{
    failure, host, provider,
    servers::{Server, write_key},
    try_provider,
    updates::table,
};

#[test]
fn the_reason_of_a_refusing_server_is_said() {
    let server = Server::named();
    let web = host("web01", &["192.0.2.7"]);
    let cases = [
        ("lab.example", "wrong", "the server has another secret for the key tpl-key (BADSIG)"),
        ("lab.example", "unknown", "the server knows no key other-key with this algorithm (BADKEY)"),
        (
            "lab.example",
            "weak",
            "the server refuses it: the key weak-key may not do this in lab.example (update-policy, in BIND)",
        ),
        ("elsewhere.example", "key", "the server is not the primary one of the zone elsewhere.example"),
    ];
    for (zone, key, why) in cases {
        let provider = provider(&table(&server, zone, key, ""));
        let text = format!("adding the records of web01.{zone}: {why}");
        assert_eq!(failure(provider.add(&web)), (text, 1));
        if key == "weak" {
            // It may ask: there is nothing to take back.
            provider.remove(&web).unwrap();
        } else {
            let text = format!("removing the records of web01.{zone}: {why}");
            assert_eq!(failure(provider.remove(&web)), (text, 1));
        }
        assert_eq!(server.dig(&format!("web01.{zone}"), "A"), [""; 0]);
    }
    let (strong, weak) =
        (provider(&table(&server, "lab.example", "key", "")), provider(&table(&server, "lab.example", "weak", "")));
    strong.add(&web).unwrap();
    let text = format!("removing the records of web01.lab.example: {}", cases[2].2);
    assert_eq!(failure(weak.remove(&web)), (text, 1));
    strong.remove(&web).unwrap();
    let wrong = provider(&table(&server, "lab.example", "wrong", ""));
    let text = "asking whether web01.lab.example is free: the server has another secret for the key tpl-key (BADSIG)";
    assert_eq!(failure(wrong.taken(&web)), (text.to_owned(), 1));
    // A reverse zone that the server does not have.
    let provider = provider(&table(&server, "lab.example", "key", "reverse = [\"0.192.in-addr.arpa\"]"));
    let text = "the records of web01.lab.example are taken back: adding the records of 7.2.0.192.in-addr.arpa: \
                the server is not the primary one of the zone 0.192.in-addr.arpa";
    assert_eq!(failure(provider.add(&web)), (text.to_owned(), 1));
    assert_eq!(server.dig("web01.lab.example", "A"), [""; 0]);
}

#[test]
fn a_key_file_is_for_its_owner() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("key");
    let shown = key.display();
    let table = format!("kind = \"rfc2136\"\nserver = \"127.0.0.1\"\nzone = \"lab.example\"\nkey_file = {key:?}");
    let open = || failure(try_provider(&table));
    let missing = format!("{shown}: this key file cannot be read: No such file or directory (os error 2)");
    assert_eq!(open(), (missing, 2));
    write_key(&key, "tpl-key", "c2VjcmV0");
    for (mode, fits) in [(0o600, true), (0o640, true), (0o644, false), (0o602, false)] {
        fs::set_permissions(&key, Permissions::from_mode(mode)).unwrap();
        match fits {
            true => assert_eq!(try_provider(&table).unwrap().name(), "test"),
            false => assert_eq!(open(), (format!("{shown}: this key is open to every user: chmod o= {shown}"), 2)),
        }
    }
    fs::write(&key, "c2VjcmV0").unwrap();
    fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    let (text, code) = open();
    assert!(text.starts_with(&format!("{shown}: this is no key file: ")) && !text.contains("c2VjcmV0"), "{text}");
    assert_eq!(code, 2);
}

#[test]
fn an_answer_that_was_changed_on_its_way_is_not_believed() {
    let server = Server::named();
    // To somebody between, "taken" becomes "done", and "done" becomes "taken".
    let proxy = Proxy::start(server.port, |answer| {
        answer[3] = if answer[3] & 15 == 0 { answer[3] | 6 } else { answer[3] & !15 };
        answer.to_vec()
    });
    let provider = proxied(&server, &proxy);
    let text = |name: &str, why: &str| (format!("adding the records of {name}.lab.example: {why}"), 1);
    let (why, code) = failure(provider.add(&host("other", &["192.0.2.7"])));
    let (start, _) = text("other", "the server's answer is not signed with the key: ");
    assert!(why.starts_with(&start) && code == 1, "{why}");
    let unsigned = text("web01", "the server answers, without signing it: Name should not exist");
    assert_eq!(failure(provider.add(&host("web01", &["192.0.2.7"]))), unsigned);
}

#[test]
fn a_server_that_says_nothing_is_left_in_time() {
    let server = Server::named();
    let hangs_up = Proxy::start(server.port, |_| Vec::new());
    let (at, web) = (hangs_up.port, host("web01", &["192.0.2.7"]));
    let text = format!(
        "adding the records of web01.lab.example: asking the DNS server 127.0.0.1:{at}: it closed the connection without an answer"
    );
    assert_eq!(failure(proxied(&server, &hangs_up).add(&web)), (text, 1));
    let key = server.path("key");
    // Nobody takes the connection out of this one's queue.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = silent.local_addr().unwrap();
    let silent_provider = provider(&format!("kind = \"rfc2136\"\nserver = \"{at}\"\nzone = \"lab.example\"\nkey_file = {key:?}"));
    let text = format!("removing the records of web01.lab.example: asking the DNS server {at}: no answer within 10 s");
    assert_eq!(failure(silent_provider.remove(&web)), (text, 1));
    drop(silent);
    let text =
        format!("removing the records of web01.lab.example: asking the DNS server {at}: Connection refused (os error 111)");
    assert_eq!(failure(silent_provider.remove(&web)), (text, 1));
}

fn proxied(server: &Server, proxy: &Proxy) -> Box<dyn tpl::host::dns::DnsProvider> {
    let key = server.path("key");
    let at = proxy.port;
    provider(&format!("kind = \"rfc2136\"\nserver = \"127.0.0.1:{at}\"\nzone = \"lab.example\"\nkey_file = {key:?}"))
}

/// Somebody between tpl and the server.
struct Proxy {
    port: u16,
}

impl Proxy {
    /// Hands every question on, and back what `change` makes of the answer; nothing at all for an empty one.
    fn start(server: u16, change: fn(&mut [u8]) -> Vec<u8>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        // Ends with the test's process.
        thread::spawn(move || {
            for client in listener.incoming() {
                let mut client = client.unwrap();
                let question = read(&mut client);
                let mut behind = TcpStream::connect(("127.0.0.1", server)).unwrap();
                write(&mut behind, &question);
                let answer = change(&mut read(&mut behind));
                if !answer.is_empty() {
                    write(&mut client, &answer);
                }
            }
        });
        Self { port }
    }
}

fn read(stream: &mut TcpStream) -> Vec<u8> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).unwrap();
    let mut message = vec![0; u16::from_be_bytes(length).into()];
    stream.read_exact(&mut message).unwrap();
    message
}

fn write(stream: &mut TcpStream, message: &[u8]) {
    let length = u16::try_from(message.len()).unwrap();
    stream.write_all(&[&length.to_be_bytes(), message].concat()).unwrap();
}
