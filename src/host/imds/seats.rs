//! How many connections there may be: at once, and of one guest. One that opens them and says nothing takes nobody else's.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// Connections at once, of all: below the 1,024 open files that a process has by default.
const ALL: usize = 768;
/// Connections at once, of one port of a bridge.
const OF_ONE: usize = 64;

/// Who connections are counted for: a bridge's number, and its port; none for those that have none.
type Place = (u32, Option<String>);

/// The connections that there are.
#[derive(Debug, Default)]
pub struct Seats(Mutex<HashMap<Place, usize>>);

/// One of them, until it is dropped.
#[derive(Debug)]
pub struct Seat {
    seats: Arc<Seats>,
    place: Place,
}

impl Seats {
    /// Room for one more, if there is.
    pub fn take(self: &Arc<Self>, bridge: u32, port: Option<String>) -> Option<Seat> {
        let place = (bridge, port);
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.get(&place).copied().unwrap_or_default();
        if own >= OF_ONE || taken.values().sum::<usize>() >= ALL {
            return None;
        }
        taken.insert(place.clone(), own + 1);
        drop(taken);
        Some(Seat { seats: Arc::clone(self), place })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.0.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(&self.place) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(taken.remove(&self.place)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_guest_takes_nobody_elses() {
        let seats = Arc::new(Seats::default());
        let mut greedy: Vec<Seat> = std::iter::from_fn(|| seats.take(1, Some("vnet0".to_owned()))).collect();
        assert_eq!(greedy.len(), OF_ONE);
        assert!(seats.take(1, Some("vnet1".to_owned())).is_some() && seats.take(2, Some("vnet0".to_owned())).is_some());
        greedy.pop();
        assert!(seats.take(1, Some("vnet0".to_owned())).is_some());
        drop(greedy);
        let all: Vec<Seat> = (0..2 * ALL).filter_map(|n| seats.take(1, Some(n.to_string()))).collect();
        assert_eq!(all.len(), ALL);
        drop(all);
        assert!(seats.0.lock().unwrap().is_empty());
    }
}
