//! Several connections at once: to libvirt each is a client of its own, as another process would be.

use std::{sync::Barrier, thread};

use tpl::{core::error::exit_code, host::hypervisor::Hypervisor as _};

use crate::things::{OwnDomains, OwnNetwork, hypervisor};

const EACH: u8 = 20;

#[test]
fn two_clients_lose_nothing_to_each_other() {
    let own = OwnNetwork::start();
    let together = Barrier::new(2);
    let both = |work: &(dyn Fn(u8) + Sync)| {
        thread::scope(|scope| {
            for client in 0..2 {
                let together = &together;
                scope.spawn(move || {
                    together.wait();
                    (0..EACH).for_each(|entry| work(10 + client * EACH + entry));
                });
            }
        });
    };
    let name = |last: u8| format!("web{last}");
    both(&|last| {
        let hypervisor = hypervisor();
        hypervisor.reserve_address(&own.reservation(last, last, Some(&name(last)))).unwrap();
        hypervisor.add_dns_host(&own.name, own.ip(last), &[name(last)]).unwrap();
    });
    let all = 2 * usize::from(EACH);
    assert_eq!((own.count("<host mac"), own.count("<hostname>")), (vec![all, all], vec![all, all]));
    for last in [10, 10 + 2 * EACH - 1] {
        own.answers(&format!("{}.test.example", name(last)), &[own.ip(last)]);
    }
    both(&|last| {
        let hypervisor = hypervisor();
        hypervisor.release_address(&own.reservation(last, last, Some(&name(last)))).unwrap();
        hypervisor.remove_dns_host(&own.name, own.ip(last), &[name(last)]).unwrap();
    });
    assert_eq!((own.count("<host mac"), own.count("<hostname>")), (vec![0, 0], vec![0, 0]));
}

#[test]
fn one_of_two_clients_gets_an_address() {
    let own = OwnNetwork::start();
    let together = Barrier::new(2);
    for last in 10..15 {
        let reserve = |client: u8| {
            let hypervisor = hypervisor();
            let wanted = own.reservation(100 * client + last, last, None);
            together.wait();
            hypervisor.reserve_address(&wanted)
        };
        let results = thread::scope(|scope| {
            let threads = [scope.spawn(|| reserve(0)), scope.spawn(|| reserve(1))];
            threads.map(|thread| thread.join().unwrap())
        });
        // Which of them was first does not matter; the other is refused, and not told of a failure.
        let mut codes = results.map(|result| result.map_or_else(|error| exit_code(&error), |()| 0));
        codes.sort_unstable();
        assert_eq!(codes, [0, 3], "{last}");
        assert_eq!(own.count(&format!("ip='{}'", own.ip(last))), [1, 1]);
    }
}

#[test]
fn domains_may_vanish_while_they_are_listed() {
    let (own, hypervisor) = (OwnDomains::define(80, ""), hypervisor());
    thread::scope(|scope| {
        let removal = scope.spawn(|| own.handles.iter().for_each(|domain| domain.undefine().unwrap()));
        let mut last = own.names.len();
        while !removal.is_finished() || last > 0 {
            let left = hypervisor.domains().unwrap().iter().filter(|domain| own.names.contains(&domain.name)).count();
            hypervisor.pledges().unwrap();
            assert!(left <= last, "{left} after {last}");
            last = left;
        }
    });
}
