//! From a request to its response.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    HeaderMap, Method as HttpMethod, Request, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{ALLOW, CONTENT_TYPE, HeaderValue},
};

use super::{connection::Connection, control::About, shared::Shared};
use crate::core::imds::{
    directory::Told,
    phone_home,
    reply::{Call, Method, Reply, allowed, reply},
    request::asked,
};

/// Asking for a token's life.
const TTL: &str = "x-aws-ec2-metadata-token-ttl-seconds";
/// A token.
const TOKEN: &str = "x-aws-ec2-metadata-token";
/// How long a body may take.
const BODY: Duration = Duration::from_secs(5);
/// So much of a path stands in the log.
const LOGGED: usize = 200;

/// What is said where nothing can be answered at this moment.
const LATER: &str = "ask again later";

/// A response: its status, and what is in it.
type Answer = (u16, Vec<u8>, Option<u64>);

/// Answers a request, counts it, and writes it into the log.
pub async fn respond(shared: &Shared, connection: &Connection, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let began = Instant::now();
    let path = request.uri().path().to_owned();
    let asked = asked(&path);
    let method = word(method(request.method()));
    let told = shared.caller(connection);
    let (answer, domain) = match &told {
        Ok(told) => (known(shared, connection, told, request).await, Some(told.instance.domain.as_str())),
        Err(reason) => {
            shared.metrics.strangers.inc();
            shared.log_stranger(connection, &path, reason);
            (plain(404, "there is nothing here"), None)
        }
    };
    let (status, body, ttl) = answer;
    let took = began.elapsed();
    shared.metrics.answered(asked.class(), status, took);
    if let Some(domain) = domain.filter(|domain| shared.metrics.may_log(Some(domain))) {
        let path = logged(&path);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        tracing::info!(
            domain, bridge = connection.bridge.name, address = %connection.address, method, path, status, bytes = body.len(), micros,
            "answered"
        );
    }
    let mut response = response(status, body, ttl);
    if status == 405 {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed(asked)));
    }
    response
}

/// An answer without more.
fn plain(status: u16, text: &str) -> Answer {
    (status, format!("{text}\n").into_bytes(), None)
}

async fn known(shared: &Shared, connection: &Connection, told: &Told, request: Request<Incoming>) -> Answer {
    let header = |name: &str| request.headers().get(name).map(HeaderValue::as_bytes);
    let call = Call {
        method: method(request.method()),
        path: request.uri().path(),
        token: header(TOKEN),
        ttl: header(TTL),
        forwarded: is_forwarded(request.headers()),
        address: connection.address,
        mark: connection.mark,
        now: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
    };
    let instance = told.instance.uuid;
    match reply(told, call, &shared.rules) {
        Reply::Text(text) => (200, text.into_bytes(), None),
        Reply::Token(token, ttl) => (200, token.into_bytes(), Some(ttl)),
        Reply::Refused(status, text) => plain(status, text),
        Reply::Once(item, first, later) => match shared.ask(About::Once(instance, item, told.instance.content.again)).await {
            Some(true) => (200, first.into_bytes(), None),
            Some(false) => later.map_or_else(|| plain(404, "this was handed out"), |later| (200, later.into_bytes(), None)),
            None => plain(503, LATER),
        },
        Reply::Report => {
            let body = tokio::time::timeout(BODY, Limited::new(request.into_body(), phone_home::LONGEST).collect()).await;
            let Ok(Ok(body)) = body else { return plain(400, "the report is too long, or does not come") };
            match phone_home::read(&body.to_bytes(), instance, &told.instance.host_keys) {
                Err(wrong) => {
                    if shared.metrics.may_log(Some(&told.instance.domain)) {
                        tracing::warn!(domain = told.instance.domain, reason = wrong, "a report is refused");
                    }
                    plain(400, &wrong)
                }
                Ok(report) => match shared.ask(About::Ready(instance, report.host_keys)).await {
                    Some(true) => plain(200, "noted"),
                    Some(false) => plain(404, "this is nothing that is waited for"),
                    None => plain(503, LATER),
                },
            }
        }
    }
}

fn method(method: &HttpMethod) -> Method {
    match *method {
        HttpMethod::GET => Method::Get,
        HttpMethod::PUT => Method::Put,
        HttpMethod::POST => Method::Post,
        _ => Method::Other,
    }
}

/// A path as it stands in the log.
pub fn logged(path: &str) -> String {
    path.chars().take(LOGGED).collect()
}

/// The method's word in the log; a guest can call its own as it likes, and as long.
fn word(method: Method) -> &'static str {
    match method {
        Method::Get => "GET",
        Method::Put => "PUT",
        Method::Post => "POST",
        Method::Other => "other",
    }
}

fn is_forwarded(headers: &HeaderMap) -> bool {
    headers.contains_key("x-forwarded-for") || headers.contains_key("forwarded")
}

/// A response of plain text.
pub fn response(status: u16, body: Vec<u8>, ttl: Option<u64>) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if let Some(ttl) = ttl {
        response.headers_mut().insert(TTL, HeaderValue::from(ttl));
    }
    response
}
