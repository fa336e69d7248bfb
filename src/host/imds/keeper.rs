//! The process that has the rights: it holds the addresses on the bridges, speaks with libvirt, reads the files, and tells the server.

use std::{
    collections::BTreeSet,
    os::fd::AsFd as _,
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use uuid::Uuid;

use super::{
    bridges::{Bridges, Look},
    child::Server,
    control::{About, Question, Settings, ToServer},
    listen,
    lock::Lock,
    once::Once,
    reports::{NoteReady, Noted, Reports},
    watch::{self, Heard},
    wires::Wires,
};
use crate::{
    core::{
        error::Refusal,
        imds::{
            defaults::Defaults,
            gather::{Said, ensure_served, gather},
            instance::{Instance, Kind},
        },
        network::Network,
        units::Span,
    },
    host::local::Stop,
};

/// What the keeper has not heard yet. Whoever has more to say waits.
const EVENTS: usize = 256;
/// How often the bridges are looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How often it is looked whether the rules of the packet filter are there.
const RULES: Duration = Duration::from_secs(3);
/// How long whoever has the lock may still have it.
const BEFORE: Duration = Duration::from_secs(5);

/// What the service is to be.
pub struct Service<'a> {
    /// The connection to libvirt.
    pub uri: &'a str,
    /// How long that has to answer.
    pub deadline: Span,
    /// The networks whose bridges are served.
    pub networks: &'a [String],
    /// Bridges that are served besides.
    pub bridges: &'a [String],
    /// How far answers go.
    pub hops: u8,
    /// The loopback port for health and metrics.
    pub status_port: u16,
    /// The user and group that the server runs as; none leaves it this process's.
    pub user: Option<(u32, u32)>,
    /// How the server is set.
    pub settings: Settings,
    /// A number of chance, from which marks are counted.
    pub start: u32,
    /// What has been handed out once.
    pub once: Once,
    /// What other domains are told; read again when somebody asks for it.
    pub defaults: &'a dyn Fn() -> Result<Defaults>,
    /// Whether somebody has asked for that.
    pub reload: &'a dyn Fn() -> bool,
    /// Notes that a clone is ready.
    pub ready: Arc<NoteReady>,
}

/// What the keeper hears.
enum Event {
    Libvirt(Heard),
    Asked(Question),
    Noted(Noted),
    /// The server has ended.
    Ended,
}

/// Runs the service until somebody asks for its end.
///
/// # Errors
/// It cannot begin: no such network, an address or a port that something else has, a wrong file. Or the server has ended by itself.
pub fn run(service: &Service<'_>, stop: &Stop) -> Result<()> {
    let defaults = (service.defaults)()?;
    let Some(lock) = Lock::wait(BEFORE)? else {
        return Err(Refusal::new("another metadata service runs on this machine").into());
    };
    let status = listen::on_loopback(service.status_port)?;
    let (events, heard) = sync_channel(EVENTS);
    let noted = events.clone();
    let wires = Wires::begin(lock, service.start)?;
    let asked = events.clone();
    let server =
        Server::start(service.user, &service.settings, move |said| asked.send(said.map_or(Event::Ended, Event::Asked)).is_ok())?;
    server.tell(&ToServer::Hold, Some(wires.lock()))?;
    server.tell(&ToServer::ListenForStatus, Some(status.as_fd()))?;
    let (uri, deadline) = (service.uri.to_owned(), service.deadline);
    thread::spawn(move || watch::watch(&uri, deadline, &|heard| events.send(Event::Libvirt(heard)).is_ok()));
    let mut keeper = Keeper {
        service,
        server,
        bridges: Bridges::new(service.hops),
        wires,
        reports: Reports::start(Arc::clone(&service.ready), move |report| noted.send(Event::Noted(report)).is_ok()),
        defaults,
        said: None,
        known: None,
        ruled: true,
        waiting: BTreeSet::new(),
    };
    let outcome = keeper.follow(&heard, stop);
    // While it runs, answers may be under way: the rules are needed until it has ended.
    if let Err(error) = keeper.server.end() {
        tracing::error!(error = format!("{error:#}"), "the server has not ended as it should");
    }
    // The next one may begin as soon as the rules have gone.
    let mut left = keeper.bridges.release_all();
    left.extend(keeper.wires.end().err());
    for error in left {
        tracing::error!(error = format!("{error:#}"), "not cleaned up");
    }
    outcome
}

struct Keeper<'a> {
    service: &'a Service<'a>,
    server: Server,
    bridges: Bridges,
    wires: Wires,
    reports: Reports,
    defaults: Defaults,
    /// What libvirt said last; none while it says nothing.
    said: Option<Said>,
    /// What the server was told last.
    known: Option<crate::core::imds::directory::Known>,
    /// Whether the rules were in force when they were looked at last.
    ruled: bool,
    /// Networks and bridges that are not there: said once.
    waiting: BTreeSet<String>,
}

impl Keeper<'_> {
    fn follow(&mut self, heard: &Receiver<Event>, stop: &Stop) -> Result<()> {
        let mut looked = Instant::now();
        let mut restored = Instant::now();
        // Bridges by their names need no libvirt.
        self.look()?;
        while stop.go_on().is_ok() {
            match heard.recv_timeout(LOOK / 4) {
                Ok(Event::Libvirt(heard)) => self.hear(heard)?,
                Ok(Event::Asked(question)) => self.asked(question)?,
                Ok(Event::Noted(Noted { id, instance, domain, outcome })) => {
                    self.reports.done(instance);
                    self.answer(id, outcome.with_context(|| domain))?;
                }
                Ok(Event::Ended) => bail!("the server has ended by itself"),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => bail!("nothing is heard any more"),
            }
            if (self.service.reload)() {
                self.reload()?;
            }
            if looked.elapsed() >= LOOK {
                looked = Instant::now();
                self.look()?;
            }
            if restored.elapsed() >= RULES {
                restored = Instant::now();
                self.restore()?;
            }
        }
        tracing::info!("stopping");
        Ok(())
    }

    /// Puts the rules back where somebody has taken them away.
    fn restore(&mut self) -> Result<()> {
        let restored = self.wires.restore();
        let ruled = restored.is_ok();
        match restored {
            Ok(false) => {}
            Ok(true) => tracing::warn!(
                "guests were not told apart, and are again: does something flush the packet filter, or set net.ipv4.tcp_fwmark_accept?"
            ),
            // Said once, and by the health until it is mended.
            Err(error) if self.ruled => tracing::error!(error = format!("{error:#}"), "guests cannot be told apart"),
            Err(_) => {}
        }
        if self.ruled != ruled {
            self.ruled = ruled;
            self.server.tell(&ToServer::Rules(ruled), None)?;
        }
        Ok(())
    }

    fn hear(&mut self, heard: Heard) -> Result<()> {
        match heard {
            Heard::Said(said) => {
                if self.said.is_none() {
                    tracing::info!(uri = self.service.uri, "libvirt answers");
                    self.check_networks(&said)?;
                    self.server.tell(&ToServer::Libvirt(true), None)?;
                }
                self.say_inactive(&said);
                self.said = Some(said);
                self.look()?;
                self.publish()
            }
            Heard::Lost(reason) => {
                // The server answers on from what it was told.
                if self.said.take().is_some() || self.waiting.insert("libvirt".to_owned()) {
                    tracing::warn!(reason, "libvirt does not answer");
                }
                self.server.tell(&ToServer::Libvirt(false), None)
            }
        }
    }

    /// What is a mistake at the beginning is no reason to end later.
    fn check_networks(&self, said: &Said) -> Result<()> {
        if self.known.is_some() {
            return Ok(());
        }
        Ok(ensure_served(self.service.networks, &said.networks)?)
    }

    /// Says of networks that are waited for.
    fn say_inactive(&mut self, said: &Said) {
        for network in said.networks.iter().filter(|network| self.service.networks.contains(&network.name)) {
            let waiting = format!("network {}", network.name);
            if network.active {
                self.waiting.remove(&waiting);
            } else if self.waiting.insert(waiting) {
                tracing::warn!(network = network.name, "waiting for a network that is not active");
            }
        }
    }

    /// The bridges that are to be served, by what libvirt said last.
    fn wanted(&self) -> BTreeSet<String> {
        let of = |network: &Network| {
            network.bridge.clone().filter(|_| network.active && self.service.networks.contains(&network.name))
        };
        let networks = self.said.iter().flat_map(|said| &said.networks).filter_map(of);
        networks.chain(self.service.bridges.iter().cloned()).collect()
    }

    fn look(&mut self) -> Result<()> {
        let mut wanted = self.wanted();
        if self.said.is_none() {
            // A libvirt that does not answer says nothing of its networks: they stay.
            wanted.extend(self.bridges.names().cloned());
        }
        let gone: Vec<String> = self.bridges.names().filter(|name| !wanted.contains(*name)).cloned().collect();
        for name in gone {
            if let Err(error) = self.bridges.release(&name) {
                tracing::error!(bridge = name, error = format!("{error:#}"), "a bridge keeps the address");
            }
            self.forget(&name)?;
        }
        for name in wanted {
            match self.serve(&name) {
                // At the beginning that is a mistake of whoever has started it.
                Err(error) if self.known.is_none() => return Err(error),
                // Later it is one bridge's misfortune, and tried again.
                Err(error) if self.waiting.insert(name.clone()) => {
                    tracing::error!(bridge = name, error = format!("{error:#}"), "a bridge cannot be served");
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Looks at a bridge that is to be served.
    fn serve(&mut self, name: &str) -> Result<()> {
        match self.bridges.look(name)? {
            Look::Same if !self.bridges.names().any(|served| *served == name) => {
                if self.waiting.insert(name.to_owned()) {
                    tracing::warn!(bridge = name, "waiting for a bridge that is not there");
                }
            }
            Look::Same => {}
            Look::New(bridge, listener) => {
                self.waiting.remove(name);
                // Whoever comes first is known already.
                self.publish()?;
                self.server.tell(&ToServer::from(&bridge), Some(listener.as_fd()))?;
                tracing::info!(bridge = name, "serving");
            }
            Look::Gone => self.forget(name)?,
        }
        Ok(())
    }

    fn forget(&mut self, bridge: &str) -> Result<()> {
        tracing::info!(bridge, "serving no more");
        self.server.tell(&ToServer::Forget(bridge.to_owned()), None)
    }

    /// Tells the server what is known, where that is something new.
    fn publish(&mut self) -> Result<()> {
        let Some(said) = &self.said else { return Ok(()) };
        let bridges = self.bridges.names().cloned().collect();
        let (mut known, unreadable) = gather(said, &bridges, &self.defaults, &self.service.settings.host);
        for error in unreadable {
            if self.waiting.insert(error.clone()) {
                tracing::warn!(error, "a domain cannot be read, and is told nothing");
            }
        }
        match self.wires.keep_to(&mut known, &bridges, &said.ports) {
            Ok(()) => {}
            Err(error) if self.known.is_none() => return Err(error),
            // Whoever is new waits; the others are answered as before.
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "new guests cannot be told apart yet");
                return Ok(());
            }
        }
        if self.known.as_ref() != Some(&known) {
            tracing::info!(domains = known.instances.len(), "domains");
            let frame = ToServer::Known(known);
            self.server.tell(&frame, None)?;
            let ToServer::Known(known) = frame else { return Ok(()) };
            self.known = Some(known);
        }
        Ok(())
    }

    /// Reads the defaults again. A wrong file changes nothing.
    fn reload(&mut self) -> Result<()> {
        match (self.service.defaults)() {
            Ok(defaults) => {
                tracing::info!("the defaults are read again");
                self.defaults = defaults;
                self.publish()
            }
            Err(error) => {
                tracing::error!(error = format!("{error:#}"), "the defaults are wrong: the old ones stay");
                Ok(())
            }
        }
    }

    fn asked(&mut self, Question { id, about }: Question) -> Result<()> {
        match about {
            About::Once(instance, item, again) => {
                let first = || self.service.once.take(instance, item, Duration::from_secs(again));
                self.answer(id, self.instance(instance).map_or(Ok(false), |_| first()))
            }
            About::Ready(instance, keys) => self.report(id, instance, keys),
        }
    }

    fn instance(&self, uuid: Uuid) -> Option<&Instance> {
        self.known.iter().flat_map(|known| &known.instances).find(|instance| instance.uuid == uuid)
    }

    /// A guest says that it is ready.
    fn report(&mut self, id: u64, uuid: Uuid, keys: Vec<String>) -> Result<()> {
        let Some(instance) = self.instance(uuid) else { return self.answer(id, Ok(false)) };
        // It is noted already: a guest that reports again and again must not keep libvirt busy.
        if instance.ready {
            return self.answer(id, Ok(true));
        }
        let domain = instance.domain.clone();
        // Only what is tpl's own is written into; the log tells of the others.
        if instance.kind != Kind::Clone {
            tracing::info!(domain, "ready");
            return self.answer(id, Ok(true));
        }
        if self.reports.take(id, uuid, &domain, keys) {
            tracing::info!(domain, "ready");
            return Ok(());
        }
        self.server.tell(&ToServer::Answer(id, None), None)
    }

    /// Answers a question. Where it failed, the guest is told to ask again later.
    fn answer(&self, id: u64, answer: Result<bool>) -> Result<()> {
        if let Err(error) = &answer {
            tracing::error!(error = format!("{error:#}"), "a guest's request cannot be done");
        }
        self.server.tell(&ToServer::Answer(id, answer.ok()), None)
    }
}
