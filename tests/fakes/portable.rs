//! Templates that leave one hypervisor in files, and come to another.

use std::{fs, path::PathBuf, sync::OnceLock};

use minisign::KeyPair;
use tpl::core::{
    error::exit_code,
    manifest::{Manifest, State as Stage},
    xml::read::domain_facts,
};

use super::{
    faults::{Case, worth},
    images::with_vm,
    machine::{Machine, Node, Pool},
    run::{Fault, Step},
    signing::with_signed,
};

const FILE: &str = "export/second.raw.zst";

/// A machine with the first version, whose operator trusts who has signed the second; that one lies in files.
fn with_files() -> Machine {
    static MADE: OnceLock<Machine> = OnceLock::new();
    let make = || {
        let machine = with_signed();
        fs::create_dir_all(machine.folder.path().join("export")).unwrap();
        let second = machine.current().unwrap();
        machine.tpl(&format!("export {second} {FILE}")).unwrap();
        machine.tpl(&format!("rm {second}")).unwrap();
        machine
    };
    MADE.get_or_init(make).copy()
}

fn document(machine: &Machine) -> PathBuf {
    machine.folder.path().join(format!("{FILE}.manifest.json"))
}

/// The files of a machine of its own, with its document changed.
fn with_changed(change: impl FnOnce(String) -> String) -> Machine {
    let machine = with_files();
    let own = machine.apart();
    fs::create_dir_all(own.folder.path().join("export")).unwrap();
    fs::write(document(&own), change(fs::read_to_string(document(&machine)).unwrap())).unwrap();
    let file = own.folder.path().join(FILE);
    fs::write(&file, "packed").unwrap();
    let volume = machine.state().files.values().next().unwrap().clone();
    own.state().files.insert(file, volume);
    own
}

fn import() -> String {
    format!("import {FILE}")
}

/// Exit code and text of a command that must fail and leave everything as it was.
fn refused(machine: &Machine, command: &str) -> (u8, String) {
    let before = machine.everything();
    let error = machine.tpl(command).unwrap_err();
    assert_eq!(machine.everything(), before, "{command} has touched something");
    (exit_code(&error), format!("{error:#}"))
}

#[test]
fn a_version_comes_out_as_it_went_in() {
    let source = with_signed();
    let original: Manifest = source.manifests().pop().unwrap();
    let machine = with_files();
    let exported = original.id();
    assert_eq!(machine.manifests().len(), 1);
    let dry = machine.tpl(&format!("{} --dry-run", import())).unwrap().data;
    assert!(dry.starts_with("would import debian13@") && dry.ends_with("it would be the current version\n"), "{dry}");
    assert_eq!(machine.manifests().len(), 1);
    let printed = machine.tpl(&import()).unwrap().data;
    assert!(printed.starts_with(&format!("imported {exported}, the current version\n  signed good, by key ")), "{printed}");
    let inventory = machine.inventory();
    let made = inventory.templates.last().unwrap();
    assert_eq!((made.manifest.state, &made.manifest.digest), (Stage::Published, &original.digest));
    assert_eq!(machine.current(), Some(exported.to_string()));
    let name = exported.domain();
    assert_eq!(made.manifest.volumes, [name.clone(), format!("{name}-chunks")]);
    assert!(machine.state().volumes[&name].protected);
    let facts = domain_facts(&made.domain.xml).unwrap();
    assert_eq!((facts.disks.len(), facts.disks[0].readonly, facts.interfaces), (1, true, 1));
    assert_eq!(machine.leftovers(), [""; 0]);
    // It is one like any other.
    machine.tpl("verify debian13 --require-signature").unwrap();
    machine.tpl("clone debian13 --name web01 --ssh-key KEY").unwrap();
    machine.tpl("destroy web01").unwrap();
    let before = machine.everything();
    assert_eq!(machine.tpl(&import()).unwrap().data, format!("unchanged: {exported} is here already, the current version\n"));
    assert_eq!(machine.everything(), before);
    machine.tpl(&format!("rm {exported}")).unwrap();
    assert_eq!(machine.leftovers(), [""; 0]);
}

#[test]
fn an_older_version_is_not_the_current_one() {
    let machine = with_files();
    machine.tpl("build debian13").unwrap();
    let newest = machine.current();
    let printed = machine.tpl(&format!("{} --output json", import())).unwrap().data;
    assert!(printed.contains("\"current\": false") && printed.contains("\"changed\": true"), "{printed}");
    assert_eq!((machine.current(), machine.manifests().len()), (newest, 3));
    let second = machine.manifests()[1].id();
    machine.tpl(&format!("promote {second}")).unwrap();
    assert_eq!(machine.current(), Some(second.to_string()));
}

#[test]
fn what_nobody_trusted_has_signed_is_refused() {
    let machine = with_files();
    let key = machine.state().key.take();
    let (code, text) = refused(&machine, &import());
    assert!(code == 3 && text.contains("which is not trusted, and a signature is required"), "{text}");
    // Somebody has signed it: that the operator does not know who is not the same as nobody.
    assert_eq!(refused(&machine, &format!("{} --allow-unsigned", import())).0, 3);
    machine.state().key = Some(KeyPair::generate_unencrypted_keypair().unwrap());
    assert_eq!(refused(&machine, &import()).0, 3);
    machine.state().key = key;
    machine.tpl(&import()).unwrap();
}

#[test]
fn what_has_been_changed_is_refused() {
    let changed = with_changed(|text| text.replace("\"vcpus\": ", "\"vcpus\": 1"));
    for command in [import(), format!("{} --allow-unsigned", import())] {
        let (code, text) = refused(&changed, &command);
        assert!(code == 3 && text.contains("is bad: it does not fit what it stands under"), "{text}");
    }
    let hostile = with_changed(|text| text.replace("\"q35\"", "\"q35'/>\""));
    let (code, text) = refused(&hostile, &import());
    assert!(code == 3 && text.contains("second.raw.zst.manifest.json is not taken: it is no manifest: "), "{text}");
    // The volume is another than its manifest is of.
    let machine = with_changed(|text| text);
    let file = machine.folder.path().join(FILE);
    let motd = ("/etc/motd".to_owned(), Node::File("x".to_owned()));
    machine.state().files.get_mut(&file).unwrap().tree.extend([motd]);
    let (code, text) = refused(&machine, &import());
    assert!(code == 3 && text.contains("is not what its manifest is of: its content digest is "), "{text}");
    machine.state().files.get_mut(&file).unwrap().capacity -= 512;
    let (code, text) = refused(&machine, &import());
    assert!(code == 3 && text.contains(" bytes, and its manifest says "), "{text}");
}

#[test]
fn unsigned_ones_are_taken_when_the_operator_says_so() {
    let machine = Machine::with_template().apart();
    let first = machine.current().unwrap();
    let printed = machine.tpl("export debian13 first.qcow2").unwrap();
    assert!(printed.notes.contains(&format!("{first} is not signed: an import takes it with --allow-unsigned only")));
    machine.tpl(&format!("rm {first}")).unwrap();
    let (code, text) = refused(&machine, "import first.qcow2");
    assert!(code == 3 && text.starts_with(&format!("{first} is not signed, and a signature is required")), "{text}");
    machine.tpl("import first.qcow2 --allow-unsigned").unwrap();
    assert_eq!(machine.current(), Some(first));
}

#[test]
fn what_is_in_the_way_is_named() {
    let machine = with_files();
    // Another one of this name.
    machine.tpl(&import()).unwrap();
    let mut there = machine.manifests().pop().unwrap();
    let id = there.id();
    there.digest = Some("00".repeat(32));
    let write = |manifest: Manifest| {
        let metadata = tpl::core::manifest::Metadata::Template(Box::new(manifest));
        machine.run().with(|world| world.hypervisor.write_metadata(&id.domain(), &metadata)).unwrap();
    };
    write(there.clone());
    let (code, text) = refused(&machine, &import());
    assert!(code == 3 && text.starts_with(&format!("{id} is here already, with another digest: 0000")), "{text}");
    write(Manifest { state: Stage::Sealed, ..there });
    let (code, text) = refused(&machine, &import());
    assert!(code == 3 && text.starts_with(&format!("{id} is here, and not published: it is sealed")), "{text}");
    // Somebody's domain, somebody's volume.
    let machine = with_files();
    let xml = "<domain type='kvm'><name>NAME</name><uuid>3c6f1b0e-58d5-4f0b-9d0a-3a3d6f3f1a11</uuid><memory>1</memory></domain>";
    machine.run().with(|world| world.hypervisor.define(&xml.replace("NAME", &id.domain()))).unwrap();
    assert!(refused(&machine, &import()).1.starts_with("there is a domain "));
    let machine = with_files();
    machine.state().volumes.insert(id.domain(), super::machine::FakeVolume::default());
    assert!(refused(&machine, &import()).1.starts_with(&format!("there is a volume {} already in pool default", id.domain())));
    let machine = with_files();
    machine.state().pool = 100 << 20;
    let (code, text) = refused(&machine, &import());
    assert!(code == 3 && text.starts_with("pool default has "), "{text}");
}

#[test]
fn exports_are_refused_too() {
    let machine = with_signed().apart();
    assert_eq!(refused(&machine, "export debian13 x.img"), (2, "\"x.img\" ends neither in .qcow2 nor in .raw.zst".to_owned()));
    let dry = machine.tpl("export debian13 x.qcow2 --dry-run").unwrap().data;
    assert!(dry.starts_with("would export debian13@"), "{dry}");
    assert!(!machine.folder.path().join("x.qcow2").exists());
    machine.tpl("export debian13 x.qcow2").unwrap();
    let (code, text) = refused(&machine, "export debian13 x.qcow2");
    assert!(code == 3 && text.ends_with("--force writes over it"), "{text}");
    machine.tpl("export debian13 x.qcow2 --force").unwrap();
    // One that is damaged is nothing for another site.
    let name = machine.manifests().pop().unwrap().id().domain();
    let node = Node::File("x".to_owned());
    machine.state().volumes.get_mut(&name).unwrap().tree.insert("/etc/motd".to_owned(), node);
    let (code, text) = refused(&machine, "export debian13 y.qcow2");
    assert!(code == 1 && text.contains(" is damaged: its content digest is "), "{text}");
    assert!(!machine.folder.path().join("y.qcow2").exists());
    let failing = machine.failing(Fault::At(Step::Export, 0));
    failing.tpl("export debian13@20261121-031100 y.qcow2").unwrap_err();
    assert!(!machine.folder.path().join("y.qcow2.manifest.json").exists());
}

/// The same, to be brought into a pool of this kind.
fn files_for(pool: Pool) -> Machine {
    let machine = with_files();
    machine.state().kind = pool;
    machine
}

fn imports() -> [Case; 3] {
    Pool::ALL.map(|pool| Case { machine: files_for, pool, command: "import export/second.raw.zst" })
}

#[test]
fn an_import_that_fails_at_any_step_leaves_nothing() {
    imports().iter().for_each(|import| import.fails_once(worth, &|_, _, _| {}));
}

#[test]
fn a_failed_undo_leaves_what_prune_finds() {
    imports().iter().for_each(Case::fails_and_undo_fails);
}

#[test]
fn prune_removes_what_a_killed_import_left() {
    imports().iter().for_each(Case::is_killed);
}

#[test]
fn variables_and_machine_of_an_adopted_vm_come_along() {
    let machine = with_vm().apart();
    machine.tpl("adopt web --as gold --user ops").unwrap();
    let gold = || machine.inventory().templates.into_iter().find(|t| t.manifest.name.as_str() == "gold").unwrap();
    let (before, name) = (gold().manifest, gold().domain.name);
    machine.tpl("export gold gold.qcow2").unwrap();
    machine.tpl(&format!("rm {}", before.id())).unwrap();
    machine.tpl("import gold.qcow2 --allow-unsigned").unwrap();
    let after = gold();
    assert_eq!((&after.manifest.hardware, &after.manifest.volumes), (&before.hardware, &before.volumes));
    assert_eq!(machine.state().volumes[&format!("{name}-nvram")].bytes, b"variables");
    let facts = domain_facts(&after.domain.xml).unwrap();
    assert_eq!((facts.nvram, facts.disks[0].target.as_str()), (Some(format!("/pool/{name}-nvram")), "sda"));
    machine.tpl("clone gold --name web01 --ssh-key KEY").unwrap();
    assert_eq!(machine.leftovers(), [""; 0]);
}
