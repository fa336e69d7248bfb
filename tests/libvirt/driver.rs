//! libvirt's test driver: no call for all pledges at once, no leases, and an agent that always answers.

use tpl::{
    core::{
        error::exit_code,
        facts::{DomainState, Pledge},
        network::{Lease, Reservation},
        units::ByteSize,
    },
    host::{hypervisor::Hypervisor as _, libvirt::Libvirt},
};

/// One test: all of a process's connections to this driver share one state.
#[test]
fn what_the_test_driver_can_do() {
    let driver = Libvirt::open("test:///default", "15s".parse().unwrap()).unwrap();
    let domains: Vec<_> = driver.domains().unwrap().into_iter().map(|domain| (domain.name, domain.state)).collect();
    assert_eq!(domains, [("test".to_owned(), DomainState::Running)]);
    let pledge = Pledge { name: "test".to_owned(), active: true, vcpus: 2, memory: ByteSize::mib(8192) };
    assert_eq!(driver.pledges().unwrap(), [pledge]);

    let network = driver.network("default").unwrap().unwrap();
    let subnet = network.subnet.as_ref().unwrap();
    assert_eq!((network.active, subnet.gateway.to_string(), subnet.prefix), (true, "192.168.122.1".to_owned(), 24));
    assert_eq!(driver.networks().unwrap(), [network]);
    assert_eq!(driver.leases("default").unwrap(), Vec::<Lease>::new());

    let ip = [192, 168, 122, 5].into();
    let mac = Some("52:54:00:00:01:01".parse().unwrap());
    let wanted = Reservation { network: "default".to_owned(), mac, ip, name: None };
    let names = ["web1".to_owned()];
    for _ in 0..2 {
        driver.reserve_address(&wanted).unwrap();
        driver.add_dns_host("default", ip, &names).unwrap();
    }
    let network = driver.network("default").unwrap().unwrap();
    assert_eq!((network.reservations, network.hosts), (vec![wanted.clone()], vec![(ip, names.to_vec())]));
    let clash = driver.reserve_address(&Reservation { ip: [192, 168, 122, 6].into(), ..wanted.clone() }).unwrap_err();
    assert_eq!(exit_code(&clash), 3, "{clash:#}");
    driver.release_address(&wanted).unwrap();
    driver.remove_dns_host("default", ip, &names).unwrap();
    let network = driver.network("default").unwrap().unwrap();
    assert_eq!((network.reservations, network.hosts), (vec![], vec![]));

    // It has no secrets.
    let uuid = uuid::Uuid::new_v4();
    assert_eq!((driver.keeps_seeds().unwrap(), driver.seeds().unwrap(), driver.seed(uuid).unwrap()), (false, vec![], None));
    driver.remove_seed(uuid).unwrap();

    let address = [192, 168, 122, 3].into();
    assert_eq!(driver.neighbours("test").unwrap(), [address]);
    assert_eq!(driver.agent_addresses("test").unwrap(), Some(vec![address]));
    driver.snapshot("test", "fresh", "a & b").unwrap();
    driver.set_autostart("test", true).unwrap();
    assert!(driver.autostart("test").unwrap());
}
