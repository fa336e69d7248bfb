//! The process that answers guests. It ends when the keeper says so, or ends.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::{IpAddr, TcpListener},
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::UnixStream,
    },
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use http_body_util::Full;
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    net::TcpStream,
    runtime::Runtime,
    sync::{oneshot, watch},
};
use uuid::Uuid;

use super::{
    control::{About, Question, Settings, ToServer, receive, send},
    kernel::{Bridge, Sightings},
    listen,
    metrics::Metrics,
    respond::{Origin, logged, respond, response},
    seats::Seats,
};
use crate::core::imds::{
    directory::{Directory, Told},
    reply::Rules,
    token::Key,
};

/// How long the headers of a request may take, and how long a connection may be idle.
const HEADERS: Duration = Duration::from_secs(5);
/// How long a connection may be at all. A client that goes on makes another one.
const CONNECTION: Duration = Duration::from_secs(60);
/// How long what is under way when a connection is to end may still take.
const GRACE: Duration = Duration::from_secs(5);
/// The most headers of a request, and the most bytes of them.
const MAX_HEADERS: usize = 64;
const MAX_BYTES: usize = 16 << 10;
/// How long the keeper may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Questions that wait for the keeper.
const QUESTIONS: usize = 256;
/// Lines a second about callers that nobody knows.
const STRANGERS: u64 = 20;
/// The most threads that answer.
const WORKERS: usize = 4;
/// How long to wait when no connection can be taken: there are too many files open.
const PAUSE: Duration = Duration::from_millis(50);

/// What all connections share.
pub struct Shared {
    host: String,
    pub(super) rules: Rules,
    pub(super) metrics: Metrics,
    directory: RwLock<Option<Arc<Directory>>>,
    sightings: Box<dyn Sightings>,
    seats: Arc<Seats>,
    questions: SyncSender<Question>,
    answers: Mutex<HashMap<u64, oneshot::Sender<Option<bool>>>>,
    numbers: AtomicU64,
    strangers: Mutex<(Instant, u64)>,
}

impl Shared {
    fn new(settings: Settings, sightings: Box<dyn Sightings>, questions: SyncSender<Question>) -> Self {
        Self {
            host: settings.host,
            rules: Rules { require_token: settings.require_token, key: Key::new(settings.key) },
            metrics: Metrics::new(),
            directory: RwLock::new(None),
            sightings,
            seats: Arc::default(),
            questions,
            answers: Mutex::default(),
            numbers: AtomicU64::new(0),
            strangers: Mutex::new((Instant::now(), 0)),
        }
    }

    fn directory(&self) -> Option<Arc<Directory>> {
        self.directory.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Who asks there, at this moment: the kernel is asked each time, for an address may go from one guest to another.
    pub(super) fn caller(&self, origin: &Origin) -> Result<Arc<Told>> {
        let directory = self.directory().context("nothing is known yet")?;
        let seen = self.sightings.sighting(&origin.bridge, origin.address)?;
        let told = directory.caller(&origin.bridge.name, IpAddr::V4(origin.address), seen.as_ref());
        told.cloned().map_err(|stranger| anyhow::anyhow!("{stranger}"))
    }

    /// Asks the keeper; none where it does not answer.
    pub(super) async fn ask(&self, instance: Uuid, about: About) -> Option<bool> {
        let id = self.numbers.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).insert(id, sender);
        let sent = self.questions.try_send(Question { id, instance, about });
        let answer = match sent {
            Ok(()) => tokio::time::timeout(PATIENCE, receiver).await.ok().and_then(Result::ok).flatten(),
            Err(_) => None,
        };
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        answer
    }

    /// Says who was not answered, and why; not for ever the same when somebody asks and asks.
    pub(super) fn log_stranger(&self, origin: &Origin, path: &str, reason: &anyhow::Error) {
        let mut window = self.strangers.lock().unwrap_or_else(PoisonError::into_inner);
        if window.0.elapsed() >= Duration::from_secs(1) {
            *window = (Instant::now(), 0);
        }
        window.1 += 1;
        if window.1 <= STRANGERS {
            let path = logged(path);
            tracing::warn!(bridge = origin.bridge.name, address = %origin.address, path, reason = format!("{reason:#}"), "unknown caller");
        } else {
            self.metrics.unlogged.inc();
        }
    }
}

/// The same with the keeper at this process's standard input, as [`super::keeper`] starts it. What it cannot do by then, it never can.
///
/// # Errors
/// As for [`run`]; or the standard input is no socket: somebody else has started it.
pub fn run_on_stdin(sightings: Box<dyn Sightings>) -> Result<()> {
    rustix::thread::set_no_new_privs(true).context("giving up rights")?;
    // It was started by a link that is called exe.
    rustix::thread::set_name(c"tpl-metadata")?;
    let stdin = std::io::stdin().as_fd().try_clone_to_owned()?;
    if rustix::net::sockopt::socket_domain(&stdin) != Ok(rustix::net::AddressFamily::UNIX) {
        bail!("this is started by `tpl metadata serve`, and by nobody else");
    }
    run(UnixStream::from(stdin), sightings)
}

/// Serves until the keeper says that it is time to end, or has ended itself.
///
/// # Errors
/// The keeper says what the server does not understand, or nothing can be served at all.
pub fn run(keeper: UnixStream, sightings: Box<dyn Sightings>) -> Result<()> {
    let Some((ToServer::Settings(settings), _)) = receive(&keeper)? else { bail!("the keeper does not begin with settings") };
    let (sender, questions) = sync_channel(QUESTIONS);
    let shared = Arc::new(Shared::new(settings, sightings, sender));
    let asker = keeper.try_clone()?;
    thread::spawn(move || ask_all(&asker, &questions));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers())
        .enable_all()
        .build()
        .context("starting the server")?;
    let (stop, stopped) = watch::channel(false);
    let mut server = Server { shared, runtime: &runtime, stopped, bridges: HashMap::new(), early: Vec::new() };
    let outcome = server.follow(&keeper);
    // Those that are under way end in their own time.
    stop.send_replace(true);
    drop(server);
    runtime.block_on(async { tokio::time::timeout(GRACE + GRACE, stop.closed()).await }).ok();
    runtime.shutdown_background();
    outcome
}

/// Threads that answer: as many as there are processors, and no more than a few, which is enough for all guests of a host.
fn workers() -> usize {
    thread::available_parallelism().map_or(WORKERS, |count| count.get().min(WORKERS))
}

/// Sends questions on. When that fails, the keeper is gone, and whoever reads from it ends the server.
fn ask_all(keeper: &UnixStream, questions: &Receiver<Question>) {
    while let Ok(question) = questions.recv() {
        if send(keeper, &question, None).is_err() {
            return;
        }
    }
}

/// What ends the serving of a bridge when it is dropped.
type Serving = watch::Sender<()>;

/// What is served.
struct Server<'r> {
    shared: Arc<Shared>,
    runtime: &'r Runtime,
    stopped: watch::Receiver<bool>,
    bridges: HashMap<String, Serving>,
    /// Bridges that wait until something is known: a guest that came before would be told that it is nobody.
    early: Vec<(Bridge, tokio::net::TcpListener)>,
}

impl Server<'_> {
    /// Does what the keeper says, until it says stop or is gone.
    fn follow(&mut self, keeper: &UnixStream) -> Result<()> {
        while let Some((frame, along)) = receive::<ToServer>(keeper)? {
            match frame {
                ToServer::Settings(_) => bail!("the settings are known already"),
                ToServer::Listen { bridge, index } => {
                    self.early.push((Bridge { name: bridge, index }, listener(along, self.runtime)?));
                }
                ToServer::ListenForStatus => {
                    let listener = listener(along, self.runtime)?;
                    self.runtime.spawn(accept_status(Arc::clone(&self.shared), listener, self.stopped.clone()));
                }
                ToServer::Forget(name) => {
                    self.early.retain(|(bridge, _)| bridge.name != name);
                    self.bridges.remove(&name);
                }
                ToServer::Known(known) => {
                    let directory = Arc::new(Directory::new(known, &self.shared.host));
                    self.shared.metrics.domains.set(i64::try_from(directory.len()).unwrap_or(i64::MAX));
                    *self.shared.directory.write().unwrap_or_else(PoisonError::into_inner) = Some(directory);
                }
                ToServer::Libvirt(up) => drop(self.shared.metrics.libvirt.set(i64::from(up))),
                ToServer::Answer(id, answer) => {
                    let asked = self.shared.answers.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
                    // One that has waited too long is gone.
                    asked.map(|asked| asked.send(answer).ok());
                }
                ToServer::Stop => return Ok(()),
            }
            self.serve_early();
        }
        Ok(())
    }

    fn serve_early(&mut self) {
        if self.shared.directory().is_none() {
            return;
        }
        for (bridge, listener) in self.early.drain(..) {
            let (serving, ended) = watch::channel(());
            self.bridges.insert(bridge.name.clone(), serving);
            self.runtime.spawn(accept(Arc::clone(&self.shared), listener, Arc::new(bridge), ended, self.stopped.clone()));
        }
    }
}

fn listener(along: Option<OwnedFd>, runtime: &Runtime) -> Result<tokio::net::TcpListener> {
    let listener = TcpListener::from(along.context("the keeper sends no socket")?);
    listen::unblock(&listener)?;
    let _entered = runtime.enter();
    Ok(tokio::net::TcpListener::from_std(listener)?)
}

/// Takes connections on a bridge.
async fn accept(
    shared: Arc<Shared>,
    listener: tokio::net::TcpListener,
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
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let IpAddr::V4(address) = from.ip() else { continue };
        let origin = Origin { bridge: Arc::clone(&bridge), address };
        let seen = shared.sightings.sighting(&bridge, address).ok().flatten();
        let Some(seat) = shared.seats.take(bridge.index, seen.and_then(|seen| seen.port)) else {
            shared.metrics.refused("too many");
            continue;
        };
        let (shared, stopped) = (Arc::clone(&shared), stopped.clone());
        tokio::spawn(async move {
            shared.metrics.connections.inc();
            let answering = Arc::clone(&shared);
            let service = service_fn(move |request: Request<Incoming>| {
                let (shared, origin) = (Arc::clone(&answering), origin.clone());
                async move { Ok::<_, Infallible>(respond(&shared, &origin, request).await) }
            });
            if !serve(stream, service, stopped).await {
                shared.metrics.refused("malformed or slow");
            }
            shared.metrics.connections.dec();
            drop(seat);
        });
    }
}

/// Serves a connection to its end. Whether it went by the rules.
async fn serve<S, F>(stream: TcpStream, service: S, mut stopped: watch::Receiver<bool>) -> bool
where
    S: hyper::service::Service<Request<Incoming>, Response = Response<Full<Bytes>>, Error = Infallible, Future = F>,
    F: Future<Output = Result<Response<Full<Bytes>>, Infallible>>,
{
    // A small answer must not wait for the next one.
    let _ = stream.set_nodelay(true);
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADERS).max_headers(MAX_HEADERS).max_buf_size(MAX_BYTES);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    tokio::select! {
        done = connection.as_mut() => return done.is_ok(),
        () = tokio::time::sleep(CONNECTION) => {}
        _ = stopped.changed() => {}
    }
    connection.as_mut().graceful_shutdown();
    tokio::time::timeout(GRACE, connection).await.is_ok_and(|done| done.is_ok())
}

/// Takes connections of this machine itself.
async fn accept_status(shared: Arc<Shared>, listener: tokio::net::TcpListener, mut stopped: watch::Receiver<bool>) {
    loop {
        let taken = tokio::select! {
            taken = listener.accept() => taken,
            _ = stopped.changed() => return,
        };
        let Ok((stream, _)) = taken else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let (shared, stopped) = (Arc::clone(&shared), stopped.clone());
        tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let answer = status(&shared, request.uri().path());
                async move { Ok::<_, Infallible>(answer) }
            });
            serve(stream, service, stopped).await;
        });
    }
}

/// How the service is.
fn status(shared: &Shared, path: &str) -> Response<Full<Bytes>> {
    match path {
        "/metrics" => response(200, shared.metrics.text().into_bytes(), None),
        "/healthz" => {
            let domains = shared.directory().map(|directory| directory.len());
            let health = serde_json::json!({ "domains": domains, "libvirt": shared.metrics.libvirt.get() == 1 });
            // It answers from what it knew while libvirt does not; before it knew anything it cannot.
            response(if domains.is_some() { 200 } else { 503 }, format!("{health}\n").into_bytes(), None)
        }
        _ => response(404, b"there are /healthz and /metrics\n".to_vec(), None),
    }
}
