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
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, Vec<u8>>,
    tricks: BTreeMap<String, VecDeque<Trick>>,
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

    pub fn remove(&self, path: &str) {
        self.state.lock().unwrap().files.remove(path);
    }

    pub fn trick(&self, path: &str, tricks: &[Trick]) {
        self.state.lock().unwrap().tricks.entry(path.to_owned()).or_default().extend(tricks);
    }

    /// The last part of each path that was asked for since the last call, with the range's start: `linux 1000-`.
    pub fn seen(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().seen)
    }
}

fn answer(mut stream: TcpStream, state: &Mutex<State>) -> Option<()> {
    let (path, offset) = request(&stream)?;
    let (file, trick) = {
        let mut state = state.lock().unwrap();
        let name = path.rsplit('/').next()?;
        state.seen.push(offset.map_or(name.to_owned(), |offset| format!("{name} {offset}-")));
        let trick = state.tricks.get_mut(&path).and_then(VecDeque::pop_front);
        (state.files.get(&path).cloned(), trick)
    };
    if let Some(Trick::Late(pause)) = trick {
        thread::sleep(pause);
    }
    let Some(mut file) = file else { return head(&mut stream, 404, 0, "") };
    let total = file.len();
    let mut range = offset.filter(|_| !matches!(trick, Some(Trick::IgnoreRange)));
    match trick {
        Some(Trick::Status(code)) => return head(&mut stream, code, 0, ""),
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
        None => head(&mut stream, 200, body.len(), "")?,
        Some(_) => head(&mut stream, 206, body.len(), &format!("Content-Range: bytes {from}-{}/{total}\r\n", total - 1))?,
    }
    let end = if let Some(Trick::Cut(end)) = trick { end.min(body.len()) } else { body.len() };
    stream.write_all(&body[..end]).ok()
}

fn request(stream: &TcpStream) -> Option<(String, Option<usize>)> {
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let path = lines.next()?.split(' ').nth(1)?.to_owned();
    let mut offset = None;
    for line in lines.take_while(|line| !line.is_empty()) {
        if let Some(range) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
            offset = range.trim_end_matches('-').parse().ok();
        }
    }
    Some((path, offset))
}

fn head(stream: &mut TcpStream, code: u16, length: usize, more: &str) -> Option<()> {
    write!(stream, "HTTP/1.1 {code} x\r\nConnection: close\r\nContent-Length: {length}\r\n{more}\r\n").ok()
}
