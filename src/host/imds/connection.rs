//! A connection of a guest's, from its first byte to its last.

use std::{
    convert::Infallible,
    future::poll_fn,
    net::{IpAddr, Ipv4Addr},
    pin::Pin,
    sync::Arc,
    time::Duration,
};

use http_body_util::Full;
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::{HttpService, service_fn},
};
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::{
    io::{AsyncWriteExt as _, copy, sink},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{sleep, timeout},
};

use super::{kernel::Bridge, respond::respond, shared::Shared};

/// How long the headers of a request may take, and how long a connection may be idle.
const HEADERS: Duration = Duration::from_secs(5);
/// How long a connection may be at all. A client that goes on makes another one.
const CONNECTION: Duration = Duration::from_secs(60);
/// How long what is under way when a connection is to end may still take.
pub const GRACE: Duration = Duration::from_secs(5);
/// The most headers of a request, and the most bytes of them.
const MAX_HEADERS: usize = 64;
const MAX_BYTES: usize = 16 << 10;
/// How long to wait when no connection can be taken: there are too many files open.
pub const PAUSE: Duration = Duration::from_millis(50);

/// What answers the requests of a connection: futures that can be moved, for the connection is taken apart at its end.
pub type Answering = Pin<Box<dyn Future<Output = Result<Response<Full<Bytes>>, Infallible>> + Send>>;

/// Where a connection came in.
#[derive(Debug)]
pub struct Connection {
    /// On which bridge.
    pub bridge: Arc<Bridge>,
    /// From which address.
    pub address: Ipv4Addr,
    /// The mark of the wire that it came in by; 0 is none.
    pub mark: u32,
}

/// Takes connections on a bridge.
pub async fn accept(
    shared: Arc<Shared>,
    listener: TcpListener,
    bridge: Arc<Bridge>,
    mut ended: watch::Receiver<()>,
    mut stopped: watch::Receiver<bool>,
) {
    loop {
        let taken = tokio::select! {
            taken = listener.accept() => taken,
            _ = ended.changed() => return,
            _ = stopped.changed() => return,
        };
        let Ok((stream, from)) = taken else {
            sleep(PAUSE).await;
            continue;
        };
        let IpAddr::V4(address) = from.ip() else { continue };
        let mark = SockRef::from(&stream).mark().unwrap_or_default();
        let connection = Arc::new(Connection { bridge: Arc::clone(&bridge), address, mark });
        let Some(seat) = shared.seat(&connection) else {
            shared.metrics.refused("too many");
            continue;
        };
        let (shared, stopped) = (Arc::clone(&shared), stopped.clone());
        tokio::spawn(async move {
            shared.metrics.connections.inc();
            if !answer(&shared, &connection, stream, stopped).await {
                shared.metrics.refused("malformed or slow");
            }
            shared.metrics.connections.dec();
            drop(seat);
        });
    }
}

/// Answers a guest's requests. Whether it went by the rules of HTTP.
async fn answer(shared: &Arc<Shared>, connection: &Arc<Connection>, stream: TcpStream, stopped: watch::Receiver<bool>) -> bool {
    // Closed, or closed by the kernel because this process has ended, it forgets what has not arrived. While it is there the rules are,
    // and what has not arrived goes by its own wire alone.
    if stream.set_zero_linger().is_err() {
        return false;
    }
    let service = service_fn(|request: Request<Incoming>| -> Answering {
        let (shared, connection) = (Arc::clone(shared), Arc::clone(connection));
        Box::pin(async move { Ok(respond(&shared, &connection, request).await) })
    });
    serve(stream, service, stopped).await
}

/// Serves a connection to its end. Whether it went by the rules of HTTP.
pub async fn serve<S>(stream: TcpStream, service: S, mut stopped: watch::Receiver<bool>) -> bool
where
    S: HttpService<Incoming, ResBody = Full<Bytes>, Error = Infallible, Future = Answering> + Unpin,
{
    // A small answer must not wait for the next one.
    let _ = stream.set_nodelay(true);
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADERS).max_headers(MAX_HEADERS).max_buf_size(MAX_BYTES);
    let mut connection = builder.serve_connection(TokioIo::new(stream), service);
    let done = tokio::select! {
        done = poll_fn(|context| connection.poll_without_shutdown(context)) => Some(done.is_ok()),
        () = sleep(CONNECTION) => None,
        _ = stopped.changed() => None,
    };
    let by_the_rules = match done {
        Some(done) => done,
        None => {
            Pin::new(&mut connection).graceful_shutdown();
            let rest = poll_fn(|context| connection.poll_without_shutdown(context));
            timeout(GRACE, rest).await.is_ok_and(|done| done.is_ok())
        }
    };
    close(connection.into_parts().io.into_inner()).await;
    by_the_rules
}

/// Closes a connection when the other side has: so all has arrived, and nobody is told that the connection was broken.
async fn close(mut stream: TcpStream) {
    // The other side may have closed it already.
    let _ = stream.shutdown().await;
    let _ = timeout(GRACE, copy(&mut stream, &mut sink())).await;
}
