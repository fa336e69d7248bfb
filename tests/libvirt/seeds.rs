//! Seeds that libvirt keeps as secrets, and the mark of a VM that has phoned home.

use tpl::{
    core::{
        metadata::{NAMESPACE, ready},
        secret::Secret,
        seed::handed::{MAX_SEED, secret_xml},
        xml::clone::{CloneIdentity, clone_domain},
    },
    host::hypervisor::Hypervisor as _,
};
use uuid::Uuid;
use virt::{connect::Connect, sys};

use crate::things::{OwnDomains, SYSTEM, hypervisor};

/// Secrets that go when the test ends.
struct OwnSecrets(Vec<Uuid>);

impl Drop for OwnSecrets {
    fn drop(&mut self) {
        let connect = Connect::open(Some(SYSTEM)).unwrap();
        for secret in self.0.iter().filter_map(|uuid| connect.lookup_secret_by_uuid(*uuid).ok()) {
            secret.undefine().unwrap();
        }
    }
}

fn bytes(length: usize) -> Secret<Vec<u8>> {
    // All of them, zeros too.
    Secret::new((0..length).map(|at| (at % 256) as u8).collect())
}

#[test]
fn seeds_are_kept_and_go() {
    let hypervisor = hypervisor();
    assert!(hypervisor.keeps_seeds().unwrap());
    let (uuid, none) = (Uuid::new_v4(), Uuid::new_v4());
    let _own = OwnSecrets(vec![uuid]);
    assert_eq!(hypervisor.seed(uuid).unwrap(), None);
    // The second takes the place of the first, whatever the VM is called by then.
    for (name, length) in [("tpl-test-seed", 10), ("tpl-test-<seed> & co", MAX_SEED)] {
        hypervisor.store_seed(uuid, name, &bytes(length)).unwrap();
        assert!(hypervisor.seed(uuid).unwrap() == Some(bytes(length)), "{length}");
        let seeds = hypervisor.seeds().unwrap();
        assert_eq!(seeds.iter().filter(|(other, _)| *other == uuid).collect::<Vec<_>>(), [&(uuid, name.to_owned())]);
    }
    let error = hypervisor.store_seed(uuid, "web", &bytes(MAX_SEED + 1)).unwrap_err();
    let expected = "keeping the seed of web as a secret of libvirt's: it has 65537 bytes, and libvirt keeps 65536 at most";
    assert_eq!(format!("{error:#}"), expected);
    // Who may only look does not see it.
    let looker = Connect::open_read_only(Some(SYSTEM)).unwrap();
    let shut = looker.lookup_secret_by_uuid(uuid).unwrap().value(0).unwrap_err();
    assert!(shut.message().contains("read only access prevents virSecretGetValue"), "{}", shut.message());
    for uuid in [uuid, uuid, none] {
        hypervisor.remove_seed(uuid).unwrap();
    }
    assert_eq!(hypervisor.seed(uuid).unwrap(), None);
    assert!(hypervisor.seeds().unwrap().iter().all(|(other, _)| *other != uuid));
}

#[test]
fn somebody_elses_secret_stays() {
    let (hypervisor, uuid) = (hypervisor(), Uuid::new_v4());
    let _own = OwnSecrets(vec![uuid]);
    let connect = Connect::open(Some(SYSTEM)).unwrap();
    let xml = format!("<secret ephemeral='yes'><uuid>{uuid}</uuid><description>of the tests of tpl</description></secret>");
    connect.define_secret_xml(&xml, 0).unwrap().set_value(b"theirs", 0).unwrap();
    let error = hypervisor.store_seed(uuid, "web", &bytes(1)).unwrap_err();
    let expected = format!("keeping the seed of web as a secret of libvirt's: there is a secret {uuid} that is not tpl's");
    assert_eq!(format!("{error:#}"), expected);
    assert_eq!(hypervisor.seed(uuid).unwrap(), None);
    hypervisor.remove_seed(uuid).unwrap();
    assert!(hypervisor.seeds().unwrap().iter().all(|(other, _)| *other != uuid));
    assert_eq!(connect.lookup_secret_by_uuid(uuid).unwrap().value(0).unwrap(), b"theirs");
}

#[test]
fn a_secret_that_was_cut_off_from_its_value_is_found_and_removed() {
    let (hypervisor, uuid) = (hypervisor(), Uuid::new_v4());
    let _own = OwnSecrets(vec![uuid]);
    let xml = secret_xml(uuid, "tpl-test-cut").unwrap();
    Connect::open(Some(SYSTEM)).unwrap().define_secret_xml(&xml, 0).unwrap();
    assert_eq!(hypervisor.seed(uuid).unwrap(), None);
    assert!(hypervisor.seeds().unwrap().contains(&(uuid, "tpl-test-cut".to_owned())));
    hypervisor.remove_seed(uuid).unwrap();
    assert!(hypervisor.seeds().unwrap().iter().all(|(other, _)| *other != uuid));
}

#[test]
fn a_domain_is_marked_beside_its_metadata() {
    let (own, hypervisor) = (OwnDomains::define(1, ""), hypervisor());
    let (name, handle) = (&own.names[0], &own.handles[0]);
    let other = Some("<x>theirs</x>");
    let kind = i32::try_from(sys::VIR_DOMAIN_METADATA_ELEMENT).unwrap();
    handle.set_metadata(kind, other, Some("tpl"), Some(NAMESPACE), sys::VIR_DOMAIN_AFFECT_CONFIG).unwrap();
    let mark = |keys: &[&str]| ready::Ready {
        at: "2026-11-21T03:10:00Z".parse().unwrap(),
        instance: handle.uuid().unwrap(),
        ssh_host_keys: keys.iter().map(|key| (*key).to_owned()).collect(),
    };
    // A second word takes the place of the first.
    for keys in [&[][..], &["ssh-ed25519 AAAA root@<&'\"]]>"]] {
        hypervisor.mark_ready(name, &mark(keys)).unwrap();
        let xml = hypervisor.domain(name).unwrap().unwrap().xml;
        assert_eq!(ready::read(&xml), Ok(Some(mark(keys))), "{xml}");
        assert!(xml.contains(">theirs</tpl:x>"), "{xml}");
    }
    let error = hypervisor.mark_ready("tpl-test-none", &mark(&[])).unwrap_err();
    assert_eq!(format!("{error:#}"), "marking domain tpl-test-none as ready: domain tpl-test-none does not exist");
}

#[test]
fn libvirt_takes_a_machine_that_asks_the_service() {
    let (own, hypervisor) = (OwnDomains::define(1, ""), hypervisor());
    let name = &own.names[0];
    let domain = hypervisor.domain(name).unwrap().unwrap();
    let identity = CloneIdentity {
        name: name.parse().unwrap(),
        uuid: domain.uuid,
        macs: vec![],
        vcpus: None,
        topology: None,
        memory: None,
        plug: None,
        disks: vec![],
        seed: None,
        asks_service: true,
        extra_disks: vec![],
        description: None,
        metadata: "<x:x xmlns:x='urn:x'/>".to_owned(),
        nvram: None,
    };
    let entry = "<entry name='serial'>ds=nocloud;dsmode=net;s=http://169.254.169.254/nocloud/</entry>";
    // The second time it is there already.
    for _ in 0..2 {
        let xml = hypervisor.domain(name).unwrap().unwrap().xml;
        hypervisor.define(&clone_domain(&xml, &identity).unwrap()).unwrap();
        let xml = hypervisor.domain(name).unwrap().unwrap().xml;
        assert_eq!((xml.matches(entry).count(), xml.matches("<smbios mode='sysinfo'/>").count()), (1, 1), "{xml}");
    }
    let back = CloneIdentity { asks_service: false, ..identity };
    let xml = hypervisor.domain(name).unwrap().unwrap().xml;
    hypervisor.define(&clone_domain(&xml, &back).unwrap()).unwrap();
    let xml = hypervisor.domain(name).unwrap().unwrap().xml;
    assert!(xml.contains(&format!("<entry name='serial'>{}</entry>", domain.uuid)), "{xml}");
}
