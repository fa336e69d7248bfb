//! What is published is signed where there is a key, and what `tpl verify` says of it.

use minisign::KeyPair;
use tpl::core::{
    error::exit_code,
    manifest::{Manifest, Metadata, State as Stage},
    signing::{PublicKey, judge},
};

use super::{
    faults::{Case, worth},
    machine::{Machine, Pool},
    run::Step,
};

fn pair() -> KeyPair {
    KeyPair::generate_unencrypted_keypair().unwrap()
}

/// A machine with a published version, and a key since then.
pub fn with_key() -> Machine {
    let machine = Machine::with_template();
    machine.state().key = Some(pair());
    machine
}

/// A machine whose newest version is signed.
pub fn with_signed() -> Machine {
    let machine = with_key();
    machine.tpl("build debian13").unwrap();
    machine
}

fn newest(machine: &Machine) -> Manifest {
    machine.manifests().pop().unwrap()
}

fn own(machine: &Machine) -> PublicKey {
    PublicKey::new(machine.state().key.clone().unwrap().pk)
}

fn write(machine: &Machine, manifest: Manifest) {
    let name = manifest.id().domain();
    machine.run().with(|world| world.hypervisor.write_metadata(&name, &Metadata::Template(Box::new(manifest)))).unwrap();
}

#[test]
fn without_a_key_nothing_is_signed_and_a_note_says_so_once() {
    let machine = Machine::prepared();
    let printed = machine.tpl("build debian13 --output json").unwrap();
    let one = newest(&machine);
    let note = format!("{} is not signed: `tpl key generate` makes a key, and what is published from then on is", one.id());
    assert_eq!(printed.notes.lines().filter(|line| *line == note).count(), 1, "{}", printed.notes);
    assert!(printed.data.contains("\"signed_by\": null"), "{}", printed.data);
    assert_eq!((one.signature, one.hardware.is_some()), (None, true));
}

#[test]
fn with_a_key_what_is_published_is_signed() {
    let machine = with_key();
    let id = own(&machine).id();
    let printed = machine.tpl("build debian13 --output json").unwrap();
    assert!(printed.data.contains(&format!("\"signed_by\": \"{id}\"")), "{}", printed.data);
    assert!(!printed.notes.contains("not signed"), "{}", printed.notes);
    let one = newest(&machine);
    assert_eq!(judge(&one, &[own(&machine)]).word(), "trusted");
    // As it is read back, promoted, and retired.
    for command in ["promote debian13@20261121-031100", &format!("promote {}", one.id())] {
        machine.tpl(command).unwrap();
    }
    write(&machine, Manifest { state: Stage::Retired, ..newest(&machine) });
    assert_eq!(judge(&newest(&machine), &[own(&machine)]).word(), "trusted");
}

#[test]
fn verify_says_whose_signature_it_is() {
    let machine = with_signed();
    let id = own(&machine).id();
    let says = |command: &str, line: &str| {
        let printed = machine.tpl(command).unwrap().data;
        assert!(printed.lines().any(|found| found.trim() == line), "{command}: {printed}");
    };
    says("verify debian13", &format!("signed good, by key {id}, which is trusted"));
    says("show debian13", &format!("signature  good, by key {id}, which is trusted"));
    says("verify debian13 --require-signature --output json", &format!("\"signed_by\": \"{id}\","));
    let refused = |command: &str, text: &str| {
        let error = machine.tpl(command).unwrap_err();
        assert_eq!(exit_code(&error), 3, "{error:#}");
        assert!(format!("{error:#}").starts_with(text), "{error:#}");
    };
    // The version from before there was a key.
    says("verify debian13@20261121-031100", "signed none");
    says("show debian13@20261121-031100", "signature  none");
    let first = "debian13@20261121-031100 is not signed, and a signature is required";
    refused("verify debian13@20261121-031100 --require-signature", first);
    // Somebody else looks.
    let one = newest(&machine).id();
    let owner = own(&machine);
    machine.state().key = None;
    says("verify debian13", &format!("signed good, by key {id}, which is not trusted"));
    refused(
        "verify debian13 --require-signature",
        &format!(
            "{one} is signed by key {id}, which is not trusted, and a signature is required\nif it is to be trusted: trusted_keys = [\"{owner}\"]"
        ),
    );
    machine.state().trusted = vec![owner];
    says("verify debian13 --require-signature", &format!("signed good, by key {id}, which is trusted"));
    // Something has been changed.
    let mut changed = newest(&machine);
    changed.packages.pop();
    write(&machine, changed);
    refused("verify debian13", &format!("the signature of {one} is bad: it does not fit what it stands under"));
    says("show debian13", &format!("signature  BAD: it does not fit what it stands under; it names key {id}"));
}

const SIGNED_BUILD: Case = Case { machine: |_| with_key(), pool: Pool::Directory, command: "build debian13" };

#[test]
fn a_signature_that_fails_publishes_nothing() {
    let signing = |call: &(Step, String)| call.0 == Step::Sign;
    assert_eq!(SIGNED_BUILD.calls().iter().filter(|call| signing(call)).count(), 1);
    SIGNED_BUILD.fails_once(signing, &|bench, _, _| {
        let one = newest(&bench.machine);
        assert_eq!((one.state, one.signature.is_some()), (Stage::Tested, false));
        bench.machine.tpl("build debian13 --resume").unwrap();
        let one = newest(&bench.machine);
        assert_eq!(judge(&one, &[own(&bench.machine)]).word(), "trusted");
    });
    SIGNED_BUILD.fails_once(|call| worth(call) && call.0 == Step::WriteMetadata, &|_, _, _| {});
}
