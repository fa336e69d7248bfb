//! What all connections share: what is known, and the way to the keeper.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
        mpsc::SyncSender,
    },
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow};
use tokio::sync::oneshot;

use super::{
    connection::Connection,
    control::{About, Question, Settings},
    metrics::Metrics,
    respond::logged,
    seats::{Seat, Seats},
};
use crate::core::imds::{
    directory::{Directory, Told},
    reply::Rules,
    token::Key,
};

/// How long the keeper may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// What all connections share.
pub struct Shared {
    pub(super) host: String,
    pub(super) rules: Rules,
    pub(super) metrics: Metrics,
    directory: RwLock<Option<Arc<Directory>>>,
    seats: Arc<Seats>,
    questions: SyncSender<Question>,
    answers: Mutex<HashMap<u64, oneshot::Sender<Option<bool>>>>,
    numbers: AtomicU64,
}

impl Shared {
    /// Nothing is known yet.
    pub fn new(settings: Settings, questions: SyncSender<Question>) -> Self {
        Self {
            host: settings.host,
            rules: Rules { require_token: settings.require_token, key: Key::new(settings.key) },
            metrics: Metrics::new(),
            directory: RwLock::new(None),
            seats: Arc::default(),
            questions,
            answers: Mutex::default(),
            numbers: AtomicU64::new(0),
        }
    }

    /// What is known; none before anything is.
    pub(super) fn directory(&self) -> Option<Arc<Directory>> {
        self.directory.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// This is known from now on.
    pub(super) fn learn(&self, directory: Directory) {
        self.metrics.domains.set(i64::try_from(directory.len()).unwrap_or(i64::MAX));
        *self.directory.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(directory));
    }

    /// Room for a connection, if there is.
    pub(super) fn seat(&self, connection: &Connection) -> Option<Seat> {
        self.seats.take((connection.bridge.index, connection.mark))
    }

    /// Who asks on a connection, as far as is known at this moment.
    pub(super) fn caller(&self, connection: &Connection) -> Result<Arc<Told>> {
        let directory = self.directory().context("nothing is known yet")?;
        let told = directory.caller(&connection.bridge.name, IpAddr::V4(connection.address), connection.mark);
        told.cloned().map_err(|stranger| anyhow!("{stranger}"))
    }

    /// Asks the keeper; none where it does not answer.
    pub(super) async fn ask(&self, about: About) -> Option<bool> {
        let (sender, receiver) = oneshot::channel();
        let asked = Asked { shared: self, id: self.numbers.fetch_add(1, Ordering::Relaxed) };
        self.answers.lock().unwrap_or_else(PoisonError::into_inner).insert(asked.id, sender);
        self.questions.try_send(Question { id: asked.id, about }).ok()?;
        tokio::time::timeout(PATIENCE, receiver).await.ok()?.ok()?
    }

    /// The keeper has answered. A question that nobody waits for any more is gone.
    pub(super) fn answered(&self, id: u64, answer: Option<bool>) {
        let asked = self.answers.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        asked.map(|asked| asked.send(answer).ok());
    }

    /// Says who was not answered, and why; not for ever the same when somebody asks and asks.
    pub(super) fn log_stranger(&self, connection: &Connection, path: &str, reason: &anyhow::Error) {
        if self.metrics.may_log(None) {
            let (path, address) = (logged(path), connection.address);
            tracing::warn!(bridge = connection.bridge.name, %address, path, reason = format!("{reason:#}"), "unknown caller");
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
