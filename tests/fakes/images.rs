//! Builds from cloud images, and adopted VMs.

use std::{fs, os::unix::fs::FileExt as _, sync::OnceLock};

use tpl::core::{
    error::exit_code,
    facts::DomainState,
    manifest::State as Stage,
    metadata,
    xml::read::{DiskSource, domain_facts},
};
use uuid::Uuid;

use super::{
    faults::{Case, worth},
    machine::{FakeDomain, Machine, Pool},
    run::{Fault, Step},
    storage::IMAGE,
};

const PIPELINE: &str = r#"description = "an image"
[source]
kind = "image"
url = "https://images.example/debian-{arch}.qcow2"
[seal]
shrink = false
[clone]
user = "debian"
memory = "512M"
disk = "8G"
"#;

const UUID: &str = "77777777-2222-4333-8444-555555555555";

/// A machine with a template, and a pipeline of the same name that takes an image.
fn with_image() -> Machine {
    image_in(Pool::Directory)
}

/// The same in a pool of this kind.
fn image_in(pool: Pool) -> Machine {
    static WRITTEN: [OnceLock<()>; 3] = [const { OnceLock::new() }; 3];
    let machine = Machine::template_in(pool);
    // Its folder is that of all the others.
    WRITTEN[pool as usize].get_or_init(|| {
        let folder = machine.folder.path().join("pipelines/image");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("debian13.toml"), PIPELINE).unwrap();
    });
    machine
}

/// The definition of a VM that is nobody's, with UEFI variables.
fn vm_xml(machine: &Machine) -> String {
    let disk = machine.folder.path().join("linux");
    format!(
        "<domain type='kvm'><name>web</name><uuid>{UUID}</uuid><memory>1048576</memory><vcpu>2</vcpu>\
         <os firmware='efi'><type arch='x86_64' machine='q35'>hvm</type><nvram>/nvram/vars.fd</nvram></os><devices>\
         <disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{}'/><target dev='sda' bus='scsi'/></disk>\
         <interface type='network'><mac address='52:54:00:12:34:56'/><source network='default'/></interface></devices></domain>",
        disk.display()
    )
}

/// A machine with a template, and a VM that is nobody's.
pub fn with_vm() -> Machine {
    vm_in(Pool::Directory)
}

/// The same in a pool of this kind: in a logical one without UEFI variables, for which that has no place.
fn vm_in(pool: Pool) -> Machine {
    let machine = Machine::template_in(pool);
    let mut xml = vm_xml(&machine);
    if pool != Pool::Directory {
        xml = xml.replace(" firmware='efi'", "").replace("<nvram>/nvram/vars.fd</nvram>", "");
    }
    let vm = FakeDomain { uuid: UUID.parse::<Uuid>().unwrap(), state: DomainState::Shutoff, xml, age: 0 };
    machine.state().domains.insert("web".to_owned(), vm);
    machine
}

/// In each kind of pool.
fn cases() -> impl Iterator<Item = Case> {
    Pool::ALL.into_iter().flat_map(|pool| {
        [
            Case { machine: image_in, pool, command: "build image/debian13" },
            Case { machine: vm_in, pool, command: "adopt web --as debian13 --user ops" },
        ]
    })
}

#[test]
fn an_image_is_published_like_an_installation() {
    let machine = with_image();
    machine.tpl("build image/debian13").unwrap();
    let manifests = machine.manifests();
    let [_, made] = manifests.as_slice() else { panic!("two versions") };
    assert_eq!(made.state, Stage::Published);
    assert_eq!(made.inputs.sources[0].url, "https://images.example/debian-amd64.qcow2");
    assert_eq!(made.virtual_size.0, IMAGE, "it is kept as large as it is");
    let stages: Vec<_> = made.stages.iter().map(|stage| stage.name.as_str()).collect();
    assert_eq!(stages, ["source", "image", "seal", "verify", "boot test"]);
    assert_eq!(machine.leftovers(), [""; 0]);
    let unchanged = machine.tpl("build image/debian13 --if-changed").unwrap();
    assert!(unchanged.notes.contains("unchanged: debian13@"), "{}", unchanged.notes);
    machine.tpl("clone debian13 --name web01 --ssh-key KEY").unwrap();
}

#[test]
fn an_adopted_vm_is_untouched_and_its_template_is_whole() {
    let machine = with_vm();
    let before = machine.state().domains["web"].clone();
    let printed = machine.tpl("adopt web --as gold --user ops --vcpus 1 --output json").unwrap();
    assert!(printed.data.contains("\"name\": \"gold\""), "{}", printed.data);
    assert_eq!(machine.state().domains["web"], before);
    let inventory = machine.inventory();
    let gold = inventory.templates.iter().find(|template| template.manifest.name.as_str() == "gold").unwrap();
    let manifest = &gold.manifest;
    assert_eq!((manifest.state, manifest.clone.user.as_str()), (Stage::Published, "ops"));
    assert_eq!(manifest.inputs.sources[0].url, format!("domain web {UUID}"));
    let name = manifest.id().domain();
    assert_eq!(manifest.volumes, ["", "-chunks", "-nvram"].map(|suffix| format!("{name}{suffix}")));
    assert_eq!(machine.state().volumes[&format!("{name}-nvram")].bytes, b"variables");
    let facts = domain_facts(&gold.domain.xml).unwrap();
    assert_eq!(facts.disks[0].source, Some(DiskSource::File(format!("/pool/{name}"))));
    assert_eq!(facts.nvram, Some(format!("/pool/{name}-nvram")));
    assert_eq!((facts.vcpus, facts.disks[0].target.as_str(), facts.disks[0].readonly), (1, "sda", true));
    assert_eq!(machine.leftovers(), [""; 0]);
    assert_eq!(machine.tpl("prune").unwrap().data, "nothing to prune\n");
    machine.tpl("clone gold --name web01 --ssh-key KEY").unwrap();
    machine.tpl("destroy web01").unwrap();
    machine.tpl(&format!("rm {}", manifest.id())).unwrap();
    assert_eq!(machine.state().volumes.keys().filter(|volume| volume.starts_with("gold")).count(), 0);
    assert_eq!(machine.state().domains["web"], before);
}

#[test]
fn the_user_is_found_in_the_guest_or_asked_for() {
    let machine = with_vm();
    let error = machine.tpl("adopt web --as gold").unwrap_err();
    let text = format!("{error:#}");
    assert!(text.contains("the guest of web has no user who could log in\nname one with --user: clones get that user"), "{text}");
    assert!(text.ends_with("`tpl adopt web --as gold --resume` goes on from installed, `tpl prune` removes it"), "{text}");
    // It has been copied, and its owner needs it.
    machine.state().domains.get_mut("web").unwrap().state = DomainState::Running;
    machine.tpl("adopt web --as gold --resume --user ops").unwrap();
    assert_eq!(machine.manifests().last().map(|manifest| manifest.state), Some(Stage::Published));
}

#[test]
fn what_cannot_be_adopted_is_refused_and_nothing_is_touched() {
    let machine = with_vm();
    machine.tpl("clone debian13 --name web01 --ssh-key KEY --no-start").unwrap();
    let template = machine.inventory().templates[0].domain.name.clone();
    let before = machine.everything();
    let state = |state| machine.state().domains.get_mut("web").unwrap().state = state;
    let refused = |command: &str| {
        let error = machine.tpl(command).unwrap_err();
        assert_eq!((exit_code(&error), &machine.everything()), (3, &before), "{error:#}");
        format!("{error:#}")
    };
    assert_eq!(refused("adopt nobody --as gold"), "domain nobody does not exist\n`virsh list --all` lists those there are");
    assert!(refused(&format!("adopt {template} --as gold")).starts_with(&format!("{template} is a template already")));
    state(DomainState::Running);
    let running = "web is running, and what it writes meanwhile would be torn\n`virsh shutdown web` ends it";
    assert_eq!(refused("adopt web --as gold"), running);
    state(DomainState::Shutoff);
    machine.state().saved.insert("web".to_owned());
    assert!(refused("adopt web --as gold").starts_with("web is off with its memory saved"));
    machine.state().saved.clear();
    let dry = machine.tpl("adopt web --as gold --dry-run").unwrap().data;
    assert!(dry.contains(&format!("  source     disk sda of VM web ({UUID}), which is only read\n")), "{dry}");
    assert_eq!(machine.everything(), before);
}

#[test]
fn a_vm_that_runs_while_it_is_copied_is_not_adopted() {
    for written in [false, true] {
        let machine = with_vm();
        let run = machine.run();
        let (other, file) = (machine.clone(), machine.folder.path().join("vm"));
        fs::write(&file, "disk").unwrap();
        let xml = vm_xml(&machine).replace("/linux'", "/vm'");
        machine.state().domains.get_mut("web").unwrap().xml = xml;
        run.before(Step::TakeDisk, move || {
            if written {
                // It ran, and is off again.
                fs::File::options().write(true).open(&file).unwrap().write_all_at(b"more bytes", 0).unwrap();
            } else {
                other.state().domains.get_mut("web").unwrap().state = DomainState::Running;
            }
        });
        let text = format!("{:#}", run.tpl("adopt web --as gold --user ops").unwrap_err());
        let expected = if written { "has been written to in the meantime" } else { "web is running" };
        assert!(text.contains(expected), "{text}");
        assert_eq!(machine.leftovers(), [""; 0]);
        assert_eq!(machine.manifests().len(), 1);
        // The VM stays as its owner has it.
        assert!(metadata::read(&machine.state().domains["web"].xml).unwrap().is_none());
    }
}

#[test]
fn a_failure_at_any_step_leaves_nothing_but_what_is_published() {
    cases().for_each(|case| case.fails_once(worth, &|_, _, _| {}));
}

#[test]
fn a_failed_undo_leaves_what_prune_finds() {
    cases().for_each(|case| case.fails_and_undo_fails());
}

#[test]
fn prune_removes_what_a_kill_left() {
    cases().for_each(|case| case.is_killed());
}

#[test]
fn resume_goes_on_behind_any_kill() {
    for case in cases() {
        let mut published = 0;
        for (index, call) in case.calls().iter().enumerate().filter(|(_, call)| worth(call)) {
            let what = format!("{} killed before call {index}: {call:?}", case.command());
            let (bench, ..) = case.fail(Fault::Kill(index));
            let unfinished = bench.machine.manifests().last().is_some_and(|manifest| manifest.state < Stage::Published);
            match bench.machine.tpl(&format!("{} --resume", case.command())) {
                Ok(_) => published += 1,
                Err(error) => assert!(!unfinished, "{what}: {error:#}"),
            }
            bench.assert_unchanged(&what);
            bench.assert_prune_cleans(&what);
        }
        assert!(published > 20, "{published}");
    }
}
