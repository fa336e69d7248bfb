//! HTTP with patience: time limits on every wait, a few more tries where another try may help, small lists under a limit.

use std::{env, io::Read as _, thread, time::Duration};

use anyhow::{Context as _, Result, anyhow, ensure};
use reqwest::{
    StatusCode, Url,
    blocking::{Client, Response},
    header::{CONTENT_RANGE, ETAG, HeaderName, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED, RANGE},
    redirect::{Attempt, Policy},
};
use serde::{Deserialize, Serialize};

use crate::host::local::Stop;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// For the answer to a request, and then for each read: not for a whole file, which may take long on a slow line.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
const MAX_REDIRECTS: usize = 5;
/// Between the tries; one more try than pauses. A mirror that is restarted is back by then, and an operator still watches.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(200), Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];
/// Twenty times the largest list that Debian has. They are held in memory, and the signature's check holds them thrice.
pub const MAX_LIST: u64 = 4 << 20;

/// Why a try did not succeed.
pub enum Fault {
    /// Another try may.
    Passing(anyhow::Error),
    /// Another try would end the same way.
    Lasting(anyhow::Error),
}

/// What a server has for a file that is partly there.
pub enum Reply {
    /// The bytes from the offset that was asked for.
    Rest(Response),
    /// All bytes: the server does not do ranges, or this one does not fit.
    Whole(Response),
    /// There is nothing from that offset on.
    NothingThere,
}

/// What a server calls a state of a file: to ask it later whether that is still so.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validator {
    /// `ETag`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    etag: Option<String>,
    /// `Last-Modified`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_modified: Option<String>,
}

impl Validator {
    /// What this answer calls its file.
    pub fn of(response: &Response) -> Self {
        let text = |name: HeaderName| Some(response.headers().get(name)?.to_str().ok()?.to_owned());
        Self { etag: text(ETAG), last_modified: text(LAST_MODIFIED) }
    }

    fn headers(&self) -> impl Iterator<Item = (HeaderName, &str)> {
        let etag = self.etag.as_deref().map(|etag| (IF_NONE_MATCH, etag));
        etag.into_iter().chain(self.last_modified.as_deref().map(|time| (IF_MODIFIED_SINCE, time)))
    }
}

/// A client for a mirror. Takes its proxies from the usual variables (`http_proxy`, `https_proxy`, `no_proxy`).
pub struct Http {
    client: Client,
    stop: Stop,
}

impl Http {
    /// A client that has not connected yet.
    ///
    /// # Errors
    /// The system's certificates cannot be used.
    pub fn new(stop: Stop) -> Result<Self> {
        let builder = Client::builder()
            .user_agent(concat!("tpl/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(READ_TIMEOUT)
            .redirect(Policy::custom(redirect));
        Ok(Self { client: builder.build().context("preparing HTTP")?, stop })
    }

    /// Whether to go on with what takes long.
    ///
    /// # Errors
    /// The operator, or the system, has asked for the end.
    pub fn go_on(&self) -> Result<()> {
        self.stop.go_on()
    }

    /// A whole small file; none if the server says that there is no such file.
    ///
    /// # Errors
    /// It cannot be had, or is larger than 4 MiB.
    pub fn list(&self, url: &str) -> Result<Option<Vec<u8>>> {
        patiently(|| {
            let response = self.get(url, None)?;
            if matches!(response.status(), StatusCode::NOT_FOUND | StatusCode::GONE) {
                return Ok(None);
            }
            let mut bytes = Vec::new();
            accepted(response)?.take(MAX_LIST + 1).read_to_end(&mut bytes).map_err(|error| Fault::Passing(error.into()))?;
            if bytes.len() as u64 > MAX_LIST {
                return Err(Fault::Lasting(anyhow!("larger than {} MiB, which no list is", MAX_LIST >> 20)));
            }
            Ok(Some(bytes))
        })
        .with_context(|| format!("fetching {url}"))
    }

    /// A file from `offset` on, if the server does that. One try.
    ///
    /// # Errors
    /// The server cannot be reached or does not give the file.
    pub fn open(&self, url: &str, offset: u64) -> Result<Reply, Fault> {
        let range = format!("bytes={offset}-");
        let response = self.get(url, (offset > 0).then_some((RANGE, range.as_str())))?;
        match response.status() {
            StatusCode::RANGE_NOT_SATISFIABLE if offset > 0 => Ok(Reply::NothingThere),
            StatusCode::PARTIAL_CONTENT if offset > 0 && begins_at(&response, offset) => Ok(Reply::Rest(response)),
            // The answer to some other question. Not asking for a range gets a whole file from any server.
            StatusCode::PARTIAL_CONTENT => Ok(Reply::NothingThere),
            _ => Ok(Reply::Whole(accepted(response)?)),
        }
    }

    /// A whole file; none if the server says that it is still the one that `known` is about. One try.
    ///
    /// # Errors
    /// The server cannot be reached or does not give the file.
    pub fn open_unless(&self, url: &str, known: Option<&Validator>) -> Result<Option<Response>, Fault> {
        let response = self.get(url, known.into_iter().flat_map(Validator::headers))?;
        match response.status() {
            StatusCode::NOT_MODIFIED if known.is_some() => Ok(None),
            _ => accepted(response).map(Some),
        }
    }

    fn get<'a>(&self, url: &str, headers: impl IntoIterator<Item = (HeaderName, &'a str)>) -> Result<Response, Fault> {
        self.go_on().and_then(|()| proxies(&|name| env::var(name).ok())).map_err(Fault::Lasting)?;
        let request = headers.into_iter().fold(self.client.get(url), |request, (name, value)| request.header(name, value));
        request.send().map_err(|error| {
            let lasting = error.is_builder() || error.is_redirect();
            // The URL stands in the context already.
            let error = anyhow::Error::from(error.without_url());
            if lasting { Fault::Lasting(error) } else { Fault::Passing(error) }
        })
    }
}

/// Tries until it works, the fault lasts, or the tries are used up.
///
/// # Errors
/// The last try's.
pub fn patiently<T>(mut attempt: impl FnMut() -> Result<T, Fault>) -> Result<T> {
    let mut pauses = PAUSES.iter();
    loop {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(Fault::Lasting(error)) => return Err(error),
            Err(Fault::Passing(error)) => match pauses.next() {
                Some(pause) => thread::sleep(*pause),
                None => return Err(error),
            },
        }
    }
}

/// What is no address would be as if it were not there, and the request would go another way than it was meant to.
fn proxies(variable: &dyn Fn(&str) -> Option<String>) -> Result<()> {
    for name in ["http_proxy", "https_proxy", "all_proxy", "HTTPS_PROXY", "ALL_PROXY"] {
        let Some(value) = variable(name).filter(|value| !value.is_empty()) else { continue };
        let full = if value.contains("://") { value } else { format!("http://{value}") };
        // Not the value: it can have a password.
        ensure!(Url::parse(&full).is_ok_and(|url| url.has_host()), "the variable {name} is no proxy's address: http://HOST:PORT");
    }
    Ok(())
}

fn accepted(response: Response) -> Result<Response, Fault> {
    match response.status() {
        StatusCode::OK => Ok(response),
        status => {
            let error = anyhow!("the server answered {status}");
            let passing = status.is_server_error() && status != StatusCode::NOT_IMPLEMENTED;
            Err(if passing || status == StatusCode::TOO_MANY_REQUESTS { Fault::Passing(error) } else { Fault::Lasting(error) })
        }
    }
}

/// Whether `Content-Range: bytes FIRST-LAST/TOTAL` begins where it was asked to.
fn begins_at(response: &Response, offset: u64) -> bool {
    let range = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
    range.and_then(first_byte) == Some(offset)
}

fn first_byte(content_range: &str) -> Option<u64> {
    content_range.trim().strip_prefix("bytes ")?.split_once('-')?.0.trim().parse().ok()
}

fn redirect(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let last = attempt.previous().last();
    match redirect_fault(attempt.previous().len(), last, attempt.url()) {
        Some(fault) => attempt.error(fault),
        None => attempt.follow(),
    }
}

fn redirect_fault(followed: usize, from: Option<&Url>, to: &Url) -> Option<&'static str> {
    if followed > MAX_REDIRECTS {
        return Some("too many redirects");
    }
    match to.scheme() {
        "https" => {}
        // Without a signature TLS is all that vouches for the files.
        "http" if from.is_some_and(|url| url.scheme() == "https") => return Some("a redirect from https to http"),
        "http" => {}
        _ => return Some("a redirect to something else than http and https"),
    }
    (!to.username().is_empty() || to.password().is_some()).then_some("a redirect to a URL with credentials")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_stay_on_the_web() {
        let table = [
            (1, "http://a.example/", "http://b.example/", None),
            (1, "http://a.example/", "https://b.example/", None),
            (6, "http://a.example/", "http://b.example/", Some("too many redirects")),
            (1, "https://a.example/", "http://b.example/", Some("a redirect from https to http")),
            (1, "http://a.example/", "file:///etc/passwd", Some("a redirect to something else than http and https")),
            (1, "http://a.example/", "http://me:secret@b.example/", Some("a redirect to a URL with credentials")),
        ];
        for (followed, from, to, fault) in table {
            let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
            assert_eq!(redirect_fault(followed, Some(&from), &to), fault, "{from} {to}");
        }
    }

    #[test]
    fn a_proxy_that_is_none_is_told_without_its_password() {
        for value in ["http://10.0.0.1:3128", "10.0.0.1:3128", "socks5://user:pw@[::1]:1080/", "proxy", ""] {
            assert!(proxies(&|name| (name == "http_proxy").then(|| value.to_owned())).is_ok(), "{value}");
        }
        for value in ["http://", "http://me:secret@host:port", "::secret"] {
            let error = proxies(&|name| (name == "https_proxy").then(|| value.to_owned())).unwrap_err().to_string();
            assert_eq!(error, "the variable https_proxy is no proxy's address: http://HOST:PORT", "{value}");
        }
    }

    #[test]
    fn content_ranges() {
        let table = [
            ("bytes 10-19/20", Some(10)),
            ("bytes 0-0/*", Some(0)),
            ("bytes */20", None),
            ("items 10-19/20", None),
            ("", None),
            ("bytes 99999999999999999999-1/2", None),
        ];
        for (header, first) in table {
            assert_eq!(first_byte(header), first, "{header}");
        }
    }

    #[test]
    fn a_lasting_fault_is_not_tried_again() {
        let mut tries = 0;
        let result: Result<()> = patiently(|| {
            tries += 1;
            Err(if tries == 1 { Fault::Passing(anyhow!("cut")) } else { Fault::Lasting(anyhow!("gone")) })
        });
        assert_eq!((tries, result.unwrap_err().to_string()), (2, "gone".to_owned()));
    }
}
