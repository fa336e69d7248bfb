use jiff::Timestamp;
use uuid::Uuid;

use super::*;
use crate::core::{
    facts::DomainState,
    manifest::{CloneRecord, Metadata, Phase, Purpose, Run},
    metadata,
    units::ByteSize,
};

fn record(name: &str, volumes: &[&str]) -> CloneRecord {
    CloneRecord {
        purpose: Purpose::Clone,
        name: name.parse().unwrap(),
        template: "debian13".parse().unwrap(),
        version: "20261121-031000".parse().unwrap(),
        digest: "d".to_owned(),
        linked: true,
        phase: Phase::Complete,
        run: Run { id: Uuid::nil(), host: "h".to_owned(), since: Timestamp::UNIX_EPOCH },
        created_at: Timestamp::UNIX_EPOCH,
        user: "debian".parse().unwrap(),
        ssh_host_keys: Vec::new(),
        volumes: volumes.iter().map(|volume| (*volume).to_owned()).collect(),
        pool: "default".to_owned(),
        pool_pledge: ByteSize(0),
        pool_written: ByteSize(0),
        room: None,
        addresses: Vec::new(),
        reservations: Vec::new(),
        dns: Vec::new(),
        forced: None,
        guest_digest: None,
        seed: Default::default(),
    }
}

fn domain(name: &str, metadata: &str, devices: &str) -> Domain {
    let xml = format!(
        "<domain type='kvm'><name>{name}</name><uuid>11111111-2222-4333-8444-555555555555</uuid><metadata>{metadata}</metadata>\
         <memory>1</memory><vcpu>1</vcpu><devices>{devices}</devices></domain>"
    );
    Domain { name: name.to_owned(), uuid: Uuid::nil(), state: DomainState::Shutoff, xml }
}

fn clone(record: CloneRecord) -> Domain {
    let name = record.name.to_string();
    let disk = format!("<disk type='file'><source file='/images/{name}'/><target dev='vda'/></disk>");
    domain(&name, &metadata::element(&Metadata::Clone(Box::new(record))), &disk)
}

/// Plans for the VMs a, b and c, on a pool with these volumes.
fn planned(domains: &[Domain], volumes: &[&str], disks: bool) -> DestroyPlan {
    let volume = |name: &&str| Volume {
        name: (*name).to_owned(),
        path: format!("/images/{name}"),
        capacity: ByteSize(0),
        allocation: ByteSize(0),
        room: None,
    };
    let volumes: Vec<Volume> = volumes.iter().map(volume).collect();
    let inventory = Inventory::of(domains.to_vec());
    let declared = ["a", "b", "c"].map(|name| (name.parse().unwrap(), 1));
    plan(&declared, Stock { domains, inventory: &inventory, pool: "default", volumes: &volumes }, disks)
}

/// A plan in one line for each thing.
fn lines(plan: &DestroyPlan) -> Vec<String> {
    let mut lines = Vec::new();
    for vm in &plan.vms {
        lines.push(format!("{} goes with [{}], without [{}]", vm.name, vm.remove.join(" "), vm.keep.join(" ")));
    }
    lines.extend(plan.remove_volumes.iter().map(|volume| format!("{volume} goes")));
    lines.extend(plan.keep_volumes.iter().map(|volume| format!("{volume} stays")));
    lines.extend(plan.untouched.iter().cloned());
    lines
}

#[test]
fn disks_go_only_where_that_is_asked_for() {
    let all = ["a", "a-seed", "a-nvram", "a-disk1", "b", "b-seed", "b-disk1", "b-disk2", "b-nvram"];
    let domains = [clone(record("a", &["a", "a-seed", "a-nvram", "a-disk1"]))];
    assert_eq!(
        lines(&planned(&domains, &all, false)),
        ["a goes with [a-seed], without [a a-nvram a-disk1]", "b-seed goes", "b stays", "b-disk1 stays", "b-nvram stays"]
    );
    assert_eq!(
        lines(&planned(&domains, &all, true)),
        ["a goes with [a a-seed a-nvram a-disk1], without []", "b goes", "b-seed goes", "b-disk1 goes", "b-nvram goes"]
    );
}

#[test]
fn nothing_else_ever() {
    let other = |devices: &str| domain("other", "", devices);
    let disk = |source: &str| format!("<disk type='file'>{source}<target dev='vda'/></disk>");
    const FOREIGN: &str = "a does not carry tpl's metadata: tpl has not made it, and leaves it alone";
    let table: Vec<(Vec<Domain>, &[&str], &[&str])> = vec![
        (vec![], &[], &[]),
        // Names that only begin as a declared one's do.
        (
            vec![],
            &[
                "a1",
                "ab",
                "a-seeds",
                "a-seed2",
                "a-disk",
                "a-disk0",
                "a-disk01",
                "a-disk1x",
                "a-disk-1",
                "a-disk1000",
                "a.qcow2",
                "A",
                "x-a",
                "a-snapshot",
                "debian13.20261121-031000",
            ],
            &[],
        ),
        (vec![domain("a", "", "")], &["a", "a-seed"], &[FOREIGN]),
        (vec![domain("a", "<tpl:tpl xmlns:tpl='urn:tpl:metadata:1'>{}</tpl:tpl>", "")], &["a"], &[FOREIGN]),
        // Metadata that was copied with its domain, as virt-clone might: it is another domain's.
        (
            vec![domain("a", &metadata::element(&Metadata::Clone(Box::new(record("b", &["b"])))), "")],
            &["a", "b-seed"],
            &[FOREIGN, "b-seed goes"],
        ),
        (
            vec![clone(CloneRecord { purpose: Purpose::BootTest, ..record("a", &["a"]) })],
            &["a"],
            &["a is a boot test of template debian13"],
        ),
        (
            vec![clone(CloneRecord { pool: "fast".to_owned(), ..record("a", &["a"]) })],
            &["a"],
            &["a has its volumes in pool fast: name it with --pool fast"],
        ),
        // What others use stays.
        (
            vec![other(&disk("<source file='/images/a'/>"))],
            &["a", "a-seed"],
            &["a-seed goes", "volume a stays: domain other uses it"],
        ),
        (
            vec![other(&disk("<source file='/x'/><backingStore type='file'><source file='/images/a'/></backingStore>"))],
            &["a"],
            &["volume a stays: domain other uses it"],
        ),
        (
            vec![other("<disk type='volume'><source pool='default' volume='a'/><target dev='vda'/></disk>")],
            &["a"],
            &["volume a stays: domain other uses it"],
        ),
        (vec![other("<disk type='volume'><source pool='slow' volume='a'/><target dev='vda'/></disk>")], &["a"], &["a goes"]),
        (
            vec![other(&disk("<source file='/images/a-seed'/>")), clone(record("a", &["a", "a-seed"]))],
            &["a", "a-seed"],
            &["a goes with [a], without []", "volume a-seed of a stays: domain other uses it"],
        ),
        (
            vec![domain("other", "", "").with_xml("<domain><os><nvram> /images/a-nvram </nvram></os></domain>")],
            &["a-nvram"],
            &["volume a-nvram stays: domain other uses it"],
        ),
        (vec![domain("other", "", "").with_xml("<domain")], &["a"], &["volume a stays: what domain other uses cannot be read"]),
        // The VM c-seed has a disk that is called as the seed of c would be.
        (
            vec![clone(record("c-seed", &["c-seed", "c-seed-seed"]))],
            &["c-seed", "c-seed-seed"],
            &["volume c-seed stays: domain c-seed uses it"],
        ),
        // A VM whose making has just begun lists what it will have.
        (
            vec![domain("other", &metadata::element(&Metadata::Clone(Box::new(record("other", &["a"])))), "")],
            &["a"],
            &["volume a stays: it is listed in the metadata of other"],
        ),
    ];
    for (domains, volumes, expected) in table {
        let mut found = lines(&planned(&domains, volumes, true));
        found.sort();
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(found, expected, "{volumes:?} {domains:?}");
    }
}

impl Domain {
    fn with_xml(self, xml: &str) -> Self {
        Self { xml: xml.to_owned(), ..self }
    }
}
