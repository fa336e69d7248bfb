//! A small web server for the tests: it does ranges, and it can be told to fail.

use std::{
    collections::{BTreeMap, VecDeque},
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

/// How a request is answered instead of well. Each is used up by one request for its path.
#[derive(Debug, Clone, Copy)]
pub enum Trick {
    /// The body breaks off after so many bytes.
    Cut(usize),
    /// The whole file, whatever was asked for.
    IgnoreRange,
    /// The right size, and a wrong byte.
    Corrupt,
    /// This status, without a file.
    Status(u16),
    /// Bytes from another place than was asked for.
    WrongRange,
    /// A good answer, after this long.
    Late(Duration),
    /// A redirect to itself.
    Loop,
    /// No bytes, and the promise of so many.
    Announce(usize),
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, Vec<u8>>,
    tricks: BTreeMap<String, VecDeque<Trick>>,
    validators: BTreeMap<String, String>,
    seen: Vec<String>,
}

/// Serves on a port of its own until the tests end.
pub struct Server {
    pub address: String,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                // A client that hangs up in the middle is part of the tests.
                thread::spawn(move || answer(stream, &state));
            }
        });
        Self { address, state }
    }

    pub fn put(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        self.state.lock().unwrap().files.insert(path.to_owned(), bytes.into());
    }

    /// Calls the file's state so, and answers to who knows it already that it is unchanged.
    pub fn validator(&self, path: &str, etag: &str) {
        self.state.lock().unwrap().validators.insert(path.to_owned(), etag.to_owned());
    }

    /// An address where nobody listens.
    pub fn dead() -> String {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
    }

    pub fn remove(&self, path: &str) {
        self.state.lock().unwrap().files.remove(path);
    }

    pub fn trick(&self, path: &str, tricks: &[Trick]) {
        self.state.lock().unwrap().tricks.entry(path.to_owned()).or_default().extend(tricks);
    }

    /// The last part of each path that was asked for since the last call, with the range's start, `linux 1000-`, or with
    /// what is known of it, `linux unless "one"`.
    pub fn seen(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().seen)
    }
}

fn answer(mut stream: TcpStream, state: &Mutex<State>) -> Option<()> {
    let Asked { path, offset, known } = request(&stream)?;
    let (file, trick, etag) = {
        let mut state = state.lock().unwrap();
        let name = path.rsplit('/').next()?;
        state.seen.push(match (&known, offset) {
            (Some(known), _) => format!("{name} unless {known}"),
            (None, Some(offset)) => format!("{name} {offset}-"),
            (None, None) => name.to_owned(),
        });
        let trick = state.tricks.get_mut(&path).and_then(VecDeque::pop_front);
        (state.files.get(&path).cloned(), trick, state.validators.get(&path).cloned())
    };
    if known.is_some() && known == etag {
        return head(&mut stream, 304, 0, "");
    }
    let etag = etag.map_or_else(String::new, |etag| format!("ETag: {etag}\r\n"));
    if let Some(Trick::Late(pause)) = trick {
        thread::sleep(pause);
    }
    let Some(mut file) = file else { return head(&mut stream, 404, 0, "") };
    let total = file.len();
    let mut range = offset.filter(|_| !matches!(trick, Some(Trick::IgnoreRange)));
    match trick {
        Some(Trick::Status(code)) => return head(&mut stream, code, 0, ""),
        Some(Trick::Announce(length)) => return head(&mut stream, 200, length, ""),
        Some(Trick::Loop) => return head(&mut stream, 302, 0, &format!("Location: {path}\r\n")),
        Some(Trick::Corrupt) => file[total / 2] ^= 1,
        Some(Trick::WrongRange) => range = range.map(|offset| offset / 2),
        _ => {}
    }
    let from = range.unwrap_or(0);
    if from >= total {
        return head(&mut stream, 416, 0, &format!("Content-Range: bytes */{total}\r\n"));
    }
    let body = &file[from..];
    match range {
        None => head(&mut stream, 200, body.len(), &etag)?,
        Some(_) => head(&mut stream, 206, body.len(), &format!("Content-Range: bytes {from}-{}/{total}\r\n", total - 1))?,
    }
    let end = if let Some(Trick::Cut(end)) = trick { end.min(body.len()) } else { body.len() };
    stream.write_all(&body[..end]).ok()
}

struct Asked {
    path: String,
    offset: Option<usize>,
    known: Option<String>,
}

fn request(stream: &TcpStream) -> Option<Asked> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let mut asked = Asked { path, offset: None, known: None };
    for line in lines.take_while(|line| !line.is_empty()) {
        let line = line.to_ascii_lowercase();
        if let Some(range) = line.strip_prefix("range: bytes=") {
            asked.offset = range.trim_end_matches('-').parse().ok();
        }
        asked.known = line.strip_prefix("if-none-match: ").map(str::to_owned).or(asked.known);
    }
    Some(asked)
}

fn head(stream: &mut TcpStream, code: u16, length: usize, more: &str) -> Option<()> {
    write!(stream, "HTTP/1.1 {code} x\r\nConnection: close\r\nContent-Length: {length}\r\n{more}\r\n").ok()
}

/// An HTTP proxy that leads every request to one server, and digs no tunnels.
pub struct Proxy {
    pub address: String,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    pub fn start(server: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (shared, server) = (Arc::clone(&seen), server.to_owned());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, server) = (Arc::clone(&shared), server.clone());
                thread::spawn(move || forward(stream, &server, &seen));
            }
        });
        Self { address, seen }
    }

    /// The first line of each request since the last call.
    pub fn seen(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

fn forward(mut client: TcpStream, server: &str, seen: &Mutex<Vec<String>>) -> Option<()> {
    let lines: Vec<String> = BufReader::new(&client).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let first = lines.first()?;
    seen.lock().unwrap().push(first.clone());
    let url = first.split(' ').nth(1)?;
    let Some((_, path)) = url.strip_prefix("http://").and_then(|rest| rest.split_once('/')) else {
        return head(&mut client, 403, 0, "");
    };
    let mut upstream = TcpStream::connect(server).ok()?;
    write!(upstream, "GET /{path} HTTP/1.1\r\n{}\r\n\r\n", lines[1..].join("\r\n")).ok()?;
    std::io::copy(&mut upstream, &mut client).ok().map(|_| ())
}
