//! A hypervisor that is another machine: what opens its files by their paths is refused, the rest works.

use tpl::core::error::exit_code;

use super::{
    images::with_vm,
    machine::{Machine, Node},
};

const REMOTE: &str = "qemu+ssh://root@hv1/system";

/// What a command says that must be refused, and touch nothing.
fn refused(machine: &Machine, command: &str) -> String {
    machine.state().uri = REMOTE;
    let before = machine.everything();
    let error = machine.tpl(command).unwrap_err();
    assert_eq!((exit_code(&error), &machine.everything()), (3, &before), "{command}");
    format!("{error:#}")
}

#[test]
fn what_opens_the_hypervisors_files_is_refused() {
    let machine = Machine::with_template();
    let says = |why: &str| format!("{REMOTE} is another machine{why}\nrun tpl there");
    let console = says(": --wait cloud-init: cloud-init tells of itself on the console, whose log is on the hypervisor itself");
    for dry in ["", " --dry-run"] {
        assert_eq!(refused(&machine, &format!("clone --ssh-key KEY --wait cloud-init{dry}")), console);
    }
    let build = format!(
        "{REMOTE} is another machine, and a template is built on the hypervisor itself: `tpl push` brings it to others\n`tpl doctor` checks this host and says what to do"
    );
    assert_eq!(refused(&machine, "build debian13"), build);

    let offline = says(
        ": debian13@20261121-031100 has no cloud-init: the identity of its clones is written into their disks, on the hypervisor itself",
    );
    assert_eq!(refused(&Machine::with_offline_template(), "clone --ssh-key KEY"), offline);

    let machine = with_vm();
    let adopt = says(", and a VM's disk is copied on the hypervisor itself");
    assert_eq!(refused(&machine, "adopt web --as gold --user ops --dry-run"), adopt);
    machine.state().uri = "fake:///system";
    machine.tpl("adopt web --as gold --user ops").unwrap();
    let version = machine.manifests().iter().find(|manifest| manifest.name.as_str() == "gold").unwrap().id();
    let variables = says(&format!(": {version} keeps UEFI variables: their file is read on the hypervisor itself"));
    assert_eq!(refused(&machine, "clone gold --ssh-key KEY"), variables);
}

#[test]
fn a_digest_is_taken_from_another_machine() {
    let machine = Machine::with_template();
    machine.state().uri = REMOTE;
    let said = machine.tpl("verify debian13").unwrap().data;
    assert!(said.ends_with("holds  not looked at: `tpl verify` does so on the hypervisor itself\n"), "{said}");
    let volume = "debian13.20261121-031100";
    machine.state().volumes.get_mut(volume).unwrap().tree.insert("/etc/motd".to_owned(), Node::File("x".to_owned()));
    let error = machine.tpl("verify debian13").unwrap_err();
    assert_eq!(exit_code(&error), 1);
    assert!(error.to_string().contains("is damaged: its content digest is "), "{error:#}");
}

#[test]
fn clones_are_made_and_removed_from_another_machine() {
    let machine = Machine::with_template();
    machine.state().uri = REMOTE;
    machine.tpl("clone --count 2 --name web{} --ssh-key KEY").unwrap();
    machine.tpl("clone --name late --ssh-key KEY --no-start --wait cloud-init").unwrap();
    machine.tpl("destroy web1 web2 late").unwrap();
    assert_eq!(machine.leftovers(), [""; 0]);
}
