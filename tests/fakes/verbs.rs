//! What the commands do and refuse, one after the other on one machine.

use std::sync::{Arc, Mutex};

use tpl::core::{domain::console_log, error::exit_code, manifest::State as Stage};

use super::{
    machine::{Machine, Node},
    run::{Fault, Step},
};

const FIRST: &str = "debian13@20261121-031100";

/// Exit code and text of a command that must fail.
fn refused(machine: &Machine, command: &str) -> (u8, String) {
    let before = machine.everything();
    let error = machine.tpl(command).unwrap_err();
    assert_eq!(machine.everything(), before, "{command} has touched something");
    (exit_code(&error), format!("{error:#}"))
}

fn done(machine: &Machine, command: &str) -> String {
    machine.tpl(command).unwrap().data
}

#[test]
fn a_second_build_of_one_name_is_refused_while_the_first_runs() {
    let machine = Machine::prepared();
    let first = machine.run();
    let outcome = Arc::new(Mutex::new(None));
    let (other, heard) = (machine.clone(), Arc::clone(&outcome));
    first.before(Step::OpenGuest, move || *heard.lock().unwrap() = Some(refused(&other, "build debian13")));
    first.tpl("build debian13").unwrap();
    let expected = (3, "debian13 is being built already, by another process".to_owned());
    assert_eq!(outcome.lock().unwrap().take(), Some(expected));
    assert_eq!(machine.manifests().len(), 1);
}

#[test]
fn prune_finds_the_kernels_that_could_not_be_removed_from_another_machine() {
    let machine = Machine::with_template();
    let stays = ["debian13.20261121-031100-initrd", "gone-kernel", "virtinst-linux.x", "gone.20261121-031100-build"];
    let gone = ["gone.20261121-031100-initrd", "gone.20261121-031100-kernel"];
    machine.state().boot_files.extend(stays.iter().chain(&gone).map(ToString::to_string));
    assert_eq!(done(&machine, "prune --template debian13"), "nothing to prune\n");
    let lines: String = gone.map(|file| format!("boot file /var/lib/libvirt/boot/{file} removed\n")).concat();
    assert_eq!(done(&machine, "prune"), lines);
    assert_eq!(machine.state().boot_files.iter().map(String::as_str).collect::<Vec<_>>(), {
        let mut stays = stays;
        stays.sort_unstable();
        stays
    });
}

#[test]
fn prune_leaves_a_run_that_lives_alone() {
    let machine = Machine::prepared();
    let first = machine.run();
    let printed = Arc::new(Mutex::new(String::new()));
    let (other, heard) = (machine.clone(), Arc::clone(&printed));
    first.before(Step::LogIn, move || *heard.lock().unwrap() = done(&other, "prune"));
    first.tpl("build debian13").unwrap();
    assert_eq!(*printed.lock().unwrap(), "nothing to prune\n");
    assert_eq!(machine.current().as_deref(), Some(FIRST));
}

#[test]
fn if_changed_builds_only_what_changed() {
    let machine = Machine::prepared();
    done(&machine, "build debian13 --if-changed");
    let before = machine.everything();
    let again = machine.tpl("build debian13 --if-changed").unwrap();
    let unchanged = format!("unchanged: {FIRST} is of this pipeline, these answers and these sources");
    assert_eq!(again.notes.lines().last(), Some(unchanged.as_str()));
    assert!(again.data.starts_with(&format!("current {FIRST}: ")), "{}", again.data);
    assert_eq!(machine.everything(), before);
    machine.edit_pipeline("keep = 3", "keep = 4");
    assert!(done(&machine, "build debian13 --if-changed").starts_with("published debian13@"));
    assert_eq!(machine.manifests().len(), 2);
}

#[test]
fn sealing_removes_what_must_not_be_shared_and_shrinks() {
    let machine = Machine::with_template();
    let manifest = machine.manifests().remove(0);
    assert_eq!(manifest.state, Stage::Published);
    assert_eq!(manifest.packages.len(), 2);
    assert!(manifest.virtual_size.0 < 1 << 30, "{}", manifest.virtual_size);
    assert!(manifest.invariants.contains(&"password-hashes".to_owned()));
    let state = machine.state();
    let volume = &state.volumes["debian13.20261121-031100"];
    assert!(volume.protected);
    assert_eq!(volume.tree["/etc/machine-id"], Node::File(String::new()));
    for path in ["/etc/ssh/ssh_host_ed25519_key", "/var/lib/systemd/random-seed", "/var/log/installer", "/root/.bash_history"] {
        assert_eq!(volume.tree.get(path), None, "{path}");
    }
}

#[test]
fn verify_sees_every_changed_byte() {
    let machine = Machine::with_template();
    assert!(done(&machine, "verify debian13").starts_with(&format!("{FIRST} is as it was sealed\n")));
    let edit = |path: &str| {
        let mut state = machine.state();
        let tree = &mut state.volumes.get_mut("debian13.20261121-031100").unwrap().tree;
        tree.insert(path.to_owned(), Node::File("x".to_owned()));
    };
    edit("/etc/motd");
    let (code, text) = refused(&machine, "verify debian13");
    assert_eq!(code, 1);
    assert!(text.starts_with(&format!("{FIRST} is damaged: its content digest is ")), "{text}");
}

#[test]
fn retention_keeps_the_newest_and_retires_what_clones_stand_on() {
    let machine = Machine::prepared();
    machine.edit_pipeline("keep = 3", "keep = 2");
    done(&machine, "build debian13");
    done(&machine, "clone --name web --no-start --ssh-key KEY");
    done(&machine, "build debian13");
    let third = machine.tpl("build debian13").unwrap();
    let retired = format!("retention: {FIRST} retired; it stays while web stand on it");
    assert!(third.notes.lines().any(|line| line == retired), "{}", third.notes);
    let states = |machine: &Machine| machine.manifests().iter().map(|m| m.state).collect::<Vec<_>>();
    assert_eq!(states(&machine), [Stage::Retired, Stage::Published, Stage::Published]);
    done(&machine, "destroy web");
    let fourth = machine.tpl("build debian13").unwrap();
    assert!(fourth.notes.lines().any(|line| line == format!("retention: {FIRST} removed")), "{}", fourth.notes);
    assert_eq!(states(&machine), [Stage::Published, Stage::Published]);
    assert_eq!(machine.leftovers(), [""; 0]);
}

#[test]
fn a_retention_that_fails_does_not_take_the_new_version_back() {
    let machine = Machine::prepared();
    machine.edit_pipeline("keep = 3", "keep = 1");
    done(&machine, "build debian13");
    // installed, sealed, the test's clone, tested, published, and then the old version's removal.
    let error = machine.failing(Fault::At(Step::WriteMetadata, 4)).tpl("build debian13").unwrap_err();
    let current = machine.current().unwrap();
    assert_ne!(current, FIRST);
    let advice = format!("{current} is published all the same, and the current version");
    assert_eq!(format!("{error:#}").lines().last(), Some(advice.as_str()));
    done(&machine, "build debian13");
    assert_eq!(machine.manifests().len(), 1);
    assert_eq!(machine.leftovers(), [""; 0]);
}

#[test]
fn a_template_stays_while_linked_clones_stand_on_it() {
    let machine = Machine::with_template();
    done(&machine, "clone --count 2 --name web{} --no-start --ssh-key KEY");
    done(&machine, "clone --full --name copy --no-start --ssh-key KEY");
    let text = format!("linked clones stand on {FIRST}: web1, web2\n`tpl destroy web1 web2` removes them first");
    assert_eq!(refused(&machine, &format!("rm {FIRST}")), (3, text));
    assert_eq!(done(&machine, "destroy web1 web2"), "web1 destroyed\nweb2 destroyed\n");
    assert_eq!(done(&machine, &format!("rm {FIRST}")), format!("{FIRST} is removed\n"));
    let copy = [
        "domain copy",
        "volume copy",
        "volume copy-seed",
        "reservation default 192.0.2.130",
        "dns default 192.0.2.130",
        "record copy",
    ];
    assert_eq!(machine.everything(), copy);
}

#[test]
fn a_removal_that_is_cut_short_leaves_no_version_without_its_bytes() {
    let run = Machine::with_template().run();
    run.tpl(&format!("rm {FIRST}")).unwrap();
    for index in 0..run.calls().len() {
        let machine = Machine::with_template();
        let killed = machine.failing(Fault::Kill(index));
        killed.tpl(&format!("rm {FIRST}")).unwrap_err();
        let whole = machine.state().volumes.contains_key("debian13.20261121-031100");
        assert!(whole || machine.current().is_none(), "killed before call {index}: {:?}", run.calls()[index]);
        done(&machine, "prune");
        assert_eq!(machine.leftovers(), [""; 0], "killed before call {index}: {:?}", run.calls()[index]);
    }
}

#[test]
fn destroy_touches_nothing_that_is_not_tpls() {
    let machine = Machine::with_template();
    done(&machine, "clone --name web --no-start --ssh-key KEY");
    let xml = "<domain type='kvm'><name>mail</name><uuid>3c6f1b0e-58d5-4f0b-9d0a-3a3d6f3f1a11</uuid><memory>1</memory></domain>";
    machine.run().with(|world| world.hypervisor.define(xml)).unwrap();
    let expected = "mail does not carry tpl's metadata: tpl has not made it, and leaves it alone\nthere is no VM nobody\n\
                    nothing has been destroyed; `tpl vms` lists what could be";
    assert_eq!(refused(&machine, "destroy web mail nobody"), (3, expected.to_owned()));
    done(&machine, "prune");
    assert!(machine.everything().contains(&"domain mail".to_owned()));
    assert_eq!(done(&machine, "destroy web web"), "web destroyed\n");
}

#[test]
fn promote_goes_back_and_forth() {
    let machine = Machine::with_template();
    done(&machine, "build debian13");
    let second = machine.current().unwrap();
    assert_ne!(second, FIRST);
    for wanted in [FIRST, &second, FIRST] {
        let dry = done(&machine, &format!("promote {wanted} --dry-run"));
        assert_eq!(dry, format!("{wanted} would become the current version\n"));
        assert_eq!(done(&machine, &format!("promote {wanted}")), format!("{wanted} is the current version now\n"));
        assert_eq!(machine.current().as_deref(), Some(wanted));
        assert_eq!(done(&machine, &format!("promote {wanted}")), format!("unchanged: {wanted} is the current version\n"));
    }
    // Clones follow, and a failed write changes nothing.
    done(&machine, "clone --name web --no-start --ssh-key KEY");
    assert_eq!(machine.inventory().clones[0].record.version.as_str(), "20261121-031100");
    let failing = machine.failing(Fault::At(Step::WriteMetadata, 0));
    failing.tpl(&format!("promote {second}")).unwrap_err();
    assert_eq!(machine.current().as_deref(), Some(FIRST));
}

#[test]
fn clones_beyond_the_hosts_memory_are_refused() {
    let machine = Machine::with_template();
    machine.state().memory = 1 << 30;
    let (code, text) = refused(&machine, "clone --count 3 --ssh-key KEY");
    assert_eq!(code, 3);
    assert!(text.starts_with("memory: 3 × 512 MiB is 1.5 GiB and "), "{text}");
    assert!(text.contains("; 1 would fit\n"), "{text}");
}

#[test]
fn a_second_clone_waits_for_the_first_to_reserve() {
    let machine = Machine::with_template();
    let first = machine.run();
    let outcome = Arc::new(Mutex::new(None));
    let (other, heard) = (machine.clone(), Arc::clone(&outcome));
    // Between reading the facts and defining the clones: both would choose the same names.
    first.before(Step::Define, move || *heard.lock().unwrap() = Some(refused(&other, "clone --ssh-key KEY")));
    first.tpl("clone --no-start --ssh-key KEY").unwrap();
    let expected = (3, "another tpl is at work: another process\ntry again later".to_owned());
    assert_eq!(outcome.lock().unwrap().take(), Some(expected));
    done(&machine, "clone --no-start --ssh-key KEY");
    let names: Vec<_> = machine.inventory().clones.iter().map(|clone| clone.record.name.to_string()).collect();
    assert_eq!(names, ["debian13-1", "debian13-2"]);
}

#[test]
fn clones_that_do_not_become_ready_are_removed_or_kept() {
    let machine = Machine::with_template();
    machine.state().ready = false;
    let (code, text) = refused(&machine, "clone --name web --timeout 5s --ssh-key KEY");
    let expected = "web: not ready after 5 s: no answer at 192.0.2.128 port 22
    domain: running
    lease: 192.0.2.128
    ARP: 192.0.2.128
    port: no answer at 192.0.2.128 port 22
    cloud-init: has said nothing on the console
    its console is logged in /var/log/libvirt/qemu/web-serial.log";
    assert_eq!((code, text.as_str()), (1, expected));
    let kept = machine.tpl("clone --name web --timeout 5s --keep-failed --ssh-key KEY").unwrap_err();
    assert_eq!(format!("{kept:#}"), format!("{expected}\nthe VMs are kept; `tpl destroy` or `tpl prune` removes them"));
    assert!(machine.state().logs.contains_key(&console_log("web")));
    assert_eq!(done(&machine, "prune"), "unfinished clone web removed\n");
    assert_eq!(machine.leftovers(), [""; 0]);
}
