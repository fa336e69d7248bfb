//! Guests' reports that they are ready, noted one after the other: libvirt may take its time, and nobody else waits for it.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        mpsc::{SyncSender, sync_channel},
    },
    thread,
};

use anyhow::Result;
use uuid::Uuid;

/// Reports that wait. Whoever comes then is told to report again later, as cloud-init does.
const WAITING: usize = 64;

/// Takes a clone's UUID, its domain's name, and its SSH host keys. Whether there is such a clone.
pub type NoteReady = dyn Fn(Uuid, &str, Vec<String>) -> Result<bool> + Send + Sync;

/// What has come of a report.
#[derive(Debug)]
pub struct Noted {
    /// The question's number.
    pub id: u64,
    /// The clone.
    pub instance: Uuid,
    /// Its domain's name.
    pub domain: String,
    /// Whether there is such a clone.
    pub outcome: Result<bool>,
}

struct Report {
    id: u64,
    instance: Uuid,
    domain: String,
    keys: Vec<String>,
}

/// Those that are being noted.
pub struct Reports {
    waiting: SyncSender<Report>,
    /// One of an instance at a time.
    pending: BTreeSet<Uuid>,
}

impl Reports {
    /// None yet. `tell` is told of each when it is noted.
    pub fn start(note: Arc<NoteReady>, tell: impl Fn(Noted) -> bool + Send + 'static) -> Self {
        let (waiting, reports) = sync_channel::<Report>(WAITING);
        // It ends when nobody can report any more; one that hangs in libvirt ends with the process.
        thread::spawn(move || {
            for Report { id, instance, domain, keys } in reports {
                let outcome = note(instance, &domain, keys);
                if !tell(Noted { id, instance, domain, outcome }) {
                    return;
                }
            }
        });
        Self { waiting, pending: BTreeSet::new() }
    }

    /// Takes a report. Whether it was taken: there is none of this instance, and room.
    pub fn take(&mut self, id: u64, instance: Uuid, domain: &str, keys: Vec<String>) -> bool {
        if !self.pending.insert(instance) {
            return false;
        }
        let taken = self.waiting.try_send(Report { id, instance, domain: domain.to_owned(), keys }).is_ok();
        if !taken {
            self.pending.remove(&instance);
        }
        taken
    }

    /// A report is noted, or could not be.
    pub fn done(&mut self, instance: Uuid) {
        self.pending.remove(&instance);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn one_of_an_instance_at_a_time_and_no_more_than_there_is_room_for() {
        let (go, waits) = sync_channel::<()>(0);
        let waits = std::sync::Mutex::new(waits);
        let (tell, told) = channel();
        let note = move |_: Uuid, domain: &str, keys: Vec<String>| {
            waits.lock().unwrap().recv()?;
            Ok(domain == "web" && keys == ["key"])
        };
        let mut reports = Reports::start(Arc::new(note), move |noted| tell.send(noted).is_ok());
        let one = Uuid::from_u128(1);
        assert!(reports.take(7, one, "web", vec!["key".to_owned()]));
        assert!(!reports.take(8, one, "web", Vec::new()));
        go.send(()).unwrap();
        let noted = told.recv().unwrap();
        assert_eq!((noted.id, noted.instance, noted.outcome.unwrap()), (7, one, true));
        reports.done(one);
        let taken = (10..200).filter(|n| reports.take(*n, Uuid::from_u128(u128::from(*n)), "web", Vec::new())).count();
        // One may be with the noter already.
        assert!(taken == WAITING || taken == WAITING + 1, "{taken}");
        // One that there was no room for can come again.
        go.send(()).unwrap();
        let noted = told.recv().unwrap();
        reports.done(noted.instance);
        go.send(()).unwrap();
        told.recv().unwrap();
        assert!(reports.take(300, Uuid::from_u128(199), "web", Vec::new()));
    }
}
