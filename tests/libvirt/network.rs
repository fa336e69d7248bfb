//! Reservations and names in DNS, in a network of this machine's hypervisor.

use std::{net::IpAddr, slice};

use anyhow::Error;
use tpl::{
    core::{error::Refusal, network::Reservation},
    host::hypervisor::Hypervisor as _,
};
use virt::sys;

use crate::things::{OwnNetwork, hypervisor};

const ADD: u32 = sys::VIR_NETWORK_UPDATE_COMMAND_ADD_LAST;
const DELETE: u32 = sys::VIR_NETWORK_UPDATE_COMMAND_DELETE;
const DHCP: u32 = sys::VIR_NETWORK_SECTION_IP_DHCP_HOST;
const DNS: u32 = sys::VIR_NETWORK_SECTION_DNS_HOST;
const LIVE: u32 = sys::VIR_NETWORK_UPDATE_AFFECT_LIVE;
const KEPT: u32 = sys::VIR_NETWORK_UPDATE_AFFECT_CONFIG;

fn reasons(error: &Error) -> Vec<String> {
    error.downcast_ref::<Refusal>().unwrap_or_else(|| panic!("no refusal: {error:#}")).reasons.clone()
}

#[test]
fn a_network_is_read_as_it_is() {
    let (own, hypervisor) = (OwnNetwork::start(), hypervisor());
    let network = hypervisor.network(&own.name).unwrap().unwrap();
    assert_eq!(Some(network.bridge.clone().unwrap()), own.handle.bridge_name().ok());
    let subnet = network.subnet.as_ref().unwrap();
    assert_eq!((IpAddr::from(subnet.gateway), subnet.prefix), (own.ip(129), 25));
    assert_eq!((network.active, network.dns, network.domain.as_deref()), (true, true, Some("test.example")));
    assert_eq!(hypervisor.networks().unwrap().into_iter().find(|one| one.name == own.name), Some(network));
    assert_eq!(hypervisor.leases(&own.name).unwrap(), []);
    own.handle.destroy().unwrap();
    assert!(!hypervisor.network(&own.name).unwrap().unwrap().active);
    assert_eq!(hypervisor.leases(&own.name).unwrap(), []);
    assert_eq!(hypervisor.network("tpl-test-none").unwrap(), None);
    let error = hypervisor.leases("tpl-test-none").unwrap_err();
    assert_eq!(format!("{error:#}"), "reading the leases of network tpl-test-none: network tpl-test-none does not exist");
}

#[test]
fn an_address_is_reserved_in_both_definitions_and_released_from_both() {
    let (own, hypervisor) = (OwnNetwork::start(), hypervisor());
    let first = own.reservation(1, 5, Some("web1"));
    let line = format!("<host mac='52:54:00:00:01:01' name='web1' ip='{}'/>", first.ip);
    for _ in 0..2 {
        hypervisor.reserve_address(&first).unwrap();
        assert_eq!(own.count(&line), [1, 1]);
    }
    assert_eq!(hypervisor.network(&own.name).unwrap().unwrap().reservations, slice::from_ref(&first));
    for (other, shared) in [
        (own.reservation(1, 6, Some("web2")), "52:54:00:00:01:01".to_owned()),
        (own.reservation(2, 5, Some("web2")), first.ip.to_string()),
        (own.reservation(2, 6, Some("web1")), "the name web1".to_owned()),
    ] {
        let expected = format!("network {} reserves {shared} already: {} for 52:54:00:00:01:01, named web1", own.name, first.ip);
        assert_eq!(reasons(&hypervisor.reserve_address(&other).unwrap_err()), [expected]);
        hypervisor.release_address(&other).unwrap();
    }
    let outside = Reservation { ip: [10, 99, 0, 1].into(), ..own.reservation(2, 6, None) };
    let expected = format!("10.99.0.1 is in no subnet of network {}", own.name);
    assert_eq!(reasons(&hypervisor.reserve_address(&outside).unwrap_err()), [expected]);
    assert_eq!(own.count("<host "), [1, 1]);
    for _ in 0..2 {
        hypervisor.release_address(&first).unwrap();
        assert_eq!(own.count("<host "), [0, 0]);
    }
    hypervisor.release_address(&Reservation { network: "tpl-test-none".to_owned(), ..first.clone() }).unwrap();
    let gone = hypervisor.reserve_address(&Reservation { network: "tpl-test-none".to_owned(), ..first.clone() }).unwrap_err();
    assert_eq!(
        format!("{gone:#}"),
        format!("reserving {} in network tpl-test-none: network tpl-test-none does not exist", first.ip)
    );
}

#[test]
fn definitions_that_differ_become_alike() {
    let (own, hypervisor) = (OwnNetwork::start(), hypervisor());
    for flag in [LIVE, KEPT] {
        let wanted = own.reservation(1, 5, Some("web1"));
        let line = format!("<host mac='52:54:00:00:01:01' name='web1' ip='{}'/>", wanted.ip);
        own.change(ADD, DHCP, &line, flag);
        assert_eq!(hypervisor.network(&own.name).unwrap().unwrap().reservations, slice::from_ref(&wanted));
        let error = hypervisor.reserve_address(&own.reservation(2, 5, None)).unwrap_err();
        assert_eq!(reasons(&error).len(), 1, "{error:#}");
        hypervisor.reserve_address(&wanted).unwrap();
        assert_eq!(own.count(&line), [1, 1]);
        own.change(DELETE, DHCP, &line, flag);
        hypervisor.release_address(&wanted).unwrap();
        assert_eq!(own.count("<host "), [0, 0]);

        let (ip, names) = (own.ip(5), ["web1".to_owned(), "www".to_owned()]);
        let line = format!("<host ip='{ip}'><hostname>www</hostname><hostname>web1</hostname></host>");
        own.change(ADD, DNS, &line, flag);
        assert_eq!(hypervisor.network(&own.name).unwrap().unwrap().hosts.len(), 1);
        let error = hypervisor.add_dns_host(&own.name, own.ip(6), &["www".to_owned()]).unwrap_err();
        assert_eq!(reasons(&error).len(), 1, "{error:#}");
        hypervisor.add_dns_host(&own.name, ip, &names).unwrap();
        assert_eq!(own.count("<hostname>"), [2, 2]);
        own.change(DELETE, DNS, &format!("<host ip='{ip}'/>"), flag);
        hypervisor.remove_dns_host(&own.name, ip, &names).unwrap();
        assert_eq!(own.count("<hostname>"), [0, 0]);
    }
}

#[test]
fn a_network_that_does_not_run_keeps_its_entries_for_later() {
    let (own, hypervisor) = (OwnNetwork::start(), hypervisor());
    own.handle.destroy().unwrap();
    let (wanted, names) = (own.reservation(1, 5, Some("web1")), ["web1".to_owned()]);
    hypervisor.reserve_address(&wanted).unwrap();
    hypervisor.add_dns_host(&own.name, wanted.ip, &names).unwrap();
    assert_eq!((own.count("<host mac"), own.count("<hostname>")), (vec![1], vec![1]));
    own.handle.create().unwrap();
    assert_eq!((own.count("<host mac"), own.count("<hostname>")), (vec![1, 1], vec![1, 1]));
    own.answers("web1.test.example", &[wanted.ip]);
    own.handle.destroy().unwrap();
    hypervisor.release_address(&wanted).unwrap();
    hypervisor.remove_dns_host(&own.name, wanted.ip, &names).unwrap();
    assert_eq!((own.count("<host mac"), own.count("<hostname>")), (vec![0], vec![0]));
}

#[test]
fn the_networks_dns_server_answers_for_what_was_added() {
    let (own, hypervisor) = (OwnNetwork::start(), hypervisor());
    let (first, second) = (own.ip(5), own.ip(6));
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    own.answers("web1.test.example", &[]);
    hypervisor.add_dns_host(&own.name, second, &names(&["web2"])).unwrap();
    for _ in 0..2 {
        hypervisor.add_dns_host(&own.name, first, &names(&["web1.test.example", "web1"])).unwrap();
    }
    own.answers("web1.test.example", &[first]);
    own.answers("web2.test.example", &[second]);
    assert_eq!(own.count("<hostname>"), [3, 3]);
    let clash = hypervisor.add_dns_host(&own.name, first, &names(&["web2"])).unwrap_err();
    let entry = |of: &str| format!("the DNS of network {} has another entry: {of}", own.name);
    let expected = [entry(&format!("{second} is web2")), entry(&format!("{first} is web1.test.example, web1"))];
    assert_eq!(reasons(&clash), expected);
    // Not these: another's address, and one with other names.
    hypervisor.remove_dns_host(&own.name, second, &names(&["web1"])).unwrap();
    hypervisor.remove_dns_host(&own.name, first, &names(&["web1"])).unwrap();
    assert_eq!(own.count("<hostname>"), [3, 3]);
    for _ in 0..2 {
        hypervisor.remove_dns_host(&own.name, first, &names(&["web1", "web1.test.example"])).unwrap();
    }
    own.answers("web1.test.example", &[]);
    own.answers("web2.test.example", &[second]);
    assert_eq!(own.count("<hostname>"), [1, 1]);
}
