//! How many connections there may be: at once, and of one guest. One that opens them and says nothing takes nobody else's.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// Connections at once, of all.
pub const ALL: usize = 4096;
/// Connections at once, of one place.
const OF_ONE: usize = 32;

/// Who connections are counted for: a bridge's number, and the mark of a wire. All without one are one.
type Place = (u32, u32);

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
    pub fn take(self: &Arc<Self>, place: Place) -> Option<Seat> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let own = taken.get(&place).copied().unwrap_or_default();
        if own >= OF_ONE || taken.values().sum::<usize>() >= ALL {
            return None;
        }
        taken.insert(place, own + 1);
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
        let mut greedy: Vec<Seat> = std::iter::from_fn(|| seats.take((1, 1))).collect();
        assert_eq!(greedy.len(), OF_ONE);
        assert!(seats.take((1, 2)).is_some() && seats.take((2, 1)).is_some());
        greedy.pop();
        assert!(seats.take((1, 1)).is_some());
        drop(greedy);
        let all: Vec<Seat> = (0..u32::try_from(2 * ALL).unwrap()).filter_map(|n| seats.take((1, n))).collect();
        assert_eq!(all.len(), ALL);
        drop(all);
        assert!(seats.0.lock().unwrap().is_empty());
    }
}
