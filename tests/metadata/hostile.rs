//! Guests that mean no good, and many at once.

use std::{
    io::{Read as _, Write as _},
    thread,
    time::{Duration, Instant},
};

use proptest::{
    prelude::*,
    strategy::ValueTree as _,
    test_runner::{Config, TestRunner},
};

use super::{
    ID,
    lab::{Lab, answer, ask, connect, get},
};

/// Requests that are none: each is refused, and the next guest is answered.
#[test]
fn malformed_requests_are_refused() {
    let lab = Lab::new();
    let service = lab.serve(&[]);
    let (one, other) = (lab.guest("bra-1"), lab.guest("bra-2"));
    let huge = format!("GET {ID} HTTP/1.1\r\nHost: x\r\nX-Huge: {}\r\n\r\n", "x".repeat(64 << 10));
    let many = format!("GET {ID} HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: b\r\n".repeat(500));
    let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(100 << 10));
    let table: [(&str, &[u8], &[u16]); 9] = [
        ("no request", b"\r\n\0\0\xff\r\n\r\n", &[400]),
        ("another protocol", b"SSH-2.0-x\r\n\r\n", &[400]),
        ("a header of 64 KiB", huge.as_bytes(), &[431]),
        ("500 headers", many.as_bytes(), &[431]),
        ("a path of 100 KiB", long.as_bytes(), &[414, 431]),
        ("two lengths", b"POST /tpl/ready HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", &[400]),
        ("no length", b"POST /tpl/ready HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", &[400]),
        ("HTTP/9", b"GET / HTTP/9.9\r\n\r\n", &[400, 505]),
        ("a report of a megabyte", b"POST /tpl/ready HTTP/1.1\r\nHost: x\r\nContent-Length: 1048576\r\n\r\n", &[400]),
    ];
    for (case, bytes, expected) in table {
        let status = lab.by(one, || {
            let mut stream = connect().unwrap();
            // The service may have hung up already.
            let _ = stream.write_all(bytes);
            answer(&mut stream).map(|answer| answer.status)
        });
        // A connection that is cut at once is refused as well.
        assert!(status.as_ref().is_ok_and(|status| expected.contains(status)) || status.is_err(), "{case}: {status:?}");
        assert_eq!(lab.get(other, ID).body, other.uuid, "{case}");
    }
    assert_eq!(service.end("-TERM"), Some(0));
}

/// Bytes of chance, and requests with bytes of chance in them.
#[test]
fn any_bytes_are_answered_or_refused() {
    let lab = Lab::new();
    let service = lab.serve(&[]);
    let one = lab.guest("bra-1");
    let server = service.server();
    let request = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..400),
        ("(GET|PUT|POST|HEAD|X)", "[ -~]{0,60}", "[ -~\r\n]{0,200}")
            .prop_map(|(method, path, headers)| format!("{method} /{path} HTTP/1.1\r\n{headers}\r\n\r\n").into_bytes()),
        "[/.%a-z0-9-]{0,40}".prop_map(|path| format!("GET /latest/{path} HTTP/1.1\r\nHost: x\r\n\r\n").into_bytes()),
    ];
    let mut runner = TestRunner::new(Config::default());
    let requests: Vec<Vec<u8>> = (0..600).map(|_| request.new_tree(&mut runner).unwrap().current()).collect();
    lab.by(one, || {
        for bytes in &requests {
            let mut stream = connect().unwrap();
            let _ = stream.write_all(bytes);
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let mut all = Vec::new();
            let _ = stream.read_to_end(&mut all);
            assert!(all.is_empty() || all.starts_with(b"HTTP/1."), "{bytes:?}: {all:?}");
        }
    });
    assert_eq!((lab.get(one, ID).body.as_str(), service.server()), (one.uuid.as_str(), server));
}

/// One that says half of what it has to say, on as many connections as it can get, takes nobody else's, and is cut off.
#[test]
fn who_says_nothing_is_cut_off() {
    let lab = Lab::new();
    let service = lab.serve(&[]);
    let (slow, other) = (lab.guest("bra-1"), lab.guest("bra-2"));
    let held = lab.by(slow, || {
        let mut held: Vec<_> = (0..200).filter_map(|_| connect().ok()).collect();
        held.iter_mut().for_each(|stream| drop(stream.write_all(b"GET /latest/meta-")));
        held
    });
    assert_eq!(lab.get(other, ID).body, other.uuid);
    let began = Instant::now();
    // A byte now and then makes it no better.
    for mut stream in held {
        while began.elapsed() < Duration::from_secs(60) {
            let _ = stream.write_all(b"x");
            stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
            match stream.read(&mut [0; 512]) {
                Ok(_) => break,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => thread::sleep(Duration::from_millis(20)),
                Err(_) => break,
            }
        }
    }
    assert!(began.elapsed() < Duration::from_secs(60), "they are still there");
    assert_eq!(lab.get(slow, ID).body, slow.uuid);
    let metrics = lab.status("/metrics").body;
    assert!(metrics.contains("tpl_metadata_connections_refused_total{reason=\"too many\"}"), "{metrics}");
    assert_eq!(service.end("-TERM"), Some(0));
}

/// Whoever asks and asks has its part of the log, and each line that is left out is counted.
#[test]
fn the_log_is_not_one_guests_alone() {
    let lab = Lab::new();
    let service = lab.serve(&[]);
    let (greedy, other, asked) = (lab.guest("bra-1"), lab.guest("bra-2"), 3000);
    let began = Instant::now();
    lab.by(greedy, || {
        let mut stream = connect().unwrap();
        (0..asked).for_each(|_| drop(ask(&mut stream, &get(ID, "")).unwrap()));
    });
    let seconds = usize::try_from(began.elapsed().as_secs()).unwrap() + 2;
    lab.get(other, ID);
    let metrics = lab.status("/metrics").body;
    let dropped = metrics.lines().find_map(|line| line.strip_prefix("tpl_metadata_log_lines_dropped_total "));
    let dropped: usize = dropped.unwrap().parse().unwrap();
    service.says("\"domain\":\"bra-2\"");
    let log = service.log();
    let lines = log.lines().filter(|line| line.contains("\"answered\"") && line.contains("\"domain\":\"bra-1\"")).count();
    assert_eq!(lines + dropped, asked);
    assert!(lines <= 100 * seconds, "{lines} lines in {seconds} s");
    assert_eq!(service.end("-TERM"), Some(0));
}

/// Ten thousand requests, from six guests that are known and two that are not: none is lost, and none is answered another's.
#[test]
fn many_at_once() {
    let lab = Lab::new();
    let service = lab.serve(&[]);
    let each = 1250;
    let began = Instant::now();
    thread::scope(|scope| {
        for guest in &lab.guests {
            let lab = &lab;
            scope.spawn(move || {
                lab.by(guest, || {
                    let mut stream = connect().unwrap();
                    for number in 0..each {
                        // Some connections carry one request, others many.
                        if number % 50 == 0 {
                            stream = connect().unwrap();
                        }
                        let answer = ask(&mut stream, &get(ID, "")).unwrap();
                        let expected = if guest.known { (200, guest.uuid.as_str()) } else { (404, "there is nothing here\n") };
                        assert_eq!((answer.status, answer.body.as_str()), expected);
                    }
                });
            });
        }
    });
    println!("{} requests in {:.1} s", lab.guests.len() * each, began.elapsed().as_secs_f64());
    let metrics = lab.status("/metrics").body;
    assert!(metrics.contains("tpl_metadata_requests_total{class=\"meta-data\",status=\"200\"} 7500"), "{metrics}");
    assert!(metrics.contains("tpl_metadata_requests_total{class=\"meta-data\",status=\"404\"} 2500"), "{metrics}");
    assert!(metrics.contains("tpl_metadata_strangers_total 2500"), "{metrics}");
    assert_eq!(service.end("-TERM"), Some(0));
}
