//! What this machine's hypervisor tells of domains that were defined and never started.

use std::{fs, path::Path, process::Command};

use tpl::{
    core::{
        facts::{Domain, DomainState, Pledge},
        units::ByteSize,
    },
    host::hypervisor::Hypervisor as _,
};
use virt::sys;

use crate::things::{OwnDomains, hypervisor};

#[test]
fn all_domains_are_listed_with_their_definitions() {
    // Enough for each reader to have some.
    let (own, hypervisor) = (OwnDomains::define(80, ""), hypervisor());
    let mut expected: Vec<Domain> = own
        .handles
        .iter()
        .map(|handle| Domain {
            name: handle.name().unwrap(),
            uuid: handle.uuid().unwrap(),
            state: DomainState::Shutoff,
            xml: handle.xml_desc(sys::VIR_DOMAIN_XML_INACTIVE).unwrap(),
        })
        .collect();
    expected.sort_by(|a, b| a.name.cmp(&b.name));
    let listed = hypervisor.domains().unwrap();
    assert!(listed.is_sorted_by_key(|domain| &domain.name));
    let ours: Vec<Domain> = listed.into_iter().filter(|domain| own.names.contains(&domain.name)).collect();
    assert_eq!(ours, expected);
    assert_eq!(hypervisor.domain(&own.names[0]).unwrap().as_ref(), expected.iter().find(|one| one.name == own.names[0]));
}

#[test]
fn a_domain_that_does_not_run_has_its_pledge() {
    let (own, hypervisor) = (OwnDomains::define(3, ""), hypervisor());
    let pledge = |name: &String| Pledge { name: name.clone(), active: false, vcpus: 3, memory: ByteSize::mib(8) };
    let mut ours = hypervisor.pledges().unwrap();
    ours.retain(|pledge| own.names.contains(&pledge.name));
    assert_eq!(ours, own.names.iter().map(pledge).collect::<Vec<_>>());
}

#[test]
fn a_domain_starts_with_its_host_or_not() {
    let (own, hypervisor) = (OwnDomains::define(1, ""), hypervisor());
    let name = &own.names[0];
    for on in [false, true, true, false] {
        hypervisor.set_autostart(name, on).unwrap();
        assert_eq!(hypervisor.autostart(name).unwrap(), on);
    }
    let error = hypervisor.autostart("tpl-test-none").unwrap_err();
    assert_eq!(error.to_string(), "domain tpl-test-none does not exist");
}

#[test]
fn a_snapshot_is_made_of_the_disk_and_leaves_the_seed_alone() {
    // Where the emulator's programs may read.
    let folder = tempfile::TempDir::new_in("/var/lib/libvirt/images").unwrap();
    let (disk, seed) = (folder.path().join("disk"), folder.path().join("seed"));
    qemu_img(&["create", "-q", "-f", "qcow2", &disk.display().to_string(), "1M"]);
    fs::write(&seed, [0; 512]).unwrap();
    let devices = format!(
        "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{}'/><target dev='vda' bus='virtio'/></disk>\
         <disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{}'/><target dev='vdb' bus='virtio'/>\
         <readonly/></disk>",
        disk.display(),
        seed.display()
    );
    let (own, hypervisor) = (OwnDomains::define(1, &devices), hypervisor());
    let (name, description) = (&own.names[0], "before <b> & after");
    hypervisor.snapshot(name, "fresh", description).unwrap();
    let made = own.handles[0].list_all_snapshots(0).unwrap();
    let xml: Vec<String> = made.iter().map(|snapshot| snapshot.xml_desc(0).unwrap()).collect();
    let text = xml.concat();
    let parsed = roxmltree::Document::parse(&text).unwrap();
    let value = |tag: &str| parsed.root_element().children().find(|node| node.has_tag_name(tag)).and_then(|node| node.text());
    assert_eq!((value("name"), value("description")), (Some("fresh"), Some(description)));
    assert!(snapshots(&disk).contains("fresh"), "{}", snapshots(&disk));
    let again = hypervisor.snapshot(name, "fresh", "").unwrap_err();
    assert!(format!("{again:#}").starts_with(&format!("making snapshot fresh of domain {name}: ")), "{again:#}");
}

fn snapshots(disk: &Path) -> String {
    qemu_img(&["snapshot", "-l", &disk.display().to_string()])
}

#[allow(clippy::disallowed_methods, reason = "another program's view of the disk")]
fn qemu_img(arguments: &[&str]) -> String {
    let done = Command::new("qemu-img").args(arguments).output().unwrap();
    assert!(done.status.success(), "qemu-img {arguments:?}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap()
}
