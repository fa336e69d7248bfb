//! What all connections share: what is known, and the way to the keeper.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
        mpsc::SyncSender,
    },
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow};
use tokio::sync::{oneshot, watch};

use super::{
    callers::{Caller, Callers},
    connection::Connection,
    control::{About, Question, Settings},
    kernel::Sightings,
    metrics::Metrics,
    respond::logged,
    seats::{Place, Seat, Seats},
};
use crate::core::imds::{
    Sighting,
    directory::{Directory, Told},
    reply::Rules,
    token::Key,
};

/// How long the keeper may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Lines a second about callers that nobody knows.
const STRANGERS: u64 = 20;

/// What all connections share.
pub struct Shared {
    pub(super) host: String,
    pub(super) rules: Rules,
    pub(super) metrics: Metrics,
    pub(super) callers: Callers,
    /// Something new is said each time that a caller has been revoked.
    pub(super) revocations: watch::Sender<()>,
    directory: RwLock<Option<Arc<Directory>>>,
    sightings: Box<dyn Sightings>,
    seats: Arc<Seats>,
    questions: SyncSender<Question>,
    answers: Mutex<HashMap<u64, oneshot::Sender<Option<bool>>>>,
    numbers: AtomicU64,
    strangers: Mutex<(Instant, u64)>,
}

/// Why a caller is told nothing of its own.
#[derive(Debug)]
pub enum Untold {
    /// It is nobody.
    Stranger(anyhow::Error),
    /// Its way cannot be made its own alone at this moment.
    Unpinned(anyhow::Error),
}

impl Shared {
    /// Nothing is known yet.
    pub fn new(settings: Settings, sightings: Box<dyn Sightings>, questions: SyncSender<Question>) -> Self {
        Self {
            host: settings.host,
            rules: Rules { require_token: settings.require_token, key: Key::new(settings.key) },
            metrics: Metrics::new(),
            callers: Callers::default(),
            revocations: watch::Sender::default(),
            directory: RwLock::new(None),
            sightings,
            seats: Arc::default(),
            questions,
            answers: Mutex::default(),
            numbers: AtomicU64::new(0),
            strangers: Mutex::new((Instant::now(), 0)),
        }
    }

    /// What is known; none before anything is.
    pub(super) fn directory(&self) -> Option<Arc<Directory>> {
        self.directory.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// This is known from now on. Who is not what it was is answered no more.
    pub(super) fn learn(&self, directory: Directory) {
        self.metrics.domains.set(i64::try_from(directory.len()).unwrap_or(i64::MAX));
        let directory = Arc::new(directory);
        *self.directory.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&directory));
        self.callers.revoke(&directory);
        self.revocations.send_replace(());
    }

    /// Room for a connection, if there is.
    pub(super) fn seat(&self, connection: &Connection) -> Option<Seat> {
        let Connection { bridge, address, .. } = connection;
        // One that is not seen at all has a place as well: it is told that it is nobody.
        let seen = self.sightings.sighting(bridge, *address).ok().flatten();
        let is_kept = |seen: &Sighting| self.directory()?.is_kept(&bridge.name, IpAddr::V4(*address), seen.mac).then_some(());
        let kept = seen.as_ref().and_then(is_kept).is_some();
        self.seats.take(Place { bridge: bridge.index, port: seen.and_then(|seen| seen.port), kept })
    }

    /// Who asks there, at this moment: the kernel is asked each time, for an address may go from one guest to another.
    fn look_up(&self, connection: &Connection) -> Result<(Arc<Told>, Sighting)> {
        let Connection { bridge, address, .. } = connection;
        let directory = self.directory().context("nothing is known yet")?;
        let seen = self.sightings.sighting(bridge, *address)?;
        let told = directory.caller(&bridge.name, IpAddr::V4(*address), seen.as_ref());
        let told = Arc::clone(told.map_err(|stranger| anyhow!("{stranger}"))?);
        Ok((told, seen.context("it was not seen")?))
    }

    /// Who asks on a connection, once an answer can go to nobody else.
    ///
    /// # Errors
    /// [`Untold`]: it is nobody, or another one than before on this connection; or it cannot be pinned.
    pub(super) async fn caller(&self, connection: &Connection) -> Result<Arc<Told>, Untold> {
        let (told, seen) = self.look_up(connection).map_err(Untold::Stranger)?;
        let uuid = told.instance.uuid;
        if let Some(caller) = connection.caller.get() {
            if caller.is_still(&seen, uuid) {
                return Ok(told);
            }
            self.revoke(caller);
            return Err(Untold::Stranger(anyhow!("it is not what it was on this connection")));
        }
        let Connection { bridge, address, .. } = connection;
        let unpinned = |text: &str| Untold::Unpinned(anyhow!("{}: {text}", told.instance.domain));
        let share = self.callers.share((bridge.index, *address), &bridge.name, &seen, uuid);
        let share =
            share.ok_or_else(|| unpinned("another one has had this address, and its connections are not at their end"))?;
        let pin = || async { (self.ask(About::Pin(bridge.index, *address)).await == Some(true)).then_some(()).ok_or(()) };
        share.pinned.get_or_try_init(pin).await.map_err(|()| unpinned("its address cannot be pinned to its card"))?;
        // What was seen before is not what was pinned, perhaps.
        let (told, seen) = self.look_up(connection).map_err(Untold::Stranger)?;
        if !share.is_still(&seen, told.instance.uuid) {
            self.revoke(&share);
            return Err(unpinned("its address or its card is claimed by another one"));
        }
        // Requests of a connection come one after the other.
        connection.caller.get_or_init(|| share);
        Ok(told)
    }

    fn revoke(&self, caller: &Caller) {
        caller.revoke();
        self.revocations.send_replace(());
    }

    /// All on a bridge are answered no more.
    pub(super) fn leave(&self, bridge: &str) {
        self.callers.revoke_bridge(bridge);
        self.revocations.send_replace(());
    }

    /// Asks the keeper; none where it does not answer.
    pub(super) async fn ask(&self, about: About) -> Option<bool> {
        let (sender, receiver) = oneshot::channel();
        let asked = Asked { shared: self, id: self.number() };
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).insert(asked.id, sender);
        self.questions.try_send(Question { id: asked.id, about }).ok()?;
        tokio::time::timeout(PATIENCE, receiver).await.ok()?.ok()?
    }

    /// Tells the keeper something. Whether it will hear it.
    pub(super) fn tell(&self, about: About) -> bool {
        self.questions.try_send(Question { id: self.number(), about }).is_ok()
    }

    fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// The keeper has answered. A question that nobody waits for any more is gone.
    pub(super) fn answered(&self, id: u64, answer: Option<bool>) {
        let asked = self.answers.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        asked.map(|asked| asked.send(answer).ok());
    }

    /// Says who was not answered, and why; not for ever the same when somebody asks and asks.
    pub(super) fn log_stranger(&self, connection: &Connection, path: &str, reason: &anyhow::Error) {
        let mut window = self.strangers.lock().unwrap_or_else(PoisonError::into_inner);
        if window.0.elapsed() >= Duration::from_secs(1) {
            *window = (Instant::now(), 0);
        }
        window.1 += 1;
        if window.1 <= STRANGERS {
            let (path, address) = (logged(path), connection.address);
            tracing::warn!(bridge = connection.bridge.name, %address, path, reason = format!("{reason:#}"), "unknown caller");
        } else {
            self.metrics.unlogged.inc();
        }
    }
}

/// A question that somebody waits for: when they do no more, also because the guest has hung up, it is forgotten.
struct Asked<'a> {
    shared: &'a Shared,
    id: u64,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.shared.answers.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}
