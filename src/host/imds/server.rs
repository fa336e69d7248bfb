//! The process that answers guests. It ends when the keeper says so, or ends.

use std::{
    collections::HashMap,
    convert::Infallible,
    net::TcpListener,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::net::UnixStream,
    },
    sync::{
        Arc,
        mpsc::{Receiver, sync_channel},
    },
    thread,
};

use anyhow::{Context as _, Result, bail};
use http_body_util::Full;
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    header::{CONTENT_TYPE, HeaderValue},
    service::service_fn,
};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::{
    runtime::Runtime,
    sync::{Semaphore, watch},
};

use super::{
    connection::{Answering, GRACE, PAUSE, accept, serve},
    control::{Question, ToServer, receive, send},
    kernel::Bridge,
    listen, metrics,
    respond::response,
    seats,
    shared::Shared,
};
use crate::core::imds::directory::Directory;

/// Open files: connections, and some more.
const FILES: u64 = seats::ALL as u64 + 256;
/// Questions that wait for the keeper.
const QUESTIONS: usize = 256;
/// Connections at once of this machine itself.
const STATUS: usize = 16;

/// The same with the keeper at this process's standard input, as [`super::keeper`] starts it. What it cannot do by then, it never can.
///
/// # Errors
/// As for [`run`]; or the standard input is no socket: somebody else has started it.
pub fn run_on_stdin() -> Result<()> {
    allow_files()?;
    // To read the files again is the keeper's, whoever sends that signal to both.
    signal_hook::flag::register(signal_hook::consts::SIGHUP, Arc::default()).context("catching signals")?;
    rustix::thread::set_no_new_privs(true).context("giving up rights")?;
    // It was started by a link that is called exe.
    rustix::thread::set_name(c"tpl-metadata")?;
    let stdin = std::io::stdin().as_fd().try_clone_to_owned()?;
    if rustix::net::sockopt::socket_domain(&stdin) != Ok(rustix::net::AddressFamily::UNIX) {
        bail!("this is started by `tpl metadata serve`, and by nobody else");
    }
    run(UnixStream::from(stdin))
}

/// As many open files as connections need, where the system lets it have them.
fn allow_files() -> Result<()> {
    let mut limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.unwrap_or(FILES);
    limit.current = Some(FILES.min(most));
    setrlimit(Resource::Nofile, limit).context("asking for open files")
}

/// Serves until the keeper says that it is time to end, or has ended itself.
///
/// # Errors
/// The keeper says what the server does not understand, or nothing can be served at all.
pub fn run(keeper: UnixStream) -> Result<()> {
    let Some((ToServer::Settings(settings), _)) = receive(&keeper)? else { bail!("the keeper does not begin with settings") };
    let (sender, questions) = sync_channel(QUESTIONS);
    let shared = Arc::new(Shared::new(settings, sender));
    let asker = keeper.try_clone()?;
    thread::spawn(move || ask_all(&asker, &questions));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        // It answers tens of thousands a second; of several, one would mostly wait for another to be woken.
        .worker_threads(1)
        .enable_all()
        .build()
        .context("starting the server")?;
    let (stop, stopped) = watch::channel(false);
    let mut server = Server { shared, runtime: &runtime, stopped, bridges: HashMap::new(), early: Vec::new(), held: None };
    let outcome = server.follow(&keeper);
    let _held = server.held.take();
    drop(server);
    // Those that are under way end in their own time. Without a keeper nobody says how long the rules are there: then they end at once.
    if let Ok(End::Asked) = outcome {
        stop.send_replace(true);
        runtime.block_on(async { tokio::time::timeout(GRACE + GRACE + GRACE, stop.closed()).await }).ok();
    }
    runtime.shutdown_background();
    outcome.map(drop)
}

/// Sends questions on. When that fails, the keeper is gone, and whoever reads from it ends the server.
fn ask_all(keeper: &UnixStream, questions: &Receiver<Question>) {
    while let Ok(question) = questions.recv() {
        if send(keeper, &question, None).is_err() {
            return;
        }
    }
}

/// How it ends.
enum End {
    /// The keeper says so.
    Asked,
    /// The keeper has ended.
    Alone,
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
    early: Vec<(Bridge, TcpListener)>,
    /// Until this process ends nobody else begins.
    held: Option<OwnedFd>,
}

impl Server<'_> {
    /// Does what the keeper says, until it says stop or is gone.
    fn follow(&mut self, keeper: &UnixStream) -> Result<End> {
        while let Some((frame, along)) = receive::<ToServer>(keeper)? {
            match frame {
                ToServer::Settings(_) => bail!("the settings are known already"),
                ToServer::Listen { bridge, index } => {
                    self.early.push((Bridge { name: bridge, index }, socket(along)?));
                }
                ToServer::Hold => self.held = along,
                ToServer::ListenForStatus => {
                    let listener = listener(socket(along)?, self.runtime)?;
                    self.runtime.spawn(accept_status(Arc::clone(&self.shared), listener, self.stopped.clone()));
                }
                ToServer::Forget(name) => {
                    self.early.retain(|(bridge, _)| bridge.name != name);
                    self.bridges.remove(&name);
                }
                ToServer::Known(known) => self.shared.learn(Directory::new(known, &self.shared.host)),
                ToServer::Libvirt(up) => drop(self.shared.metrics.libvirt.set(i64::from(up))),
                ToServer::Rules(held) => drop(self.shared.metrics.rules.set(i64::from(held))),
                ToServer::Answer(id, answer) => self.shared.answered(id, answer),
                ToServer::Stop => return Ok(End::Asked),
            }
            self.serve_early()?;
        }
        Ok(End::Alone)
    }

    fn serve_early(&mut self) -> Result<()> {
        if self.shared.directory().is_none() {
            return Ok(());
        }
        for (bridge, socket) in self.early.drain(..) {
            listen::begin(&socket)?;
            let (serving, ended) = watch::channel(());
            self.bridges.insert(bridge.name.clone(), serving);
            let listener = listener(socket, self.runtime)?;
            self.runtime.spawn(accept(Arc::clone(&self.shared), listener, Arc::new(bridge), ended, self.stopped.clone()));
        }
        Ok(())
    }
}

fn socket(along: Option<OwnedFd>) -> Result<TcpListener> {
    Ok(TcpListener::from(along.context("the keeper sends no socket")?))
}

fn listener(socket: TcpListener, runtime: &Runtime) -> Result<tokio::net::TcpListener> {
    listen::unblock(&socket)?;
    let _entered = runtime.enter();
    Ok(tokio::net::TcpListener::from_std(socket)?)
}

/// Takes connections of this machine itself.
async fn accept_status(shared: Arc<Shared>, listener: tokio::net::TcpListener, mut stopped: watch::Receiver<bool>) {
    let seats = Arc::new(Semaphore::new(STATUS));
    loop {
        // Who comes beyond them waits; it is never closed.
        let Ok(seat) = Arc::clone(&seats).acquire_owned().await else { return };
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
            let service = service_fn(|request: Request<Incoming>| -> Answering {
                let answer = status(&shared, request.uri().path());
                Box::pin(async move { Ok::<_, Infallible>(answer) })
            });
            serve(stream, service, stopped).await;
            drop(seat);
        });
    }
}

/// How the service is.
fn status(shared: &Shared, path: &str) -> Response<Full<Bytes>> {
    match path {
        "/metrics" => {
            let mut response = response(200, shared.metrics.text().into_bytes(), None);
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(metrics::TYPE));
            response
        }
        "/healthz" => {
            let domains = shared.directory().map(|directory| directory.len());
            let (libvirt, rules) = (shared.metrics.libvirt.get() == 1, shared.metrics.rules.get() == 1);
            let health = serde_json::json!({ "domains": domains, "libvirt": libvirt, "rules": rules });
            // It answers from what it knew while libvirt does not; before it knew anything it cannot, nor without the rules.
            response(if domains.is_some() && rules { 200 } else { 503 }, format!("{health}\n").into_bytes(), None)
        }
        _ => response(404, b"there are /healthz and /metrics\n".to_vec(), None),
    }
}
