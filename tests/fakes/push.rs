//! Versions that go from one machine to another, and what they meet there.

use std::sync::OnceLock;

use anyhow::Result;
use tpl::{
    cmd::transfer::{self, Outcome, Side, Wish},
    core::{
        error::exit_code,
        manifest::{Manifest, Metadata, State as Stage},
        xml::read::domain_facts,
    },
    ui,
};

use super::{
    commands::config_of,
    images::with_vm,
    machine::{Machine, Node},
    run::{FakeRun, Fault, Step},
    signing::with_signed,
};

/// Two machines of one operator: one with two versions, the newer one signed, and one with nothing.
pub fn ends() -> (Machine, Machine) {
    static MADE: OnceLock<(Machine, Machine)> = OnceLock::new();
    let (source, target) = MADE.get_or_init(make_ends);
    (source.copy(), target.copy())
}

fn make_ends() -> (Machine, Machine) {
    let (source, target) = (with_signed(), Machine::prepared());
    target.state().uri = "qemu+ssh://root@hv2/system";
    target.state().key.clone_from(&source.state().key);
    (source, target)
}

/// The same, and the older version is at the target already.
pub fn ends_with_base() -> (Machine, Machine) {
    static MADE: OnceLock<(Machine, Machine)> = OnceLock::new();
    let (source, target) = MADE.get_or_init(|| {
        let (source, target) = ends();
        send(&source, &target, "debian13@20261121-031100").unwrap();
        (source, target)
    });
    (source.copy(), target.copy())
}

/// Sends a version, with these runs at both ends.
pub fn send_by(from: &FakeRun, to: &FakeRun, words: &str) -> Result<Outcome> {
    let (template, flags) = words.split_once(' ').unwrap_or((words, ""));
    let wish = Wish {
        template: &template.parse().unwrap(),
        allow_unsigned: flags.contains("--allow-unsigned") || words.ends_with("@20261121-031100"),
        dry_run: flags.contains("--dry-run"),
    };
    let (source, target) = (config_of(&from.machine), config_of(&to.machine));
    let send = || {
        from.with(|there| {
            let from = Side { world: there, config: &source };
            to.with(|here| transfer::one(from, Side { world: here, config: &target }, wish))
        })
    };
    ui::captured(send).0
}

pub fn send(source: &Machine, target: &Machine, words: &str) -> Result<Outcome> {
    send_by(&source.run(), &target.run(), words)
}

/// What must be refused, and leave the target as it was.
fn refused(source: &Machine, target: &Machine, words: &str) -> String {
    let before = target.everything();
    let error = send(source, target, words).unwrap_err();
    assert_eq!((exit_code(&error), target.everything()), (3, before), "{error:#}");
    format!("{error:#}")
}

fn write(machine: &Machine, manifest: Manifest) {
    let name = manifest.id().domain();
    machine.run().with(|world| world.hypervisor.write_metadata(&name, &Metadata::Template(Box::new(manifest)))).unwrap();
}

#[test]
fn a_version_arrives_as_it_left() {
    let (source, target) = ends();
    let original = source.manifests().pop().unwrap();
    let dry = send(&source, &target, "debian13 --dry-run").unwrap();
    assert_eq!((dry.unchanged, dry.base, dry.sent, dry.current), (false, None, dry.whole, true));
    assert_eq!(target.leftovers(), [""; 0]);
    let sent = send(&source, &target, "debian13").unwrap();
    assert_eq!((&sent.id, sent.unchanged, sent.resumed, sent.current), (&original.id(), false, false, true));
    let inventory = target.inventory();
    let made = inventory.templates.last().unwrap();
    assert_eq!((made.manifest.state, &made.manifest.digest), (Stage::Published, &original.digest));
    assert_eq!((&made.manifest.signature, made.manifest.stages.len()), (&original.signature, 0));
    let name = original.id().domain();
    assert_eq!(made.manifest.volumes, [name.clone(), format!("{name}-chunks")]);
    assert!(target.state().volumes[&name].protected);
    assert_eq!(target.state().volumes[&name].tree, source.state().volumes[&name].tree);
    assert_eq!(target.state().volumes[&format!("{name}-chunks")].bytes, source.state().volumes[&format!("{name}-chunks")].bytes);
    assert!(domain_facts(&made.domain.xml).unwrap().disks[0].readonly);
    assert_eq!(target.leftovers(), [""; 0]);
    // Again it is nothing to do, and there it is one like any other.
    let before = target.everything();
    let again = send(&source, &target, "debian13").unwrap();
    assert_eq!((again.unchanged, again.sent.0, again.current, target.everything()), (true, 0, true, before));
    target.tpl("clone debian13 --name web01 --ssh-key KEY").unwrap();
}

#[test]
fn only_what_differs_is_sent() {
    let (source, target) = ends_with_base();
    let name = source.manifests().pop().unwrap().id().domain();
    // The night has changed one file.
    let node = Node::File("new".to_owned());
    source.state().volumes.get_mut(&name).unwrap().tree.insert("/etc/motd".to_owned(), node);
    let size = source.manifests().pop().unwrap().virtual_size.0;
    let list = source.state().volumes[&name].list(size).unwrap();
    source.state().volumes.get_mut(&format!("{name}-chunks")).unwrap().bytes = list.to_bytes();
    let mut changed = source.manifests().pop().unwrap();
    changed.digest = Some(tpl::core::digest::hex(&list.content_digest()));
    changed.signature = None;
    write(&source, changed.clone());
    let run = target.run();
    let sent = send_by(&source.run(), &run, "debian13 --allow-unsigned").unwrap();
    assert_eq!(sent.base.map(|base| base.to_string()), Some("debian13@20261121-031100".to_owned()));
    let whole: usize = source.state().volumes[&name].chunks().values().map(Vec::len).sum();
    assert!(sent.sent.0 > 0 && (sent.sent.0 as usize) < whole, "{:?} of {whole}", sent.sent);
    assert_eq!(run.calls().iter().filter(|call| call.0 == Step::CopyVolume).count(), 1);
    assert_eq!(target.state().volumes[&name].tree, source.state().volumes[&name].tree);
    assert_eq!(target.manifests().pop().unwrap().digest, changed.digest);
    assert_eq!(target.leftovers(), [""; 0]);
}

#[test]
fn an_older_version_does_not_become_the_current_one() {
    let (source, target) = ends();
    send(&source, &target, "debian13").unwrap();
    let current = target.current();
    let sent = send(&source, &target, "debian13@20261121-031100").unwrap();
    assert!(!sent.current && target.current() == current && target.manifests().len() == 2);
}

#[test]
fn signatures_are_looked_at() {
    let (source, target) = ends();
    let unsigned = source.manifests().remove(0).id();
    let text = refused(&source, &target, &format!("{unsigned} "));
    assert!(text.contains(&format!("{unsigned} is not signed, and a signature is required")), "{text}");
    source.state().require_signatures = true;
    let text = refused(&source, &target, &format!("{unsigned} --allow-unsigned"));
    assert!(text.contains("is not signed"), "{text}");
    source.state().require_signatures = false;
    // Somebody else's, and one that has been changed.
    let key = source.state().key.take();
    assert!(refused(&source, &target, "debian13 --allow-unsigned").contains("which is not trusted"));
    source.state().key = key;
    let mut changed = source.manifests().pop().unwrap();
    changed.packages.pop();
    changed.clone.vcpus += 1;
    write(&source, changed);
    assert!(refused(&source, &target, "debian13 --allow-unsigned").contains("is bad: it does not fit what it stands under"));
}

#[test]
fn what_is_in_the_way_is_named() {
    let (source, target) = ends();
    send(&source, &target, "debian13").unwrap();
    let there = target.manifests().pop().unwrap();
    write(&target, Manifest { digest: Some("00".repeat(32)), ..there.clone() });
    assert!(refused(&source, &target, "debian13").contains("is here already, with another digest: 0000"));
    write(&target, Manifest { state: Stage::Sealed, ..there });
    assert!(refused(&source, &target, "debian13").contains("is here, and not published: it is sealed"));
    let (source, target) = ends();
    target.state().pool = 100 << 20;
    assert!(refused(&source, &target, "debian13").contains("pool default has "));
    let (source, target) = ends();
    let mut building = source.manifests().pop().unwrap();
    building.state = Stage::Tested;
    write(&source, building.clone());
    assert!(refused(&source, &target, &building.id().to_string()).contains("is not published: it is tested"));
    write(&source, Manifest { state: Stage::Published, pool: "other".to_owned(), ..building });
    let text = refused(&source, &target, "debian13");
    assert!(
        text.contains("has its volumes in pool other, and this command works on pool default\nname it with --pool other"),
        "{text}"
    );
}

#[test]
fn damage_at_the_source_is_found_and_nothing_stays() {
    let (source, target) = ends();
    let name = source.manifests().pop().unwrap().id().domain();
    let node = Node::File("rotten".to_owned());
    source.state().volumes.get_mut(&name).unwrap().tree.insert("/etc/fstab".to_owned(), node);
    let error = send(&source, &target, "debian13").unwrap_err();
    let text = format!("{error:#}");
    assert!(
        exit_code(&error) == 1 && text.contains("is damaged: chunk ") && text.contains("is not what was published"),
        "{text}"
    );
    assert_eq!(target.everything(), [""; 0]);
    // Without its list the volume itself is asked.
    source.state().volumes.get_mut(&format!("{name}-chunks")).unwrap().bytes.clear();
    let error = format!("{:#}", send(&source, &target, "debian13").unwrap_err());
    assert!(error.contains("is damaged: its content digest is "), "{error}");
    assert_eq!(target.everything(), [""; 0]);
}

#[test]
fn a_base_that_is_damaged_is_made_good() {
    let (source, target) = ends_with_base();
    let base = target.manifests().pop().unwrap().id().domain();
    let rot = |name: &str, tree: &mut super::machine::Tree| {
        tree.insert(name.to_owned(), Node::File("rotten".to_owned()));
    };
    rot("/etc/fstab", &mut target.state().volumes.get_mut(&base).unwrap().tree);
    let sent = send(&source, &target, "debian13").unwrap();
    let name = sent.id.domain();
    assert!(sent.base.is_some() && sent.sent.0 > 0);
    assert_eq!(target.state().volumes[&name].tree, source.state().volumes[&name].tree);
}

/// Sends the newest version from another workstation, which knows nothing of this one's locks.
fn sent_elsewhere(source: &Machine, target: &Machine) -> impl FnOnce() + Send + use<> {
    let (source, target) = (source.run(), target.run());
    move || {
        target.machine.state().locks.clear();
        send_by(&source, &target, "debian13").unwrap();
    }
}

#[test]
fn of_two_at_once_one_goes_ahead() {
    let (source, target) = ends();
    // The other one comes to its definition while this one looks around.
    let other = sent_elsewhere(&source, &target);
    let run = target.run();
    run.before(Step::Define, other);
    let result = send_by(&source.run(), &run, "debian13");
    let error = result.unwrap_err();
    assert_eq!(exit_code(&error), 3, "{error:#}");
    assert_eq!((target.manifests().len(), target.leftovers().len()), (1, 0));
    // One that is still at work is left alone.
    let mut under_way = target.manifests().pop().unwrap();
    let living = target.run();
    living.with(|world| under_way.run = world.local.run().clone());
    target.state().alive.insert(under_way.run.id);
    write(&target, Manifest { state: Stage::Building, ..under_way });
    assert!(refused(&source, &target, "debian13").contains("is on its way there already, by a run on here since "));
}

#[test]
fn a_broken_transfer_is_gone_on_with() {
    // Of a good transfer: its calls that write bytes.
    let places: Vec<usize> = {
        let (source, target) = ends();
        let run = target.run();
        send_by(&source.run(), &run, "debian13").unwrap();
        let calls = run.calls();
        (0..calls.len()).filter(|index| calls[*index].0 == Step::WriteBytes).collect()
    };
    assert!(places.len() > 10, "{}", places.len());
    let (source, target) = ends();
    let result = send_by(&source.run(), &target.failing(Fault::Kill(places[9])), "debian13");
    assert!(result.is_err());
    let left = target.manifests().pop().unwrap();
    assert_eq!(left.state, Stage::Building);
    let refused = target.tpl(&format!("promote {}", left.id())).unwrap_err().to_string();
    let advice = "`tpl push` or `tpl pull` brings it, or goes on with it; `tpl prune` removes what is left of it";
    assert_eq!(refused, format!("{} is not published: it is building\n{advice}", left.id()));
    let run = target.run();
    let sent = send_by(&source.run(), &run, "debian13").unwrap();
    assert!(sent.resumed && sent.base.is_none());
    assert_eq!(run.calls().iter().filter(|call| call.0 == Step::WriteBytes).count(), places.len() - 9);
    assert_eq!((target.leftovers().len(), target.manifests().pop().unwrap().state), (0, Stage::Published));
    let name = sent.id.domain();
    assert_eq!(target.state().volumes[&name].tree, source.state().volumes[&name].tree);
}

#[test]
fn variables_come_along_and_clones_ask_for_signatures() {
    let source = with_vm().apart();
    let (_, target) = ends();
    source.tpl("adopt web --as gold --user ops").unwrap();
    let before = source.inventory().templates.into_iter().find(|t| t.manifest.name.as_str() == "gold").unwrap().manifest;
    send(&source, &target, "gold --allow-unsigned").unwrap();
    let after = target.manifests().pop().unwrap();
    assert_eq!((&after.hardware, &after.volumes), (&before.hardware, &before.volumes));
    assert_eq!(target.state().volumes[&format!("{}-nvram", before.id().domain())].bytes, b"variables");
    // Who asks for signatures gets no clone of it.
    let machine = with_signed();
    machine.state().require_signatures = true;
    machine.tpl("clone debian13 --name web01 --ssh-key KEY").unwrap();
    let before = machine.everything();
    for dry in ["", " --dry-run"] {
        let error = machine.tpl(&format!("clone debian13@20261121-031100 --name web02 --ssh-key KEY{dry}")).unwrap_err();
        let text = format!("{error:#}");
        assert!(exit_code(&error) == 3 && text.contains("is not signed, and a signature is required"), "{text}");
    }
    assert_eq!(machine.everything(), before);
}

/// The last call of this kind to the target, of a good transfer.
fn place_of(step: Step, make: fn() -> (Machine, Machine), words: &str) -> usize {
    let (source, target) = make();
    let run = target.run();
    send_by(&source.run(), &run, words).unwrap();
    run.calls().iter().rposition(|call| call.0 == step).unwrap()
}

#[test]
fn what_somebody_has_brought_to_its_end_meanwhile_stays() {
    let place = place_of(Step::WriteBytes, ends, "debian13");
    let (source, target) = ends();
    assert!(send_by(&source.run(), &target.failing(Fault::Kill(place)), "debian13").is_err());
    // Another workstation goes on with it while this one reads what is to be sent.
    let reading = source.run();
    reading.before(Step::ReadBytes, sent_elsewhere(&source, &target));
    let error = send_by(&reading, &target.run(), "debian13").unwrap_err();
    assert_eq!(exit_code(&error), 3, "{error:#}");
    let there = target.manifests().pop().unwrap();
    assert_eq!((there.state, target.leftovers().len()), (Stage::Published, 0));
    assert_eq!(target.state().volumes[&there.id().domain()].tree, source.state().volumes[&there.id().domain()].tree);
}

#[test]
fn one_that_is_overtaken_does_not_become_the_current_one() {
    let (source, target) = ends();
    let run = target.run();
    run.before(Step::ProtectVolume, sent_elsewhere(&source, &target));
    let sent = send_by(&source.run(), &run, "debian13@20261121-031100").unwrap();
    assert!(!sent.current && target.current().is_some_and(|current| current != sent.id.to_string()), "{sent:?}");
}

#[test]
fn a_transfer_that_had_no_volume_yet_begins_with_a_base_again() {
    let place = place_of(Step::CopyVolume, ends_with_base, "debian13");
    let (source, target) = ends_with_base();
    assert!(send_by(&source.run(), &target.failing(Fault::Kill(place)), "debian13").is_err());
    let sent = send(&source, &target, "debian13").unwrap();
    let base = sent.base.map(|base| base.to_string());
    assert_eq!((sent.resumed, base.as_deref()), (true, Some("debian13@20261121-031100")));
    assert_eq!(target.leftovers(), [""; 0]);
}

#[test]
fn one_that_was_complete_but_for_its_publication_is_published() {
    for step in [Step::ProtectVolume, Step::StoreVolume] {
        let place = place_of(step, ends, "debian13");
        let (source, target) = ends();
        assert!(send_by(&source.run(), &target.failing(Fault::Kill(place)), "debian13").is_err());
        let run = target.run();
        let sent = send_by(&source.run(), &run, "debian13").unwrap();
        assert!(sent.resumed && sent.sent.0 == 0, "{sent:?}");
        // Nothing is written to what may be closed to writers by now.
        assert!(run.calls().iter().all(|call| call.0 != Step::WriteBytes), "{:?}", run.calls());
        assert_eq!(target.manifests().pop().unwrap().state, Stage::Published);
    }
}
