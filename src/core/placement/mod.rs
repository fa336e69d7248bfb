//! Which VM of a call goes to which of several hypervisors.
//!
//! A hypervisor's *share* is what is free of what may be promised on its tightest axis: the smallest of `(cap - pledged) / cap`. VMs
//! are placed one after the other, in the order of the call; what one takes is promised to it for the next. Of hypervisors that are
//! alike the one that was named first is taken, so the same call over the same facts is placed alike.
//!
//! All VMs of a call are alike. Then as many find room in this way as can find any: a VM is only left without where none of the
//! hypervisors has room for another one.

mod call;

use super::capacity::{Capacity, Demand, Shortage};

pub use call::{Candidate, Placed, candidates, plan};

/// How VMs are spread over hypervisors.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Strategy {
    /// Each VM goes where the largest share is left behind it.
    #[default]
    Spread,
    /// The fullest hypervisor that has room is filled first.
    Pack,
}

/// Decides for each VM, by the hypervisors' numbers. `demands` has for each VM what it asks of each hypervisor. Where `forced`, a VM
/// for which there is no room goes where it lacks least.
///
/// # Errors
/// The places of those VMs that find room, as far as the first that finds none.
pub fn place(strategy: Strategy, rooms: &[&Capacity], demands: &[Vec<Demand>], forced: bool) -> Result<Vec<usize>, Vec<usize>> {
    let mut rooms: Vec<Capacity> = rooms.iter().map(|room| (*room).clone()).collect();
    let mut places = Vec::with_capacity(demands.len());
    for demand in demands {
        let all = || rooms.iter().zip(demand).enumerate();
        let fitting = all().filter(|(_, (room, demand))| has_room(room, demand));
        let best = match strategy {
            Strategy::Spread => best(fitting.map(|(index, (room, demand))| (index, share(room, demand)))),
            Strategy::Pack => best(fitting.map(|(index, (room, _))| (index, -share(room, &Demand::default())))),
        };
        let least = || best_of_all(all().map(|(index, (room, demand))| (index, share(room, demand))), forced);
        let Some(place) = best.or_else(least) else { return Err(places) };
        rooms[place].pledge(&demand[place]);
        places.push(place);
    }
    Ok(places)
}

fn has_room(room: &Capacity, demand: &Demand) -> bool {
    room.shortages(std::slice::from_ref(demand)).is_empty()
}

/// The first of those with the highest mark.
fn best(marks: impl Iterator<Item = (usize, i128)>) -> Option<usize> {
    let mut best: Option<(usize, i128)> = None;
    for (index, mark) in marks {
        if best.is_none_or(|(_, highest)| mark > highest) {
            best = Some((index, mark));
        }
    }
    best.map(|(index, _)| index)
}

fn best_of_all(marks: impl Iterator<Item = (usize, i128)>, forced: bool) -> Option<usize> {
    if forced { best(marks) } else { None }
}

/// What is free on the tightest axis behind a demand, in parts of 2^32 of what may be promised; less than nothing where more is.
/// The figures come from outside: in 128 bits none of them overflows.
fn share(room: &Capacity, demand: &Demand) -> i128 {
    let shares = room.loads().iter().map(|load| {
        let free = i128::from(load.cap()) - i128::from(load.pledged) - i128::from(demand.on(load.axis));
        (free << 32) / i128::from(load.cap().max(1))
    });
    shares.min().unwrap_or(0)
}

/// What stands against all of these VMs on one hypervisor.
fn shortages(room: &Capacity, demands: &[Vec<Demand>], index: usize) -> Vec<Shortage> {
    let here: Vec<Demand> = demands.iter().filter_map(|demand| demand.get(index).copied()).collect();
    room.shortages(&here)
}

#[cfg(test)]
mod tests;
